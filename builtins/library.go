package builtins

import (
	"context"
	"io"
	"sync"
	"time"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/report"
)

// Options are what the builtins of one program share beside the engine. The zero value is ready to
// use.
type Options struct {
	// JobOutput gets the bytes of the jobs that with_job runs without a body; nil discards them.
	JobOutput io.Writer
	// Fresh runs every bootstrap step, whatever was recorded (bifrost exec --fresh).
	Fresh bool
	// Getenv looks up a variable of this process; nil knows none. The .env file of the script's root is
	// read after it.
	Getenv func(name string) (string, bool)
	// Confirm asks the user; nil means that nobody can be asked.
	Confirm func(ctx context.Context, question string) (bool, error)
	// NoDotenv keeps secrets and variables of .env files out: Getenv alone knows some.
	NoDotenv bool
	// Dry is told what would be written to this machine, which is then not done (bifrost plan); nil
	// writes.
	Dry func(what string)
	// Modules are further ones, that other packages declare.
	Modules []*Module
	// WorkDir is the absolute folder that relative local paths start at; "" means the current folder.
	WorkDir string
	// Clock is what scripts read the time from and wait by; nil means this machine's.
	Clock Clock
	// Stderr gets whole lines that scripts write to standard error, usage errors for one; nil discards.
	Stderr io.Writer
	// Log gets the lines of the script's logging, without secrets; nil discards them. The level is debug, info,
	// warning, error or critical.
	Log func(level, text string)
	// Verbose shows debug lines too (bifrost exec -v).
	Verbose bool
	// RunProgram runs a program on this machine, once the gate has allowed it; nil means that none can run.
	RunProgram func(ctx context.Context, p Program) (engine.ExecResult, error)
	// Report gets the notices that the builtins have for the user; nil discards them.
	Report report.Sink

	// Begin is told that with_job begins, or an item of parallel, which may have a job; ready is called as
	// soon as one of its jobs runs, or none will. All items begin before the first of them is ready.
	Begin func() (ready func())
	// Started is told of every job that with_job has started, before its body is called.
	Started func(h Handle)
	// Ending is told of every job that has started when what remains of it is its results and its machine.
	Ending func(h Handle)
	// Ended is told how every with_job ended, after the teardown.
	Ended func(r engine.Result, err error)
	// Left is told of every job that job.start has started and left running. With finish, the guardian
	// finishes it.
	Left func(h Handle, finish bool)
}

// A Library is the table of builtins over one engine. It is safe for concurrent use.
type Library struct {
	engine  Engine
	opts    Options
	started time.Time // what time.monotonic counts from

	builtins []*Entry
	modules  []*Module
	types    []*Type
	byName   map[string]*Type

	told sync.Map // what was told once
}

// New returns the library over an engine. With a nil engine it can be read but not called, which
// is enough for checks of scripts and for the reference.
func New(e Engine, opts Options) *Library {
	if opts.Clock == nil {
		opts.Clock = realClock{}
	}
	l := &Library{engine: e, opts: opts, started: opts.Clock.Now(), byName: map[string]*Type{}}
	l.builtins = []*Entry{
		// what describes
		gpuQueryEntry(),
		remoteJobEntry(),
		optionalEntry(),
		prependEntry(),
		stepEntry(),
		// what acts
		withJobEntry(),
		acquireNodeEntry(),
		withNodeEntry(),
		attachJobEntry(),
		findOffersEntry(),
		listNodesEntry(),
		findNodeEntry(),
		// how a script goes on and ends
		attemptEntry(),
		failEntry(),
		checkEntry(),
		pollEntry(),
		parallelEntry(),
		exitEntry(),
		confirmEntry(),
		importModuleEntry(),
		secretEntry(),
		loadDotenvEntry(),
		// Python's own
		printEntry(),
		pathEntry(),
		structEntry(),
		recordEntry(),
		strEntry(),
		intEntry(),
		floatEntry(),
		roundEntry(),
		sumEntry(),
		timedeltaEntry(),
	}
	l.types = []*Type{
		gpuQueryType(),
		remoteJobType(),
		handleType(),
		nodeType(),
		serverType(),
		execResultType(),
		resultType(),
		transferType(),
		gpuType(),
		offerType(),
		errorType(),
		matchType(),
		patternType(),
		datetimeType(),
		timedeltaType(),
		timezoneType(),
		hashType(),
		loggerType(),
		structType(),
		recordType(),
		pathType(),
		statResultType(),
		optionalType(),
		prependType(),
		stepType(),
		argumentParserType(),
		argumentGroupType(),
		mutuallyExclusiveGroupType(),
		namespaceType(),
	}
	for _, t := range l.types {
		l.byName[t.Name] = t
	}
	l.modules = []*Module{
		argparseModule(),
		osModule(),
		loggingModule(),
		shlexModule(),
		hashlibModule(),
		localModule(),
		jsonModule(),
		yamlModule(),
		tomlModule(),
		reModule(),
		mathModule(),
		timeModule(),
		datetimeModule(),
		timezoneModule(l), // has a value of a type
	}
	l.modules = append(l.modules, opts.Modules...)
	l.Walk(func(_ string, e *Entry) {
		for _, p := range e.Params {
			if p.Default != nil {
				p.Default.Freeze() // all threads of all runs share it
			}
		}
	})
	return l
}

// Predeclared returns the names that scripts see, for starlark.Host. The values are frozen.
func (l *Library) Predeclared() star.StringDict {
	names := star.StringDict{}
	for _, e := range l.builtins {
		names[e.Name] = l.bind(e, nil)
	}
	for _, m := range l.modules {
		value := &moduleValue{lib: l, mod: m}
		names[m.Name] = value
		if m.Call != nil {
			names[m.Name] = callableModule{value}
		}
	}
	names.Freeze()
	return names
}

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/bifrost-run/bifrost/cmd/bifrost/internal/screen"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/local"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

const (
	// maxStack is how many bytes of stack the interpreter may take to go down a value that a script has
	// nested deep: as much as the runtime grants. A stack that overflows ends the process on the spot, and
	// leaves it to the guardian to release machines.
	maxStack = 2_000_000_000

	settleLimit = time.Minute     // of settling what others left open
	settleGrace = 2 * time.Second // that the end of a command waits for it
)

// An app is one process's streams, settings and engine, shared by all commands.
type app struct {
	env      environment
	in       *os.File
	out, err *os.File
	screen   *screen.Screen
	redact   *starlark.Redactor
	leave    chan int // an exit code with which to end at once, whatever runs

	identity string // -i
	yes      bool   // --yes
	verbose  bool   // -v
	trace    bool   // --trace

	guard    *policy.Judge // decides what the script may do; nil without a script
	byHand   bool          // files are copied because the user said so, not a script
	limits   limits        // of what a run may spend
	keyboard chan struct{} // holds one: whoever reads what is typed

	accts   []account          // nil until accounts is called
	dotenvs []dotenv           // those that were read, the first goes before the others
	settles bool               // look after what earlier processes left
	watch   func(report.Event) // sees every event before the screen does; nil or set before the engine opens

	opening sync.Once
	eng     *engine.Engine
	openErr error
	closed  bool
	settled chan struct{}
	cancel  context.CancelFunc
}

// run is the program but for its end.
func run(args []string, in, out, errs *os.File) int {
	survivePipe()
	debug.SetMaxStack(maxStack)
	a := newApp(readEnvironment(), in, out, errs)
	done := make(chan int, 1)
	go func() { done <- a.command(args) }()
	select {
	case code := <-done:
		a.screen.Close()
		return code
	case code := <-a.leave:
		a.screen.Close()
		return code
	}
}

func newApp(env environment, in, out, errs *os.File) *app {
	a := &app{env: env, in: in, out: out, err: errs, redact: &starlark.Redactor{}, leave: make(chan int, 1), settles: true, keyboard: make(chan struct{}, 1)}
	for name, value := range env.Secrets {
		a.redact.Add(name, value)
	}
	errTerminal := term.IsTerminal(int(errs.Fd()))
	a.screen = screen.New(screen.Options{
		Out: out, Err: errs, Redact: a.redact.Redact,
		Live:   errTerminal && !env.Plain && liveLines(errs),
		Shared: term.IsTerminal(int(out.Fd())),
		Width: func() int {
			if cols, _, err := term.GetSize(int(errs.Fd())); err == nil && cols > 0 {
				return cols
			}
			return 80
		},
	})
	return a
}

// command runs the command line and says what went wrong.
func (a *app) command(args []string) int {
	root := newRoot(a)
	root.SetArgs(goFlags(args))
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(context.Background())
	err = errors.Join(err, a.close())
	if errors.Is(err, syscall.EPIPE) && find(err, fault.Unreleased) == nil {
		return exitPipe // who closed the pipe has seen enough
	}
	a.say(err)
	return exitCode(err)
}

// say tells the user of an error and returns it as one that was told.
func (a *app) say(err error) error {
	if err == nil {
		return nil
	}
	if text := errorText(err, a.trace); text != "" {
		a.screen.Line(text)
	}
	return saidError{err}
}

// engine opens the engine when the first command asks for it, and begins to settle what earlier
// processes left open.
func (a *app) engine() (*engine.Engine, error) {
	a.opening.Do(func() {
		if a.env.StateDir == "" {
			a.openErr = &fault.Error{
				Kind: fault.Invalid, Op: "open", Target: "state folder", Err: errors.New("neither HOME nor XDG_STATE_HOME is set"),
				Hint: "set XDG_STATE_HOME to a folder of your own",
			}
			return
		}
		var cfg engine.Config
		if cfg, a.openErr = a.config(); a.openErr != nil {
			return
		}
		if a.eng, a.openErr = engine.Open(context.Background(), cfg); a.openErr != nil {
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		a.cancel, a.settled = cancel, make(chan struct{})
		go func() {
			defer close(a.settled)
			if a.settles {
				a.settle(ctx)
			}
		}()
	})
	return a.eng, a.openErr
}

func (a *app) config() (engine.Config, error) {
	identity := a.identity
	if abs, err := filepath.Abs(identity); err == nil && identity != "" && !strings.HasPrefix(identity, "~") {
		identity = abs // attach uses it again, from any folder
	}
	cfg := engine.Config{
		StateDir:     a.env.StateDir,
		Providers:    []gpu.Provider{local.New(local.Config{StateDir: a.env.StateDir, Daemon: []string{a.env.Executable, "local-node"}})},
		Absent:       map[string]string{},
		IdentityFile: identity,
		Home:         a.env.Home,
		AgentSocket:  a.env.AgentSocket,
		Confirm:      a.confirm,
		Guardian:     []string{a.env.Executable, "guardian"},
		GuardianEnv:  os.Environ(),

		Limits: engine.Limits{Price: a.limits.price, Cost: a.limits.cost}, MaxCostPerHour: a.limits.perHour,
		Withhold: a.withhold, Protect: a.protect,
		Report: func(e report.Event) {
			if a.watch != nil {
				a.watch(e)
			}
			a.screen.Event(e)
		},
	}
	for _, acct := range a.accounts() {
		if acct.missing != "" {
			cfg.Absent[acct.name] = acct.missing
			continue
		}
		url, err := acct.baseURL(a.env.Lookup)
		if err != nil {
			return engine.Config{}, err
		}
		cfg.Providers = append(cfg.Providers, acct.open(acct.key, url))
		cfg.GuardianEnv = append(cfg.GuardianEnv, acct.keyVar+"="+acct.key) // the last of a name counts
	}
	return cfg, nil
}

// settle finishes what earlier processes left open. It is silent when there was nothing.
func (a *app) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	if err := a.eng.Settle(ctx); err != nil && ctx.Err() == nil {
		a.screen.Warn("what earlier runs left is not settled: " + err.Error())
	}
}

// close waits a moment for the settling and closes the engine, which releases what scripts hold.
// Once is enough.
func (a *app) close() error {
	if a.eng == nil || a.closed {
		return nil
	}
	a.closed = true
	select {
	case <-a.settled:
	case <-time.After(settleGrace):
	}
	a.cancel()
	<-a.settled
	return a.eng.Close()
}

// errorText returns an error as users see it: what failed and why, then the way out; of a script's error
// with a trace, all that is known.
func errorText(err error, trace bool) string {
	var lines []string
	for _, part := range parts(err) {
		var silent exitError
		var said saidError
		if errors.As(part, &silent) || errors.As(part, &said) {
			continue
		}
		var rendered interface{ Render(io.Writer) error }
		if errors.As(part, &rendered) {
			var b strings.Builder
			render := rendered.Render
			if traced, ok := rendered.(interface{ RenderTrace(io.Writer) error }); ok && trace {
				render = traced.RenderTrace
			}
			_ = render(&b) // a strings.Builder takes everything
			lines = append(lines, strings.TrimRight(b.String(), "\n"))
			continue
		}
		text, hint := part.Error(), fault.HintOf(part)
		var usage *usageError
		if errors.As(part, &usage) {
			hint = usage.hint
		}
		lines = append(lines, "bifrost: "+strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  "))
		if hint != "" {
			lines = append(lines, "  hint: "+strings.ReplaceAll(hint, "\n", "\n  "))
		}
	}
	return strings.Join(lines, "\n")
}

// failures returns an error as data, without the values of secrets.
func (a *app) failures(err error) []starlark.Failure {
	all := []starlark.Failure{}
	for _, part := range parts(err) {
		var silent exitError
		var known interface{ Failures() []starlark.Failure }
		var wrong *usageError
		switch {
		case part == nil || errors.As(part, &silent):
		case errors.As(part, &known):
			all = append(all, known.Failures()...)
		case errors.As(part, &wrong):
			all = append(all, starlark.Failure{Kind: "usage", Message: wrong.Error(), Hint: wrong.hint})
		default:
			all = append(all, starlark.Failure{Kind: string(fault.KindOf(part)), Message: part.Error(), Hint: fault.HintOf(part)})
		}
	}
	return a.redacted(all)
}

// redacted takes the values of secrets out of failures.
func (a *app) redacted(all []starlark.Failure) []starlark.Failure {
	for i := range all {
		all[i].Message, all[i].Hint = a.redact.Redact(all[i].Message), a.redact.Redact(all[i].Hint)
	}
	return all
}

// parts takes joined errors apart, so that each keeps its own hint.
func parts(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, parts(e)...)
		}
		return all
	}
	return []error{err}
}

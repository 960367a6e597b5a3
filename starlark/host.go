package starlark

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/bifrost-run/bifrost/starlark/config"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// fileName is the name by which every file knows its own absolute path.
const fileName = "__file__"

// A Host runs scripts. Its zero value runs scripts that can do nothing but compute. It must not be
// changed while it is in use; with that it is safe for concurrent use, each call a run of its own.
type Host struct {
	Predeclared star.StringDict // frozen; what every script and module sees beside Starlark's own names
	Gate        *policy.Gate    // nil refuses every effect
	Stdout      io.Writer       // of print; nil discards
	Redactor    *Redactor       // shared with other sinks of the run; nil makes one for each run
	Limits      Limits          // zero fields mean the defaults

	// Libraries are trees of modules that every script may load, by name: "std" is load("@std//x.star").
	// They are as trusted as Predeclared.
	Libraries map[string]fs.FS

	// Describe says what an error of a builtin is: its kind, in a word, and the way out. Empty strings
	// leave it to the host. Nil describes nothing.
	Describe func(err error) (kind, hint string)

	// HabitHint says how to write what the interpreter refuses with this message, where the message
	// points to this column (from 1, in characters) of this source line; "" when it does not know. It is
	// asked for errors that have no hint of their own. Nil knows nothing.
	HabitHint func(message, line string, col int) string
}

// An Outcome is how a script ended that did not fail.
type Outcome struct {
	ExitCode int        // what main returned, or 0
	Said     bool       // whether the script named the code itself
	Value    star.Value // what main returned; None without a main
}

// Check reads the script and everything that it loads and runs nothing. The error is a *StaticError.
func (h *Host) Check(_ context.Context, file string) error {
	_, g, err := h.read(file)
	if err != nil {
		return err
	}
	return errors.Join(g.err(), g.loader.close())
}

// Exec runs the script with its arguments. It returns when the script has ended and everything that
// its builtins hold is released. The errors are *StaticError and *ArgsError, with which nothing has
// run, *ExitError, and *Error for all that fails while it runs. When ctx ends the error has
// context.Cause(ctx) in its chain.
func (h *Host) Exec(ctx context.Context, file string, args []string) (Outcome, error) {
	r, err := h.start(file, args)
	if err != nil {
		return Outcome{}, err
	}
	defer r.loader.close()
	if err := r.refuseArgs(); err != nil {
		return Outcome{}, err
	}
	return r.exec(ctx, r.entry)
}

// start reads a script and makes the run of it. The run's loader is open unless there is an error.
func (h *Host) start(file string, args []string) (*Run, error) {
	entry, g, err := h.read(file)
	if err != nil {
		return nil, err
	}
	if err := g.err(); err != nil {
		_ = g.loader.close() // what is wrong with the script is what counts
		return nil, err
	}
	r := h.newRun(g.modules)
	r.Root, r.Entry, r.Args, r.loader, r.entry = g.loader.project.dir, file, args, g.loader, entry
	r.takesArgs = g.takesArgs || takesArgv(entry.main)
	return r, nil
}

// newRun returns a run of the host that has not begun.
func (h *Host) newRun(modules map[place]*module) *Run {
	r := &Run{
		Gate: h.Gate, Redactor: h.Redactor,
		host: h, names: h.names(), limits: h.Limits.withDefaults(), modules: modules, loaded: map[*module]*loaded{}, threads: map[*Thread]bool{},
	}
	r.steps = newBudget(r.limits.Steps)
	if r.Redactor == nil {
		r.Redactor = new(Redactor)
	}
	return r
}

// read opens the script's tree and reads its graph. The graph's loader is open unless there is an error.
func (h *Host) read(file string) (*module, *graph, error) {
	t, entry, err := openTree(file)
	if err != nil {
		g := &graph{}
		g.fail(&module{name: file}, syntax.Position{}, "file", err)
		return nil, nil, g.err()
	}
	c, err := config.Read(t.dir)
	g := newGraph(newLoader(h, t, c))
	if err != nil {
		g.failConfig(err)
		return nil, nil, errors.Join(g.err(), g.loader.close())
	}
	return g.readEntry(entry), g, nil
}

// failConfig reports what is wrong with the configuration of the root.
func (g *graph) failConfig(err error) {
	name := g.loader.project.name(config.File)
	walk(err, func(err error) {
		if wrong, ok := err.(*config.Error); ok {
			g.problems = append(g.problems, Problem{File: name, Line: wrong.Line, Kind: "config", Message: wrong.Message, Hint: wrong.Hint})
		}
	})
}

func (g *graph) err() error {
	if len(g.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(g.problems, func(a, b Problem) int {
		return cmp.Or(g.order[a.File]-g.order[b.File], a.Line-b.Line, a.Col-b.Col)
	})
	return &StaticError{Problems: g.problems}
}

// exec runs the top level of the entry file, then main.
func (r *Run) exec(ctx context.Context, entry *module) (Outcome, error) {
	outcome := Outcome{Value: star.None}
	err := r.within(ctx, func(t *Thread, globals star.StringDict) (err error) {
		main, ok := globals["main"].(*star.Function)
		if !ok || entry.main == nil {
			return nil
		}
		var argv star.Tuple
		if takesArgv(entry.main) {
			argv = star.Tuple{argvList(r.Args)}
		}
		if outcome.Value, err = t.Call(main, argv, nil); err == nil {
			err = outcome.take()
			if err != nil {
				err = &placed{err: err, frame: Frame{File: entry.name, Line: int(entry.main.Def.Line), Col: int(entry.main.Def.Col)}}
			}
		}
		return err
	})
	if err == nil {
		return outcome, nil
	}
	var exit *ExitError
	if errors.As(err, &exit) && onlyExit(err) {
		return Outcome{ExitCode: exit.Code, Said: true, Value: star.None}, exit
	}
	return Outcome{}, r.diagnose(err)
}

// within runs the top level of the entry file under the run's limits, then fn with what it has made.
func (r *Run) within(ctx context.Context, fn func(t *Thread, globals star.StringDict) error) error {
	ctx, unlimit := r.limit(ctx)
	defer unlimit()
	t := r.newThread(ctx, r.entry.name, r.entry, false)
	defer t.done()
	stop := watch(ctx, t.star)
	defer stop()

	globals, err := r.runTop(t, r.entry)
	if err == nil {
		err = fn(t, globals)
	}
	if limit, ok := context.Cause(ctx).(*LimitError); ok && err == nil {
		err = limit // at the last instruction
	}
	return t.explain(err)
}

// runTop runs the top level of a module and freezes what it has made.
func (r *Run) runTop(t *Thread, m *module) (star.StringDict, error) {
	names := maps.Clone(r.names)
	names[fileName] = star.String(m.path)
	globals, err := m.program.Init(t.star, names)
	if freezeErr := freezeAll(globals); freezeErr != nil {
		err = &placed{err: errors.Join(err, freezeErr), frame: Frame{File: m.name, Line: 1, Col: 1}}
	}
	return globals, t.explain(err)
}

// take makes the exit code of what main returned.
func (o *Outcome) take() error {
	switch v := o.Value.(type) {
	case star.NoneType:
		return nil
	case star.Int:
		code, err := star.AsInt32(v)
		if err != nil || code < 0 || code > 255 {
			return fmt.Errorf("main returned %s; an exit code is 0 to 255", v)
		}
		o.ExitCode, o.Said = code, true
		return nil
	default:
		return fmt.Errorf("main returned a %s; it returns an int, the exit code, or None", o.Value.Type())
	}
}

// onlyExit reports whether err is a call of exit and nothing else went wrong on the way out.
func onlyExit(err error) bool {
	for {
		switch e := err.(type) {
		case *ExitError:
			return true
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			return !slices.ContainsFunc(e.Unwrap(), func(err error) bool { return !onlyExit(err) })
		default:
			return false
		}
	}
}

// vendoredName returns the name of the vendored module that the file with this displayed name is of, or
// "" when it is one of the project or of a library. No file of the project has such a name: its own are
// clean paths, without a "//".
func (h *Host) vendoredName(file string) string {
	name, _, packaged := strings.Cut(file, "//")
	name, at := strings.CutPrefix(name, "@")
	if _, library := h.Libraries[name]; library || !packaged || !at {
		return ""
	}
	return name
}

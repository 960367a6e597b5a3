package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// A World is all that one test sees of the world. It is safe for concurrent use.
type World struct {
	clock *clock
	dir   string // absolute: where relative local paths start, and the only folder to write to

	mu           sync.Mutex
	env          map[string]string
	offers       []gpu.Offer // nil: one that fits every query
	machines     []*machine
	jobs         []*job
	files        map[string][]byte // on every node
	gpus         [][]engine.GPU    // the answers of nvidia-smi, one after the other; the last one stays
	expectations []*expectation
	calls        []call
	wrong        []error // what no test expected
	scripts      *starlark.Host
	exitCode     func(starlark.Outcome, error) int

	jobOutput jobOutput
	logging   jobOutput // what logging writes
}

// A jobOutput takes the bytes of jobs: to the script that fake.run runs, or else to the test's output.
type jobOutput struct {
	mu     sync.Mutex
	test   io.Writer
	script io.Writer // nil while no script runs
}

func (o *jobOutput) use(script io.Writer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.script = script
}

// Write implements io.Writer.
func (o *jobOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.script != nil:
		return o.script.Write(p)
	case o.test != nil:
		return o.test.Write(p)
	}
	return len(p), nil
}

// New returns a world in which nothing exists. The folder, which is absolute, is empty and the test's
// own.
func New(dir string) *World {
	return &World{clock: &clock{now: start}, dir: dir, env: map[string]string{}, files: map[string][]byte{}}
}

// Library returns the builtins over the world, with the module fake.
func (w *World) Library(opts builtins.Options) *builtins.Library {
	opts.Getenv, opts.NoDotenv = w.getenv, true
	opts.Confirm = w.confirm
	opts.WorkDir, opts.Clock = w.dir, w.clock
	w.jobOutput.test = opts.JobOutput
	opts.JobOutput = &w.jobOutput
	show := opts.Log
	opts.Log = func(level, text string) {
		_, _ = io.WriteString(&w.logging, level+": "+text+"\n") // a builder or nothing takes it
		if show != nil {
			show(level, text)
		}
	}
	opts.Modules = append(opts.Modules, w.Module())
	return builtins.New(w, opts)
}

// Policy allows what happens in the world, reading files beneath the roots and the world's folder,
// and writing to that folder.
func (w *World) Policy(roots ...string) policy.Policy {
	beneath := func(dir, path string) bool {
		rel, err := filepath.Rel(dir, path)
		return err == nil && filepath.IsLocal(rel)
	}
	return func(_ context.Context, r policy.Request) error {
		switch r.Capability {
		case policy.Env, policy.SSH, policy.Rent:
			return nil
		case policy.ReadFile:
			for _, root := range append(roots, w.dir) {
				if beneath(root, r.Target) {
					return nil
				}
			}
			return errors.New("a test reads files of the project and of its own folder only")
		case policy.WriteFile:
			if beneath(w.dir, r.Target) {
				return nil
			}
			return errors.New("a test writes to its own folder only; relative paths start there")
		}
		return errors.New("a test runs no local programs")
	}
}

// RunScripts lets fake.run run scripts on a host, whose names must be those of the world's library.
// exitCode is the code that bifrost exec ends with.
func (w *World) RunScripts(host *starlark.Host, exitCode func(starlark.Outcome, error) int) {
	w.scripts, w.exitCode = host, exitCode
}

// endScript releases the nodes that the script acquired.
func (w *World) endScript() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.machines {
		if m.acquired {
			_ = m.release() // a failure leaves the machine, which Finish reports
		}
	}
}

// Finish ends the script that the test was: nodes that it acquired are released. It returns what must
// fail the test: what happened unexpectedly, what was expected and did not happen, and machines that
// nobody decided to keep.
func (w *World) Finish() []error {
	w.endScript()
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.wrong
	for _, e := range w.expectations {
		if e.used < e.times {
			all = append(all, &UnexpectedError{Message: e.unused()})
		}
	}
	for _, m := range w.machines {
		if m.rented && m.state == ready {
			all = append(all, &UnexpectedError{Message: fmt.Sprintf("machine %s is left running and costs $%.2f per hour", m.id, m.price)})
		}
	}
	return all
}

// unexpected records and returns what fails the test, whatever the script makes of it.
func (w *World) unexpected(format string, args ...any) error {
	err := &UnexpectedError{Message: fmt.Sprintf(format, args...)}
	w.wrong = append(w.wrong, err)
	return err
}

// An UnexpectedError is something that the test did not foresee. No script can catch it.
type UnexpectedError struct{ Message string }

func (e *UnexpectedError) Error() string { return e.Message }

// Describe is builtins.Describe, for starlark.Host, that knows the errors of the world too.
func Describe(err error) (kind, hint string) {
	var unexpected *UnexpectedError
	if errors.As(err, &unexpected) {
		return "unexpected", ""
	}
	return builtins.Describe(err)
}

func (w *World) getenv(name string) (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v, ok := w.env[name]
	return v, ok
}

func (w *World) confirm(_ context.Context, question string) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record("confirm", field{"question", question})
	e, err := w.match("confirm", engine.Shell(question))
	if err != nil {
		return false, err
	}
	return e.outcome.yes, nil
}

func notFound(op, target, reason, hint string) error {
	return &fault.Error{Kind: fault.NotFound, Op: op, Target: target, Err: errors.New(reason), Hint: hint}
}

func invalid(op, target, reason, hint string) error {
	return &fault.Error{Kind: fault.Invalid, Op: op, Target: target, Err: errors.New(reason), Hint: hint}
}

// ended is why ctx has ended, or nil.
func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}

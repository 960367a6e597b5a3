package starlark

import (
	"context"
	"io"
	"sync"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark/policy"
)

// A Run is one execution of a script. Builtins reach it through ThreadOf. It is safe for concurrent
// use.
type Run struct {
	Root     string   // absolute path of the folder that modules are loaded from
	Entry    string   // the script, as the user typed it
	Args     []string // the script's arguments
	Gate     *policy.Gate
	Redactor *Redactor

	host      *Host
	loader    *loader
	entry     *module
	takesArgs bool            // whether something in the script can read its arguments
	names     star.StringDict // that scripts see beside those of the interpreter
	modules   map[place]*module

	limits Limits
	steps  *budget
	ctx    context.Context         // of all threads
	cancel context.CancelCauseFunc // ends it

	reading sync.Mutex // of modules; guards the loader

	mu      sync.Mutex // guards what follows, and modules
	locals  map[any]any
	loaded  map[*module]*loaded
	threads map[*Thread]bool // those that may run

	out sync.Mutex
}

// Local returns what builtins keep for this run under a key, which make makes the first time.
func (r *Run) Local(key any, make func() any) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.locals[key]
	if !ok {
		v = make()
		if r.locals == nil {
			r.locals = map[any]any{}
		}
		r.locals[key] = v
	}
	return v
}

// Print writes text to the run's standard output, without the values of secrets.
func (r *Run) Print(text string) {
	if r.host.Stdout == nil {
		return
	}
	r.out.Lock()
	defer r.out.Unlock()
	io.WriteString(r.host.Stdout, r.Redactor.Redact(text)) // as Python's print, a closed pipe ends the script elsewhere
}

// Limits returns what the run may use. No field is zero.
func (r *Run) Limits() Limits { return r.limits }

// allModules returns the modules of the run's graph. The map does not change: a module that is imported
// makes a new one.
func (r *Run) allModules() map[place]*module {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.modules
}

// end ends the run with a cause, unless it has one. When it returns, no thread takes another step.
func (r *Run) end(cause error) {
	r.cancel(cause)
	why := context.Cause(r.ctx).Error()
	r.mu.Lock()
	defer r.mu.Unlock()
	for t := range r.threads {
		t.star.Cancel(why)
	}
}

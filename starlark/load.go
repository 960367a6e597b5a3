package starlark

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	star "go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
)

// A loaded is a module that runs or has run.
type loaded struct {
	module  *module
	done    chan struct{} // closed when what follows is set
	globals star.StringDict
	public  *starlarkstruct.Module // the globals that others may have
	err     error
	stopped bool // the thread that ran it was, which says nothing about the module

	waits []wait // of its top level; guarded by Run.mu
}

// A wait is one module's top level that needs another module.
type wait struct {
	on *loaded
	at string // "lib/a.star:3"
}

// load returns the globals of the module that the module whose top level t runs calls spec.
func (r *Run) load(t *Thread, spec string) (star.StringDict, error) {
	var m *module
	if t.module != nil {
		m = t.module.loads[spec]
	}
	if m == nil {
		return nil, &fileError{message: "no such module"} // unreachable for a graph without problems
	}
	l, err := r.loadModule(t, m)
	if err != nil {
		return nil, err
	}
	return l.globals, nil
}

// loadModule returns a module that has run; it runs the first time that it is asked for. A load that
// failed is forgotten, so that it fails the same way, or succeeds, when it is tried again; one that was
// stopped with its thread is tried again by those who waited for it.
func (r *Run) loadModule(t *Thread, m *module) (*loaded, error) {
	for {
		l, first, err := r.claim(t, m)
		if err != nil {
			return nil, err
		}
		if first {
			r.runModule(t, l)
		}
		select {
		case <-l.done:
		case <-t.Context().Done():
		}
		r.unclaim(t, l)
		switch {
		case t.Context().Err() != nil && !first:
			return nil, t.Context().Err()
		case l.stopped && !first:
			continue
		}
		return l, l.err
	}
}

// claim returns the loaded of a module and whether the caller is the one to run it. It is an error to
// wait for a module that waits for what the thread is about to load.
func (r *Run) claim(t *Thread, m *module) (l *loaded, first bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l = r.loaded[m]
	if first = l == nil; first {
		if t.depth >= maxDepth {
			return nil, false, about(m.name, &fileError{message: fmt.Sprintf("is the last of a chain of more than %d modules that load each other", maxDepth)})
		}
		l = &loaded{module: m, done: make(chan struct{})}
		r.loaded[m] = l
	}
	if t.loads != nil {
		here := wait{l, t.Caller()}
		if chain := l.chainTo(t.loads, nil); chain != nil {
			return nil, false, circle(append([]wait{here}, chain...))
		}
		t.loads.waits = append(t.loads.waits, here)
	}
	return l, first, nil
}

func (r *Run) unclaim(t *Thread, l *loaded) {
	if t.loads == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(t.loads.waits, func(w wait) bool { return w.on == l })
	t.loads.waits = slices.Delete(t.loads.waits, i, i+1)
}

// chainTo returns the waits that lead from l to another module, an empty list for itself and nil when
// none do.
func (l *loaded) chainTo(to *loaded, before []wait) []wait {
	if l == to {
		return slices.Clip(append([]wait{}, before...))
	}
	for _, w := range l.waits {
		if chain := w.on.chainTo(to, append(slices.Clip(before), w)); chain != nil {
			return chain
		}
	}
	return nil
}

func circle(chain []wait) error {
	var b strings.Builder
	b.WriteString("modules load each other in a circle")
	for _, w := range chain {
		fmt.Fprintf(&b, "\n%s loads %s", w.at, w.on.module.name)
	}
	return &ImportError{Message: b.String(), Hint: "move what both need into a module of its own"}
}

var errUnfinished = errors.New("the module did not finish")

// runModule runs a module's top level on a thread of its own and lets those go on who wait for it.
func (r *Run) runModule(t *Thread, l *loaded) {
	l.err, l.stopped = errUnfinished, true // unless what follows returns: a builtin may panic
	defer func() {
		if l.err != nil {
			r.mu.Lock()
			delete(r.loaded, l.module)
			r.mu.Unlock()
		}
		close(l.done)
	}()
	own := r.newThread(t.Context(), l.module.name, l.module, true)
	own.loads, own.depth = l, t.depth+1
	stop := watch(t.Context(), own.star)
	defer own.done()
	defer stop()
	l.globals, l.err = r.runTop(own, l.module)
	l.public = publicOf(l.module.name, l.globals)
	l.stopped = l.err != nil && t.Context().Err() != nil
}

// publicOf is what a script sees of a module that it imports. The globals are frozen.
func publicOf(name string, globals star.StringDict) *starlarkstruct.Module {
	members := star.StringDict{}
	for name, v := range globals {
		if !strings.HasPrefix(name, "_") {
			members[name] = v
		}
	}
	return &starlarkstruct.Module{Name: name, Members: members}
}

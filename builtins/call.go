package builtins

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"slices"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// A Call is one call of an entry: who called, and the arguments as their kinds made them.
type Call struct {
	lib    *Library
	entry  *Entry
	name   string // as errors say it: "json.loads"; of a method without its type
	thread *starlark.Thread
	recv   *object // of a method

	values map[string]any        // by parameter; nil for None
	raw    map[string]star.Value // as given, or the default
	given  map[string]bool
	args   star.Tuple   // further positional ones
	kwargs []star.Tuple // further named ones

	cleanup []func()
}

// arg returns the argument as the parameter's kind made it, or the zero value for None.
func arg[T any](c *Call, name string) T {
	v, known := c.values[name]
	if !known {
		panic(fmt.Sprintf("%s has no parameter %s", c.entry.Name, name))
	}
	t, _ := v.(T)
	return t
}

func (c *Call) context() context.Context { return c.thread.Context() }

// notice tells the user something that is not an error.
func (c *Call) notice(format string, args ...any) {
	c.lib.opts.Report.Emit(report.Event{Kind: report.Notice, Text: c.thread.Run().Redactor.Redact(fmt.Sprintf(format, args...))})
}

// noticeOnce is notice for what may be said many times, and is told once.
func (c *Call) noticeOnce(format string, args ...any) {
	if _, told := c.lib.told.LoadOrStore(fmt.Sprintf(format, args...), true); !told {
		c.notice(format, args...)
	}
}

// stderr writes whole lines to standard error, without the values of secrets.
func (c *Call) stderr(lines string) {
	if w := c.lib.opts.Stderr; w != nil {
		io.WriteString(w, c.thread.Run().Redactor.Redact(lines)) // as with print, what nobody reads ends no script
	}
}

// dry tells what would be written to this machine, and whether that is all that happens.
func (c *Call) dry(what string) bool {
	if c.lib.opts.Dry == nil {
		return false
	}
	c.lib.opts.Dry(c.thread.Run().Redactor.Redact(what))
	return true
}

// bind makes the callable of an entry. The receiver is nil for builtins.
func (l *Library) bind(e *Entry, recv *object) *star.Builtin { return l.callable(e.Name, e, recv) }

// bindIn makes the callable of an entry of a module.
func (l *Library) bindIn(m *Module, e *Entry) *star.Builtin {
	return l.callable(m.Name+"."+e.Name, e, nil)
}

func (l *Library) callable(name string, e *Entry, recv *object) *star.Builtin {
	return star.NewBuiltin(name, func(t *star.Thread, _ *star.Builtin, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
		thread := starlark.ThreadOf(t)
		if thread == nil {
			return nil, fmt.Errorf("%s: called on a thread that no host has made", e.Name)
		}
		return l.call(thread, name, e, recv, args, kwargs)
	})
}

// call is what every call of every entry goes through.
func (l *Library) call(t *starlark.Thread, name string, e *Entry, recv *object, args star.Tuple, kwargs []star.Tuple) (v star.Value, err error) {
	c := &Call{lib: l, entry: e, name: name, thread: t, recv: recv}
	defer func() {
		for _, f := range c.cleanup {
			f()
		}
		if p := recover(); p != nil {
			v, err = nil, &fault.Error{
				Kind: fault.Internal, Op: e.Name, Err: &panicError{p, debug.Stack()},
				Hint: "this is a defect of bifrost; please report it",
			}
		}
	}()
	if recv != nil {
		if err := recv.scope.check(recv); err != nil {
			return nil, err
		}
	}
	if e.Effect && t.Loading() {
		return nil, &ArgError{
			Entry: name, Message: "a module cannot act while it loads",
			Hint: "call it in a function, and that function from the script",
		}
	}
	if err := c.unpack(args, kwargs); err != nil {
		return nil, err
	}
	if err := ended(t.Context()); err != nil {
		return nil, err
	}
	if e.needs != nil {
		if err := c.permit(e.needs(c)...); err != nil {
			return nil, err
		}
	}
	if v, err = e.run(c); err != nil {
		return nil, err
	}
	if err := t.CheckValue(e.Name, v); err != nil {
		return nil, err
	}
	// A detached run returns without an error; what follows in the script must not happen all the same.
	return v, ended(t.Context())
}

// ended is why the context has ended, or nil.
func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}

// permit asks the gate for what the call is about to do: for the script, and for every vendored module
// that has a part in it. It is the only way to the gate.
func (c *Call) permit(requests ...policy.Request) error {
	callers := append([]string{""}, c.parties()...)
	for _, r := range requests {
		r.Place = c.thread.Caller()
		for _, r.Caller = range callers {
			if err := c.thread.Run().Gate.Ask(c.context(), r); err != nil {
				return err
			}
		}
	}
	return nil
}

// parties are the vendored modules that have a part in the call, sorted: those on the stack, and those
// that described what it works on.
func (c *Call) parties() []string {
	all := c.thread.Packages()
	if c.recv != nil {
		all = append(all, c.recv.origin...)
	}
	for _, v := range c.raw {
		all = append(all, originOf(v)...)
	}
	for _, v := range c.args {
		all = append(all, originOf(v)...)
	}
	for _, kv := range c.kwargs {
		all = append(all, originOf(kv[1])...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// originOf are the vendored modules that had a part in the descriptions within a value.
func originOf(v star.Value) []string {
	var all []string
	for _, o := range starlark.Find(v, func(v star.Value) bool { o, ok := v.(*object); return ok && len(o.origin) > 0 }) {
		all = append(all, o.(*object).origin...)
	}
	return all
}

// ask returns a needs function that asks for one capability with one target.
func ask(capability policy.Capability, target func(c *Call) string) func(c *Call) []policy.Request {
	return func(c *Call) []policy.Request {
		return []policy.Request{{Capability: capability, Target: target(c)}}
	}
}

// A panicError is a panic of a builtin, with the Go stack for whoever looks for the defect.
type panicError struct {
	value any
	stack []byte
}

// GoStack is where it panicked, for a trace.
func (e *panicError) GoStack() []byte { return e.stack }

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

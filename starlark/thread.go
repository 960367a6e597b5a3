package starlark

import (
	"context"
	"errors"
	"slices"
	"strings"

	star "go.starlark.net/starlark"
)

// threadKey is the thread-local name under which a Thread is kept.
const threadKey = "bifrost.thread"

// A Thread is what a builtin knows about the Starlark thread that called it. It is used by one
// goroutine at a time, as the Starlark thread itself.
type Thread struct {
	run     *Run
	star    *star.Thread
	module  *module // whose top level the thread runs; nil for a forked thread
	loading bool
	loads   *loaded           // what the thread's work is for, while it loads
	depth   int               // of modules that wait for it to be loaded
	ctxs    []context.Context // innermost last
	out     Output            // nil for the run's
	granted uint64            // steps that it has of the run's budget
	raised  error             // why the thread was cancelled by Raise; nil when it was not
	behind  []string          // Packages of the thread that this one was forked from
	from    *module           // whose function forked it; nil for a thread that was not
}

// ThreadOf returns the Thread of a Starlark thread, or nil when the thread is not one of a Host's.
func ThreadOf(t *star.Thread) *Thread {
	thread, _ := t.Local(threadKey).(*Thread)
	return thread
}

func (r *Run) newThread(ctx context.Context, name string, m *module, loading bool) *Thread {
	t := &Thread{run: r, module: m, loading: loading, ctxs: []context.Context{ctx}}
	t.star = &star.Thread{
		Name:  name,
		Load:  func(_ *star.Thread, spec string) (star.StringDict, error) { return r.load(t, spec) },
		Print: func(_ *star.Thread, text string) { t.Print(text + "\n") },
	}
	t.star.SetLocal(threadKey, t)
	r.mu.Lock()
	r.threads[t] = true
	r.mu.Unlock()
	t.star.SetMaxExecutionSteps(1) // the first step takes some of the budget
	t.star.OnMaxSteps = func(*star.Thread) { t.refill() }
	return t
}

// refill takes steps from the run's budget. Without any left it ends the run.
func (t *Thread) refill() {
	for t.star.Steps > t.granted {
		n := t.run.steps.take(mostAtOnce)
		if n == 0 {
			t.run.end(t.run.steps.exceeded())
			return
		}
		t.granted += n
	}
	t.star.SetMaxExecutionSteps(t.granted + 1)
}

// done takes the thread off the run, when it runs no more, and gives back what it has not used of the
// budget.
func (t *Thread) done() {
	t.run.mu.Lock()
	delete(t.run.threads, t)
	t.run.mu.Unlock()
	t.run.steps.giveBack(t.granted - min(t.granted, t.star.Steps))
	t.granted = t.star.Steps
}

// Run returns the run that the thread belongs to.
func (t *Thread) Run() *Run { return t.run }

// Star returns the interpreter's thread.
func (t *Thread) Star() *star.Thread { return t.star }

// An Output is where a thread prints, instead of the run's standard output.
type Output interface {
	Print(text string) // of any goroutine; it redacts
}

// SetOutput makes the thread, and those that are forked from it from now on, print elsewhere.
func (t *Thread) SetOutput(out Output) { t.out = out }

// Output returns where the thread prints; nil means the run's standard output.
func (t *Thread) Output() Output { return t.out }

// Print writes text to where the thread prints, without the values of secrets.
func (t *Thread) Print(text string) {
	if t.out != nil {
		t.out.Print(text)
		return
	}
	t.run.Print(text)
}

// Loading reports whether the thread runs the top level of a loaded module, where nothing may have
// an effect.
func (t *Thread) Loading() bool { return t.loading }

// Context returns the innermost context that the thread runs under. Every builtin that waits must
// end with it.
func (t *Thread) Context() context.Context { return t.ctxs[len(t.ctxs)-1] }

// Caller returns the place in the script that called the builtin that is running: "deploy.star:31".
func (t *Thread) Caller() string {
	stack := t.star.CallStack()
	for i := range stack {
		if frame := stack.At(i); frame.Pos.Line > 0 {
			return at(frame.Pos.Filename(), int(frame.Pos.Line))
		}
	}
	return "the script"
}

// Packages returns the names of the vendored modules ("acme") that have a function on the call stack,
// sorted: of this thread, and of those that it was forked from as they were then. An effect needs what
// each of them may do. The project's own files and the host's libraries act for whoever calls them, and are
// not listed.
func (t *Thread) Packages() []string {
	names := slices.Clone(t.behind)
	for _, frame := range t.star.CallStack() {
		if name := t.run.host.vendoredName(frame.Pos.Filename()); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Lend counts the packages among Packages until back is called: they made what the thread works on
// meanwhile, though no function of theirs is on its stack.
func (t *Thread) Lend(packages []string) (back func()) {
	before := t.behind
	t.behind = slices.Concat(before, packages)
	return func() { t.behind = before }
}

// Push makes ctx, which must be derived from Context, the thread's context until pop is called.
func (t *Thread) Push(ctx context.Context) (pop func()) {
	depth := len(t.ctxs)
	t.ctxs = append(t.ctxs, ctx)
	stop := watch(ctx, t.star)
	return func() {
		stop()
		t.ctxs = t.ctxs[:depth]
		if ctx.Err() != nil && t.raised == nil {
			t.uncancel() // what ended was the inner context alone, unless an outer one has ended too
		}
	}
}

// watch cancels the thread when ctx ends, until stop is called. Stop waits for a cancellation that is
// under way.
func watch(ctx context.Context, t *star.Thread) (stop func()) {
	done := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(done)
		t.Cancel(context.Cause(ctx).Error())
	})
	return func() {
		if !cancel() {
			<-done
		}
	}
}

// uncancel lets the thread go on, unless one of its contexts has ended.
func (t *Thread) uncancel() {
	t.star.Uncancel()
	for _, ctx := range t.ctxs {
		if ctx.Err() != nil {
			t.star.Cancel(context.Cause(ctx).Error())
		}
	}
}

// Raise makes the Starlark code on the thread fail with err at its next instruction. It is for
// iterators, which have no other way to fail. The first of several errors counts.
func (t *Thread) Raise(err error) {
	if t.raised == nil && t.Context().Err() == nil {
		t.raised = err
	}
	t.star.Cancel(err.Error())
}

// Lift takes back a Raise and returns its error, or nil when there was none. A cancellation of the
// run stays.
func (t *Thread) Lift() error {
	err := t.raised
	if err == nil {
		return nil
	}
	t.raised = nil
	t.uncancel()
	return err
}

// Call calls a Starlark function on this thread. An error that Raise left has its cause in the
// error's chain, and so has an end of the thread's context.
func (t *Thread) Call(fn star.Value, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
	v, err := star.Call(t.star, fn, args, kwargs)
	return v, t.explain(err)
}

// explain adds why the thread was stopped to the error that the interpreter has made of it.
func (t *Thread) explain(err error) error {
	why := t.raised
	if why == nil && err != nil {
		why = context.Cause(t.Context())
	}
	if why == nil || errors.Is(err, why) {
		return err
	}
	if err == nil {
		return why
	}
	return &stopped{cause: why, at: err}
}

// A stopped error is one whose cause the interpreter knows as text only.
type stopped struct {
	cause error
	at    error // has the place
}

func (e *stopped) Error() string   { return e.cause.Error() }
func (e *stopped) Unwrap() []error { return []error{e.cause, e.at} }

// Fork returns a thread for calling back a frozen function while this one waits. Its end is the end
// of this thread's context; stop must be called when it is no longer used.
func (t *Thread) Fork(name string) (fork *Thread, stop func()) {
	fork = t.run.newThread(t.Context(), name, nil, t.loading)
	fork.behind, fork.out, fork.loads, fork.depth = t.Packages(), t.out, t.loads, t.depth
	fork.from = t.callingModule()
	unwatch := watch(t.Context(), fork.star)
	return fork, func() {
		unwatch()
		fork.done()
	}
}

// IsCancellation reports whether the interpreter made err because its thread was cancelled: it says
// where, and the reason is kept elsewhere.
func IsCancellation(err *star.EvalError) bool {
	return strings.HasPrefix(err.Msg, "Starlark computation cancelled:")
}

package builtins

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/internal/lazyregexp"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

func parallelEntry() *Entry {
	return &Entry{
		Name: "parallel", Result: "list of (value, error or None)", Effect: true,
		Capabilities: []policy.Capability{policy.Rent, policy.SSH, policy.ReadFile, policy.WriteFile},
		Example:      "for value, err in parallel(lambda n: n * n, [1, 2, 3]):\n    check(not err)\nprint([value for value, err in parallel(lambda n: n * n, [1, 2, 3])])  # [1, 4, 9]",
		Doc: "Calls fn with every item, several at a time, and returns for each item what `attempt` would: a value and None, or None and an error. The order is that of the items. " +
			"An item that fails stops no other one unless fail_fast is given; then the others are stopped, each with its teardown, and their errors are of kind \"cancelled\". " +
			"What `attempt` would not catch ends the script once every item has ended. " +
			"Each line that an item prints, and each of its jobs, begins with the item in brackets: its text or its name where all items have different ones, else its number from 0. " +
			"fn, what it uses, and the items are frozen; what the jobs among the items need is asked for before the first starts.",
		Params: []Param{
			{Name: "fn", Kind: functionKind("item"), Doc: "what to call"},
			{Name: "items", Kind: iterableKind(), Doc: "what it is called with, one after the other"},
			{Name: "limit", Kind: intKind(1, 256), Default: star.MakeInt(4), KeywordOnly: true, Doc: "how many run at once"},
			{Name: "stagger", Kind: orZero(durationKind()), Default: star.MakeInt(0), KeywordOnly: true, Doc: `pause between two starts, seconds or "30s"`},
			{Name: "fail_fast", Kind: boolKind(), Default: star.False, KeywordOnly: true, Doc: "stop the others when one fails"},
			{Name: "log_dir", Kind: orNone(nameKind()), Default: star.None, KeywordOnly: true, Doc: "local folder; what an item prints and the bytes of its jobs go into a file there, ITEM.log"},
		},
		needs: needsOfParallel,
		run: func(c *Call) (star.Value, error) {
			items := itemsOf(c)
			if err := starlark.Share("parallel: fn", c.raw["fn"]); err != nil {
				return nil, err
			}
			if err := starlark.Share("parallel: items", items); err != nil {
				return nil, err
			}
			p := &parallel{call: c, names: itemNames(items), pairs: make([]star.Value, len(items))}
			if dir := arg[string](c, "log_dir"); dir != "" && !c.dry("write the log of each item to "+c.lib.absolute(dir)) {
				p.logs = c.lib.absolute(dir)
				if err := os.MkdirAll(p.logs, 0o755); err != nil {
					return nil, err
				}
			}
			return p.run(items)
		},
	}
}

// itemsOf is what the items go through, once for each call.
func itemsOf(c *Call) star.Tuple {
	items := star.Tuple{}
	all := star.Iterate(c.raw["items"])
	defer all.Done()
	var item star.Value
	for all.Next(&item) {
		items = append(items, item)
	}
	c.raw["items"] = items
	return items
}

// orZero is a kind that takes 0 too.
func orZero(k Kind) Kind {
	return Kind{k.Name, func(c *Call, v star.Value) (any, error) {
		f, ok := star.AsFloat(v)
		if s, text := star.AsString(v); text {
			d, err := time.ParseDuration(strings.TrimSpace(s))
			f, ok = d.Seconds(), err == nil
		}
		if ok && f == 0 {
			return nil, nil
		}
		return k.take(c, v)
	}}
}

// needsOfParallel is what the jobs among the items need, and the log folder.
func needsOfParallel(c *Call) []policy.Request {
	var all []policy.Request
	if dir := arg[string](c, "log_dir"); dir != "" && !c.dry("write the log of each item to "+c.lib.absolute(dir)) {
		all = append(all, policy.Request{Capability: policy.WriteFile, Target: c.lib.absolute(dir)})
	}
	jobs := starlark.Find(itemsOf(c), func(v star.Value) bool {
		o, ok := v.(*object)
		return ok && o.typ.Name == "job"
	})
	for _, job := range jobs {
		all = append(all, needsOfJob(c, job.(*object))...)
	}
	return all
}

// plainName is a name that a line can begin with and, but for its slashes, a file can have.
var plainName = lazyregexp.New(`^[\pL\pN_][\pL\pN_.,:=@+ /-]{0,63}$`)

// itemNames are what the items are called: by their text or name where that tells them apart.
func itemNames(items star.Tuple) []string {
	names := make([]string, len(items))
	known := map[string]bool{}
	for i, item := range items {
		names[i] = nameOf(item)
		file := fileName(names[i])
		if !plainName().MatchString(names[i]) || known[file] {
			for i := range names {
				names[i] = strconv.Itoa(i)
			}
			return names
		}
		known[file] = true
	}
	return names
}

func nameOf(item star.Value) string {
	switch v := item.(type) {
	case star.String:
		return string(v)
	case *star.Dict:
		name, _, _ := v.Get(star.String("name")) // the key is hashable
		s, _ := star.AsString(name)
		return s
	case star.HasAttrs:
		name, err := v.Attr("name")
		if err != nil || name == nil {
			return ""
		}
		s, _ := star.AsString(name)
		return s
	}
	return ""
}

func fileName(item string) string {
	return strings.ToLower(strings.NewReplacer("/", "-", ":", "-", " ", "-").Replace(item)) + ".log"
}

// A parallel is one call under way.
type parallel struct {
	call  *Call
	names []string
	logs  string // absolute folder; "" for none
	pairs []star.Value

	mu     sync.Mutex
	fatal  error   // the first that ends the script
	failed []error // of the items that failed by themselves
}

// An ItemsError is what items of a parallel had failed at when the script was left, so that no line of it
// could look at them any more.
type ItemsError struct{ Items []error }

func (e *ItemsError) Error() string {
	return fmt.Sprintf("parallel: %d of the items failed", len(e.Items))
}

func (e *ItemsError) Unwrap() []error { return e.Items }

// run starts the items and waits until all have ended, whatever happens.
func (p *parallel) run(items star.Tuple) (star.Value, error) {
	c := p.call
	ctx, cancel := context.WithCancelCause(c.context())
	defer cancel(nil)
	clock, stagger := c.lib.opts.Clock, arg[time.Duration](c, "stagger")
	room := make(chan struct{}, arg[int](c, "limit"))
	ready := make([]func(), len(items)) // those that wait for room or for their turn have begun too
	for i := range ready {
		ready[i] = c.lib.begin()
	}
	var running sync.WaitGroup
	for i, item := range items {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
		}
		if i > 0 && stagger > 0 && ctx.Err() == nil {
			_ = clock.Sleep(ctx, stagger) // its error is ctx's
		}
		if ctx.Err() != nil {
			p.pairs[i] = p.failure(context.Cause(ctx))
			ready[i]()
			continue
		}
		fork, stop := c.thread.Fork("parallel[" + p.names[i] + "]")
		running.Go(func() {
			defer func() { <-room }()
			defer stop()
			defer ready[i]()
			value, err := p.item(withReady(ctx, ready[i]), fork, i, item)
			p.end(ctx, cancel, i, value, err)
		})
	}
	running.Wait()
	if err := ended(c.context()); err != nil || p.fatal != nil {
		if p.fatal == nil {
			p.fatal = err
		}
		if errors.Is(p.fatal, engine.ErrDetach) && len(p.failed) > 0 {
			return nil, errors.Join(p.fatal, &ItemsError{p.failed})
		}
		return nil, p.fatal
	}
	return star.NewList(p.pairs), nil
}

type readyKey struct{}

// withReady returns a context for an item: itemReady calls ready, and that of the item around it.
func withReady(ctx context.Context, ready func()) context.Context {
	return context.WithValue(ctx, readyKey{}, func() {
		ready()
		itemReady(ctx)
	})
}

// itemReady says that the item that ctx is of, if any, has a job that runs.
func itemReady(ctx context.Context) {
	if ready, ok := ctx.Value(readyKey{}).(func()); ok {
		ready()
	}
}

// item calls the function on the fork while ctx lasts.
func (p *parallel) item(ctx context.Context, fork *starlark.Thread, i int, item star.Value) (value star.Value, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &fault.Error{
				Kind: fault.Internal, Op: "parallel", Target: p.names[i], Err: &panicError{r, debug.Stack()},
				Hint: "this is a defect of bifrost; please report it",
			}
		}
	}()
	out, err := p.output(fork, i)
	if err != nil {
		return nil, err
	}
	fork.SetOutput(out)
	defer func() { err = errors.Join(err, out.Close()) }()
	pop := fork.Push(ctx)
	defer pop()
	return fork.Call(p.call.raw["fn"], star.Tuple{item}, nil)
}

func (p *parallel) output(fork *starlark.Thread, i int) (*itemOutput, error) {
	if p.logs != "" {
		f, err := os.Create(filepath.Join(p.logs, fileName(p.names[i])))
		if err != nil {
			return nil, err
		}
		return newLogFile(f, fork.Run().Redactor), nil
	}
	return newPrefixed("["+p.names[i]+"] ", p.call), nil
}

// end takes how an item has ended.
func (p *parallel) end(ctx context.Context, cancel context.CancelCauseFunc, i int, value star.Value, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stopped := context.Cause(ctx)
	switch {
	case err == nil:
		p.pairs[i] = star.Tuple{value, star.None}
	case stopped != nil && errors.Is(err, stopped) && !fatalOf(err):
		if p.call.context().Err() != nil && p.fatal == nil {
			p.fatal = err // it has the place
		}
		p.pairs[i] = p.failure(err)
	case !fatalOf(err) && catchable(err):
		p.pairs[i] = p.failure(err)
		p.failed = append(p.failed, fmt.Errorf("item %s: %w", p.names[i], err))
		if arg[bool](p.call, "fail_fast") {
			cancel(p.cancelled(i, "failed"))
		}
	default:
		var eval *star.EvalError
		if computing := errors.As(err, &eval) && starlark.IsCancellation(eval); p.fatal == nil || computing {
			p.fatal = err // of several that a limit has stopped, the one that did not wait is to blame
		}
		cancel(p.cancelled(i, "ended the script"))
	}
}

// fatalOf reports whether err is, or goes along with, a call of exit or what only a defect in the
// script or in bifrost explains.
func fatalOf(err error) bool {
	var exit *starlark.ExitError
	var limit *starlark.LimitError
	var denied *policy.Denied
	var wrong *ArgError
	return errors.As(err, &exit) || errors.As(err, &limit) || errors.As(err, &denied) || errors.As(err, &wrong)
}

func (p *parallel) failure(err error) star.Value {
	return star.Tuple{star.None, p.call.lib.error(p.call.thread.Run().Redactor, err)}
}

// cancelled is why the other items are stopped.
func (p *parallel) cancelled(by int, did string) error {
	return &fault.Error{
		Kind: fault.Cancelled, Op: "parallel", Err: fmt.Errorf("stopped, because item %s %s", p.names[by], did),
	}
}

package starlark

import (
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// limited runs a script under limits and returns its *LimitError, or nil, and the error as rendered.
func limited(t *testing.T, limits Limits, script string) (*LimitError, string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "main.star")
	writeFile(t, path, script)
	host := testHost()
	host.Limits = limits
	_, err := host.Exec(t.Context(), path, nil)
	var limit *LimitError
	var shown *Error
	if err == nil {
		return nil, ""
	}
	if !errors.As(err, &shown) {
		t.Fatalf("Exec = %v, want an *Error", err)
	}
	var b strings.Builder
	if err := shown.Render(&b); err != nil {
		t.Fatal(err)
	}
	errors.As(err, &limit)
	return limit, namesFrom(t, dir, b.String())
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		limits Limits
		script string
		limit  string // "" for none
		text   string // part of what is shown
	}{
		{
			"loop",
			Limits{Steps: 10_000},
			"def main():\n    for _ in range(1 << 40):\n        pass\n",
			"steps", "main.star:2: limit: the script took 10,000 steps, all that it may: this is likely an endless loop",
		},
		{"top level", Limits{Steps: 10_000}, "for _ in range(1 << 40):\n    pass\n", "steps", "--max-steps 100000 allows more"},
		{"nothing", Limits{}, "x = [i for i in range(1000)]\n", "", ""},
		{"lifted", Limits{Steps: NoLimit, Heap: NoLimit, Value: NoLimit, Wall: NoLimit}, "x = list(range(100000))\n", "", ""},
		// The interpreter's builtins go through a range in Go.
		{"extend", Limits{Steps: 1 << 16}, "x = []\nx.extend(range(1 << 50))\n", "steps", "main.star:2: limit"},
		{"any", Limits{Steps: 1 << 16}, "any(range(0, -(1 << 50), -1))\nall(range(1, 1 << 50))\n", "steps", "main.star:2: limit"},
		{"max", Limits{Steps: 1 << 16}, "max(range(1 << 50))\n", "steps", "main.star:1: limit"},
		{"update", Limits{Steps: 1 << 16}, "set([1]).union(range(1 << 50))\n", "steps", "main.star:1: limit"},
		{"star args", Limits{Steps: 1 << 16}, "def f(*args):\n    return 1\nf(*range(1 << 50))\n", "steps", "called from main.star:3"},
		{"unpack", Limits{Steps: 1 << 16}, "def f():\n    a, b = range(1 << 50)\nf()\n", "", "too many values to unpack"},
		// They make room for everything first.
		{"list", Limits{}, "list(range(1 << 40))\n", "value", "list: the value has 16384GiB or more, and one value may have 64MiB"},
		{"tuple", Limits{}, "tuple(range(1 << 40))\n", "value", ""},
		{"sorted", Limits{}, "sorted(range(1 << 40))\n", "value", ""},
		{"zip", Limits{}, "zip([1], range(1 << 40), range(1 << 40))\n", "value", ""},
		{"enumerate", Limits{}, "enumerate(range(1 << 60))\n", "value", ""},
		{"reversed", Limits{}, "reversed(range(1 << 40))\n", "value", ""},
		{"set", Limits{}, "set(range(1 << 40))\n", "value", ""},
		{"dict", Limits{}, "dict(range(1 << 40))\n", "value", ""},
		{"keyword", Limits{}, "sorted(iterable = range(1 << 40))\n", "value", ""},
		{"int", Limits{}, "int('9' * (1 << 24))\n", "value", ""},
		// Values that are small in memory and long as text, or too deep for Go's stack.
		{"laughs", Limits{Value: 1 << 20}, "def f():\n    x = ['lol']\n    for _ in range(60):\n        x = [x, x]\n    return str(x)\nf()\n", "value", "main.star:5: limit: str: the value has"},
		{"laughs of tuples", Limits{Value: 1 << 20}, "def f():\n    x = ('lol',)\n    for _ in range(60):\n        x = (x, x)\n    return repr(x)\nf()\n", "value", ""},
		{"deep text", Limits{}, "def f():\n    x = []\n    for _ in range(200000):\n        x = [x]\n    print(x)\nf()\n", "nesting", "print: the value is nested more than 1,000 levels deep"},
		{"deep tuple", Limits{}, "def f():\n    x = ()\n    for _ in range(200000):\n        x = (x,)\n    fail(x)\nf()\n", "nesting", ""},
		{"deep global", Limits{}, "def f():\n    x = ()\n    for _ in range(200000):\n        x = (x,)\n    return x\ny = f()\n", "nesting", "limit: y: the value is nested more than 100,000 levels deep"},
		{"laughing global", Limits{}, "def f():\n    x = ('lol',)\n    for _ in range(60):\n        x = (x, x)\n    return x\ny = f()\n", "nesting", ""},
		{"captured", Limits{}, "def f():\n    x = ()\n    for _ in range(200000):\n        x = (x,)\n    return lambda: x\ny = f()\n", "nesting", ""},
		{"default", Limits{}, "def f():\n    x = ()\n    for _ in range(200000):\n        x = (x,)\n    return lambda y = x: y\ny = f()\n", "nesting", ""},
		{"shared global", Limits{}, "def f():\n    x = ['lol']\n    for _ in range(60):\n        x = [x, x]\n    return x\ny = f()\n", "", ""},
		{"cycle", Limits{}, "x = [1]\nx.append(x)\nprint(x, str({'x': x}))\n", "", ""},
		{"compare", Limits{}, "def f():\n    x, y = [], []\n    for _ in range(200000):\n        x, y = [x], [y]\n    return x == y\nf()\n", "", "comparison exceeded maximum recursion depth"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			limit, text := limited(t, test.limits, test.script)
			if got := nameOf(limit); got != test.limit {
				t.Errorf("got limit %q want %q:\n%s", got, test.limit, text)
			}
			if !strings.Contains(text, test.text) {
				t.Errorf("got\n%s\nwant %q in it", text, test.text)
			}
		})
	}
}

func nameOf(limit *LimitError) string {
	if limit == nil {
		return ""
	}
	return limit.Limit
}

// The heap is that of the process: these tests do not run beside others.
func TestHeapLimit(t *testing.T) {
	for _, test := range []struct{ name, script, limit string }{
		{"doubling", "def f():\n    x = [0]\n    for _ in range(40):\n        x = x + x\nf()\n", "heap"},
		{"strings", "def f():\n    x = 'x'\n    for _ in range(40):\n        x += x\nf()\n", "heap"},
		{"dict", "def f():\n    d = {}\n    for i in range(1 << 40):\n        d[i] = [i]\nf()\n", "heap"},
		{"extend", "def f():\n    x = []\n    x.extend(range(1 << 50))\nf()\n", "heap"},
		{"garbage", "def f():\n    for _ in range(4000):\n        x = 'x' * (1 << 16)\nf()\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			runtime.GC() // what the last script left is not this one's
			limit, text := limited(t, Limits{Heap: 16 << 20}, test.script)
			if got := nameOf(limit); got != test.limit {
				t.Errorf("got limit %q want %q:\n%s", got, test.limit, text)
			}
			if test.limit != "" && !strings.Contains(text, "--max-heap 64MiB") {
				t.Errorf("got\n%s\nwant the flag", text)
			}
		})
	}
}

func TestWallLimit(t *testing.T) {
	t.Parallel()
	limit, text := limited(t, Limits{Wall: 30 * time.Millisecond, Steps: NoLimit}, "for _ in range(1 << 60):\n    pass\n")
	if nameOf(limit) != "wall" || !strings.Contains(text, "main.star:1: limit: the script ran for 30ms") || !strings.Contains(text, "--max-wall 60ms") {
		t.Errorf("got %v\n%s", limit, text)
	}
}

// All threads of a run draw from one budget: modules that load and forks at once.
func TestStepsAreShared(t *testing.T) {
	t.Parallel()
	const max = 200_000
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "m.star"), "def work(n):\n    for _ in range(n):\n        pass\n\nwork(20000)\n")
	writeFile(t, filepath.Join(dir, "main.star"), "load('./m.star', 'work')\n\ndef item():\n    work(1 << 40)\n\nall(item)\n")
	var mu sync.Mutex
	var used uint64
	host := &Host{Limits: Limits{Steps: max}, Predeclared: star.StringDict{
		"all": star.NewBuiltin("all", func(thread *star.Thread, _ *star.Builtin, args star.Tuple, _ []star.Tuple) (star.Value, error) {
			parent := ThreadOf(thread)
			args.Freeze()
			errs := make([]error, 4)
			var forks sync.WaitGroup
			for i := range errs {
				forks.Go(func() {
					fork, stop := parent.Fork("item")
					defer stop()
					_, errs[i] = fork.Call(args[0], nil, nil)
					mu.Lock()
					defer mu.Unlock()
					used += fork.Star().ExecutionSteps()
				})
			}
			forks.Wait()
			mu.Lock()
			defer mu.Unlock()
			used += thread.ExecutionSteps()
			return star.None, errors.Join(errs...)
		}),
	}}
	_, err := host.Exec(t.Context(), filepath.Join(dir, "main.star"), nil)
	var limit *LimitError
	if !errors.As(err, &limit) || limit.Limit != "steps" {
		t.Fatalf("Exec = %v, want the steps' limit", err)
	}
	// The module and the iterators have used some, and each thread may have stopped with a slice in hand.
	if least := uint64(max / 8); used > max || used < least {
		t.Errorf("the threads took %d steps, want %d to %d", used, least, max)
	}
}

// What range returns behind its guard is what the interpreter's own returns.
func TestRangeIsUpstreams(t *testing.T) {
	t.Parallel()
	for _, expr := range []string{
		"range(3)", "range(2, 5)", "range(5, 2, -2)", "range(0)", "list(range(10, 0, -3))", "range(10)[2]", "range(10)[-1]", "range(10)[2:7:2]", "range(10)[::-1]",
		"list(range(10)[::-3])", "3 in range(5)", "5 in range(5)", "3.0 in range(5)", "'a' in range(5)", "range(3) == range(0, 3)", "range(0) == range(2, 2)", "range(3) != range(4)",
		"range(3) < range(4)", "range(3) == [0, 1, 2]", "{range(3): 1}", "len(range(0, 10, 3))", "bool(range(0))", "bool(range(1))", "type(range(1))", "str(range(1, 2, 3))",
		"range(1, 2, 0)", "range('a')", "range()", "range(1, 2, 3, 4)", "range(stop = 1)", "range(10)[10]", "range(3) + range(3)", "range(1)[0:5]", "dir(range(3))", "hash(range(3))",
		"[x for x in range(4)]", "sorted(range(3), reverse = True)", "zip(range(3), range(2))", "enumerate(range(2), 5)", "max(range(4))", "tuple(range(3))", "set(range(3))", "range(1 << 70)",
		"dict(zip(range(2), range(2)))", "range(3) == range(3)[:]", "[range(2)] == [range(2)]", "range(2) in [range(2)]", "reversed(range(3))",
	} {
		want, wantErr := star.EvalOptions(&syntax.FileOptions{Set: true}, new(star.Thread), "x", expr, nil)
		host := testHost()
		r := host.newRun(nil)
		_, stop := r.limit(t.Context())
		thread := r.newThread(t.Context(), "x", nil, false)
		got, gotErr := star.EvalOptions(&syntax.FileOptions{Set: true}, thread.star, "x", expr, host.names())
		stop()
		if show(got, gotErr) != show(want, wantErr) {
			t.Errorf("%s: got %s want %s", expr, show(got, gotErr), show(want, wantErr))
		}
	}
}

func show(v star.Value, err error) string {
	if err != nil {
		return err.Error()
	}
	return v.Type() + " " + v.String()
}

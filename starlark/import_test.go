package starlark

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	star "go.starlark.net/starlark"
)

// importHost is testHost with what these tests need: load_string and load_path import, say prints, act
// is refused while a module loads.
func importHost(out io.Writer, cwd string) *Host {
	host := testHost()
	host.Stdout = out
	host.Libraries = testLibraries()
	define := func(name string, fn func(t *Thread, arg string) (star.Value, error)) {
		host.Predeclared[name] = star.NewBuiltin(name, func(t *star.Thread, _ *star.Builtin, args star.Tuple, _ []star.Tuple) (star.Value, error) {
			return fn(ThreadOf(t), string(args[0].(star.String)))
		})
	}
	define("load_string", func(t *Thread, arg string) (star.Value, error) { return t.Import(arg) })
	define("load_path", func(t *Thread, arg string) (star.Value, error) {
		if !filepath.IsAbs(arg) {
			return t.ImportFile(filepath.Join(cwd, arg), arg)
		}
		return t.ImportFile(arg, arg)
	})
	host.Predeclared["forked"] = star.NewBuiltin("forked", func(t *star.Thread, _ *star.Builtin, args star.Tuple, _ []star.Tuple) (star.Value, error) {
		fork, stop := ThreadOf(t).Fork("fork")
		defer stop()
		return fork.Call(args[0], args[1:], nil)
	})
	define("act", func(t *Thread, _ string) (star.Value, error) {
		if t.Loading() {
			return nil, errTest
		}
		return star.None, nil
	})
	return host
}

// importTree has modules of all kinds to import.
func importTree(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	vendor(t, dir, map[string]map[string]string{"acme": {
		"a.star": "def own():\n    return load_string('./b.star').b\ndef root():\n    return load_string('//b.star').b\n" +
			"def forks():\n    return forked(load_string, '//b.star').b, forked(load_string, '//config.star')\ndef forks_path():\n    return forked(load_path, 'config.star')\n" +
			"def typed():\n    return load_path('config.star')\ndef up():\n    return load_string('../../config.star')\n",
		"b.star": "b = 'b of acme'\n",
	}})
	for name, text := range map[string]string{
		"config.star":     "load('./lib/x.star', 'x')\nvalue = [x]\n_hidden = 1\n",
		"lib/x.star":      "x = 'x'\ndef near():\n    return load_string('./y.star').y\n",
		"lib/y.star":      "y = 'y'\n",
		"acts.star":       "act('')\n",
		"wrong.star":      "x = undefined_name\nload('./nosuch.star', 'y')\n",
		"syntax.star":     "x = = 1\n",
		"fails.star":      "x = 1 // 0\n",
		"self.star":       "load_string('./self.star')\n",
		"ring1.star":      "\nload_string('./ring2.star')\n",
		"ring2.star":      "load('./ring3.star', 'x')\n",
		"ring3.star":      "x = load_string('./ring1.star')\n",
		"back.star":       "load('./main.star', 'x')\n",
		"function.star":   "def again(n):\n    return load_string('./calls.star')\n",
		"calls.star":      "load('./function.star', 'again')\nagain(1)\n",
		"folder/x.star":   "",
		"data.txt":        "",
		"nested/one.star": "two = load_path('nested/two.star')\n",
		"nested/two.star": "value = 2\n",
	} {
		writeFile(t, filepath.Join(dir, name), text)
	}
	outside := t.TempDir()
	writeFile(t, filepath.Join(outside, "s.star"), "x = 1\n")
	link(t, filepath.Join(outside, "s.star"), filepath.Join(dir, "away.star"))
	return dir
}

func TestImport(t *testing.T) {
	t.Parallel()
	dir := importTree(t)
	for i, test := range []struct{ expr, want string }{
		{`load_string("./config.star").value`, `["x"]`},
		{`load_string("//config.star").value`, `["x"]`},
		{`load_string("@std//hf.star").hf`, `"hf x"`},
		{`load_string("@acme//b.star").b`, `"b of acme"`},
		{`load_path("config.star").value`, `["x"]`},
		{`load_path("ROOT/config.star").value`, `["x"]`},
		{`load_path("lib/../config.star").value`, `["x"]`},
		{`load_string("./config.star").value == load_path("config.star").value`, `True`},
		{`load_string("./lib/x.star").near()`, `"y"`},
		{`load_string("@acme//a.star").own()`, `"b of acme"`},
		{`load_string("@acme//a.star").root()`, `"b of acme"`},
		{`dir(load_string("./config.star"))`, `["value"]`},
		{`type(load_string("./config.star"))`, `"module"`},
		{`load_path("nested/one.star").two.value`, `2`},

		{`load_string("./config.star").valeu`, `module has no .valeu field or method`},
		{`load_string("./config.star")._hidden`, `module has no ._hidden field or method`},
		{`load_string("./config.star").value.append(1)`, `frozen list`},
		{`load_string("config.star")`, `load: "config.star" is no path of a module: one starts with ./`},
		{`load_string("../x.star")`, `load: "../x.star" leads outside the root`},
		{`load_string("@nosuch//x.star")`, `load: "@nosuch//x.star": there is no @nosuch`},
		{`load_string("@std//../x.star")`, `load: "@std//../x.star" leads outside @std`},
		{`load_string("./confgi.star")`, `load: "./confgi.star" does not exist`},
		{`load_string("./away.star")`, `load: "./away.star" is a symbolic link that leads outside the root`},
		{`load_string("./folder")`, `load: "./folder" is a folder`},
		{`load_string("./main.star")`, `is the script that runs`},
		{`load_string("./back.star")`, `back.star:1: load: "./main.star" is the script that runs`},
		{`load_string("x\x00")`, `has the character`},
		{`load_path("../x.star")`, `load: "../x.star" leads outside the root`},
		{`load_path("/etc/passwd")`, `load: "/etc/passwd" leads outside the root`},
		{`load_path("away.star")`, `load: "away.star" is a symbolic link that leads outside the root`},
		{`load_path("confgi.star")`, `load: "confgi.star" does not exist`},
		{`load_path("data.txt")`, `load: "data.txt" is not a .star file`},
		{`load_path("bifrost_modules/acme/b.star")`, `is a file of a vendored module`},
		{`load_path("a\x00.star")`, `has the character`},
		{`load_string("@acme//a.star").typed()`, `no vendored module loads`},
		{`load_string("@acme//a.star").forks()`, `"//config.star" does not exist`},
		{`load_string("@acme//a.star").forks_path()`, `no vendored module loads`},
		{`forked(load_string, "./config.star").value`, `["x"]`},
		{`load_string("@acme//a.star").up()`, `"../../config.star" leads outside @acme`},
		{`load_string("./wrong.star")`, "\"./wrong.star\" cannot be loaded:\nwrong.star:1: name: undefined: undefined_name\nwrong.star:2: load: \"./nosuch.star\" does not exist"},
		{`load_string("./syntax.star")`, `syntax.star:1: syntax: `},
		{`load_string("./fails.star")`, `floored division by zero`},
		{`load_string("./acts.star")`, `the engine says no`},
		{`load_string("./self.star")`, "modules load each other in a circle\nself.star:1 loads self.star"},
		{`load_string("./ring1.star")`, "modules load each other in a circle\nring3.star:1 loads ring1.star\nring1.star:2 loads ring2.star\nring2.star:1 loads ring3.star"},
		{`load_string("./calls.star")`, "modules load each other in a circle\nfunction.star:2 loads calls.star"},
		{`load_string("./function.star").again(1)`, "modules load each other in a circle\nfunction.star:2 loads calls.star"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			host := importHost(&out, dir)
			main := filepath.Join(dir, fmt.Sprintf("main%d.star", i))
			expr := strings.ReplaceAll(strings.ReplaceAll(test.expr, "ROOT", dir), "./main.star", "./"+filepath.Base(main))
			if strings.Contains(expr, "back.star") {
				back := fmt.Sprintf("back%d.star", i)
				writeFile(t, filepath.Join(dir, back), "load('./"+filepath.Base(main)+"', 'x')\n")
				expr = strings.ReplaceAll(expr, "back.star", back)
				test.want = strings.NewReplacer("back.star", back, "main.star", filepath.Base(main)).Replace(test.want)
			}
			writeFile(t, main, "x = 1\nprint(repr("+expr+"))\n")
			_, err := host.Exec(t.Context(), main, nil)
			got := strings.TrimSuffix(out.String(), "\n")
			if err != nil {
				got = namesFrom(t, dir, err.Error())
			}
			if err == nil && got != test.want || err != nil && !strings.Contains(got, test.want) {
				t.Errorf("%s\n got %q\nwant %q", test.expr, got, test.want)
			}
		})
	}
}

// TestImportAgain imports a module of one run again after it was mended: what failed is not remembered.
func TestImportAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "m.star")
	var out strings.Builder
	host := importHost(&out, dir)
	calls := 0
	host.Predeclared["flaky"] = star.NewBuiltin("flaky", func(*star.Thread, *star.Builtin, star.Tuple, []star.Tuple) (star.Value, error) {
		if calls++; calls == 1 {
			return nil, errTest
		}
		return star.String("mended"), nil
	})
	host.Predeclared["mend"] = star.NewBuiltin("mend", func(*star.Thread, *star.Builtin, star.Tuple, []star.Tuple) (star.Value, error) {
		return star.None, os.WriteFile(path, []byte("x = flaky()\n"), 0o644)
	})
	writeFile(t, path, "x = (\n")
	writeFile(t, filepath.Join(dir, "main.star"), "def get():\n    return load_string('./m.star').x\nprint(bool(catch(get)))\nmend()\nprint(catch(get))\nprint(get(), get())\n")
	if _, err := host.Exec(t.Context(), filepath.Join(dir, "main.star"), nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("True\ncaught the engine says no (the engine's: true)\nmended mended\n", out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if calls != 2 {
		t.Errorf("the module ran %d times, want 2: one failed, one succeeded", calls)
	}
}

// TestConcurrentImports has two threads that want the same module. The one that runs it is cancelled: the
// other one runs it then.
func TestConcurrentImports(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "main.star"), "def get():\n    return load_string('./m.star').x\nboth(get)\n")
	writeFile(t, filepath.Join(dir, "m.star"), "x = enter()\n")
	host := importHost(io.Discard, dir)
	entered := make(chan struct{})
	var runs atomic.Int32
	host.Predeclared["enter"] = star.NewBuiltin("enter", func(t *star.Thread, _ *star.Builtin, _ star.Tuple, _ []star.Tuple) (star.Value, error) {
		if runs.Add(1) > 1 {
			return star.String("done"), nil
		}
		close(entered)
		<-ThreadOf(t).Context().Done()
		return nil, context.Cause(ThreadOf(t).Context())
	})
	stopped := errors.New("stopped")
	host.Predeclared["both"] = star.NewBuiltin("both", func(t *star.Thread, _ *star.Builtin, args star.Tuple, _ []star.Tuple) (star.Value, error) {
		thread := ThreadOf(t)
		ctx, cancel := context.WithCancelCause(thread.Context())
		defer cancel(nil)
		pop := thread.Push(ctx)
		first, stopFirst := thread.Fork("first")
		pop()
		second, stopSecond := thread.Fork("second")
		defer stopFirst()
		defer stopSecond()
		var values [2]star.Value
		var errs [2]error
		var wg sync.WaitGroup
		wg.Go(func() { values[0], errs[0] = first.Call(args[0], nil, nil) })
		<-entered
		wg.Go(func() { values[1], errs[1] = second.Call(args[0], nil, nil) })
		cancel(stopped)
		wg.Wait()
		if !errors.Is(errs[0], stopped) {
			return nil, fmt.Errorf("first: %v, %w", values[0], errs[0])
		}
		if errs[1] != nil || values[1] != star.String("done") {
			return nil, fmt.Errorf("second: %v, %w", values[1], errs[1])
		}
		return star.None, nil
	})
	if _, err := host.Exec(t.Context(), filepath.Join(dir, "main.star"), nil); err != nil {
		t.Error(err)
	}
}

// TestCrossedImports has two threads that each run a module which imports the other's: one of them gets
// the circle, and nobody waits for ever.
func TestCrossedImports(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "main.star"), "both(lambda: load_string('./a.star'), lambda: load_string('./b.star'))\n")
	writeFile(t, filepath.Join(dir, "a.star"), "meet()\nload_string('./b.star')\n")
	writeFile(t, filepath.Join(dir, "b.star"), "meet()\nload_string('./a.star')\n")
	host := importHost(io.Discard, dir)
	var met sync.WaitGroup
	met.Add(2)
	var mu sync.Mutex
	times := 0
	host.Predeclared["meet"] = star.NewBuiltin("meet", func(*star.Thread, *star.Builtin, star.Tuple, []star.Tuple) (star.Value, error) {
		mu.Lock()
		times++
		first := times <= 2
		mu.Unlock()
		if first {
			met.Done()
		}
		met.Wait()
		return star.None, nil
	})
	host.Predeclared["both"] = star.NewBuiltin("both", func(t *star.Thread, _ *star.Builtin, args star.Tuple, _ []star.Tuple) (star.Value, error) {
		var errs [2]error
		var wg sync.WaitGroup
		for i, fn := range args {
			fork, stop := ThreadOf(t).Fork("fork")
			defer stop()
			wg.Go(func() { _, errs[i] = fork.Call(fn, nil, nil) })
		}
		wg.Wait()
		return nil, errors.Join(errs[:]...)
	})
	_, err := host.Exec(t.Context(), filepath.Join(dir, "main.star"), nil)
	if err == nil || !strings.Contains(err.Error(), "modules load each other in a circle") {
		t.Errorf("Exec = %v, want a circle", err)
	}
}

// TestManyModules loads a chain and a fan of 300 modules, and refuses a chain that is too long.
func TestManyModules(t *testing.T) {
	t.Parallel()
	chain := func(t *testing.T, dir string, n int) {
		for i := range n {
			writeFile(t, filepath.Join(dir, fmt.Sprintf("m%d.star", i)), fmt.Sprintf("load('./m%d.star', y = 'x')\nx = y\n", i+1))
		}
		writeFile(t, filepath.Join(dir, fmt.Sprintf("m%d.star", n)), "x = 'end'\n")
		writeFile(t, filepath.Join(dir, "main.star"), "load('./m0.star', 'x')\nprint(x)\n")
	}
	fan := func(t *testing.T, dir string, n int) {
		text := ""
		for i := range n {
			writeFile(t, filepath.Join(dir, fmt.Sprintf("m%d.star", i)), "load('./shared.star', 's')\nx = s\n")
			text += fmt.Sprintf("load('./m%d.star', x%d = 'x')\n", i, i)
		}
		writeFile(t, filepath.Join(dir, "shared.star"), "s = 'end'\n")
		writeFile(t, filepath.Join(dir, "main.star"), text+"print(x0)\n")
	}
	for _, test := range []struct {
		name  string
		write func(t *testing.T, dir string, n int)
		n     int
		want  string
	}{
		{"chain", chain, 300, "end\n"},
		{"fan", fan, 300, "end\n"},
		{"too long", chain, maxDepth + 1, "chain of more than 1000 modules"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			test.write(t, dir, test.n)
			var out strings.Builder
			_, err := importHost(&out, dir).Exec(t.Context(), filepath.Join(dir, "main.star"), nil)
			if err != nil {
				out.WriteString(err.Error())
			}
			if !strings.Contains(out.String(), test.want) {
				t.Errorf("got %.300q, want %q", out.String(), test.want)
			}
		})
	}
}

package starlark

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// TestPackages calls through files of the project, of a library and of vendored modules, on one thread
// and on forked ones.
func TestPackages(t *testing.T) {
	t.Parallel()
	builtin := func(name string, fn func(t *Thread, args star.Tuple) (star.Value, error)) star.Value {
		return star.NewBuiltin(name, func(t *star.Thread, _ *star.Builtin, args star.Tuple, _ []star.Tuple) (star.Value, error) {
			return fn(ThreadOf(t), args)
		})
	}
	names := star.StringDict{
		"packages": builtin("packages", func(t *Thread, _ star.Tuple) (star.Value, error) {
			return star.String(strings.Join(t.Packages(), " ")), nil
		}),
		"fork": builtin("fork", func(t *Thread, args star.Tuple) (star.Value, error) {
			forked, stop := t.Fork("fork")
			defer stop()
			return forked.Call(args[0], nil, nil)
		}),
	}
	host := &Host{Predeclared: names, Libraries: map[string]fs.FS{"std": fstest.MapFS{}}}
	run := host.newRun(nil)
	thread := run.newThread(t.Context(), "test", nil, false)
	define := func(file, name string) star.Value {
		source := "def " + name + "(fn = packages, *rest):\n    return fn(*rest)\nplain = packages\n"
		globals, err := star.ExecFileOptions(&syntax.FileOptions{}, thread.Star(), file, source, names)
		if err != nil {
			t.Fatal(err)
		}
		return globals[name]
	}
	project, std := define("deploy.star", "project"), define("@std//hf.star", "std")
	acme, other := define("@acme//lib/x.star", "acme"), define("@other//y.star", "other")
	fake := define("@fake/x.star", "fake") // a file of the project, in a folder with that name
	fork := names["fork"]
	for _, test := range []struct {
		name string
		call star.Tuple
		want string
	}{
		{"project", star.Tuple{project}, ""},
		{"library", star.Tuple{project, std}, ""},
		{"like one", star.Tuple{fake}, ""},
		{"vendored", star.Tuple{project, acme}, "acme"},
		{"vendored, outer", star.Tuple{acme, project, std}, "acme"},
		{"two", star.Tuple{other, project, acme}, "acme other"},
		{"forked by it", star.Tuple{acme, fork, project}, "acme"},
		{"forked twice", star.Tuple{acme, fork, other}, "acme other"},
		{"forked by the project", star.Tuple{fork, acme}, "acme"},
		{"a builtin", star.Tuple{acme, fork, names["packages"]}, "acme"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := thread.Call(test.call[0], test.call[1:], nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got.(star.String))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

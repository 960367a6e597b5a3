//go:build unix

package bootstrap

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/push"
)

// pushTree pushes files to the node and returns what push says.
func pushTree(t *testing.T, node *enginetest.Shell, src string, files map[string]string) push.Result {
	t.Helper()
	for name, content := range files {
		p := filepath.Join(src, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	res, err := push.Push(t.Context(), node, push.Request{Source: src, Workspace: "~/it's a workspace", Client: "dana@laptop 1"})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func keys(t *testing.T, r push.Result, steps ...Step) []string {
	t.Helper()
	k, err := Keys(steps, r)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeys(t *testing.T) {
	t.Parallel()
	node := &enginetest.Shell{Home: t.TempDir()}
	src := t.TempDir()
	first := pushTree(t, node, src, map[string]string{"uv.lock": "1", "src/a.py": "1"})
	steps := []Step{{Command: "uv sync", Inputs: []string{"uv.lock"}}, {Command: "make"}, {Command: "true", Inputs: []string{}}}
	base := keys(t, first, steps...)
	if again := keys(t, first, steps...); !slices.Equal(again, base) {
		t.Errorf("the same steps: got %v, want %v", again, base)
	}
	code := keys(t, pushTree(t, node, src, map[string]string{"src/a.py": "2"}), steps...)
	lock := keys(t, pushTree(t, node, src, map[string]string{"src/a.py": "1", "uv.lock": "2"}), steps...)
	elsewhere := first
	elsewhere.Workspace += "2"
	for _, tt := range []struct {
		name string
		got  []string
		same []bool // as base, by step
	}{
		{"code changed", code, []bool{true, false, false}},
		{"lock file changed", lock, []bool{false, false, false}},
		{"second command changed", keys(t, first, steps[0], Step{Command: "make all"}, steps[2]), []bool{true, false, false}},
		{"last command changed", keys(t, first, steps[0], steps[1], Step{Command: "false", Inputs: []string{}}), []bool{true, true, false}},
		{"another workspace", keys(t, elsewhere, steps...), []bool{false, false, false}},
	} {
		if got := Done(tt.got, base); !slices.Equal(got, tt.same) {
			t.Errorf("%s: same keys %v, want %v", tt.name, got, tt.same)
		}
	}
	if _, err := Keys([]Step{{Command: "x", Inputs: []string{"uv.lokc"}}}, first); fault.KindOf(err) != fault.Invalid {
		t.Errorf("inputs that match nothing: got %v, want an error of kind invalid", err)
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	node := &enginetest.Shell{Home: t.TempDir()}
	src := t.TempDir()
	r := pushTree(t, node, src, map[string]string{"a": "1"})
	if len(r.StepKeys) != 0 {
		t.Errorf("before any step: got keys %q", r.StepKeys)
	}
	for n, key := range []string{"k0", "k1", "k2"} {
		if err := Record(t.Context(), node, r.Workspace, n, key); err != nil {
			t.Fatal(err)
		}
	}
	want := func(when string, want ...string) {
		t.Helper()
		if got := pushTree(t, node, src, nil).StepKeys; !slices.Equal(got, want) {
			t.Errorf("%s: got keys %q, want %q", when, got, want)
		}
	}
	want("recorded", "k0", "k1", "k2")
	if err := Forget(t.Context(), node, r.Workspace, 1); err != nil {
		t.Fatal(err)
	}
	want("step 1 forgotten", "k0")
	if err := Record(t.Context(), node, r.Workspace, 11, "k11"); err != nil {
		t.Fatal(err)
	}
	if err := Forget(t.Context(), node, r.Workspace, 2); err != nil {
		t.Fatal(err)
	}
	want("step 11 forgotten", "k0")
	if err := Forget(t.Context(), node, r.Workspace, 0); err != nil {
		t.Fatal(err)
	}
	want("all forgotten")
	if err := Record(t.Context(), node, filepath.Join(r.Workspace, "no", "such"), 0, "k"); fault.KindOf(err) != fault.Bootstrap {
		t.Errorf("workspace missing: got %v, want an error of kind bootstrap", err)
	}
}

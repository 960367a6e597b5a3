package fake

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

var printed = regexp.MustCompile(`(?m)^\s*print\(.*\)  # (.*)$`)

// play runs a script in a world of its own and returns what it prints, and its errors with those of the
// world's end.
func play(t *testing.T, script string) (string, []error) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "x.star")
	if err := os.WriteFile(file, []byte(script+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	w := New(t.TempDir())
	var out strings.Builder
	host := &starlark.Host{
		Predeclared: w.Library(builtins.Options{JobOutput: &out}).Predeclared(), Gate: policy.NewGate(w.Policy(dir)), Stdout: &out, Describe: Describe,
	}
	_, err = host.Exec(t.Context(), file, nil)
	var errs []error
	if err != nil {
		errs = []error{err}
	}
	return out.String(), append(errs, w.Finish()...)
}

// TestModule checks that everything in the module is documented, and runs its examples.
func TestModule(t *testing.T) {
	t.Parallel()
	for _, e := range New(t.TempDir()).Module().Entries {
		if !strings.HasSuffix(e.Doc, ".") || e.Result == "" || !slices.Equal(e.Capabilities, []policy.Capability{policy.Pure}) || !e.Effect {
			t.Errorf("%s: doc, result, capability or effect is missing", e.Name)
		}
		for _, p := range e.Params {
			if p.Doc == "" {
				t.Errorf("%s: %s has no doc", e.Name, p.Name)
			}
		}
		if !strings.Contains(e.Example, e.Name) {
			t.Errorf("%s: no example of it", e.Name)
			continue
		}
		if e.Name == "run" {
			continue // it needs a script beside it; the tests of bifrost test have one
		}
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			got, errs := play(t, e.Example)
			if err := errors.Join(errs...); err != nil {
				t.Fatalf("%v\nin\n%s", err, e.Example)
			}
			var want strings.Builder
			for _, m := range printed.FindAllStringSubmatch(e.Example, -1) {
				want.WriteString(m[1] + "\n")
			}
			if diff := cmp.Diff(want.String(), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

package builtins

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// TestTeardown ends the body of with_job and with_node in every way: the machine is released once, and the
// script does not go on.
func TestTeardown(t *testing.T) {
	t.Parallel()
	stop := errors.New("a key was pressed")
	for _, test := range []struct {
		name, body string
		limits     starlark.Limits
		is         func(err error) bool
	}{
		{"error", "fail('no')", starlark.Limits{}, is[*ScriptError]},
		{"typo", "x.nmae", starlark.Limits{}, is[*starlark.Error]},
		{"exit", "attempt(exit, 3)", starlark.Limits{}, is[*starlark.ExitError]},
		{"denied", "attempt(secret, 'RUNPOD_API_KEY')", starlark.Limits{}, is[*policy.Denied]},
		{"cancel", "attempt(cancel)", starlark.Limits{}, func(err error) bool { return errors.Is(err, stop) }},
		{"cancelled in a loop", "attempt(lambda: [cancel() for _ in range(1 << 40)])", starlark.Limits{}, func(err error) bool { return errors.Is(err, stop) }},
		{"steps", "attempt(lambda: [None for _ in range(1 << 40)])", starlark.Limits{Steps: 100_000}, is[*starlark.LimitError]},
		{"value", "attempt(list, range(1 << 40))", starlark.Limits{}, is[*starlark.LimitError]},
		{"wall", "attempt(poll, lambda: None, every = 60, timeout = 600)", starlark.Limits{Wall: 50 * time.Millisecond}, is[*starlark.LimitError]},
		{"panic", "attempt(defect)", starlark.Limits{}, is[*panicError]},
	} {
		for verb, call := range map[string]string{
			"with_job":  "with_job(remote_job(ssh = 'gpu', command = 'x', timeout = None), body)",
			"with_node": "with_node(body, ssh = 'gpu')",
			"nested":    "with_node(lambda n: with_job(remote_job(ssh = 'gpu', command = 'x', timeout = None), body), ssh = 'gpu')",
		} {
			t.Run(test.name+" in "+verb, func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "x.star")
				script := "def body(x):\n    " + test.body + "\n    print('after the body')\n\nattempt(" + strings.Replace(call, "(", ", ", 1) + "\nprint('after')\n"
				if err := os.WriteFile(path, []byte(script), 0o644); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				out := new(syncBuffer)
				lib := testLibrary(out)
				names := lib.Predeclared()
				names["cancel"] = star.NewBuiltin("cancel", func(*star.Thread, *star.Builtin, star.Tuple, []star.Tuple) (star.Value, error) {
					cancel(stop)
					return star.None, nil
				})
				names["defect"] = lib.bind(&Entry{Name: "defect", run: func(*Call) (star.Value, error) { panic("a defect") }}, nil)
				host := testHost(lib, out, policy.Typed())
				host.Predeclared, host.Limits = names, test.limits
				_, err := host.Exec(ctx, path, nil)
				if test.name == "error" { // the only one that attempt catches
					if err != nil {
						t.Errorf("Exec = %v, want nil", err)
					}
				} else if !test.is(err) || strings.Contains(out.b.String(), "after") {
					t.Errorf("Exec = %v", err)
				}
				text := out.b.String()
				if got, want := strings.Count(text, "[released]"), strings.Count(text, "[connect gpu]"); got != want || strings.Contains(text, "after the body") {
					t.Errorf("released %d times, want %d:\n%s", got, want, text)
				}
			})
		}
	}
}

func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

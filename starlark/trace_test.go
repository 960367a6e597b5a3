package starlark

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	star "go.starlark.net/starlark"
)

// A crash is an error with a Go stack and more lines than one.
type crash struct{ token string }

func (c *crash) Error() string   { return "no offer\nnearest: one with " + c.token }
func (c *crash) GoStack() []byte { return []byte("goroutine 1:\nf(" + c.token + ")") }

func TestTrace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "lib.star"), "def each(fn):\n    return sorted([1], key = fn)\n")
	writeFile(t, filepath.Join(dir, "main.star"), "load(\"./lib.star\", \"each\")\n\ndef main():\n    each(lambda x: crash(x))\n")
	redactor := new(Redactor)
	redactor.Add("TOKEN", "abcdef012345")
	host := &Host{
		Redactor: redactor,
		Describe: func(err error) (kind, hint string) {
			if _, ok := err.(*crash); ok {
				return "internal", ""
			}
			return "", "tell us"
		},
		Predeclared: star.StringDict{
			"crash": star.NewBuiltin("crash", func(*star.Thread, *star.Builtin, star.Tuple, []star.Tuple) (star.Value, error) {
				return nil, fmt.Errorf("rent: %w", &crash{"abcdef012345"})
			}),
		},
	}
	_, err := host.Exec(t.Context(), filepath.Join(dir, "main.star"), nil)
	var failed *Error
	if !errors.As(err, &failed) {
		t.Fatalf("got %v, want an *Error", err)
	}
	var short, long strings.Builder
	if err := errors.Join(failed.Render(&short), failed.RenderTrace(&long)); err != nil {
		t.Fatal(err)
	}
	wantShort := `main.star:4: error: rent: no offer
    3 | def main():
    4 |     each(lambda x: crash(x))
      |                    ^
  nearest: one with <secret TOKEN>
  called from lib.star:2, in each
  called from main.star:4, in main
  hint: tell us
`
	wantLong := `main.star:4: error: rent: no offer
  nearest: one with <secret TOKEN>
  in the builtin crash
  called from main.star:4, in lambda
    3 | def main():
    4 |     each(lambda x: crash(x))
      |                    ^
  in the builtin sorted
  called from lib.star:2, in each
    1 | def each(fn):
    2 |     return sorted([1], key = fn)
      |            ^
  called from main.star:4, in main
    3 | def main():
    4 |     each(lambda x: crash(x))
      |     ^
  hint: tell us
  error *fmt.wrapError: rent: no offer
  nearest: one with <secret TOKEN>
  error *starlark.crash, internal: no offer
  nearest: one with <secret TOKEN>
  Go stack:
  goroutine 1:
  f(<secret TOKEN>)
`
	clean := func(b strings.Builder) string {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			t.Fatal(err)
		}
		return namesFrom(t, real, b.String())
	}
	if diff := cmp.Diff(wantShort, clean(short)); diff != "" {
		t.Errorf("Render: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(wantLong, clean(long)); diff != "" {
		t.Errorf("RenderTrace: -want +got:\n%s", diff)
	}
	want := []Failure{{
		Kind: "error", Message: "rent: no offer\nnearest: one with <secret TOKEN>", File: failed.Frames[0].File, Line: 4, Col: 25,
		Frames: failed.Frames, Hint: "tell us",
	}}
	if diff := cmp.Diff(want, failed.Failures()); diff != "" {
		t.Errorf("Failures: -want +got:\n%s", diff)
	}
}

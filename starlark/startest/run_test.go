package startest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark"
)

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	return path
}

// bare makes worlds that have nothing but exit, and fail, which fails at the end of the test.
func bare(file, test string, out io.Writer) (*starlark.Host, func() []error, error) {
	late := false
	host := &starlark.Host{Stdout: out, Predeclared: star.StringDict{
		"exit": star.NewBuiltin("exit", func(_ *star.Thread, _ *star.Builtin, args star.Tuple, _ []star.Tuple) (star.Value, error) {
			code, err := star.AsInt32(args[0])
			return nil, errors.Join(err, &starlark.ExitError{Code: code})
		}),
		"late": star.NewBuiltin("late", func(*star.Thread, *star.Builtin, star.Tuple, []star.Tuple) (star.Value, error) {
			late = true
			return star.None, nil
		}),
	}}
	return host, func() []error {
		if late {
			return []error{errors.New("too late")}
		}
		return nil
	}, nil
}

// play runs the tests of one file and returns the events, without times.
func play(t *testing.T, text string, match *regexp.Regexp) (string, Summary) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	s := Run(t.Context(), []string{write(t, dir, "x_test.star", text)}, Config{New: bare, Match: match, Report: func(e Event) {
		fmt.Fprintf(&b, "%s %s", e.Action, e.Test)
		if e.Output != "" {
			fmt.Fprintf(&b, " output %q", e.Output)
		}
		b.WriteByte('\n')
		for _, err := range e.Errors {
			first, _, _ := strings.Cut(Text(err), "\n")
			fmt.Fprintf(&b, "  %s\n", first)
		}
	}})
	return strings.ReplaceAll(b.String(), dir+"/", ""), s
}

func TestRun(t *testing.T) {
	t.Parallel()
	got, summary := play(t, `
seen = []

def helper():
    fail("not a test")

def test_b():
    seen.append(1)
    print("b", len(seen))

def test_a():
    print("a")
    assert.eq(1, 2)
    assert.eq("go", "on")

def test_late():
    late()

def test_exit():
    exit(3)

def test_error():
    fail("boom")
`, nil)
	want := `run test_b
fail test_b
  x_test.star:8: error: append: cannot append to frozen list
run test_a
fail test_a output "a\n"
  x_test.star:13: assert: got 1, want 2
  x_test.star:14: assert: got "go", want "on"
run test_late
fail test_late
  too late
run test_exit
fail test_exit
  exit: the test ended with exit(3)
run test_error
fail test_error
  x_test.star:23: error: fail: boom
fail 
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if want := (Summary{Files: 1, Tests: 5, Failed: 5}); summary != want {
		t.Errorf("summary %+v, want %+v", summary, want)
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	got, summary := play(t, "def test_one():\n    pass\ndef test_two():\n    assert.fail(\"no\")\n", regexp.MustCompile("one"))
	if want := "run test_one\npass test_one\npass \n"; got != want || summary != (Summary{Files: 1, Tests: 1}) {
		t.Errorf("got %q, %+v; want %q", got, summary, want)
	}
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"def test_x(argument):\n    pass\n", "def test_x():\n    nosuch()\n", "def test_x(:\n", ""} {
		got, summary := play(t, text, nil)
		if summary != (Summary{Files: 1, Unreadable: 1}) || !strings.HasPrefix(got, "fail \n  x_test.star") {
			t.Errorf("%q: got %q, %+v; want one unreadable file", text, got, summary)
		}
	}
}

func TestAssertions(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 40)
	for _, test := range []struct{ code, want string }{
		{`assert.eq([1, {"a": 2}], [1, {"a": 2}])`, ""},
		{`assert.eq(1, 1.0)`, ""},
		{`assert.eq("1", 1)`, `got "1", want 1`},
		{`assert.eq("` + long + `", "y` + long + `")`, "they differ"},
		{`assert.ne(1, 2)`, ""},
		{`assert.ne(1, 1)`, "both are 1"},
		{`assert.lt(1, 2)`, ""},
		{`assert.lt(2, 2)`, "2 is not less than 2"},
		{`assert.le(3, 2)`, "3 is more than 2"},
		{`assert.gt(2, 2)`, "2 is not more than 2"},
		{`assert.ge(1, 2)`, "1 is less than 2"},
		{`assert.true([0])`, ""},
		{`assert.true([])`, "[] is not true"},
		{`assert.true(0, "why")`, "why"},
		{`assert.true(0, message = "why")`, "why"},
		{`assert.false(0)`, ""},
		{`assert.false(7)`, "7 is not false"},
		{`assert.contains("abc", "b")`, ""},
		{`assert.contains({"a": 1}, "a")`, ""},
		{`assert.contains([1], 2)`, "[1] does not contain 2"},
		{`assert.fails(lambda: 1 // 0)`, ""},
		{`assert.fails(lambda: 1 // 0, "division by zero")`, ""},
		{`assert.fails(lambda: 1 // 0, pattern = "^error: .*zero$")`, ""},
		{`assert.fails(lambda: 1 // 0, "one")`, "it failed otherwise"},
		{`assert.fails(lambda: 1)`, `it did not fail; an error with "" was expected`},
		{`assert.fails(lambda: exit(1))`, "it called exit(1); assert.exits expects that"},
		{`assert.exits(lambda: exit(3), 3)`, ""},
		{`assert.exits(lambda: exit(3), code = 4)`, "got exit(3), want exit(4)"},
		{`assert.exits(lambda: 1, 0)`, "it did not call exit; exit(0) was expected"},
		{`assert.fail("never")`, "never"},
		// what is wrong with the test itself stops it
		{`assert.eq(1)`, "stopped: assert.eq: got 1 arguments; it is assert.eq(got, want)"},
		{`assert.eq(1, 2, 3)`, "stopped: assert.eq: got 3 arguments; it is assert.eq(got, want)"},
		{`assert.eq(1, want = 1)`, ""},
		{`assert.eq(1, message = 2)`, "stopped: assert.eq: unexpected message = …; it is assert.eq(got, want)"},
		{`assert.lt(1, "a")`, "stopped: int < string not implemented"},
		{`assert.contains(1, 2)`, "stopped: unknown binary op: int in int"},
		{`assert.fails(lambda: 1, "(")`, "stopped: assert.fails: pattern: error parsing regexp: missing closing ): `(`"},
		{`assert.fails(lambda: 1, 1)`, "stopped: assert.fails: pattern: got int, want a string"},
		{`assert.exits(lambda: 1, "a")`, `stopped: assert.exits: code: got "a", want an int`},
		{`assert.true(1, mesage = "x")`, `stopped: assert.true: unexpected mesage = …; it is assert.true(cond, message = "")`},
	} {
		t.Run(test.code, func(t *testing.T) {
			t.Parallel()
			events, _ := play(t, "def test_x():\n    "+test.code+"\n    print(\"on\")\n", nil)
			got := ""
			if _, after, ok := strings.Cut(events, "x_test.star:2: "); ok {
				got, _, _ = strings.Cut(after, "\n")
				if rest, ok := strings.CutPrefix(got, "assert: "); ok {
					got = rest
				} else {
					got = "stopped: " + strings.TrimPrefix(got, "error: ")
				}
			}
			if goesOn := strings.Contains(events, `output "on\n"`); goesOn == strings.HasPrefix(test.want, "stopped") {
				t.Errorf("goes on: %v\n%s", goesOn, events)
			}
			if got != test.want {
				t.Errorf("got %q, want %q\n%s", got, test.want, events)
			}
		})
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a_test.star", "b.star", "sub/c_test.star", "sub/deep/d_test.star", ".hidden/e_test.star", "bifrost_modules/f_test.star"} {
		write(t, dir, name, "")
	}
	for _, test := range []struct {
		paths []string
		want  string
	}{
		{[]string{""}, "a_test.star"},
		{[]string{"sub"}, "sub/c_test.star"},
		{[]string{"..."}, "a_test.star sub/c_test.star sub/deep/d_test.star"},
		{[]string{"sub/...", "sub/c_test.star"}, "sub/c_test.star sub/deep/d_test.star"},
		{[]string{"b.star"}, "error: b.star: is not a test file"},
		{[]string{"nosuch"}, "error: nosuch: does not exist"},
		{[]string{"b.star/..."}, "error: b.star/...: is not a folder"},
	} {
		paths := make([]string, len(test.paths))
		for i, p := range test.paths {
			paths[i] = dir + "/" + p
		}
		files, err := Find(paths)
		got := strings.Join(files, " ")
		if err != nil {
			got = "error: " + err.Error()
		}
		if got = strings.ReplaceAll(got, dir+"/", ""); got != test.want {
			t.Errorf("Find(%q) = %q, want %q", test.paths, got, test.want)
		}
	}
}

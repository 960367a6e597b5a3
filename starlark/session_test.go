package starlark

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	star "go.starlark.net/starlark"
)

func TestSession(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "lib.star"), "x = 7\n")
	writeFile(t, filepath.Join(dir, "bad.star"), "x = nosuch\n")
	host := testHost()
	cause := errors.New("the user pressed a key")
	ctx, cancel := context.WithCancelCause(t.Context())
	host.Predeclared["stop"] = star.NewBuiltin("stop", func(*star.Thread, *star.Builtin, star.Tuple, []star.Tuple) (star.Value, error) {
		cancel(cause)
		return star.None, nil
	})
	s, err := host.NewSession(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, test := range []struct{ source, want, error string }{
		{"1 + 1", "2", ""},
		{"a = 1", "None", ""},
		{"a = a + 1\n", "None", ""},
		{"a", "2", ""},
		{`load("./lib.star", "x")`, "None", ""},
		{"x * a", "14", ""},
		{`load("./bad.star", "x")`, "", "undefined: nosuch"},
		{`load("../out.star", "x")`, "", "leads outside"},
		{"ab", "", "undefined: ab"},
		{"engine()", "", "the engine says no"},
		{"[v for v in stream()]", "", "the engine says no"}, // raised by an iterator
		{"quit()", "", "exit(7)"},
		{"x = = 1", "", "want primary expression"},
		{"", "None", ""},
		{"x", "7", ""},
	} {
		v, err := s.Eval(t.Context(), test.source)
		if test.error != "" {
			if err == nil || !strings.Contains(err.Error(), test.error) {
				t.Errorf("Eval(%q) = %v, %v, want an error with %q", test.source, v, err, test.error)
			}
		} else if err != nil || v.String() != test.want {
			t.Errorf("Eval(%q) = %v, %v, want %s", test.source, v, err, test.want)
		}
	}
	// What ends one piece ends no other.
	_, err = s.Eval(ctx, "[stop() for _ in range(1 << 30)]")
	if !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
	if v, err := s.Eval(t.Context(), "a"); err != nil || v.String() != "2" {
		t.Errorf("after the interruption: got %v, %v, want 2", v, err)
	}
}

func TestSessionComplete(t *testing.T) {
	t.Parallel()
	s, err := new(Host).NewSession(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, test := range []struct {
		lines    string
		complete bool
		read     int
	}{
		{"x = 1\ny = 2\n", true, 1},
		{"def f():\n    pass\n\nx\n", true, 3},
		{"x = [\n1,\n]\ny\n", true, 3},
		{"x = [\n", false, 1},
		{"x = )\ny\n", false, 1},
		{"", false, 0},
	} {
		rest, read := strings.SplitAfter(test.lines, "\n"), 0
		complete := s.Complete(func() ([]byte, error) {
			if len(rest) == 0 || rest[0] == "" {
				return nil, io.EOF
			}
			line := rest[0]
			rest = rest[1:]
			read++
			return []byte(line), nil
		})
		if complete != test.complete || read != test.read {
			t.Errorf("Complete(%q) = %v after %d lines, want %v after %d", test.lines, complete, read, test.complete, test.read)
		}
	}
	if _, err := new(Host).NewSession(t.Context(), filepath.Join(t.TempDir(), "nosuch")); err == nil {
		t.Error("a session in a folder that does not exist: no error")
	}
}

// TestSessionGuards checks that a piece has the guards that a file has.
func TestSessionGuards(t *testing.T) {
	t.Parallel()
	s, err := testHost().NewSession(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, source := range []string{
		"[1] * (1 << 40)",
		"[x for x in [3] for i in range(60) for x in [x * x]]",
		"'%s' * 100 % (('x' * (32 << 20),) * 100)",
		"','.join(['x'] * (1 << 30))",
	} {
		_, err := s.Eval(t.Context(), source)
		var limit *LimitError
		if !errors.As(err, &limit) || limit.Limit != "value" {
			t.Errorf("Eval(%q) = %v, want a limit of values", source, err)
		}
	}
	if v, err := s.Eval(t.Context(), "'%d' % (6 * 7)"); err != nil || v != star.String("42") {
		t.Errorf("got %v, %v, want 42", v, err)
	}
	_, err = s.Eval(t.Context(), "left")
	if err == nil || strings.Contains(err.Error(), "operand") {
		t.Errorf("got %v, want the name alone", err)
	}
}

// TestSessionShow checks that values which no text can be made of cost neither the process nor its time.
func TestSessionShow(t *testing.T) {
	t.Parallel()
	host := testHost()
	host.Redactor = new(Redactor)
	host.Redactor.Add("TOKEN", "hunter2")
	s, err := host.NewSession(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, test := range []struct{ source, want, limit string }{
		{"[1, 'hunter2']", `[1, "<secret TOKEN>"]`, ""},
		{"def deep():\n    x = []\n    for _ in range(1000000):\n        x = [x]\n    return x\n\ndeep()\n", "", "nesting"},
		{"def wide():\n    x = 'x' * 1000\n    for _ in range(20):\n        x = [x, x]\n    return x\n\nwide()\n", "", "value"},
	} {
		v := eval(t, s, test.source)
		got, err := s.Show(v)
		var limit *LimitError
		switch errors.As(err, &limit); {
		case test.limit == "" && (err != nil || got != test.want):
			t.Errorf("Show = %q, %v, want %q", got, err, test.want)
		case test.limit != "" && (limit == nil || limit.Limit != test.limit):
			t.Errorf("Show(%.20s…) = %.20q, %v, want the limit of %s", test.source, got, err, test.limit)
		}
	}
}

// TestSessionImports checks that a module which one piece imports is the same one for all later ones.
func TestSessionImports(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "lib.star"), "print('loads')\n")
	var out strings.Builder
	s, err := importHost(&out, dir).NewSession(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, source := range []string{"load_string('./lib.star')", "load_string('./lib.star')", "1", "load_string('./lib.star')", "load('./lib.star', lib = 'print')"} {
		_, _ = s.Eval(t.Context(), source) // the last has no such name to give
	}
	if got, want := out.String(), "loads\n"; got != want {
		t.Errorf("the module printed %q, want %q", got, want)
	}
}

// eval runs the statements of a piece, one after the other, and returns the value of the last.
func eval(t *testing.T, s *Session, source string) star.Value {
	t.Helper()
	def, expr, ok := strings.Cut(source, "\n\n")
	if ok {
		eval(t, s, def+"\n")
		source = expr
	}
	v, err := s.Eval(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

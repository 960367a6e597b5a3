package builtins

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// TestPython evaluates every expression in testdata/python and compares what comes out with what
// Python 3 made of the same expression. record.py there says what the lines mean.
func TestPython(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/python/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		cases := pythonCases(t, file)
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			if len(cases) == 0 {
				t.Fatal("no cases")
			}
			for _, c := range cases {
				v, err := evaluate(t, c.expression)
				switch wanted, fails := strings.CutPrefix(c.want, "! "); {
				case fails && (err == nil || !strings.Contains(err.Error(), wanted)):
					t.Errorf("%s:%d: %s\n got %s, error %v\nwant the error %s", file, c.line, c.expression, pythonRepr(v), err, wanted)
				case !fails && (err != nil || pythonRepr(v) != c.want):
					t.Errorf("%s:%d: %s\n got %s, error %v\nwant %s", file, c.line, c.expression, pythonRepr(v), err, c.want)
				}
			}
		})
	}
}

type pythonCase struct {
	line       int
	expression string
	want       string // a repr, or "! " and a part of the error's message
}

func pythonCases(t *testing.T, file string) []pythonCase {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var cases []pythonCase
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		switch {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "= "), strings.HasPrefix(line, "~ "):
			cases[len(cases)-1].want = line[2:]
		case strings.HasPrefix(line, "! "):
			cases[len(cases)-1].want = line
		default:
			cases = append(cases, pythonCase{line: n, expression: line})
		}
	}
	return cases
}

// evaluate runs a script that is one expression and returns its value.
func evaluate(t *testing.T, expression string) (star.Value, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "case.star")
	if err := os.WriteFile(path, []byte("result(("+expression+"))\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	lib := testLibrary(io.Discard)
	lib.opts.Clock, lib.started = stoppedClock{}, stoppedClock{}.Now()
	host := testHost(lib, io.Discard, policy.Typed())
	var value star.Value
	host.Predeclared["result"] = star.NewBuiltin("result", func(_ *star.Thread, _ *star.Builtin, args star.Tuple, _ []star.Tuple) (star.Value, error) {
		value = args[0]
		return star.None, nil
	})
	_, err := host.Exec(t.Context(), path, nil)
	var shown *starlark.Error
	if errors.As(err, &shown) {
		err = errors.New(shown.Message)
	}
	return value, err
}

// stoppedClock always says 2024-05-06 07:08:09.123456 UTC.
type stoppedClock struct{ realClock }

func (stoppedClock) Now() time.Time { return time.Date(2024, 5, 6, 7, 8, 9, 123456000, time.UTC) }

// pythonRepr is the text that Python's repr has for a value.
func pythonRepr(v star.Value) string {
	join := func(open, shut string, n int, item func(i int) string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = item(i)
		}
		return open + strings.Join(parts, ", ") + shut
	}
	switch v := v.(type) {
	case nil:
		return "nothing"
	case star.String:
		return pythonQuote(string(v))
	case star.Float:
		return starlark.FloatText(float64(v))
	case *pathValue:
		return "PosixPath(" + pythonQuote(v.LocalPath()) + ")"
	case star.Tuple:
		if len(v) == 1 {
			return "(" + pythonRepr(v[0]) + ",)"
		}
		return join("(", ")", len(v), func(i int) string { return pythonRepr(v[i]) })
	case *star.List:
		return join("[", "]", v.Len(), func(i int) string { return pythonRepr(v.Index(i)) })
	case *star.Dict:
		items := v.Items()
		return join("{", "}", len(items), func(i int) string { return pythonRepr(items[i][0]) + ": " + pythonRepr(items[i][1]) })
	}
	return v.String()
}

func pythonQuote(s string) string {
	quote := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	var b strings.Builder
	b.WriteRune(quote)
	for _, r := range s {
		switch {
		case r == quote || r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20 || r >= 0x7f && r < 0x100 && !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		case !unicode.IsPrint(r) && r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteRune(quote)
	return b.String()
}

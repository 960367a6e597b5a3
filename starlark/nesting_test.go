package starlark

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDeepSources checks texts that would overflow the Go stack of the parser or the compiler, which
// nothing survives, or take minutes to read.
func TestDeepSources(t *testing.T) {
	t.Parallel()
	long := func(s string) string { return strings.Repeat(s, 200_000) }
	for _, test := range []struct{ name, source, want string }{
		{"brackets", "x = " + long("(") + "1" + long(")"), "hang on each other"},
		{"brackets that are not closed", "x = " + long("["), "hang on each other"},
		{"operators", "x = 1" + long("+1"), "hang on each other"},
		{"operators over lines", "x = (1" + long("+\n1") + ")", "hang on each other"},
		{"backslashes", "x = 1" + long("+\\\n1"), "hang on each other"},
		{"attributes", "x = a" + long(".b"), "hang on each other"},
		{"calls", "x = a" + long("()"), "hang on each other"},
		{"indexes", "x = a" + long("[0]"), "hang on each other"},
		{"not", "x = " + long("not ") + "1", "hang on each other"},
		{"lambda", "x = " + long("lambda: ") + "1", "hang on each other"},
		{"conditionals", "x = " + long("1 if 1 else ") + "1", "hang on each other"},
		{"comprehension", "x = [1" + long(" for a in b") + "]", "hang on each other"},
		{"elif", "def f():\n  if 1:\n    pass\n" + long("  elif 1:\n    pass\n"), "more than 1000 elif"},
		{"number", "x = 1" + long("0"), "a number of more than 5000 digits"},
		{"hexadecimal", "x = 0x1" + long("0"), "a number of more than 5000 digits"},

		{"a long list", "x = [" + long("f(1), ") + "]", ""},
		{"a long dict", "x = {" + long("'a.b': -1 + 2,\n") + "}", ""},
		{"many lines", long("x = a.b\n"), ""},
		{"a long text", "x = '" + long("(+.") + "'", ""},
		{"a long text in three quotes", "x = \"\"\"" + long("(\n\"'") + "\"\"\"", ""},
		{"a long raw text", "x = r'" + long(`\'(`) + "'", ""},
		{"a long comment", "x = 1 # " + long("(+.elif "), ""},
		{"unbalanced", "x = )))\n", ""},
		{"a backslash at the end", "x = 1\\", ""},
		{"a quote at the end", "x = '\\", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := checkNesting("x.star", []byte(test.source))
			if got := err != nil && strings.Contains(err.Msg, test.want); got != (test.want != "") {
				t.Errorf("checkNesting = %v, want %q", err, test.want)
			}
		})
	}
}

func TestDeepSourceIsStatic(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "x.star")
	if err := os.WriteFile(file, []byte("a = 1\nx = 1"+strings.Repeat("+1", 1_000_000)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := new(Host).Check(t.Context(), file)
	var static *StaticError
	if !errors.As(err, &static) || static.Problems[0].Line != 2 || static.Problems[0].Kind != "syntax" {
		t.Errorf("Check = %.200v, want a syntax error at line 2", err)
	}
}

// FuzzNesting looks for texts that the reader does not come to the end of.
func FuzzNesting(f *testing.F) {
	for _, seed := range []string{"x = (1, 'a\\'b', \"\"\"c\n\"\"\") # d", "\\", "'''", "r'\\'", "a.b[0](1) if not x else {1: 2}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		s := nesting{text: []byte(source), line: 1, col: 1, chain: []int{0}}
		if message := s.scan(); message == "" && s.at != len(source) {
			t.Errorf("it stops at %d of %d", s.at, len(source))
		}
		if s.depth < 0 {
			t.Errorf("depth %d", s.depth)
		}
	})
}

package builtins

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseDotenv(t *testing.T) {
	t.Parallel()
	const text = "\uFEFF# comment\n\nA=1\nexport B = two words # comment\nC='# $x \\n'\nD=\"a\\n\\\"b\\\" \\$x\" # comment\nE=\nF=a#b\r\nA=last\n"
	got, err := ParseDotenv(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"A": "last", "B": "two words", "C": "# $x \\n", "D": "a\n\"b\" $x", "E": "", "F": "a#b"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, test := range []struct{ text, want string }{
		{"A=1\nhunter2\n", "line 2 is not NAME=value"},
		{"A-B=hunter2\n", "line 1 is not NAME=value"},
		{"A='hunter2\n", "line 1: A: the quote is not closed"},
		{"A=\"x\" hunter2\n", "line 1: A: there is text after the closing quote"},
	} {
		_, err := ParseDotenv(strings.NewReader(test.text))
		if err == nil || err.Error() != test.want {
			t.Errorf("ParseDotenv(%q) = %v, want %q", test.text, err, test.want)
		}
	}
}

// FuzzParseDotenv looks for panics, and for values in errors.
func FuzzParseDotenv(f *testing.F) {
	f.Add("A=1\n")
	f.Add("export A='x' # y\n")
	f.Add("A=\"\\")
	f.Fuzz(func(t *testing.T, text string) {
		vars, err := ParseDotenv(strings.NewReader(text))
		if err != nil && vars != nil {
			t.Errorf("ParseDotenv(%q) = %v, %v", text, vars, err)
		}
		for name := range vars {
			if !variableName().MatchString(name) {
				t.Errorf("ParseDotenv(%q) has the name %q", text, name)
			}
		}
	})
}

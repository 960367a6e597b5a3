package starlark

import "testing"

// A message may quote what a script or a remote program wrote; a terminal must not obey it.
func TestPrintable(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{"é → \t\n", "é → \t\n"},
		{"\x1b[2J\a\r\x9b", "\uFFFD[2J\uFFFD\uFFFD\uFFFD"},
		{"a\u202Eb\u2066c", "a\uFFFDb\uFFFDc"},
	} {
		if got := printable(test.text); got != test.want {
			t.Errorf("printable(%q) = %q, want %q", test.text, got, test.want)
		}
	}
}

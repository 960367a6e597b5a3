package argparse

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	star "go.starlark.net/starlark"
)

// newParser has an argument of every shape.
func newParser(t testing.TB) *Parser {
	p := New("deploy")
	for _, a := range []Action{
		{Flags: []string{"-h", "--help"}, Action: "help"},
		{Flags: []string{"config"}},
		{Flags: []string{"more"}, Nargs: Any},
		{Flags: []string{"-v", "--verbose"}, Action: "count"},
		{Flags: []string{"--gpus"}, Type: Int, Default: star.MakeInt(8)},
		{Flags: []string{"--gpu-ids"}, Type: Int, Nargs: Some},
		{Flags: []string{"--price"}, Type: Float, Nargs: Optional, Const: star.Float(1)},
		{Flags: []string{"-x"}, Nargs: "2", Action: "append"},
		{Flags: []string{"--mode"}, Choices: []star.Value{star.String("a"), star.String("b")}},
	} {
		if err := p.Add(a, nil); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// FuzzParse gives a parser any command line: it has values, or an error of the user's.
func FuzzParse(f *testing.F) {
	for _, line := range []string{"c", "c --gpus 2 a b", "-vvx 1 2 c", "--gpu-ids 1 2 -- c", "--price c", "--gp 1", "-", "-- --", "--=", "-=", "-x=", "é -é", "--mode=c"} {
		f.Add(line)
	}
	p := newParser(f)
	f.Fuzz(func(t *testing.T, line string) {
		values, err := p.Parse(strings.Split(line, " "), 40, nil)
		var (
			usage *UsageError
			shown *Shown
		)
		if (err == nil) != (len(values) == 8) || err != nil && !errors.As(err, &usage) && !errors.As(err, &shown) {
			t.Errorf("Parse(%q) = %v, %v", line, values, err)
		}
	})
}

// FuzzWrap wraps any text: no line is too long, and no letter is lost.
func FuzzWrap(f *testing.F) {
	f.Add("a well-known compound-word -- and so on", 7)
	f.Add("averylongwordthatfitsnowhere-at-all", 5)
	f.Fuzz(func(t *testing.T, text string, width int) {
		text = strings.Join(strings.Fields(text), " ")
		width = min(max(width, 1), 200)
		lines := wrap(text, width)
		for _, line := range lines {
			if length(line) > width {
				t.Errorf("wrap(%q, %d) has the line %q", text, width, line)
			}
		}
		letters := func(s string) string { return strings.ReplaceAll(s, " ", "") }
		if got := letters(strings.Join(lines, "")); got != letters(string([]rune(text))) {
			t.Errorf("wrap(%q, %d) = %q", text, width, lines)
		}
	})
}

// TestNumbers has what Python 3.11 makes of texts with int(text) and float(text).
func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, asInt, asFloat string }{
		{"8", "8", "8.0"},
		{" 5 ", "5", "5.0"},
		{"+5", "5", "5.0"},
		{"-0", "0", "-0.0"},
		{"1_000", "1000", "1000.0"},
		{"1__000", "", ""},
		{"_1", "", ""},
		{"0x10", "", ""},
		{"010", "10", "10.0"},
		{"1.0", "", "1.0"},
		{"1.", "", "1.0"},
		{".5", "", "0.5"},
		{".", "", ""},
		{"1e3", "", "1000.0"},
		{"1e", "", ""},
		{"1_0.0_1", "", "10.01"},
		{"inf", "", "+inf"},
		{"-Infinity", "", "-inf"},
		{"nan", "", "nan"},
		{"0x1p4", "", ""},
		{"", "", ""},
		{"1 2", "", ""},
		{"99999999999999999999", "99999999999999999999", "1e+20"},
	} {
		shown := func(make func(string) (star.Value, bool)) string {
			v, ok := make(test.text)
			if !ok {
				return ""
			}
			return v.String()
		}
		if got := shown(func(text string) (star.Value, bool) { return ParseInt(text, 10) }); got != test.asInt {
			t.Errorf("int(%q) = %q, want %q", test.text, got, test.asInt)
		}
		if got := shown(ParseFloat); got != test.asFloat {
			t.Errorf("float(%q) = %q, want %q", test.text, got, test.asFloat)
		}
	}
}

// TestQuote has Python's repr of strings.
func TestQuote(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a":      `'a'`,
		"it's":   `"it's"`,
		`'"`:     `'\'"'`,
		"a\nb\t": `'a\nb\t'`,
		`\`:      `'\\'`,
		"é\x01":  `'é\x01'`,
		"\u200b": `'\u200b'`,
		"\xff":   `'\udcff'`,
	} {
		if got := Quote(text); got != want {
			t.Errorf("Quote(%q) = %s, want %s", text, got, want)
		}
	}
}

func ExampleParser_Parse() {
	p := New("deploy.star")
	if err := p.Add(Action{Flags: []string{"--gpus"}, Type: Int, Default: star.MakeInt(8)}, nil); err != nil {
		fmt.Println(err)
	}
	values, err := p.Parse([]string{"--gp=2"}, DefaultWidth, nil)
	fmt.Println(values, err)
	_, err = p.Parse([]string{"--gpus", "two"}, DefaultWidth, nil)
	fmt.Println(err)
	// Output:
	// [{gpus 2}] <nil>
	// argument --gpus: invalid int value: 'two'
}

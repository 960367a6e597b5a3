package starlark

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	star "go.starlark.net/starlark"
)

// TestPercent has for every format what Python 3.11 makes of format % args.
func TestPercent(t *testing.T) {
	t.Parallel()
	s, i, f := func(s string) star.Value { return star.String(s) }, func(i int) star.Value { return star.MakeInt(i) }, func(f float64) star.Value { return star.Float(f) }
	for _, test := range []struct {
		format string
		args   star.Tuple
		want   string // "! " and a part of the error, for which Python has an exception
	}{
		{"%s %s", star.Tuple{s("a"), i(1)}, "a 1"},
		{"%%", star.Tuple{}, "%"},
		{"%d%%", star.Tuple{i(90)}, "90%"},
		{"%5d|%-5d|%05d|%+d|% d|%+d", star.Tuple{i(42), i(42), i(42), i(42), i(42), i(-42)}, "   42|42   |00042|+42| 42|-42"},
		{"%05d|%.3d|%6.3d|%-6.3d|", star.Tuple{i(-42), i(7), i(7), i(7)}, "-0042|007|   007|007   |"},
		{"%d %i %u", star.Tuple{f(3.99), f(-3.99), star.True}, "3 -3 1"},
		{"%x %X %o %#x %#X %#o", star.Tuple{i(255), i(255), i(8), i(255), i(255), i(8)}, "ff FF 10 0xff 0XFF 0o10"},
		{"%x|%08x|%#010x", star.Tuple{i(-255), i(255), i(255)}, "-ff|000000ff|0x000000ff"},
		{"%f %.2f %.0f %8.3f|%-8.1f|%08.2f", star.Tuple{f(1), f(2.675), f(2.5), f(3.14159), f(1), f(-1.5)}, "1.000000 2.67 2    3.142|1.0     |-0001.50"},
		{"%.2f %f", star.Tuple{i(3), star.True}, "3.00 1.000000"},
		{"%e %E %.1e", star.Tuple{f(12345.678), f(0.00012), f(1e100)}, "1.234568e+04 1.200000E-04 1.0e+100"},
		{"%g %g %g %g %g %g %G", star.Tuple{f(1e5), f(123456), f(1234567), f(0.0001), f(0.00001), f(1.5), f(1e-10)}, "100000 123456 1.23457e+06 0.0001 1e-05 1.5 1E-10"},
		{"%.3g %.10g %.0g %g", star.Tuple{f(1234), f(0.1), f(25), f(0)}, "1.23e+03 0.1 2e+01 0"},
		{"%f %g %F %+f %5f|", star.Tuple{f(math.Inf(1)), f(math.NaN()), f(math.Inf(-1)), f(math.Inf(1)), f(math.NaN())}, "inf nan -INF +inf   nan|"},
		{"%10s|%-10s|%.2s|%5.1s|%05s", star.Tuple{s("ab"), s("ab"), s("abc"), s("abc"), s("ab")}, "        ab|ab        |ab|    a|   ab"},
		{"%3s|%-3s|", star.Tuple{s("ü"), s("日")}, "  ü|日  |"},
		{"%*d|%-*d|%.*f|%*d|", star.Tuple{i(5), i(42), i(5), i(42), i(2), f(3.14159), i(-5), i(42)}, "   42|42   |3.14|42   |"},
		{"%c%c", star.Tuple{s("x"), i(228)}, "xä"},
		{"%ld %hd", star.Tuple{i(1), i(2)}, "1 2"},
		{"%s", star.Tuple{star.Tuple{i(1), i(2)}}, "(1, 2)"},
		{"%s %r", star.Tuple{star.None, star.None}, "None None"},
		{"%d", star.Tuple{s("a")}, "! %d format: a real number is required, not str"},
		{"%x", star.Tuple{f(1)}, "! %x format: an integer is required, not float"},
		{"%f", star.Tuple{s("a")}, "! must be real number, not str"},
		{"%d", star.Tuple{f(math.NaN())}, "! cannot convert float"},
		{"%c", star.Tuple{s("ab")}, "! %c requires int or char"},
		{"%s %s", star.Tuple{i(1)}, "! not enough arguments for format string"},
		{"%s", star.Tuple{i(1), i(2)}, "! not all arguments converted during string formatting"},
		{"x", star.Tuple{i(1)}, "! not all arguments converted during string formatting"},
		{"%", star.Tuple{i(1)}, "! incomplete format"},
		{"%5", star.Tuple{i(1)}, "! incomplete format"},
		{"%y", star.Tuple{i(1)}, "! unsupported format character 'y'"},
		{"%(a)s", star.Tuple{i(1)}, "! format requires a mapping"},
		{"%(a", star.Tuple{star.NewDict(0)}, "! incomplete format key"},
		{"%(a)s", star.Tuple{star.NewDict(0)}, `! key not found: a`},
		{"%99999999999d", star.Tuple{i(1)}, "! at most 4096"}, // Python would make it
	} {
		got, err := percent(test.format, test.args, 1<<20)
		if err != nil {
			got = "! " + err.Error()
		}
		if wanted, fails := strings.CutPrefix(test.want, "! "); got != test.want && !(fails && err != nil && strings.Contains(err.Error(), wanted)) {
			t.Errorf("%q %% %s = %q, want %q", test.format, test.args, got, test.want)
		}
	}
}

// TestPercentGrows wants an end of texts that grow by their widths, which no size of a value shows.
func TestPercentGrows(t *testing.T) {
	t.Parallel()
	_, err := percent(strings.Repeat("%4096s", 1000), slices.Repeat(star.Tuple{star.String("a")}, 1000), 1<<20)
	var limit *LimitError
	if !errors.As(err, &limit) || limit.Got > 2<<20 {
		t.Errorf("percent = %v, want a *LimitError", err)
	}
}

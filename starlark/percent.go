package starlark

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	star "go.starlark.net/starlark"
)

// maxWidth is the width or precision in characters up to which a conversion is taken for one.
const maxWidth = 4096

// Percent is Python's operator % for strings, with the widths and precisions that the interpreter's lacks. A
// text that gets larger than what a run may hold is a *LimitError.
func (t *Thread) Percent(format string, args star.Tuple) (string, error) {
	return percent(format, args, int(min(t.run.limits.Heap, NoLimit)))
}

func percent(format string, args star.Tuple, most int) (string, error) {
	f := formatter{args: args}
	if len(args) == 1 {
		f.byName, _ = args[0].(star.Mapping)
	}
	for {
		i := strings.IndexByte(format, '%')
		if i < 0 {
			break
		}
		f.b.WriteString(format[:i])
		rest, err := f.conversion(format[i+1:])
		if err != nil {
			return "", err
		}
		if f.b.Len() > most {
			return "", &LimitError{Limit: "value", What: "%", Max: int64(most), Got: int64(f.b.Len())}
		}
		format = rest
	}
	f.b.WriteString(format)
	if f.next < len(f.args) && !(f.byName != nil && f.next == 0) {
		return "", errors.New("not all arguments converted during string formatting")
	}
	return f.b.String(), nil
}

type formatter struct {
	b      strings.Builder
	args   star.Tuple
	next   int
	byName star.Mapping // of %(name)s; nil when there is none
}

// A spec is one conversion: flags, width, precision.
type spec struct {
	left, zero, plus, space, alt bool
	width, precision             int // precision -1: none
}

func (f *formatter) arg() (star.Value, error) {
	if f.next == len(f.args) {
		return nil, errors.New("not enough arguments for format string")
	}
	f.next++
	return f.args[f.next-1], nil
}

// conversion writes what the conversion at the start of s makes and returns what follows it.
func (f *formatter) conversion(s string) (string, error) {
	if strings.HasPrefix(s, "%") {
		f.b.WriteByte('%')
		return s[1:], nil
	}
	var named star.Value
	if strings.HasPrefix(s, "(") {
		name, rest, closed := strings.Cut(s[1:], ")")
		if !closed {
			return "", errors.New("incomplete format key")
		}
		if f.byName == nil {
			return "", errors.New("format requires a mapping")
		}
		v, found, err := f.byName.Get(star.String(name))
		if err != nil || !found {
			return "", fmt.Errorf("key not found: %s", name)
		}
		named, s = v, rest
	}
	var sp spec
	for flags := true; flags && s != ""; {
		switch s[0] {
		case '-':
			sp.left = true
		case '0':
			sp.zero = true
		case '+':
			sp.plus = true
		case ' ':
			sp.space = true
		case '#':
			sp.alt = true
		default:
			flags = false
			continue
		}
		s = s[1:]
	}
	var err error
	if sp.width, s, err = f.size(s); err != nil {
		return "", err
	}
	if sp.width < 0 {
		sp.left, sp.width = true, -sp.width
	}
	sp.precision = -1
	if strings.HasPrefix(s, ".") {
		if sp.precision, s, err = f.size(s[1:]); err != nil {
			return "", err
		}
		sp.precision = max(sp.precision, 0)
	}
	s = strings.TrimLeft(s, "hlL")
	if s == "" {
		return "", errors.New("incomplete format")
	}
	verb, size := utf8.DecodeRuneInString(s)
	v := named
	if v == nil {
		if v, err = f.arg(); err != nil {
			return "", err
		}
	}
	text, err := sp.convert(verb, v)
	f.b.WriteString(text)
	return s[size:], err
}

// size reads a width or precision, * for the next argument.
func (f *formatter) size(s string) (int, string, error) {
	if strings.HasPrefix(s, "*") {
		v, err := f.arg()
		if err != nil {
			return 0, "", err
		}
		n, err := star.AsInt32(v)
		if err != nil || n > maxWidth || n < -maxWidth {
			return 0, "", fmt.Errorf("* wants an int up to %d", maxWidth)
		}
		return n, s[1:], nil
	}
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	if digits == 0 {
		return 0, s, nil
	}
	n, err := strconv.Atoi(s[:digits])
	if err != nil || n > maxWidth {
		return 0, "", fmt.Errorf("widths and precisions are at most %d", maxWidth)
	}
	return n, s[digits:], nil
}

func (sp spec) convert(verb rune, v star.Value) (string, error) {
	switch verb {
	case 's', 'r', 'a':
		if verb == 's' {
			return sp.text(Text(v)), nil
		}
		return sp.text(Repr(v)), nil
	case 'c':
		if s, ok := star.AsString(v); ok && utf8.RuneCountInString(s) == 1 {
			return sp.text(s), nil
		}
		if n, err := star.AsInt32(v); err == nil && n >= 0 && n <= utf8.MaxRune {
			return sp.text(string(rune(n))), nil
		}
		return "", errors.New("%c requires int or char")
	case 'd', 'i', 'u':
		if f, ok := v.(star.Float); ok {
			if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
				return "", fmt.Errorf("cannot convert float %s to integer", v)
			}
			v = star.Float(math.Trunc(float64(f)))
			whole, err := star.NumberToInt(v)
			if err != nil {
				return "", err
			}
			return sp.digits(whole, 10, ""), nil
		}
		whole, ok := AsInt(v)
		if !ok {
			return "", fmt.Errorf("%%%c format: a real number is required, not %s", verb, v.Type())
		}
		return sp.digits(whole, 10, ""), nil
	case 'x', 'X', 'o':
		whole, ok := AsInt(v)
		if !ok {
			return "", fmt.Errorf("%%%c format: an integer is required, not %s", verb, v.Type())
		}
		switch verb {
		case 'o':
			return sp.digits(whole, 8, "0o"), nil
		case 'X':
			return strings.ToUpper(sp.digits(whole, 16, "0x")), nil
		}
		return sp.digits(whole, 16, "0x"), nil
	case 'e', 'E', 'f', 'F', 'g', 'G':
		if whole, ok := AsInt(v); ok {
			v = whole
		}
		f, ok := star.AsFloat(v)
		if !ok {
			return "", fmt.Errorf("must be real number, not %s", v.Type())
		}
		return sp.float(byte(verb), f), nil
	}
	return "", fmt.Errorf("unsupported format character %q", verb)
}

// AsInt returns a whole number, and takes True and False for 1 and 0, as Python does.
func AsInt(v star.Value) (star.Int, bool) {
	if b, ok := v.(star.Bool); ok {
		if b {
			return star.MakeInt(1), true
		}
		return star.MakeInt(0), true
	}
	i, ok := v.(star.Int)
	return i, ok
}

func (sp spec) text(s string) string {
	if sp.precision >= 0 && utf8.RuneCountInString(s) > sp.precision {
		s = string([]rune(s)[:sp.precision])
	}
	sp.zero = false
	return sp.pad("", s)
}

func (sp spec) digits(i star.Int, base int, prefix string) string {
	digits := i.BigInt().Text(base)
	sign := sp.sign(strings.HasPrefix(digits, "-"))
	digits = strings.TrimPrefix(digits, "-")
	if len(digits) < sp.precision {
		digits = strings.Repeat("0", sp.precision-len(digits)) + digits
	}
	if sp.alt {
		sign += prefix
	}
	return sp.pad(sign, digits)
}

func (sp spec) float(verb byte, f float64) string {
	upper := verb >= 'A' && verb <= 'Z'
	precision := sp.precision
	if precision < 0 {
		precision = 6
	}
	if lower := verb | 0x20; lower == 'g' && precision == 0 {
		precision = 1
	}
	sign := sp.sign(math.Signbit(f) && !math.IsNaN(f))
	text := strconv.FormatFloat(math.Abs(f), verb|0x20, precision, 64)
	switch {
	case math.IsInf(f, 0):
		text = "inf"
	case math.IsNaN(f):
		text = "nan"
	}
	if upper {
		text = strings.ToUpper(text)
	}
	return sp.pad(sign, text)
}

func (sp spec) sign(negative bool) string {
	switch {
	case negative:
		return "-"
	case sp.plus:
		return "+"
	case sp.space:
		return " "
	}
	return ""
}

func (sp spec) pad(sign, text string) string {
	missing := sp.width - len(sign) - utf8.RuneCountInString(text)
	switch {
	case missing <= 0:
		return sign + text
	case sp.left:
		return sign + text + strings.Repeat(" ", missing)
	case sp.zero:
		return sign + strings.Repeat("0", missing) + text
	}
	return strings.Repeat(" ", missing) + sign + text
}

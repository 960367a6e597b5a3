package argparse

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

var (
	pythonDigits = lazyregexp.New(`^[0-9a-z]+(_[0-9a-z]+)*$`)
	pythonFloat  = lazyregexp.New(`(?i)^[+-]?(\d+(_\d+)*\.?(\d+(_\d+)*)?|\.\d+(_\d+)*)(e[+-]?\d+(_\d+)*)?$`)
	pythonWords  = lazyregexp.New(`(?i)^[+-]?(inf|infinity|nan)$`)
)

// ParseInt is Python's int(text, base): " 5 " and "1_000" are numbers, "0x10" is one in base 16 and 0, and
// "1.0" is none. The base is 0 or from 2 to 36.
func ParseInt(text string, base int) (star.Value, bool) {
	digits := strings.ToLower(strings.TrimFunc(text, unicode.IsSpace))
	negative := strings.HasPrefix(digits, "-")
	if negative || strings.HasPrefix(digits, "+") {
		digits = digits[1:]
	}
	if len(digits) > 2 && digits[0] == '0' {
		of := map[byte]int{'x': 16, 'o': 8, 'b': 2}[digits[1]]
		if of != 0 && (base == of || base == 0) {
			digits, base = strings.TrimPrefix(digits[2:], "_"), of
		}
	}
	if base == 0 {
		if digits != "" && digits[0] == '0' && strings.Trim(digits, "0_") != "" {
			return nil, false // 010 was octal once
		}
		base = 10
	}
	if !pythonDigits().MatchString(digits) {
		return nil, false
	}
	n, ok := new(big.Int).SetString(strings.ReplaceAll(digits, "_", ""), base)
	if !ok {
		return nil, false
	}
	if negative {
		n.Neg(n)
	}
	return star.MakeBigInt(n), true
}

// ParseFloat is Python's float(text).
func ParseFloat(text string) (star.Value, bool) {
	text = strings.TrimFunc(text, unicode.IsSpace)
	if !pythonFloat().MatchString(text) && !pythonWords().MatchString(text) {
		return nil, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	if err != nil && f == 0 {
		return nil, false
	}
	return star.Float(f), true // out of range is infinite
}

// Quote is Python's repr of a string.
func Quote(s string) string {
	q := '\''
	if strings.ContainsRune(s, '\'') && !strings.ContainsRune(s, '"') {
		q = '"'
	}
	var b strings.Builder
	b.WriteRune(q)
	for i, r := range s {
		switch {
		case r == q || r == '\\':
			b.WriteString(`\` + string(r))
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == unicode.ReplacementChar && s[i] != "\uFFFD"[0]: // a byte that is no text: Python's surrogate
			fmt.Fprintf(&b, `\udc%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteRune(q)
	return b.String()
}

// repr is Python's repr of a value, as far as the two languages have the same values.
func repr(v star.Value) string {
	switch v := v.(type) {
	case star.String:
		return Quote(string(v))
	case *star.List:
		return "[" + reprs(v) + "]"
	case star.Tuple:
		if len(v) == 1 {
			return "(" + repr(v[0]) + ",)"
		}
		return "(" + reprs(v) + ")"
	}
	return v.String()
}

func reprs(items star.Indexable) string {
	all := make([]string, items.Len())
	for i := range all {
		all[i] = repr(items.Index(i))
	}
	return strings.Join(all, ", ")
}

// str is Python's str of a value.
func str(v star.Value) string {
	if s, ok := star.AsString(v); ok {
		return s
	}
	return repr(v)
}

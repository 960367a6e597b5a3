package builtins

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	star "go.starlark.net/starlark"
)

// A jsonParser reads one JSON text as Python's decoder does, its messages included.
type jsonParser struct {
	op     string
	s      string
	i      int // offset of the next byte
	depth  int
	strict bool
}

func parseJSON(op, s string, strict bool) (star.Value, error) {
	p := &jsonParser{op: op, s: s, strict: strict}
	if !utf8.ValidString(s) {
		for p.i < len(s) {
			r, size := utf8.DecodeRuneInString(s[p.i:])
			if r == utf8.RuneError && size <= 1 {
				break
			}
			p.i += size
		}
		return nil, p.fail("the text is not UTF-8", p.i)
	}
	if strings.HasPrefix(s, "\ufeff") {
		return nil, p.fail("Unexpected UTF-8 BOM", 0)
	}
	p.space()
	v, err := p.value()
	if err != nil {
		return nil, err
	}
	if p.space(); p.i < len(s) {
		return nil, p.fail("Extra data", p.i)
	}
	return v, nil
}

func (p *jsonParser) fail(message string, at int) error {
	line, column := lineAndColumn(p.s, at)
	return dataError(p.op, fmt.Sprintf("%s: line %d column %d (char %d)", message, line, column, utf8.RuneCountInString(p.s[:at])))
}

func (p *jsonParser) space() {
	for p.i < len(p.s) && strings.IndexByte(" \t\n\r", p.s[p.i]) >= 0 {
		p.i++
	}
}

// next is the next byte, or 0 at the end.
func (p *jsonParser) next() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

var jsonWords = []struct {
	text  string
	value star.Value
}{
	{"null", star.None},
	{"true", star.True},
	{"false", star.False},
	{"NaN", notANumber},
	{"Infinity", infinity},
	{"-Infinity", -infinity},
}

func (p *jsonParser) value() (star.Value, error) {
	switch c := p.next(); {
	case c == '{':
		return p.nested(p.dict)
	case c == '[':
		return p.nested(p.list)
	case c == '"':
		s, err := p.text()
		return star.String(s), err
	}
	for _, word := range jsonWords {
		if strings.HasPrefix(p.s[p.i:], word.text) {
			p.i += len(word.text)
			return word.value, nil
		}
	}
	return p.number()
}

func (p *jsonParser) nested(read func() (star.Value, error)) (star.Value, error) {
	if p.depth++; p.depth > deepestNesting {
		return nil, p.fail(fmt.Sprintf("nested more than %d deep", deepestNesting), p.i)
	}
	defer func() { p.depth-- }()
	return read()
}

func (p *jsonParser) list() (star.Value, error) {
	p.i++
	var all []star.Value
	p.space()
	if p.next() == ']' {
		p.i++
		return star.NewList(nil), nil
	}
	for {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		all = append(all, v)
		p.space()
		switch p.next() {
		case ']':
			p.i++
			return star.NewList(all), nil
		case ',':
			p.i++
		default:
			return nil, p.fail("Expecting ',' delimiter", p.i)
		}
		p.space()
	}
}

func (p *jsonParser) dict() (star.Value, error) {
	p.i++
	dict := star.NewDict(0)
	p.space()
	if p.next() == '}' {
		p.i++
		return dict, nil
	}
	for {
		if p.next() != '"' {
			return nil, p.fail("Expecting property name enclosed in double quotes", p.i)
		}
		key, err := p.text()
		if err != nil {
			return nil, err
		}
		if p.space(); p.next() != ':' {
			return nil, p.fail("Expecting ':' delimiter", p.i)
		}
		p.i++
		p.space()
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		if err := dict.SetKey(star.String(key), v); err != nil {
			return nil, err
		}
		p.space()
		switch p.next() {
		case '}':
			p.i++
			return dict, nil
		case ',':
			p.i++
		default:
			return nil, p.fail("Expecting ',' delimiter", p.i)
		}
		p.space()
	}
}

// number reads -?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)? and leaves what does not fit.
func (p *jsonParser) number() (star.Value, error) {
	digits := func(i int) int {
		for i < len(p.s) && p.s[i] >= '0' && p.s[i] <= '9' {
			i++
		}
		return i
	}
	start, i := p.i, p.i
	if p.next() == '-' {
		i++
	}
	whole := digits(i)
	if whole == i {
		return nil, p.fail("Expecting value", start)
	}
	if p.s[i] == '0' {
		whole = i + 1
	}
	p.i = whole
	isFloat := false
	if p.next() == '.' {
		if end := digits(p.i + 1); end > p.i+1 {
			p.i, isFloat = end, true
		}
	}
	if c := p.next(); c == 'e' || c == 'E' {
		i := p.i + 1
		if i < len(p.s) && (p.s[i] == '+' || p.s[i] == '-') {
			i++
		}
		if end := digits(i); end > i {
			p.i, isFloat = end, true
		}
	}
	text := p.s[start:p.i]
	if isFloat {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) { // beyond the range is infinite, as in Python
			return nil, err
		}
		return star.Float(f), nil
	}
	if whole-i > longestInt {
		return nil, p.fail(fmt.Sprintf("an int of more than %d digits", longestInt), start)
	}
	n, _ := new(big.Int).SetString(text, 10)
	return star.MakeBigInt(n), nil
}

var jsonUnescapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// text reads a string in quotes.
func (p *jsonParser) text() (string, error) {
	open := p.i
	p.i++
	var b strings.Builder
	for {
		start := p.i
		for p.i < len(p.s) && p.s[p.i] != '"' && p.s[p.i] != '\\' && (p.s[p.i] >= 0x20 || !p.strict) {
			p.i++
		}
		b.WriteString(p.s[start:p.i])
		switch {
		case p.i == len(p.s):
			return "", p.fail("Unterminated string starting at", open)
		case p.s[p.i] == '"':
			p.i++
			return b.String(), nil
		case p.s[p.i] != '\\':
			return "", p.fail("Invalid control character at", p.i)
		case p.i+1 == len(p.s):
			return "", p.fail("Unterminated string starting at", open)
		}
		if c := p.s[p.i+1]; c != 'u' {
			plain, known := jsonUnescapes[c]
			if !known {
				return "", p.fail(`Invalid \escape`, p.i)
			}
			b.WriteByte(plain)
			p.i += 2
			continue
		}
		r, err := p.unicode()
		if err != nil {
			return "", err
		}
		b.WriteRune(r)
	}
}

// unicode reads \uXXXX, or two of them that make one character.
func (p *jsonParser) unicode() (rune, error) {
	at := p.i
	r, err := p.hex()
	if err != nil {
		return 0, err
	}
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	if strings.HasPrefix(p.s[p.i:], `\u`) {
		low, err := p.hex()
		if err != nil {
			return 0, err
		}
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, nil
		}
	}
	return 0, p.fail(fmt.Sprintf(`\u%04x is half a character`, r), at)
}

func (p *jsonParser) hex() (rune, error) {
	digits := p.s[min(p.i+2, len(p.s)):min(p.i+6, len(p.s))]
	n, err := strconv.ParseUint(digits, 16, 16)
	if err != nil || len(digits) != 4 {
		return 0, p.fail(`Invalid \uXXXX escape`, p.i+1)
	}
	p.i += 6
	return rune(n), nil
}

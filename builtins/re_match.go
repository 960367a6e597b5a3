package builtins

import (
	"fmt"
	"regexp"
	"slices"
	"unicode"
	"unicode/utf8"
)

// A span is where groups matched: for each its start and end, -1 where it did not.
type span []int

func (s span) start() int { return s[0] }
func (s span) end() int   { return s[1] }

// The ways to hold a pattern against a text.
const (
	anywhere  = "%s"
	fromStart = `\A(?:%s)`
	whole     = `\A(?:%s)\z`
	inside    = `\A(?s:.)(?:%s)` // behind the first character
)

// fits refuses a text for which the engine would answer otherwise than Python.
func (p *pattern) fits(op, text string) error {
	if !p.word || p.flags&reASCII != 0 {
		return nil
	}
	for _, r := range text {
		if r >= utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsNumber(r)) {
			return &ArgError{
				Entry: op, Message: fmt.Sprintf(`pattern: it has a \b or \B, which the engine, Go's RE2, knows between ASCII letters only, and the text has %q`, r),
				Hint: `say flags = re.A, which Python has too, for letters of ASCII alone, or write the boundary out: (?:^|\s)`,
			}
		}
	}
	return nil
}

// find returns the first match, or nil.
func (p *pattern) find(text, way string) (span, error) {
	re := p.re
	if way != anywhere {
		var err error
		if re, err = regexp.Compile(fmt.Sprintf(way, p.code)); err != nil {
			return nil, err
		}
	}
	return p.span(re.FindStringSubmatchIndex(text), 0), nil
}

// span picks Python's groups out of those of the engine.
func (p *pattern) span(found []int, offset int) span {
	if found == nil {
		return nil
	}
	cut := -1 // in front of the line end that a $ stands before
	for _, tail := range p.tails {
		cut = max(cut, found[2*tail])
	}
	s := make(span, 0, 2*len(p.groups))
	for _, g := range p.groups {
		start, end := found[2*g], found[2*g+1]
		if cut >= 0 && end > cut {
			end = cut
		}
		if start >= 0 {
			start, end = start+offset, end+offset
		}
		s = append(s, start, end)
	}
	return s
}

// findAll returns the matches in their order, at most limit of them; 0 means all. The engine leaves
// out empty ones behind another match, which Python has.
func (p *pattern) findAll(text string, limit int) ([]span, error) {
	var all []span
	var behind *regexp.Regexp
	found := p.re.FindAllStringSubmatchIndex(text, -1)
	for i, f := range found {
		all = append(all, p.span(f, 0))
		end := f[1]
		if f[0] == end || i+1 < len(found) && found[i+1][0] == end {
			continue
		}
		if behind == nil {
			var err error
			if behind, err = regexp.Compile(fmt.Sprintf(inside, p.code)); err != nil {
				return nil, err
			}
		}
		_, size := utf8.DecodeLastRuneInString(text[:end])
		if at := behind.FindStringSubmatchIndex(text[end-size:]); at != nil && at[1] == size {
			at[0] = size
			all = append(all, p.span(at, end-size))
		}
	}
	if limit > 0 && len(all) > limit {
		all = slices.Clip(all[:limit])
	}
	return all, nil
}

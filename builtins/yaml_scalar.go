package builtins

import (
	"fmt"
	"strings"

	star "go.starlark.net/starlark"
)

const yamlBreaks = "\n\u0085\u2028\u2029"

// scalar writes text plain, or in the quotes that it needs.
func (w *yamlWriter) scalar(v star.Value, root, key bool) error {
	text, plain, err := w.text(v)
	if err != nil {
		return err
	}
	defer w.deeper(true, false)()
	mayPlain, maySingle := w.analyze(text)
	multiline := strings.ContainsAny(text, yamlBreaks)
	switch {
	case plain && mayPlain && (!key || text != "" && !multiline):
		w.plain([]rune(text), !key, root)
	case maySingle && (!key || !multiline):
		w.singleQuoted([]rune(text), !key)
	default:
		w.doubleQuoted([]rune(text), !key)
	}
	return nil
}

// analyze says how text may be written.
func (w *yamlWriter) analyze(text string) (plain, single bool) {
	if text == "" {
		return true, true
	}
	s := []rune(text)
	plain, single = !strings.HasPrefix(text, "---") && !strings.HasPrefix(text, "..."), true
	blank := func(i int) bool {
		return i < 0 || i >= len(s) || strings.ContainsRune("\x00 \t\r\n\u0085\u2028\u2029", s[i])
	}
	isBreak := func(i int) bool { return i >= 0 && i < len(s) && strings.ContainsRune(yamlBreaks, s[i]) }
	for i, r := range s {
		switch {
		case i == 0 && (strings.ContainsRune("#,[]{}&*!|>'\"%@`", r) || strings.ContainsRune("?:-", r) && blank(1)),
			i > 0 && (r == ':' && blank(i+1) || r == '#' && blank(i-1)):
			plain = false
		}
		switch {
		case isBreak(i):
			plain = false
			if i > 0 && s[i-1] == ' ' {
				single = false
			}
		case r == ' ':
			if i == 0 || i == len(s)-1 {
				plain = false
			}
			if isBreak(i - 1) {
				plain, single = false, false
			}
		}
		if r != '\n' && (r < 0x20 || r > 0x7e) && (!w.unicode || !yamlPrintable(r)) {
			plain, single = false, false
		}
	}
	return plain, single
}

func yamlPrintable(r rune) bool {
	return (r == 0x85 || r >= 0xa0 && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd || r >= 0x10000 && r < 0x10ffff) && r != 0xfeff
}

func (w *yamlWriter) plain(s []rune, split, root bool) {
	w.openEnded = root
	if len(s) == 0 {
		return
	}
	if !w.whitespace {
		w.write(" ")
	}
	w.whitespace, w.indention = false, false
	start, spaces := 0, false
	for end := 0; end <= len(s); end++ {
		atEnd := end == len(s)
		if spaces {
			if atEnd || s[end] != ' ' {
				if start+1 == end && w.column > w.width && split {
					w.newline()
					w.whitespace, w.indention = false, false
				} else {
					w.write(string(s[start:end]))
				}
				start = end
			}
		} else if atEnd || s[end] == ' ' {
			w.write(string(s[start:end]))
			start = end
		}
		spaces = !atEnd && s[end] == ' '
	}
}

func (w *yamlWriter) singleQuoted(s []rune, split bool) {
	w.indicator("'", true, false, false)
	start, spaces, breaks := 0, false, false
	for end := 0; end <= len(s); end++ {
		atEnd := end == len(s)
		isBreak := !atEnd && strings.ContainsRune(yamlBreaks, s[end])
		switch {
		case spaces:
			if atEnd || s[end] != ' ' {
				if start+1 == end && w.column > w.width && split && start != 0 && !atEnd {
					w.newline()
				} else {
					w.write(string(s[start:end]))
				}
				start = end
			}
		case breaks:
			if !isBreak {
				if s[start] == '\n' {
					w.lineBreak('\n')
				}
				for _, r := range s[start:end] {
					w.lineBreak(r)
				}
				w.newline()
				start = end
			}
		case (atEnd || isBreak || s[end] == ' ' || s[end] == '\'') && start < end:
			w.write(string(s[start:end]))
			start = end
		}
		if !atEnd && s[end] == '\'' {
			w.write("''")
			start = end + 1
		}
		spaces, breaks = !atEnd && s[end] == ' ', isBreak
	}
	w.indicator("'", false, false, false)
}

var yamlEscapes = map[rune]string{
	0: "0", '\a': "a", '\b': "b", '\t': "t", '\n': "n", '\v': "v", '\f': "f", '\r': "r", 0x1b: "e", '"': `"`, '\\': `\`,
	0x85: "N", 0xa0: "_", 0x2028: "L", 0x2029: "P",
}

func (w *yamlWriter) doubleQuoted(s []rune, split bool) {
	w.indicator(`"`, true, false, false)
	start := 0
	for end := 0; end <= len(s); end++ {
		atEnd := end == len(s)
		var r rune
		if !atEnd {
			r = s[end]
		}
		literal := !atEnd && !strings.ContainsRune("\"\\\u0085\u2028\u2029\ufeff", r) &&
			(r >= 0x20 && r <= 0x7e || w.unicode && (r >= 0xa0 && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd))
		if !literal {
			if start < end {
				w.write(string(s[start:end]))
				start = end
			}
			if !atEnd {
				w.write(yamlEscape(r))
				start = end + 1
			}
		}
		if end > 0 && end < len(s)-1 && (r == ' ' || start >= end) && w.column+end-start > w.width && split {
			if start < end {
				w.write(string(s[start:end]))
				start = end
			}
			w.write(`\`)
			w.newline()
			w.whitespace, w.indention = false, false
			if s[start] == ' ' {
				w.write(`\`)
			}
		}
	}
	w.indicator(`"`, false, false, false)
}

func yamlEscape(r rune) string {
	name, named := yamlEscapes[r]
	switch {
	case named:
		return `\` + name
	case r <= 0xff:
		return fmt.Sprintf(`\x%02X`, r)
	case r <= 0xffff:
		return fmt.Sprintf(`\u%04X`, r)
	}
	return fmt.Sprintf(`\U%08X`, r)
}

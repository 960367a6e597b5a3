package starlark

import "strings"

// A bracket is an opening one in a source, with its place.
type bracket struct {
	char      byte
	line, col int // from 1, the column in characters
}

// scanBrackets calls visit with every bracket of the source that stands outside of strings and
// comments, in order. For those that close, open is the one that they close; its char is 0 where there
// is none.
func scanBrackets(source []string, visit func(b, open bracket)) {
	var open []bracket
	quote := "" // of the string that the scanner is in
	for i, text := range source {
		line := []rune(text)
		for j := 0; j < len(line); j++ {
			rest := string(line[j:])
			if quote != "" {
				switch {
				case line[j] == '\\':
					j++
				case strings.HasPrefix(rest, quote):
					j += len(quote) - 1
					quote = ""
				}
				continue
			}
			b := bracket{line: i + 1, col: j + 1}
			switch line[j] {
			case '#':
				j = len(line)
			case '"', '\'':
				quote = string(line[j])
				if triple := strings.Repeat(quote, 3); strings.HasPrefix(rest, triple) {
					quote = triple
					j += 2
				}
			case '(', '[', '{':
				b.char = byte(line[j])
				visit(b, bracket{})
				open = append(open, b)
			case ')', ']', '}':
				b.char = byte(line[j])
				last := bracket{}
				if len(open) > 0 {
					last = open[len(open)-1]
					open = open[:len(open)-1]
				}
				visit(b, last)
			}
		}
		if len(quote) == 1 && !strings.HasSuffix(text, `\`) {
			quote = "" // not closed on its line: an error of its own
		}
	}
}

// neverClosed returns the innermost bracket that nothing closes up to the end of the source; its
// char is 0 where there is none.
func neverClosed(source []string) bracket {
	open := stillOpen(source)
	if len(open) == 0 {
		return bracket{}
	}
	return open[len(open)-1]
}

// stillOpen are the brackets that nothing closes up to the end of the source, outermost first.
func stillOpen(source []string) []bracket {
	var open []bracket
	scanBrackets(source, func(b, _ bracket) {
		if strings.IndexByte("([{", b.char) >= 0 {
			open = append(open, b)
		} else if len(open) > 0 {
			open = open[:len(open)-1]
		}
	})
	return open
}

// startOfStatement returns the line of the outermost bracket that is open where line begins, or line.
func startOfStatement(source []string, line int) int {
	if open := stillOpen(source[:line-1]); len(open) > 0 {
		return open[0].line
	}
	return line
}

// endOfStatement returns the line on which the brackets that line opens are closed.
func endOfStatement(source []string, line int) int {
	depth, end := 0, line
	scanBrackets(source[line-1:], func(b, _ bracket) {
		if depth == 0 && b.line > 1 {
			return
		}
		if strings.IndexByte("([{", b.char) >= 0 {
			depth++
		} else {
			depth = max(0, depth-1)
		}
		end = line - 1 + b.line
	})
	return end
}

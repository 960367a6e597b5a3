package starlark

import (
	"fmt"
	"strings"
	"unicode"
)

// maxExcerpt is the width in characters beyond which a source line is shown in part.
const maxExcerpt = 120

// at is a place as people read it.
func at(file string, line int) string {
	if line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// writeMessage writes a message; its further lines are indented beneath the first.
func writeMessage(b *strings.Builder, message string) {
	b.WriteString(strings.ReplaceAll(printable(strings.TrimRight(message, "\n")), "\n", "\n  "))
	b.WriteByte('\n')
}

// writePlaced writes the first line of a message, the lines of the source that it is about, and what
// else the message says.
func writePlaced(b *strings.Builder, message string, source []string, line, col int) {
	first, details, more := strings.Cut(strings.TrimRight(message, "\n"), "\n")
	writeMessage(b, first)
	writeExcerpt(b, source, line, col)
	if more {
		b.WriteString("  ")
		writeMessage(b, details)
	}
}

func writeHint(b *strings.Builder, hint string) {
	if hint == "" {
		return
	}
	b.WriteString("  hint: ")
	b.WriteString(strings.ReplaceAll(printable(strings.TrimRight(hint, "\n")), "\n", "\n        "))
	b.WriteByte('\n')
}

// writeExcerpt writes a line of source, the one before it and a caret under the column.
func writeExcerpt(b *strings.Builder, source []string, line, col int) {
	if line < 1 || line > len(source) {
		return
	}
	text := []rune(source[line-1])
	col = min(startOfName(text, col), len(text)+1)
	first := 0
	if len(text) > maxExcerpt { // a window around the column
		first = max(0, min(col-1-maxExcerpt/2, len(text)-maxExcerpt))
		text = text[first:min(len(text), first+maxExcerpt)]
	}
	if before := line - 1; before >= 1 && strings.TrimSpace(source[before-1]) != "" && first == 0 {
		fmt.Fprintf(b, "%5d | %s\n", before, clip(source[before-1]))
	}
	fmt.Fprintf(b, "%5d | %s\n", line, printable(string(text)))
	if col < 1 {
		return
	}
	var pad strings.Builder // tabs stay tabs, so that the caret stands where the column is
	for _, r := range text[:max(0, min(col-1-first, len(text)))] {
		if r == '\t' {
			pad.WriteRune('\t')
		} else {
			pad.WriteByte(' ')
		}
	}
	fmt.Fprintf(b, "      | %s^\n", pad.String())
}

// startOfName moves a column from the parenthesis of a call, where the interpreter sees it, to the
// start of the name that is called, where a reader looks.
func startOfName(text []rune, col int) int {
	if col < 2 || col > len(text) || text[col-1] != '(' {
		return col
	}
	i := col - 1
	for i > 0 && (text[i-1] == '.' || isNameRune(text[i-1])) {
		i--
	}
	return i + 1
}

// startOfToken moves a column from behind a token, where the parser stands when it refuses one, to the
// token's start.
func startOfToken(message string, text []rune, col int) int {
	token, found := strings.CutPrefix(message, "got ")
	token, wanted, _ := strings.Cut(token, ", want ")
	if !found || wanted == "primary expression" || col < 2 || col > len(text)+1 {
		return col
	}
	if strings.HasPrefix(token, "'") { // punctuation, as it is written
		return max(1, col-(len(token)-2))
	}
	i := col - 2 // the token's last character
	switch last := text[i]; {
	case last == '"' || last == '\'':
		for j := i - 1; j >= 0; j-- {
			if text[j] == last && (j == 0 || text[j-1] != '\\') {
				return j + 1
			}
		}
	case isNameRune(last):
		for i > 0 && isNameRune(text[i-1]) {
			i--
		}
	}
	return i + 1
}

func isNameRune(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

func clip(line string) string {
	if text := []rune(line); len(text) > maxExcerpt {
		return printable(string(text[:maxExcerpt])) + "…"
	}
	return printable(line)
}

// printable replaces control characters, for a message may quote what a remote program wrote.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

func splitLines(source []byte) []string {
	lines := strings.Split(string(source), "\n")
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\r")
	}
	return lines
}

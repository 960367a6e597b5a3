package starlark

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.starlark.net/syntax"
)

// importLine is Python's import statement, which a script that is being ported has many of.
var importLine = regexp.MustCompile(`^\s*(import|from)\s+[\w.]`)

// maxImports is how many of them are reported: each costs reading the file once more.
const maxImports = 50

// parse returns the module's syntax tree, or nil when it has a syntax error. The parser stops at the
// first one; only imports are reported all at once, and what follows them.
func (g *graph) parse(m *module, source []byte, options *syntax.FileOptions) *syntax.File {
	lines := append([]string(nil), m.source...)
	text, clean := string(source), true
	for range maxImports {
		file, err := options.Parse(m.name, text, 0)
		if err == nil {
			if clean {
				return file
			}
			return nil
		}
		clean = false
		var wrong syntax.Error
		if !errors.As(err, &wrong) {
			g.fail(m, syntax.Position{}, "syntax", err)
			return nil
		}
		pos, reason := syntaxPlace(lines, wrong)
		g.fail(m, pos, "syntax", reason)
		at := int(pos.Line)
		if at < 1 || at > len(lines) || !importLine.MatchString(lines[at-1]) {
			return nil
		}
		indent := lines[at-1][:len(lines[at-1])-len(strings.TrimLeft(lines[at-1], " \t"))]
		end := endOfStatement(lines, at)
		lines[at-1] = indent + "pass"
		for i := at; i < end; i++ {
			lines[i] = ""
		}
		text = strings.Join(lines, "\n")
	}
	return nil
}

// syntaxPlace returns where a reader looks for a syntax error, and what it is. The parser stands
// behind the token that it refuses, often on the next line.
func syntaxPlace(source []string, wrong syntax.Error) (syntax.Position, error) {
	pos, message := wrong.Pos, wrong.Msg
	if strings.HasPrefix(message, "got ") {
		if b := neverClosed(source); b.char != 0 && (b.line < int(pos.Line) || b.line == int(pos.Line) && b.col < int(pos.Col)) &&
			!strings.HasPrefix(message, "got string literal") {
			pos.Line, pos.Col = int32(b.line), int32(b.col)
			return pos, &fileError{message: fmt.Sprintf("'%c' is never closed", b.char)}
		}
	}
	line, col := int(pos.Line), int(pos.Col)
	text := func() []rune {
		if line < 1 || line > len(source) {
			return nil
		}
		return []rune(source[line-1])
	}
	switch {
	case strings.HasPrefix(message, "got newline"), strings.HasPrefix(message, "got end of file"):
		for line > 1 && (col <= 1 || line > len(source)) {
			line--
			code := stripComment(source[line-1])
			if col = len([]rune(code)) + 1; code == "" {
				col = 1
			}
		}
	case strings.HasPrefix(message, "got string literal"):
		line, col = startOfText(source, line, col)
		pos.Line = int32(line)
	default:
		col = startOfToken(message, text(), col)
	}
	pos.Line, pos.Col = int32(line), int32(col)
	return pos, errors.New(message)
}

// stripComment is a line of code without what follows it.
func stripComment(line string) string {
	if i := strings.LastIndex(line, " #"); i >= 0 && strings.Count(line[i:], `"`)%2 == 0 {
		line = line[:i]
	}
	return strings.TrimRight(line, " \t")
}

// startOfText moves a position from behind a string literal to its start, which of one in triple quotes
// may be lines above.
func startOfText(source []string, line, col int) (int, int) {
	if line < 1 || line > len(source) {
		return line, col
	}
	text := []rune(source[line-1])
	head := string(text[:max(0, min(col-1, len(text)))])
	for _, quote := range []string{`"""`, "'''"} {
		inner, triple := strings.CutSuffix(head, quote)
		if !triple {
			continue
		}
		for at := line; at >= 1; at-- {
			if i := strings.LastIndex(inner, quote); i >= 0 {
				return at, len([]rune(inner[:i])) + 1
			}
			if at > 1 {
				inner = source[at-2]
			}
		}
	}
	return line, startOfToken("got string literal, want newline", text, col)
}

package starlark

import (
	"errors"
	"fmt"
	"strings"

	"go.starlark.net/syntax"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// maxSyntax is how many syntax errors of a file are reported: each costs reading the file once more.
const maxSyntax = 100

// parse returns the module's syntax tree, or nil when it has a syntax error. The parser stops at the
// first one. A statement that is Python's, as the host's hint tells, is taken out and the rest read
// again, so that whoever ports a script sees all of them at once.
func (g *graph) parse(m *module, source []byte, options *syntax.FileOptions) *syntax.File {
	lines := append([]string(nil), m.source...)
	text, clean := string(source), true
	for range maxSyntax {
		file, err := options.Parse(m.name, text, 0)
		if err == nil {
			if clean {
				return file
			}
			return nil
		}
		var wrong syntax.Error
		if !errors.As(err, &wrong) {
			g.fail(m, syntax.Position{}, "syntax", err)
			return nil
		}
		pos, reason := syntaxPlace(lines, wrong)
		at := int(pos.Line)
		if clean || at < 1 || at > len(lines) || !handler().MatchString(lines[at-1]) {
			g.fail(m, pos, "syntax", reason)
		}
		clean = false
		if !g.foreign(lines, pos, reason.Error()) || !takeOut(lines, at) {
			return nil
		}
		text = strings.Join(lines, "\n")
	}
	return nil
}

var (
	importLine = lazyregexp.New(`^\s*(import|from)\s+[\w.]`)
	wholeLine  = lazyregexp.New(`^\s*(class|match)\s+\w`)
	decorator  = lazyregexp.New(`^\s*@\w`)
	handler    = lazyregexp.New(`^\s*(except|finally)\b`) // of a try, which was reported

	// Errors about lines, blocks and brackets may have their cause elsewhere.
	structural = lazyregexp.New(`^got (newline|end of file|indent|outdent|unindent|'[)\]}]')|want (indent|outdent)|^unindent|^unexpected (newline|EOF|')|is never closed$`)
)

// foreign reports whether the syntax error is a statement of Python's, and nothing that the rest depends on.
func (g *graph) foreign(lines []string, pos syntax.Position, message string) bool {
	if pos.Line < 1 || int(pos.Line) > len(lines) {
		return false
	}
	line := lines[pos.Line-1]
	if importLine().MatchString(line) {
		return true
	}
	return g.hint != nil && !structural().MatchString(message) && g.hint(message, line, int(pos.Col)) != ""
}

// takeOut puts a statement that does nothing in place of the one that has a line; a block stays. It
// reports whether it could: not where the statement may end anywhere, in a string of several lines.
func takeOut(lines []string, at int) bool {
	start := startOfStatement(lines, at)
	end := endOfStatement(lines, start)
	for end < len(lines) && strings.HasSuffix(lines[end-1], `\`) {
		end++
	}
	if decorator().MatchString(lines[start-1]) && end < len(lines) && wholeLine().MatchString(lines[end]) {
		end++
	}
	statement := strings.Join(lines[start-1:end], "\n")
	if strings.Count(statement, `"""`)%2 != 0 || strings.Count(statement, "'''")%2 != 0 {
		return false
	}
	indent := leading(lines[start-1])
	instead := "pass"
	switch {
	case wholeLine().MatchString(lines[end-1]): // what is in it belongs to it
		for end < len(lines) && (strings.TrimSpace(lines[end]) == "" || len(leading(lines[end])) > len(indent)) {
			end++
		}
	case strings.HasSuffix(stripComment(lines[end-1]), ":"):
		instead = "if True:"
	}
	lines[start-1] = indent + instead
	clear(lines[start:end])
	return true
}

func leading(line string) string { return line[:len(line)-len(strings.TrimLeft(line, " \t"))] }

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

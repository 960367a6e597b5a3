package starlark

import (
	"bytes"
	"errors"

	"go.starlark.net/syntax"
)

// CheckSyntax looks for syntax errors in one source text, of a script or a module, and for nothing
// else. The hint is that of Host.HabitHint, and may be nil. The error is a *StaticError.
func CheckSyntax(name string, source []byte, hint func(message, line string, col int) string) error {
	g := &graph{hint: hint, order: map[string]int{}}
	m := &module{name: name, source: splitLines(source)}
	source, err := readText(bytes.NewReader(source))
	if err != nil {
		g.fail(m, syntax.Position{}, "file", err)
		return g.err()
	}
	g.parseChecked(m, withoutBOM(source), &syntax.FileOptions{Set: true, TopLevelControl: true})
	return g.err()
}

// parseChecked is parse for sources that may be made to break the parser.
func (g *graph) parseChecked(m *module, source []byte, options *syntax.FileOptions) *syntax.File {
	if deep := checkNesting(m.name, source); deep != nil {
		g.fail(m, deep.Pos, "syntax", errors.New(deep.Msg))
		return nil
	}
	return g.parse(m, source, options)
}

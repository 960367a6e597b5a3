package starlark

import (
	"slices"
	"strings"

	"go.starlark.net/syntax"
)

// A ModuleDoc is what a module says about itself.
type ModuleDoc struct {
	Doc       string // its docstring; may be empty
	Functions []FunctionDoc
}

// A FunctionDoc is a function that others may load.
type FunctionDoc struct {
	Signature string // "hf_env(cache = None)"
	Doc       string // its docstring; may be empty
}

// DocOf reads the docstrings of a module's source. The error is a *StaticError.
func DocOf(name string, source []byte) (ModuleDoc, error) {
	if err := CheckSyntax(name, source, nil); err != nil {
		return ModuleDoc{}, err
	}
	m := &module{name: name, source: splitLines(withoutBOM(source)), entry: true}
	file := m.parsed()
	doc := ModuleDoc{Doc: docstring(file.Stmts)}
	for _, stmt := range file.Stmts {
		def, ok := stmt.(*syntax.DefStmt)
		if !ok || strings.HasPrefix(def.Name.Name, "_") {
			continue
		}
		doc.Functions = append(doc.Functions, FunctionDoc{Signature: m.signature(def), Doc: docstring(def.Body)})
	}
	return doc, nil
}

// signature is a function's head as it is written, on one line.
func (m *module) signature(def *syntax.DefStmt) string {
	params := make([]string, len(def.Params))
	for i, p := range def.Params {
		start, end := p.Span()
		params[i] = strings.TrimSpace(m.text(start, end))
	}
	return def.Name.Name + "(" + strings.Join(params, ", ") + ")"
}

// text is the source between two positions, on one line.
func (m *module) text(start, end syntax.Position) string {
	var parts []string
	for line := start.Line; line <= end.Line && int(line) <= len(m.source); line++ {
		text := []rune(m.source[line-1])
		from, to := 0, len(text)
		if line == end.Line {
			to = min(to, int(end.Col)-1)
		}
		if line == start.Line {
			from = min(to, int(start.Col)-1)
		}
		parts = append(parts, strings.TrimSpace(string(text[from:to])))
	}
	return strings.Join(parts, " ")
}

// docstring is the string that a body begins with, without its indentation.
func docstring(body []syntax.Stmt) string {
	if len(body) == 0 {
		return ""
	}
	expr, ok := body[0].(*syntax.ExprStmt)
	if !ok {
		return ""
	}
	literal, ok := expr.X.(*syntax.Literal)
	if !ok || literal.Token != syntax.STRING {
		return ""
	}
	text, _ := literal.Value.(string)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	indent := -1
	for _, line := range lines[1:] {
		if trimmed := strings.TrimLeft(line, " \t"); trimmed != "" && (indent < 0 || len(line)-len(trimmed) < indent) {
			indent = len(line) - len(trimmed)
		}
	}
	for i, line := range lines {
		if i > 0 {
			lines[i] = strings.TrimRight(line[min(max(indent, 0), len(line)):], " \t")
		}
	}
	return strings.Join(slices.Clip(lines), "\n")
}

package starlark

import (
	"slices"
	"strings"

	"go.starlark.net/resolve"
	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/bifrost-run/bifrost/starlark/spell"
)

// cutSuggestion takes the interpreter's "(did you mean x?)" off a message.
func cutSuggestion(message string) (text, suggested string) {
	text, rest, found := strings.Cut(message, " (did you mean ")
	suggested, closed := strings.CutSuffix(rest, "?)")
	if !found || !closed {
		return message, ""
	}
	return text, strings.TrimPrefix(suggested, ".")
}

func didYouMean(name string) string {
	if name == "" {
		return ""
	}
	return "did you mean " + name + "?"
}

// nearName returns the name that an undefined one at this place was likely meant to be: one of the
// functions around it, innermost first, of the file, of the host, or of Starlark itself.
func (g *graph) nearName(file *syntax.File, name string, pos syntax.Position) string {
	var names []string
	syntax.Walk(file, func(n syntax.Node) bool {
		if n == nil {
			return true
		}
		var function any
		switch n := n.(type) {
		case *syntax.DefStmt:
			function = n.Function
		case *syntax.LambdaExpr:
			function = n.Function
		}
		if f, ok := function.(*resolve.Function); ok && f != nil && within(n, pos) {
			names = append(bindings(f.Locals), names...)
		}
		return true
	})
	if m, ok := file.Module.(*resolve.Module); ok {
		names = append(append(names, bindings(m.Locals)...), bindings(m.Globals)...)
	}
	names = append(names, g.predeclared...)
	names = append(names, slices.Sorted(keys(star.Universe))...)
	return spell.Nearest(name, names)
}

func keys(d star.StringDict) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for name := range d {
			if !yield(name) {
				return
			}
		}
	}
}

func bindings(all []*resolve.Binding) []string {
	var names []string
	for _, b := range all {
		if b.First != nil {
			names = append(names, b.First.Name)
		}
	}
	return names
}

// within reports whether a position is in a node.
func within(n syntax.Node, pos syntax.Position) bool {
	start, end := n.Span()
	return !before(pos, start) && before(pos, end)
}

func before(a, b syntax.Position) bool { return a.Line < b.Line || a.Line == b.Line && a.Col < b.Col }

// nearKey returns the dict key that one which is missing was likely meant to be: the scripts say it
// somewhere, in a dict, a subscript or a keyword argument.
func nearKey(modules map[place]*module, key string) string {
	seen := map[string]bool{key: true}
	var names []string
	add := func(e syntax.Expr) {
		if lit, ok := e.(*syntax.Literal); ok {
			if s, ok := lit.Value.(string); ok && !seen[s] {
				seen[s] = true
				names = append(names, s)
			}
		}
	}
	for _, m := range modules {
		syntax.Walk(m.parsed(), func(n syntax.Node) bool {
			switch n := n.(type) {
			case *syntax.DictEntry:
				add(n.Key)
			case *syntax.IndexExpr:
				add(n.Y)
			}
			return true
		})
	}
	slices.Sort(names)
	return spell.Nearest(key, names)
}

// nearParam returns the parameter of the function at this line that a misspelt keyword was likely
// meant to be.
func (m *module) nearParam(line int, keyword string) string {
	var names []string
	syntax.Walk(m.parsed(), func(n syntax.Node) bool {
		def, ok := n.(*syntax.DefStmt)
		if !ok || int(def.Def.Line) != line {
			return true
		}
		for _, p := range def.Params {
			switch p := p.(type) {
			case *syntax.Ident:
				names = append(names, p.Name)
			case *syntax.BinaryExpr: // name = default
				if name, ok := p.X.(*syntax.Ident); ok {
					names = append(names, name.Name)
				}
			}
		}
		return true
	})
	return spell.Nearest(keyword, names)
}

// parsed is the module's syntax tree, anew: it is kept by nobody, for most scripts have no errors.
func (m *module) parsed() *syntax.File {
	options := &syntax.FileOptions{Set: true, TopLevelControl: m.entry}
	file, err := options.Parse(m.name, strings.Join(m.source, "\n"), 0)
	if err != nil {
		return &syntax.File{} // it was parsed before, so this does not happen
	}
	return file
}

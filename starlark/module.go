package starlark

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"go.starlark.net/resolve"
	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/bifrost-run/bifrost/starlark/spell"
)

// A module is one file of a script's graph, checked and compiled but not run.
type module struct {
	key     string
	name    string // as people see it
	pkg     string // the vendored module that it is of; "" for the project and the host's libraries
	source  []string
	entry   bool
	program *star.Program      // nil when the module has problems
	globals map[string]bool    // the names that others may load; nil when unknown
	loads   map[string]*module // by the text of the load; nil for those with problems
	main    *syntax.DefStmt    // entry only; nil when there is no main
}

// A graph is a script with all modules that it loads.
type graph struct {
	tree       *tree
	predeclare func(name string) bool
	hint       func(message, line string, col int) string // may be nil
	modules    map[string]*module                         // by key
	order      map[string]int                             // of the modules' names, the entry first
	stack      []visit
	problems   []Problem
}

// A visit is a module whose loads are being followed, for the chain of a cycle.
type visit struct {
	module *module
	line   int // of the load that leads on
}

// readGraph reads the entry and everything that it loads. The problems are those of the whole graph.
func (h *Host) readGraph(t *tree, entry string) (*module, *graph) {
	g := &graph{tree: t, predeclare: h.Predeclared.Has, hint: h.HabitHint, modules: map[string]*module{}, order: map[string]int{}}
	source, err := t.read(entry)
	if err != nil {
		g.fail(&module{name: t.name(entry)}, syntax.Position{}, "file", err)
		return nil, g
	}
	if strings.TrimSpace(string(source)) == "" {
		g.fail(&module{name: t.name(entry)}, syntax.Position{}, "file", &fileError{"is empty", "there is nothing to run"})
		return nil, g
	}
	return g.visit(entry, source, true), g
}

func (g *graph) fail(m *module, pos syntax.Position, kind string, err error) {
	p := Problem{File: m.name, Line: int(pos.Line), Col: int(pos.Col), Kind: kind, Message: err.Error(), source: m.source}
	var wrong *fileError
	if errors.As(err, &wrong) {
		p.Hint = wrong.hint
	}
	if p.Hint == "" && g.hint != nil {
		p.Hint = g.hint(p.Message, m.line(p.Line), p.Col)
	}
	g.problems = append(g.problems, p)
}

func (m *module) line(number int) string {
	if number < 1 || number > len(m.source) {
		return ""
	}
	return m.source[number-1]
}

// visit parses, follows the loads of, and compiles one file.
func (g *graph) visit(key string, source []byte, entry bool) *module {
	m := &module{key: key, name: g.tree.name(key), source: splitLines(source), entry: entry, loads: map[string]*module{}}
	g.modules[key] = m
	g.order[m.name] = len(g.order)
	options := &syntax.FileOptions{Set: true, TopLevelControl: entry}
	file, err := options.Parse(m.name, source, 0)
	if err != nil {
		var wrong syntax.Error
		if errors.As(err, &wrong) {
			wrong.Pos.Col = int32(startOfToken(wrong.Msg, []rune(m.line(int(wrong.Pos.Line))), int(wrong.Pos.Col)))
			g.fail(m, wrong.Pos, "syntax", errors.New(wrong.Msg))
		} else {
			g.fail(m, syntax.Position{}, "syntax", err)
		}
		return m
	}

	g.stack = append(g.stack, visit{module: m})
	for _, load := range loadsOf(file) {
		g.stack[len(g.stack)-1].line = int(load.Load.Line)
		g.load(m, load)
	}
	g.stack = g.stack[:len(g.stack)-1]
	if entry {
		m.main = g.checkMain(m, file)
	}

	program, err := star.FileProgram(file, g.predeclare)
	var wrong resolve.ErrorList
	switch {
	case errors.As(err, &wrong):
		g.failNames(m, wrong)
	case err != nil:
		g.fail(m, syntax.Position{}, "name", err)
	}
	if resolved, ok := file.Module.(*resolve.Module); ok {
		m.globals = map[string]bool{}
		for _, global := range resolved.Globals {
			m.globals[global.First.Name] = true
		}
	}
	m.program = program
	return m
}

// failNames reports what the resolver found. A name that is undefined is reported where it is first
// used, and is no suggestion for another one.
func (g *graph) failNames(m *module, wrong resolve.ErrorList) {
	undefined := map[string]bool{}
	for _, e := range wrong {
		kind, message := "syntax", e.Msg
		switch {
		case strings.HasPrefix(message, "undefined: "):
			name, near, _ := strings.Cut(strings.TrimPrefix(message, "undefined: "), " (did you mean ")
			if undefined[name] {
				continue
			}
			undefined[name] = true
			if kind = "name"; undefined[strings.TrimSuffix(near, "?)")] {
				message = "undefined: " + name
			}
		case strings.HasPrefix(message, "load: "):
			kind, message = "load", strings.TrimPrefix(message, "load: ")
		}
		g.fail(m, e.Pos, kind, errors.New(message))
	}
}

// loadsOf lists the loads at the top level. Those elsewhere are errors of the resolver.
func loadsOf(file *syntax.File) []*syntax.LoadStmt {
	var loads []*syntax.LoadStmt
	for _, stmt := range file.Stmts {
		if load, ok := stmt.(*syntax.LoadStmt); ok {
			loads = append(loads, load)
		}
	}
	return loads
}

// load follows one load statement of m.
func (g *graph) load(m *module, load *syntax.LoadStmt) {
	spec := load.ModuleName()
	pos := load.Module.TokenPos
	key, err := g.tree.resolve(m.key, spec)
	if err != nil {
		g.fail(m, pos, "load", g.about(spec, err))
		return
	}
	for i, v := range g.stack {
		if v.module.key == key {
			g.fail(m, pos, "load", cycleError(g.stack[i:], g.tree.name(key)))
			return
		}
	}
	target := g.modules[key]
	if target == nil {
		source, err := g.tree.read(key)
		if err != nil {
			g.fail(m, pos, "load", g.about(spec, err))
			return
		}
		target = g.visit(key, source, false)
	}
	m.loads[spec] = target
	if target.globals == nil {
		return // it has problems of its own, which are reported
	}
	for i, from := range load.From {
		if target.globals[from.Name] || strings.HasPrefix(from.Name, "_") { // the resolver refuses private names
			continue
		}
		wrong := &fileError{message: fmt.Sprintf("%s has no %s", target.name, from.Name)}
		if near := spell.Nearest(from.Name, target.public()); near != "" {
			wrong.hint = "did you mean " + near + "?"
		} else if names := target.public(); len(names) > 0 {
			wrong.hint = "it has " + strings.Join(names[:min(len(names), 12)], ", ")
		}
		// "x" and x = "y" differ in where the name stands; To is the one that is always in the source.
		pos := load.To[i].NamePos
		if from.NamePos.IsValid() {
			pos = from.NamePos
		}
		g.fail(m, pos, "load", wrong)
	}
}

func (m *module) public() []string {
	var names []string
	for name := range m.globals {
		if !strings.HasPrefix(name, "_") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// about puts the module's text in front of what is wrong with it.
func (g *graph) about(spec string, err error) error {
	var wrong *fileError
	if !errors.As(err, &wrong) {
		return fmt.Errorf("%q: %w", spec, err)
	}
	hint := wrong.hint
	if hint == "" && path.Ext(spec) == ".start" {
		hint = "modules end in .star"
	}
	return &fileError{fmt.Sprintf("%q %s", spec, wrong.message), hint}
}

func cycleError(chain []visit, back string) error {
	var b strings.Builder
	b.WriteString("modules load each other in a circle")
	for i, v := range chain {
		next := back
		if i+1 < len(chain) {
			next = chain[i+1].module.name
		}
		fmt.Fprintf(&b, "\n%s loads %s", at(v.module.name, v.line), next)
	}
	return &fileError{b.String(), "move what both need into a module of its own"}
}

// checkMain finds the function main of the entry file and refuses calls of it outside of functions.
func (g *graph) checkMain(m *module, file *syntax.File) *syntax.DefStmt {
	var main *syntax.DefStmt
	for _, stmt := range file.Stmts {
		if def, ok := stmt.(*syntax.DefStmt); ok && def.Name.Name == "main" {
			main = def
		}
	}
	if main == nil {
		return nil
	}
	if required := requiredParams(main); required > 1 {
		g.fail(m, main.Name.NamePos, "main", &fileError{
			fmt.Sprintf("main takes %d arguments; bifrost gives it one list or nothing", required),
			"write def main(argv): or def main():",
		})
	}
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.DefStmt, *syntax.LambdaExpr:
			return false
		case *syntax.CallExpr:
			if name, ok := n.Fn.(*syntax.Ident); ok && name.Name == "main" {
				g.fail(m, name.NamePos, "main", &fileError{
					"main is called here and again by bifrost once the file has loaded: everything would happen twice",
					"remove this call; bifrost calls main and takes the int that it returns as the exit code",
				})
			}
		}
		return true
	})
	return main
}

func requiredParams(def *syntax.DefStmt) int {
	count := 0
	for _, p := range def.Params {
		if _, ok := p.(*syntax.Ident); ok {
			count++
		}
	}
	return count
}

// takesArgv reports whether main has a parameter for the arguments.
func takesArgv(def *syntax.DefStmt) bool {
	if def == nil || len(def.Params) == 0 {
		return false
	}
	switch p := def.Params[0].(type) {
	case *syntax.Ident:
		return true
	case *syntax.BinaryExpr: // name = default
		return true
	case *syntax.UnaryExpr: // *args, not **kwargs
		return p.Op == syntax.STAR && p.X != nil
	}
	return false
}

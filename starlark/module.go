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
	place
	name    string // as people see it
	pkg     string // the vendored module that it is of; "" for the project and the host's libraries
	path    string // what the module sees as __file__
	source  []string
	entry   bool
	program *star.Program      // nil when the module has problems
	globals map[string]bool    // the names that others may load; nil when unknown
	loads   map[string]*module // by the text of the load; nil for those with problems
	main    *syntax.DefStmt    // entry only; nil when there is no main
	tests   []*syntax.DefStmt  // entry only: the functions test_…, in order
	guard   *syntax.IfStmt     // entry only: Python's if __name__ == "__main__"; nil when there is none
	doc     string             // entry only: the text that it begins with
}

// A graph is a script with all modules that it loads.
type graph struct {
	loader      *loader
	predeclared []string
	predeclare  func(name string) bool
	hint        func(message, line string, col int) string // may be nil
	modules     map[place]*module
	order       map[string]int // of the modules' names, the entry first
	stack       []visit
	problems    []Problem
	takesArgs   bool // a module names an ArgsTaker
}

// A visit is a module whose loads are being followed, for the chain of a cycle.
type visit struct {
	module *module
	line   int // of the load that leads on
}

func newGraph(l *loader) *graph {
	names := l.host.names()
	g := &graph{
		loader: l, predeclared: slices.DeleteFunc(names.Keys(), isGuard), hint: l.host.HabitHint,
		modules: map[place]*module{}, order: map[string]int{},
	}
	g.predeclare = g.uses(names)
	return g
}

// readEntry reads the script and everything that it loads. The problems are those of the whole graph.
func (g *graph) readEntry(file string) *module {
	t := g.loader.project
	source, err := t.read(file)
	if err == nil && strings.TrimSpace(string(source)) == "" {
		err = &fileError{"is empty", "there is nothing to run"}
	}
	if err != nil {
		g.fail(&module{name: t.name(file)}, syntax.Position{}, "file", err)
		return nil
	}
	return g.visit(place{t, file}, source, true)
}

func (g *graph) fail(m *module, pos syntax.Position, kind string, err error) {
	p := Problem{File: m.name, Line: int(pos.Line), Col: int(pos.Col), Kind: kind, Message: err.Error(), source: m.source}
	var wrong *fileError
	if errors.As(err, &wrong) {
		p.Hint = wrong.hint
	}
	if p.Hint == "" {
		p.Hint = g.habit(m, pos, p.Message)
	}
	g.problems = append(g.problems, p)
}

// habit is what the host knows about a message at this place.
func (g *graph) habit(m *module, pos syntax.Position, message string) string {
	if g.hint == nil {
		return ""
	}
	return g.hint(message, m.line(int(pos.Line)), int(pos.Col))
}

func (m *module) line(number int) string {
	if number < 1 || number > len(m.source) {
		return ""
	}
	return m.source[number-1]
}

// visit parses, follows the loads of, and compiles one file.
func (g *graph) visit(at place, source []byte, entry bool) *module {
	m := &module{place: at, name: at.src.name(at.file), path: at.fullName(), source: splitLines(source), entry: entry, loads: map[string]*module{}}
	if p, ok := at.src.(*packed); ok {
		m.pkg = p.pkg
	}
	g.modules[at] = m
	g.order[m.name] = len(g.order)
	options := &syntax.FileOptions{Set: true, TopLevelControl: entry}
	file := g.parseChecked(m, source, options)
	if file == nil {
		return m
	}

	g.stack = append(g.stack, visit{module: m})
	for _, load := range loadsOf(file) {
		g.stack[len(g.stack)-1].line = int(load.Load.Line)
		g.load(m, load)
	}
	g.stack = g.stack[:len(g.stack)-1]
	if entry {
		m.main, m.doc = g.checkMain(m, file), docOf(file)
		m.tests = testsIn(file)
	}

	g.checkTypes(m, file)
	addGuards(file)
	program, err := star.FileProgram(file, g.predeclare)
	var wrong resolve.ErrorList
	switch {
	case errors.As(err, &wrong):
		g.failNames(m, file, wrong)
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
// used.
func (g *graph) failNames(m *module, file *syntax.File, wrong resolve.ErrorList) {
	undefined := map[string]bool{}
	for _, e := range wrong {
		if m.guard != nil && within(m.guard, e.Pos) {
			continue // it is to go as a whole
		}
		message, _ := cutSuggestion(e.Msg)
		name, isName := strings.CutPrefix(message, "undefined: ")
		rest, isLoad := strings.CutPrefix(message, "load: ")
		switch {
		case isName && undefined[name]:
		case isName:
			undefined[name] = true
			hint := g.habit(m, e.Pos, message)
			if hint == "" {
				hint = didYouMean(g.nearName(file, name, e.Pos))
			}
			g.fail(m, e.Pos, "name", &fileError{message, hint})
		case isLoad:
			g.fail(m, e.Pos, "load", errors.New(rest))
		default:
			g.fail(m, e.Pos, "syntax", errors.New(message))
		}
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
	target, err := g.target(m, spec)
	if err != nil {
		g.fail(m, pos, "load", err)
		return
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

// maxDepth is how many modules may wait for each other's loads.
const maxDepth = 1000

// target returns the module that m calls spec, and reads it when nobody has.
func (g *graph) target(m *module, spec string) (*module, error) {
	at, err := g.loader.resolve(m.place, spec)
	if err != nil {
		return nil, about(spec, err)
	}
	return g.module(at, spec)
}

// module returns the module at a place that is called spec.
func (g *graph) module(at place, spec string) (*module, error) {
	for i, v := range g.stack {
		if v.module.place == at {
			return nil, cycleError(g.stack[i:], v.module.name)
		}
	}
	target := g.modules[at]
	switch {
	case target != nil && target.entry:
		return nil, about(spec, &fileError{"is the script that runs", "move what both need into a module of its own"})
	case target != nil:
		return target, nil
	case len(g.stack) > maxDepth:
		return nil, about(spec, &fileError{message: fmt.Sprintf("is the last of a chain of more than %d modules that load each other", maxDepth)})
	}
	source, err := at.src.read(at.file)
	if err != nil {
		return nil, about(spec, err)
	}
	return g.visit(at, source, false), nil
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
func about(spec string, err error) error {
	shown := spec
	if len(shown) > 100 {
		shown = strings.ToValidUTF8(shown[:100], "") + "…"
	}
	var wrong *fileError
	if !errors.As(err, &wrong) {
		return fmt.Errorf("%q: %w", shown, err)
	}
	hint := wrong.hint
	if hint == "" && path.Ext(spec) == ".start" {
		hint = "modules end in .star"
	}
	if strings.HasPrefix(wrong.message, "@") || strings.HasPrefix(wrong.message, "there is no @") {
		return &fileError{fmt.Sprintf("%q: %s", shown, wrong.message), hint}
	}
	return &fileError{fmt.Sprintf("%q %s", shown, wrong.message), hint}
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
	g.checkGuard(m, file, main != nil)
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
		case *syntax.IfStmt:
			return n != m.guard
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

// checkGuard refuses if __name__ == "__main__": as one thing, whatever else is wrong in it.
func (g *graph) checkGuard(m *module, file *syntax.File, hasMain bool) {
	for _, stmt := range file.Stmts {
		guard, ok := stmt.(*syntax.IfStmt)
		if !ok {
			continue
		}
		cond, ok := guard.Cond.(*syntax.BinaryExpr)
		if !ok {
			continue
		}
		if name, ok := cond.X.(*syntax.Ident); !ok || name.Name != "__name__" {
			continue
		}
		m.guard = guard
		hint := "put what is beneath it into def main():"
		if hasMain {
			hint = "remove it and what is beneath it; main returns the exit code, an int, or nothing"
		}
		g.fail(m, guard.If, "main", &fileError{"there is no __name__: bifrost calls main by itself once the file has loaded", hint})
		return
	}
}

// checkTypes refuses type(x) == int, which is always False here: type returns a string.
func (g *graph) checkTypes(m *module, file *syntax.File) {
	names := map[string]string{
		"bool": "bool", "bytes": "bytes", "dict": "dict", "float": "float", "int": "int", "list": "list", "set": "set", "str": "string", "tuple": "tuple",
	}
	syntax.Walk(file, func(n syntax.Node) bool {
		compared, ok := n.(*syntax.BinaryExpr)
		if !ok || compared.Op != syntax.EQL && compared.Op != syntax.NEQ {
			return true
		}
		call, isCall := compared.X.(*syntax.CallExpr)
		of, isName := compared.Y.(*syntax.Ident)
		if !isCall || !isName || names[of.Name] == "" {
			return true
		}
		if fn, ok := call.Fn.(*syntax.Ident); ok && fn.Name == "type" {
			g.fail(m, of.NamePos, "type", &fileError{
				fmt.Sprintf("type returns a string, which the function %s never equals", of.Name),
				fmt.Sprintf("write type(x) %s %q", compared.Op, names[of.Name]),
			})
		}
		return true
	})
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

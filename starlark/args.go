package starlark

import (
	"slices"
	"strings"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// An ArgsTaker is a predeclared value through which a script can read its arguments. A script that names
// one, in whatever module, is given arguments as one whose main has a parameter for them is.
type ArgsTaker interface {
	TakesArgs() bool
}

// refuseArgs refuses arguments that nothing in the script could read. A request for help is answered
// with the text that the script begins with.
func (r *Run) refuseArgs() error {
	entry := r.entry
	if len(r.Args) == 0 || r.takesArgs {
		return nil
	}
	if len(r.Args) == 1 && slices.Contains([]string{"-h", "--help"}, r.Args[0]) {
		r.Print(helpOf(entry))
		return &ExitError{Code: 0}
	}
	hint := "define def main(argv): to take them, or parse them with argparse"
	if entry.main != nil {
		hint = "give main a parameter to take them, def main(argv):, or parse them with argparse"
	}
	return &ArgsError{File: entry.name, Args: r.Args, Hint: hint}
}

func helpOf(entry *module) string {
	text := "usage: " + entry.name + "\n"
	if entry.doc != "" {
		text += "\n" + entry.doc + "\n"
	}
	return text
}

// docOf is the string that a file begins with, as Python shows it: without the indentation that its
// lines share.
func docOf(file *syntax.File) string {
	if len(file.Stmts) == 0 {
		return ""
	}
	stmt, ok := file.Stmts[0].(*syntax.ExprStmt)
	if !ok {
		return ""
	}
	literal, ok := stmt.X.(*syntax.Literal)
	if !ok || literal.Token != syntax.STRING {
		return ""
	}
	lines := strings.Split(literal.Value.(string), "\n")
	shared := -1
	for _, line := range lines[1:] {
		if rest := strings.TrimLeft(line, " \t"); rest != "" && (shared < 0 || len(line)-len(rest) < shared) {
			shared = len(line) - len(rest)
		}
	}
	lines[0] = strings.TrimLeft(lines[0], " \t")
	for i, line := range lines {
		if i > 0 && shared > 0 {
			line = line[min(shared, len(line)):]
		}
		lines[i] = strings.TrimRight(line, " \t")
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

// uses returns a function that says which names are predeclared, and notes in the graph those through
// which a script reads its arguments.
func (g *graph) uses(names star.StringDict) func(name string) bool {
	return func(name string) bool {
		v, known := names[name]
		if taker, ok := v.(ArgsTaker); ok && taker.TakesArgs() {
			g.takesArgs = true
		}
		return known
	}
}

func argvList(args []string) *star.List {
	values := make([]star.Value, len(args))
	for i, arg := range args {
		values[i] = star.String(arg)
	}
	return star.NewList(values)
}

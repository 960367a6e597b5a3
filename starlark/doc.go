// Package starlark runs deploy scripts: it finds and checks a script and all modules that it loads,
// runs them, and explains what went wrong. It knows no builtin by name: what scripts can do is in
// the Predeclared values that the caller gives it (package builtins has bifrost's own). It depends on
// go.starlark.net and on the packages beneath it.
//
//	host := &starlark.Host{Stdout: os.Stdout}
//	outcome, err := host.Exec(ctx, "deploy.star", []string{"--gpu-count", "8"})
//
// # A host and its runs
//
// The zero Host is ready to use and safe for scripts of strangers: they compute, load files beneath their
// root and print nowhere, within the default Limits. A program adds what it wants them to have: builtins
// in Predeclared, modules in Libraries, and a Gate, which every builtin asks before it has an effect.
//
// A host can be used by several goroutines at once, and a process can have any number of hosts. Each call
// of Exec, Test or NewSession is a Run of its own: modules, steps, permissions and secrets of one are
// nothing to another. What they share is what the program itself has them share: the values in Predeclared,
// which must be frozen, a Gate, a Redactor, a Stdout, and the memory of the process, which each run is
// charged with as a whole.
//
// Builtins find the Run and the Thread that they were called on with ThreadOf.
//
// # Errors
//
// Check and Exec read every file of a script's graph before anything runs, and report all syntax
// errors, undefined names and missing modules together as a *StaticError. A script that takes no arguments
// and was given some is an *ArgsError. An error at run time is an *Error, which has the place in the
// script and wraps the Go error that a builtin returned, be it a *policy.Denied, a *LimitError or one of
// the program's own; a call of exit is an *ExitError. Those that people read have Render.
//
// # Reading the code
//
// In the order of a run: host.go and run.go are the whole of it; root.go and source.go find files, module.go
// reads them into a graph, with nesting.go, parse.go, brackets.go and static.go for what is wrong in a text;
// load.go and import.go run modules. thread.go is what builtins see of the interpreter. limits.go has the
// budgets, and operators.go, universe.go and weight.go the guards around what the interpreter would do in one
// step. diagnose.go makes errors for people, with excerpt.go and names.go; trace.go and failure.go show them
// otherwise. session.go and test.go are the other two ways to run something.
package starlark

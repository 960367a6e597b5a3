// Package builtins is what deploy scripts can say: every builtin, type and method, declared once in
// one table (see Library.Walk), from which the unpacking of arguments, the checks of what a script
// may do and the reference come. It depends on package engine beneath it, through the interfaces of
// engine.go, and on package starlark, which runs the scripts.
//
//	lib := builtins.New(builtins.Wrap(eng), builtins.Options{JobOutput: os.Stdout})
//	host := &starlark.Host{
//		Predeclared: lib.Predeclared(), Describe: builtins.Describe, HabitHint: builtins.HabitHint,
//		Gate: policy.NewGate(policy.Typed()), Stdout: os.Stdout,
//	}
//	outcome, err := host.Exec(ctx, "deploy.star", nil)
//
// Each file has one verb or one type. To add one, write its entry beside its code and name it in
// Library.builtins or Library.types.
package builtins

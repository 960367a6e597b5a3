// Package starlark runs deploy scripts: it finds and checks a script and all modules that it loads,
// runs them, and explains what went wrong. It knows no builtin by name: what scripts can do is in
// the Predeclared values that the caller gives it (package builtins has bifrost's own). It depends on
// go.starlark.net and on the packages beneath it, policy and spell.
//
//	host := &starlark.Host{Predeclared: lib.Predeclared(), Gate: policy.NewGate(policy.Typed()), Stdout: os.Stdout}
//	outcome, err := host.Exec(ctx, "deploy.star", []string{"--gpu-count", "8"})
//
// Check and Exec read every file of a script's graph before anything runs, and report all syntax
// errors, undefined names and missing modules together as a *StaticError. An error at run time is an
// *Error, which has the place in the script and wraps the Go error that a builtin returned. A call
// of exit is an *ExitError.
//
// Builtins find the run and the thread that they were called on with ThreadOf.
package starlark

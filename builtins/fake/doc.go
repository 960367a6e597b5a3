// Package fake is the world that bifrost test runs scripts in: an engine that rents nothing, a clock
// that waits for nothing, an environment that is empty. The module fake, which scripts see in tests,
// says what the world answers: offers, commands, jobs, files. What a test did not expect fails it.
//
//	world := fake.New(t.TempDir())
//	lib := world.Library(builtins.Options{})
//	host := &starlark.Host{Predeclared: lib.Predeclared(), Gate: policy.NewGate(world.Policy(root))}
//	…
//	errs := world.Finish()
package fake

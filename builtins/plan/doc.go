// Package plan is the engine of bifrost plan: it says what a script would do and does none of it. What it
// holds of the world is the World, whose methods look and change nothing; a test checks that it has
// nothing else. A script goes on until it asks something that only a real machine can answer.
//
//	e := plan.New(world, func(s plan.Step) { … })
//	lib := builtins.New(e, builtins.Options{Clock: e})
package plan

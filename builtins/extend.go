package builtins

import (
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark"
)

// What is here lets another package declare a module of its own (Options.Modules) in the terms of this
// table: with its kinds, its unpacking and its place in the reference.

// Runs returns the entry with its code. It is for entries that are Pure: what needs the gate belongs
// into this package.
func (e Entry) Runs(run func(c *Call) (star.Value, error)) *Entry {
	e.Capabilities, e.run = pure, run
	return &e
}

// Arg returns the argument as the parameter's kind made it, or the zero value for None.
func Arg[T any](c *Call, name string) T { return arg[T](c, name) }

// Thread is the thread that called the entry.
func (c *Call) Thread() *starlark.Thread { return c.thread }

// Given reports whether the caller named the parameter.
func (c *Call) Given(name string) bool { return c.given[name] }

// Further returns the arguments beyond the declared parameters.
func (c *Call) Further() (star.Tuple, []star.Tuple) { return c.args, c.kwargs }

// NewKind returns a kind of that name. The error of take says what was got and what is wanted, without
// the parameter's name.
func NewKind(name string, take func(v star.Value) (any, error)) Kind {
	return Kind{name, func(_ *Call, v star.Value) (any, error) { return take(v) }}
}

// TextKind is a string that is shown to people or compared: a string in Go.
func TextKind() Kind { return messageKind() }

// CommandKind is a string for a shell or a list of arguments: an engine.Command.
func CommandKind() Kind { return commandKind() }

// BoolKind is True or False: a bool.
func BoolKind() Kind { return boolKind() }

// IntKind is an int in a range: an int.
func IntKind(least, most int) Kind { return intKind(least, most) }

// DurationKind is seconds or "2h": a time.Duration.
func DurationKind() Kind { return durationKind() }

// StringsKind is a string or a list of them: a []string.
func StringsKind() Kind { return stringsKind() }

// WordKind is one of some words: a string.
func WordKind(words ...string) Kind { return oneOf(words...) }

// FunctionKind is something to call with these arguments: a star.Callable.
func FunctionKind(arguments string) Kind { return functionKind(arguments) }

// OrNone is a kind that takes None too.
func OrNone(k Kind) Kind { return orNone(k) }

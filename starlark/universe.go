package starlark

import (
	"cmp"
	"maps"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// Some of the interpreter's own builtins run loops in Go that no cancellation reaches, or make room
// for what they return before they look at it. Scripts see the same builtins behind guards: those
// that make text or lists are asked first how much it will be, and range stops with the run.

// names are all names that scripts see beside those of the interpreter that need no guard.
func (h *Host) names() star.StringDict {
	names := star.StringDict{"range": star.NewBuiltin("range", makeRange), fileName: star.String("")}
	for _, name := range []string{"list", "tuple", "sorted", "zip", "enumerate", "reversed", "bytes"} {
		guard(names, name, checkLength)
	}
	for _, name := range []string{"str", "repr", "print", "fail"} {
		guardThen(names, name, func(t *Thread, what string, v star.Value) error { return t.CheckText(what, v) }, showAll)
	}
	guard(names, "int", checkDigits)
	for _, name := range []string{"set", "dict"} {
		guard(names, name, func(t *Thread, what string, v star.Value) error {
			return cmp.Or(checkLength(t, what, v), checkKeys(what, v))
		})
	}
	maps.Copy(names, guards())
	maps.Copy(names, keyGuards())
	for name, v := range h.Predeclared {
		names[name] = v
	}
	return names
}

// guard puts a builtin of the interpreter into names that calls check for each of its arguments first.
func guard(names star.StringDict, name string, check func(t *Thread, what string, v star.Value) error) {
	guardThen(names, name, check, func(args star.Tuple, kwargs []star.Tuple) (star.Tuple, []star.Tuple) { return args, kwargs })
}

// guardThen is guard, and hands the builtin what change makes of the arguments that were checked.
func guardThen(names star.StringDict, name string, check func(t *Thread, what string, v star.Value) error, change func(star.Tuple, []star.Tuple) (star.Tuple, []star.Tuple)) {
	inner := star.Universe[name].(*star.Builtin)
	names[name] = star.NewBuiltin(name, func(thread *star.Thread, _ *star.Builtin, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
		if t := ThreadOf(thread); t != nil {
			for _, v := range args {
				if err := check(t, name, v); err != nil {
					return nil, err
				}
			}
			for _, kv := range kwargs {
				if err := check(t, name, kv[1]); err != nil {
					return nil, err
				}
			}
		}
		args, kwargs = change(args, kwargs)
		return inner.CallInternal(thread, args, kwargs)
	})
}

// elementBytes is what an element of a list takes at least.
const elementBytes = 16

func checkLength(t *Thread, what string, v star.Value) error {
	most := t.run.limits.Value
	if n := int64(star.Len(v)); n > most/elementBytes {
		return &LimitError{Limit: "value", What: what, Max: most, Got: min(n, NoLimit/elementBytes) * elementBytes}
	}
	return nil
}

// mostDigits is the longest text that int takes: the time that it needs grows with the square.
const mostDigits = 1 << 20

func checkDigits(_ *Thread, what string, v star.Value) error {
	if s, ok := star.AsString(v); ok && len(s) > mostDigits {
		return &LimitError{Limit: "value", What: what, Max: mostDigits, Got: int64(len(s))}
	}
	return nil
}

// A sequence is what the interpreter's range returns.
type sequence interface {
	star.Indexable
	star.Sliceable
	star.Sequence
	star.Comparable
	star.Container
}

// A rangeValue is the interpreter's range, but going through it takes steps of the run's budget and
// stops when the run has ended.
type rangeValue struct {
	sequence
	run *Run
}

func makeRange(thread *star.Thread, _ *star.Builtin, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
	v, err := star.Universe["range"].(*star.Builtin).CallInternal(thread, args, kwargs)
	t := ThreadOf(thread)
	if err != nil || t == nil {
		return v, err
	}
	return rangeValue{v.(sequence), t.run}, nil
}

// Slice implements star.Sliceable.
func (r rangeValue) Slice(start, end, step int) star.Value {
	return rangeValue{r.sequence.Slice(start, end, step).(sequence), r.run}
}

// CompareSameType implements star.Comparable.
func (r rangeValue) CompareSameType(op syntax.Token, other star.Value, depth int) (bool, error) {
	if o, ok := other.(rangeValue); ok {
		other = o.sequence
	}
	return r.sequence.CompareSameType(op, other, depth)
}

// Iterate implements star.Iterable.
func (r rangeValue) Iterate() star.Iterator {
	return &rangeIterator{inner: r.sequence.Iterate(), run: r.run}
}

type rangeIterator struct {
	inner star.Iterator
	run   *Run
	steps uint64 // taken and not used
}

// rangeSlice is how many steps an iterator takes at once; between two slices it looks whether the
// run goes on.
const rangeSlice = 1024

// Next implements star.Iterator.
func (i *rangeIterator) Next(p *star.Value) bool {
	if i.steps == 0 {
		if i.run.ctx.Err() != nil {
			i.run.end(nil) // the threads may not have heard of it
			return false
		}
		if i.steps = i.run.steps.take(rangeSlice); i.steps == 0 {
			i.run.end(i.run.steps.exceeded())
			return false
		}
	}
	i.steps--
	return i.inner.Next(p)
}

// Done implements star.Iterator.
func (i *rangeIterator) Done() {
	i.inner.Done()
	i.run.steps.giveBack(i.steps)
	i.steps = 0
}

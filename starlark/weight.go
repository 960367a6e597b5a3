package starlark

import (
	"errors"
	"maps"
	"math/bits"
	"slices"

	star "go.starlark.net/starlark"
)

// A Composite is a value of a host's own type that has others inside.
type Composite interface {
	star.Value
	Parts() []star.Value
}

const (
	// MaxDepth is how deep values may be nested that are made text or data of: Go's stack ends, and not
	// with an error.
	MaxDepth = 1000
	// freezeDepth and freezeTuples are how deep values may be nested, and how many tuples there may be in
	// them, where they are frozen: at the end of a module's loading.
	freezeDepth  = 100_000
	freezeTuples = 4_000_000
)

// CheckText returns a *LimitError when the text of v would be larger than one value may be, or when v is
// nested too deep. What names the builtin that makes the text.
func (t *Thread) CheckText(what string, v star.Value) error {
	_, err := t.sizeOfText(what, v)
	return err
}

// sizeOfText is CheckText, and returns how many bytes the text has at least.
func (t *Thread) sizeOfText(what string, v star.Value) (int64, error) {
	m := measurement{what: what, most: t.run.limits.Value, depth: MaxDepth, again: true, leaf: textSize}
	err := m.measure(v)
	return m.size, err
}

// CheckValue returns a *LimitError when v, with everything in it, is larger than one value may be, or when it
// is nested too deep. What names the builtin that returns it.
func (t *Thread) CheckValue(what string, v star.Value) error {
	m := measurement{what: what, most: t.run.limits.Value, depth: freezeDepth, leaf: memorySize}
	return m.measure(v)
}

// Freeze freezes v, or returns a *LimitError when it is nested too deep for that. What names it.
func Freeze(what string, v star.Value) error {
	m := measurement{what: what, most: freezeTuples, depth: freezeDepth, closures: true, leaf: func(v star.Value) int64 {
		if _, ok := v.(star.Tuple); ok {
			return 1 // alone among the containers it does not know that it is frozen
		}
		return 0
	}}
	if err := m.measure(v); err != nil {
		return err.(*LimitError).nested()
	}
	v.Freeze()
	return nil
}

func (e *LimitError) nested() error {
	return &LimitError{Limit: "nesting", What: e.What, Max: freezeDepth, Got: e.Got}
}

// Share freezes v for the use by several threads at once: with the globals of the functions in it, which at the
// top level of a script are not frozen yet. What names it.
func Share(what string, v star.Value) error {
	globals := map[*star.Module]star.StringDict{}
	find := measurement{most: freezeTuples, depth: freezeDepth, closures: true, leaf: func(v star.Value) int64 {
		if fn, ok := v.(*star.Function); ok && globals[fn.Module()] == nil {
			globals[fn.Module()] = fn.Globals()
		}
		return 0
	}}
	if err := Freeze(what, v); err != nil {
		return err
	}
	_ = find.measure(v) // within the bounds, or Freeze had refused it
	for _, names := range globals {
		if err := freezeAll(names); err != nil {
			return err
		}
	}
	return nil
}

// Find returns v and the values inside of it that match. It does not look into functions, and finds nothing
// in what is nested too deep to be frozen.
func Find(v star.Value, match func(v star.Value) bool) []star.Value {
	var found []star.Value
	m := measurement{most: freezeTuples, depth: freezeDepth, leaf: func(v star.Value) int64 {
		if match(v) {
			found = append(found, v)
		}
		if _, ok := v.(star.Tuple); ok {
			return 1
		}
		return 0
	}}
	if m.measure(v) != nil {
		return nil
	}
	return found
}

// freezeAll freezes the globals of a module.
func freezeAll(globals star.StringDict) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(globals)) {
		errs = append(errs, Freeze(name, globals[name]))
	}
	return errors.Join(errs...)
}

// A measurement goes through a value without recursion.
type measurement struct {
	what     string
	most     int64
	depth    int
	again    bool // what is met twice counts twice, unless it is inside of itself
	closures bool // go into functions
	leaf     func(v star.Value) int64

	size int64
}

// An end stands on the stack where a container ends.
type end struct{ container star.Value }

func (m *measurement) measure(v star.Value) error {
	stack := []any{v}
	depth := 0
	var seen map[star.Value]bool // lists, dicts, sets and functions
	for len(stack) > 0 {
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if e, ok := top.(end); ok {
			depth--
			if m.again && e.container != nil {
				delete(seen, e.container)
			}
			continue
		}
		v := top.(star.Value)
		m.size += m.leaf(v)
		switch {
		case m.size > m.most:
			return &LimitError{Limit: "value", What: m.what, Max: m.most, Got: m.size}
		case depth > m.depth:
			return &LimitError{Limit: "nesting", What: m.what, Max: int64(m.depth), Got: int64(depth)}
		}
		var known star.Value
		switch v.(type) {
		case *star.List, *star.Dict, *star.Set, *star.Function:
			if seen[v] {
				continue
			}
			known = v
		case star.Tuple, Composite:
		case *star.Builtin:
			if !m.closures {
				continue
			}
		default:
			continue
		}
		if known != nil {
			if seen == nil {
				seen = map[star.Value]bool{}
			}
			seen[known] = true
		}
		depth++
		stack = m.parts(append(stack, end{known}), v)
	}
	return nil
}

// parts puts what is inside of v on the stack.
func (m *measurement) parts(stack []any, v star.Value) []any {
	switch v := v.(type) {
	case *star.List:
		for i := range v.Len() {
			stack = append(stack, v.Index(i))
		}
	case star.Tuple:
		for _, part := range v {
			stack = append(stack, part)
		}
	case *star.Dict:
		for key, value := range v.Entries() {
			stack = append(stack, key, value)
		}
	case *star.Set:
		for part := range v.Elements() {
			stack = append(stack, part)
		}
	case Composite:
		for _, part := range v.Parts() {
			stack = append(stack, part)
		}
	case *star.Builtin:
		if v.Receiver() != nil {
			stack = append(stack, v.Receiver())
		}
	case *star.Function:
		if !m.closures {
			break
		}
		for i := range v.NumParams() {
			if d := v.ParamDefault(i); d != nil {
				stack = append(stack, d)
			}
		}
		for i := range v.NumFreeVars() {
			if _, captured := v.FreeVar(i); captured != nil {
				stack = append(stack, captured)
			}
		}
	}
	return stack
}

// memorySize is about how many bytes v has without what is inside of it.
func memorySize(v star.Value) int64 {
	const word = bits.UintSize / 8
	return 2*word + dataSize(v)
}

// textSize is about how long the text of v is without what is inside of it.
func textSize(v star.Value) int64 {
	switch v := v.(type) {
	case star.Int:
		return 2 + dataSize(v)*5/2 // 2.4 digits for each byte
	case star.String, star.Bytes:
		return 2 + dataSize(v)
	}
	return 4
}

func dataSize(v star.Value) int64 {
	switch v := v.(type) {
	case star.String:
		return int64(len(v))
	case star.Bytes:
		return int64(len(v))
	case star.Int:
		if _, small := v.Int64(); !small {
			return int64(v.BigInt().BitLen() / 8)
		}
	}
	return 0
}

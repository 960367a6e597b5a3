package starlark

import (
	"slices"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// A dict or set asks its keys for their hash, and a tuple asks what is in it, down to the end, without a step of
// the interpreter: one that is nested deep enough ends the process, and one that has itself twice in each level
// takes for ever. So keys go through a guard wherever scripts write them, and dicts and sets are asked for their
// methods through another.

const (
	keyGuard   = "a key"
	tableGuard = "a table"
)

// mostKeyParts is how many tuples and structs a key may have in it, those that it has several times counted each
// time.
const mostKeyParts = 1 << 20

// keyMethods are the methods of dicts and sets that take keys.
var keyMethods = []string{
	"add", "difference", "discard", "get", "intersection", "issubset", "issuperset", "pop", "remove", "setdefault",
	"symmetric_difference", "union", "update",
}

// addKeyGuards makes a node of the tree call the guards.
func addKeyGuards(n syntax.Node) {
	switch n := n.(type) {
	case *syntax.IndexExpr:
		if _, literal := n.Y.(*syntax.Literal); !literal {
			n.Y = callGuard(keyGuard, n.Y, n.Lbrack)
		}
	case *syntax.DictEntry:
		if _, literal := n.Key.(*syntax.Literal); !literal {
			at, _ := n.Key.Span()
			n.Key = callGuard(keyGuard, n.Key, at)
		}
	case *syntax.BinaryExpr:
		if n.Op == syntax.IN || n.Op == syntax.NOT_IN {
			n.X = callGuard(keyGuard, n.X, n.OpPos)
		}
	case *syntax.DotExpr:
		if slices.Contains(keyMethods, n.Name.Name) {
			n.X = callGuard(tableGuard, n.X, n.Dot)
		}
	}
}

// keyGuards are what the tree calls.
func keyGuards() star.StringDict {
	return star.StringDict{
		keyGuard: star.NewBuiltin(keyGuard, func(_ *star.Thread, _ *star.Builtin, args star.Tuple, _ []star.Tuple) (star.Value, error) {
			return args[0], checkKeys(keyGuard, args[0])
		}),
		tableGuard: star.NewBuiltin(tableGuard, func(_ *star.Thread, _ *star.Builtin, args star.Tuple, _ []star.Tuple) (star.Value, error) {
			return guardedTable(args[0]), nil
		}),
	}
}

// guardedTable returns a dict or set by which its methods are reached through a guard, and any other value as
// it is.
func guardedTable(v star.Value) star.Value {
	switch v := v.(type) {
	case *star.Dict:
		return tableMethods{v}
	case *star.Set:
		return tableMethods{v}
	}
	return v
}

// tableMethods are the methods of a dict or set.
type tableMethods struct{ star.HasAttrs }

// Attr implements star.HasAttrs.
func (m tableMethods) Attr(name string) (star.Value, error) {
	method, err := m.HasAttrs.Attr(name)
	inner, ok := method.(*star.Builtin)
	if err != nil || !ok {
		return method, err
	}
	return star.NewBuiltin(name, func(thread *star.Thread, _ *star.Builtin, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
		for _, arg := range args {
			if err := checkKeys(name, arg); err != nil {
				return nil, err
			}
		}
		return inner.CallInternal(thread, args, kwargs)
	}).BindReceiver(m.HasAttrs), nil
}

// checkKeys returns a *LimitError when the hash of a key would go too deep or on for too long. The key may be v or
// in it: one of a list, or the first of a pair in a list.
func checkKeys(what string, v star.Value) error {
	type part struct {
		value star.Value
		depth int
	}
	var stack []part
	push := func(v star.Value, depth int) {
		switch v.(type) {
		case star.Tuple, *star.List, Composite:
			stack = append(stack, part{v, depth})
		}
	}
	push(v, 0)
	for count := 0; len(stack) > 0; {
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		var inside []star.Value
		switch v := top.value.(type) {
		case star.Tuple:
			inside = v
		case Composite:
			inside = v.Parts()
		case *star.List:
			const lists = 2 // deeper ones are in no key
			for i := 0; top.depth < lists && i < v.Len(); i++ {
				push(v.Index(i), top.depth+1)
			}
			continue
		}
		switch count++; {
		case top.depth > MaxDepth:
			return &LimitError{Limit: "nesting", What: what, Max: MaxDepth, Got: int64(top.depth)}
		case count > mostKeyParts:
			return &LimitError{Limit: "value", What: what, Max: mostKeyParts * elementBytes, Got: int64(count) * elementBytes}
		}
		for _, v := range inside {
			push(v, top.depth+1)
		}
	}
	return nil
}

package builtins

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/starlark"
)

// An object is a value of one of the library's types. It is frozen from the start: what it stands
// for may change, it does not.
type object struct {
	lib    *Library
	typ    *Type
	values star.StringDict  // the fields that it has the values of
	data   any              // what its methods work on
	thread *starlark.Thread // that made it; for fields that must ask a machine
	scope  *scope           // nil: good for ever
	shown  []string         // the fields that its text has; nil: all
	origin []string         // of a description: the vendored modules that had a part in it
}

// make returns a value of a type. Lists and dicts among the values must be frozen copies.
func (l *Library) make(typeName string, values star.StringDict, data any) *object {
	return &object{lib: l, typ: l.byName[typeName], values: values, data: data}
}

func (o *object) String() string {
	if o.typ.show != nil {
		return o.typ.show(o)
	}
	var parts []string
	for _, f := range o.typ.Fields {
		if v, ok := o.values[f.Name]; ok && (o.shown == nil || slices.Contains(o.shown, f.Name)) {
			parts = append(parts, f.Name+" = "+starlark.Repr(v))
		}
	}
	return o.typ.Name + "(" + strings.Join(parts, ", ") + ")"
}

func (o *object) Type() string { return o.typ.Name }

// Truth implements star.Value.
func (o *object) Truth() star.Bool { return star.Bool(o.typ.truth == nil || o.typ.truth(o)) }

// Parts implements starlark.Composite.
func (o *object) Parts() []star.Value {
	parts := make([]star.Value, 0, len(o.values))
	for _, v := range o.values {
		parts = append(parts, v)
	}
	return parts
}

// Freeze implements star.Value. What an object stands for may be something that can still be built.
func (o *object) Freeze() {
	o.values.Freeze()
	if d, ok := o.data.(interface{ Freeze() }); ok {
		d.Freeze()
	}
}

// Hash implements star.Value.
func (o *object) Hash() (uint32, error) {
	if o.typ.hash != nil {
		return o.typ.hash(o)
	}
	return 0, fmt.Errorf("unhashable: %s", o.typ.Name)
}

// Binary implements star.HasBinary.
func (o *object) Binary(op syntax.Token, y star.Value, side star.Side) (star.Value, error) {
	if o.typ.binary == nil {
		return nil, nil // the interpreter says so
	}
	return o.typ.binary(o, op, y, side)
}

// Unary implements star.HasUnary.
func (o *object) Unary(op syntax.Token) (star.Value, error) {
	if o.typ.unary == nil {
		return nil, nil // the interpreter says so
	}
	return o.typ.unary(o, op)
}

// CompareSameType implements star.Comparable.
func (o *object) CompareSameType(op syntax.Token, other star.Value, _ int) (bool, error) {
	y, ok := other.(*object)
	switch {
	case ok && o.typ.compare != nil && o.typ == y.typ:
		order, err := o.typ.compare(o, y)
		if err != nil && (op == syntax.EQL || op == syntax.NEQ) {
			return op == syntax.NEQ, nil // what has no order is not the same
		}
		return threeway(op, order), err
	case op == syntax.EQL:
		return ok && o == y, nil
	case op == syntax.NEQ:
		return !ok || o != y, nil
	}
	return false, fmt.Errorf("%s %s %s not implemented", o.Type(), op, other.Type())
}

// threeway is the answer of a comparison whose order is negative, 0 or positive.
func threeway(op syntax.Token, order int) bool {
	switch op {
	case syntax.EQL:
		return order == 0
	case syntax.NEQ:
		return order != 0
	case syntax.LT:
		return order < 0
	case syntax.LE:
		return order <= 0
	case syntax.GT:
		return order > 0
	}
	return order >= 0
}

// Attr implements star.HasAttrs.
func (o *object) Attr(name string) (star.Value, error) {
	for _, f := range o.typ.Fields {
		if f.Name != name {
			continue
		}
		if err := o.scope.check(o); err != nil {
			return nil, err
		}
		if f.get != nil {
			return f.get(o)
		}
		return o.values[name], nil
	}
	for _, m := range o.typ.Methods {
		if m.Name == name {
			return o.lib.bind(m, o), nil
		}
	}
	if o.typ.attr != nil {
		return o.typ.attr(o, name), nil
	}
	return nil, nil // the interpreter says so, with a suggestion
}

// AttrNames implements star.HasAttrs.
func (o *object) AttrNames() []string {
	names := o.typ.memberNames()
	if o.typ.attrNames != nil {
		names = append(names, o.typ.attrNames(o)...)
	}
	slices.Sort(names)
	return names
}

// memberNames lists the fields and methods that every value of the type has.
func (t *Type) memberNames() []string {
	var names []string
	for _, f := range t.Fields {
		names = append(names, f.Name)
	}
	for _, m := range t.Methods {
		names = append(names, m.Name)
	}
	return names
}

// A scope is how long the objects of a with_job or with_node may be used.
type scope struct {
	mu    sync.Mutex
	where string // it ended; "" while it lasts
}

func (s *scope) end(where string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.where = where
}

// check refuses the use of an object whose scope has ended.
func (s *scope) check(o *object) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.where == "" {
		return nil
	}
	return &fault.Error{
		Kind: fault.Scope, Op: o.typ.Name, Target: o.id(), Err: errors.New("it is over: its scope ended with " + s.where),
		Hint: "return what you need from the function, or use the result of with_job",
	}
}

// id names what the object stands for.
func (o *object) id() string {
	switch d := o.data.(type) {
	case Handle:
		return d.JobID()
	case Node:
		return d.ID()
	}
	return ""
}

// stringOrNone returns None for "".
func stringOrNone(s string) star.Value {
	if s == "" {
		return star.None
	}
	return star.String(s)
}

func stringList(all []string) *star.List {
	items := make([]star.Value, len(all))
	for i, s := range all {
		items[i] = star.String(s)
	}
	return star.NewList(items)
}

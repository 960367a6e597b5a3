package builtins

import (
	"fmt"
	"slices"

	star "go.starlark.net/starlark"
)

// A moduleValue is a module of the library as scripts see it. It is frozen.
type moduleValue struct {
	lib *Library
	mod *Module
}

func (m *moduleValue) String() string        { return "<module " + m.mod.Name + ">" }
func (m *moduleValue) Type() string          { return "module" }
func (m *moduleValue) Freeze()               {}
func (m *moduleValue) Truth() star.Bool      { return true }
func (m *moduleValue) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: module") }

// TakesArgs implements starlark.ArgsTaker.
func (m *moduleValue) TakesArgs() bool { return m.mod.TakesArgs }

// Attr implements star.HasAttrs.
func (m *moduleValue) Attr(name string) (star.Value, error) {
	for _, e := range m.mod.Entries {
		if e.Name == name {
			return m.lib.bindIn(m.mod, e), nil
		}
	}
	for _, c := range m.mod.Constants {
		if c.Name == name {
			return c.Value, nil
		}
	}
	return nil, star.NoSuchAttrError(m.mod.Name + " has no ." + name + " field or method") // the interpreter adds a suggestion
}

// AttrNames implements star.HasAttrs.
func (m *moduleValue) AttrNames() []string {
	var names []string
	for _, e := range m.mod.Entries {
		names = append(names, e.Name)
	}
	for _, c := range m.mod.Constants {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return names
}

// A callableModule is a module that is a constructor too, as Python's classes with static methods are.
type callableModule struct{ *moduleValue }

// Name implements star.Callable.
func (m callableModule) Name() string { return m.mod.Name }

// CallInternal implements star.Callable.
func (m callableModule) CallInternal(t *star.Thread, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
	return m.lib.bind(m.mod.Call, nil).CallInternal(t, args, kwargs)
}

package builtins

import (
	"errors"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark"
)

// copyOf returns a frozen copy of a list, dict or set and of those in it, so that the caller's own
// stays as it is. What is in a tuple is frozen itself. It is an error where a list or dict has itself
// as an element, or is nested deeper than text is made of.
func copyOf(v star.Value) (star.Value, error) { return copier{}.copy(v, 0) }

// A copier has the copies of what it has met, nil while one is made: what is met twice is copied once.
type copier map[star.Value]star.Value

func (c copier) copy(v star.Value, depth int) (star.Value, error) {
	switch v := v.(type) {
	case *star.List, *star.Dict, *star.Set:
		if done, met := c[v]; met && done != nil {
			return done, nil
		} else if met {
			return nil, errors.New("it has itself as an element")
		}
		if depth > starlark.MaxDepth {
			return nil, errors.New("it is nested too deep")
		}
		c[v] = nil
		made, err := c.container(v, depth)
		if err != nil {
			return nil, err
		}
		made.Freeze()
		c[v] = made
		return made, nil
	case star.Tuple:
		return v, starlark.Freeze("a tuple", v)
	}
	return v, nil
}

func (c copier) container(v star.Value, depth int) (star.Value, error) {
	switch v := v.(type) {
	case *star.List:
		items := make([]star.Value, v.Len())
		for i := range items {
			var err error
			if items[i], err = c.copy(v.Index(i), depth+1); err != nil {
				return nil, err
			}
		}
		return star.NewList(items), nil
	case *star.Dict:
		dict := star.NewDict(v.Len())
		for key, value := range v.Entries() {
			value, err := c.copy(value, depth+1)
			if err == nil {
				err = dict.SetKey(key, value)
			}
			if err != nil {
				return nil, err
			}
		}
		return dict, nil
	}
	set := star.NewSet(0)
	for element := range star.Elements(v.(star.Iterable)) {
		if err := set.Insert(element); err != nil {
			return nil, err
		}
	}
	return set, nil
}

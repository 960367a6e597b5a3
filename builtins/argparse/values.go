package argparse

import (
	"errors"
	"slices"
	"strings"

	star "go.starlark.net/starlark"
)

// A Type makes values of strings. The zero value leaves them as they are.
type Type struct {
	Name string                                        // as errors have it
	Fn   star.Callable                                 // nil: parse is used
	make func(text string) (value star.Value, ok bool) // nil: Fn is used
}

// The types that Python's builtin functions of these names are.
var (
	Int   = Type{Name: "int", make: func(text string) (star.Value, bool) { return ParseInt(text, 10) }}
	Float = Type{Name: "float", make: ParseFloat}
)

// A Call calls a function of the script's with a string. An *InvalidError says that the string is not
// one that it takes; any other error ends the parsing.
type Call func(fn star.Callable, text string) (star.Value, error)

// An InvalidError is a string that a type does not take.
type InvalidError struct{ Message string } // "" leaves it to the parser

func (e *InvalidError) Error() string { return e.Message }

// convert makes the value of one string.
func (s *parsing) convert(a *Action, text string) (star.Value, error) {
	switch {
	case a.Type.make != nil:
		if v, ok := a.Type.make(text); ok {
			return v, nil
		}
	case a.Type.Fn != nil:
		v, err := s.call(a.Type.Fn, text)
		var invalid *InvalidError
		if !errors.As(err, &invalid) {
			return v, err
		}
		if invalid.Message != "" {
			return nil, a.errorf("%s", invalid.Message)
		}
	default:
		return star.String(text), nil
	}
	return nil, a.errorf("invalid %s value: %s", a.Type.Name, Quote(text))
}

// check refuses a value that is none of the choices.
func (a *Action) check(v star.Value) error {
	if a.Choices == nil {
		return nil
	}
	shown := make([]string, len(a.Choices))
	for i, c := range a.Choices {
		if same, err := star.Equal(v, c); err == nil && same {
			return nil
		}
		shown[i] = repr(c)
	}
	return a.errorf("invalid choice: %s (choose from %s)", repr(v), strings.Join(shown, ", "))
}

// valueOf makes the value of the strings that an argument was given, and says whether it is the default.
func (s *parsing) valueOf(a *Action, args []string) (v star.Value, isDefault bool, err error) {
	if i := slices.Index(args, "--"); i >= 0 && a.Nargs != Remainder {
		args = slices.Delete(slices.Clone(args), i, i+1)
	}
	if len(args) == 0 {
		switch {
		case a.Nargs == Optional:
			v, isDefault = a.Default, true
			if len(a.Flags) > 0 {
				v, isDefault = or(a.Const, star.None), false
			}
			if text, ok := v.(star.String); ok && !suppresses(v) {
				isDefault = false // Python makes another value of it
				if v, err = s.convert(a, string(text)); err == nil {
					err = a.check(v)
				}
			}
			return v, isDefault, err
		case a.Nargs == Any && len(a.Flags) == 0 && a.Default != star.None:
			return a.Default, true, a.check(a.Default)
		case a.Nargs == Any && len(a.Flags) == 0:
			v = star.NewList(nil)
			return v, false, a.check(v)
		}
	}
	if len(args) == 1 && (a.Nargs == Single || a.Nargs == Optional) {
		if v, err = s.convert(a, args[0]); err == nil {
			err = a.check(v)
		}
		return v, false, err
	}
	items := make([]star.Value, len(args))
	for i, arg := range args {
		if items[i], err = s.convert(a, arg); err != nil {
			return nil, false, err
		}
		if a.Nargs != Remainder {
			if err := a.check(items[i]); err != nil {
				return nil, false, err
			}
		}
	}
	return star.NewList(items), false, nil
}

package builtins

import (
	"fmt"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
)

// envKind is a dict of variables, as []engine.Var in the dict's order.
func envKind() Kind {
	return Kind{"dict of str to str, secret, prepend(...) or None", func(_ *Call, v star.Value) (any, error) {
		dict, ok := v.(*star.Dict)
		if !ok {
			return nil, want(v, `a dict, {"NAME": "value"}`)
		}
		var vars []engine.Var
		for _, kv := range dict.Items() {
			name, ok := star.AsString(kv[0])
			if !ok {
				return nil, fmt.Errorf("name %s: %w", kv[0], want(kv[0], "a string"))
			}
			if kv[1] == star.None {
				continue
			}
			one := engine.Var{Name: name}
			value := kv[1]
			if o, ok := value.(*object); ok && o.typ.Name == "prepend" {
				value, one.Prepend = o.values["value"], true
			}
			if s, ok := value.(*Secret); ok {
				one.Value = s.value
			} else {
				text, err := text(value, "a string, secret(...), prepend(...) or None; str(x) makes a string")
				if err != nil {
					return nil, named(name, err)
				}
				one.Value = text
			}
			vars = append(vars, one)
		}
		return vars, nil
	}}
}

// named says which element of a dict is wrong.
func named(name string, err error) error {
	if e, ok := err.(*valueError); ok {
		return &valueError{name + ": " + e.message, e.hint}
	}
	return fmt.Errorf("%s: %w", name, err)
}

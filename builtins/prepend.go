package builtins

import star "go.starlark.net/starlark"

func prependEntry() *Entry {
	return &Entry{
		Name: "prepend", Result: "prepend", Capabilities: pure,
		Example: "env = {\"PYTHONPATH\": prepend(\"/root/src\")}\nprint(env[\"PYTHONPATH\"].value)  # /root/src",
		Doc:     `Marks the value of a variable in env: it is put in front of what the node has, with ":".`,
		Params:  []Param{{Name: "value", Kind: prependKind(), Doc: "a string or a secret"}},
		run:     func(c *Call) (star.Value, error) { return c.description("prepend", nil) },
	}
}

func prependKind() Kind {
	return Kind{"str or secret", func(_ *Call, v star.Value) (any, error) {
		if s, ok := v.(*Secret); ok {
			return s, nil
		}
		return text(v, "a string or a secret")
	}}
}

func prependType() *Type {
	return &Type{
		Name: "prepend", Doc: "What `prepend` returns.",
		Fields: []Field{{Name: "value", Kind: "str or secret", Doc: "what is put in front"}},
	}
}

package builtins

import (
	"fmt"
	"slices"

	star "go.starlark.net/starlark"
)

func recordEntry() *Entry {
	return &Entry{
		Name: "record", Result: "function(…)", Capabilities: pure, Args: "required", Kwargs: "fields",
		Doc: "Makes a constructor of values with these fields and no others, where Python has a frozen dataclass. A string names a field that must be given, a keyword one that has a default. " +
			"The constructor takes them by name, or in this order. Types are not checked.",
		Example: "Config = record(\"model\", lr = 0.1, layers = [8])\nconfig = Config(\"gpt2\", lr = 0.3)\nprint(config)  # record(model = \"gpt2\", lr = 0.3, layers = [8])\n" +
			"print(config.replace(model = \"gpt3\").model, config == Config(model = \"gpt2\", lr = 0.3))  # gpt3 True",
		run: func(c *Call) (star.Value, error) {
			made, err := c.recordConstructor()
			if err != nil {
				return nil, err
			}
			return c.lib.bind(made, nil), nil
		},
	}
}

// recordConstructor declares the constructor of a record as any builtin is declared, so that it takes
// its arguments as they do.
func (c *Call) recordConstructor() (*Entry, error) {
	made := &Entry{Name: "record", Result: "record", Capabilities: pure}
	for _, v := range c.args {
		name, ok := star.AsString(v)
		if !ok {
			return nil, c.wrongValue("required", want(v, "the name of a field as a string; a field with a default is written name = default"))
		}
		made.Params = append(made.Params, Param{Name: name, Kind: anyKind(), Doc: "a field without a default"})
	}
	for _, kv := range c.kwargs {
		name := string(kv[0].(star.String))
		value, err := copyOf(kv[1])
		if err != nil {
			return nil, c.wrongValue(name, err)
		}
		made.Params = append(made.Params, Param{Name: name, Kind: anyKind(), Default: value})
	}
	var names []string
	for _, p := range made.Params {
		switch {
		case !variableName().MatchString(p.Name):
			return nil, c.wrong(fmt.Sprintf("%q is no name of a field", p.Name), "letters, digits and underscores, no digit first")
		case slices.Contains(names, p.Name):
			return nil, c.wrong("two fields have the name "+p.Name, "")
		case p.Name == "replace":
			return nil, c.wrong("no field can have the name replace", "that is the method that copies")
		}
		names = append(names, p.Name)
	}
	made.run = func(c *Call) (star.Value, error) { return c.newStruct(made, names, c.raw) }
	return made, nil
}

func recordType() *Type {
	return describeStruct(&Type{
		Name: "record",
		Doc: "What a constructor made by `record` returns. It does not change, nor do the lists and dicts in it. Records of one constructor with equal fields are equal, " +
			"one of hashable fields is a key of dicts, and json encodes it as a dict.",
		Methods: []*Entry{{
			Name: "replace", Result: "record", Capabilities: pure, Kwargs: "changes",
			Doc:     "Returns a copy with some fields changed.",
			Example: "Config = record(lr = 0.1, seed = 0)\nprint(Config(seed = 1).replace(lr = 0.3))  # record(lr = 0.3, seed = 1)",
			run: func(c *Call) (star.Value, error) {
				d := c.recv.data.(*structData)
				values := star.StringDict{}
				for name, v := range fieldsIn(c.recv) {
					values[name] = v
				}
				for _, kv := range c.kwargs {
					name := string(kv[0].(star.String))
					if _, ok := values[name]; !ok {
						return nil, c.wrong("the record has no field "+name, nearName(name, d.names))
					}
					values[name] = kv[1]
				}
				return c.newStruct(d.maker, d.names, values)
			},
		}},
	})
}

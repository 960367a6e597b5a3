package builtins

import star "go.starlark.net/starlark"

func tomlModule() *Module {
	return &Module{
		Name: "toml", Doc: "TOML. `loads` is that of Python's tomllib, which has no `dumps`; that here reads back as the same value.",
		Entries: []*Entry{tomlLoadsEntry(), tomlDumpsEntry()},
	}
}

func tomlLoadsEntry() *Entry {
	return &Entry{
		Name: "loads", Result: "dict", Capabilities: pure,
		Doc: "Returns the tables of TOML text, in its order. Text that is no TOML is an error of kind \"data\". " +
			"A date or a time alone is one too, for there are no such types here: put it in quotes.",
		Params: []Param{{Name: "s", Kind: sourceKind(), Doc: "the text"}},
		Example: `config = toml.loads("[model]\nname = \"gpt2\"\nlayers = [1, 2]\n")
print(config["model"])  # {"name": "gpt2", "layers": [1, 2]}`,
		run: func(c *Call) (star.Value, error) { return c.lib.parseTOML(c.name, arg[string](c, "s")) },
	}
}

func tomlDumpsEntry() *Entry {
	return &Entry{
		Name: "dumps", Result: "str", Capabilities: pure,
		Doc:    "Returns a dict, struct or record as TOML. What TOML has nothing for, None among it, is an error that says where in the value it is.",
		Params: []Param{{Name: "data", Kind: anyKind(), Doc: "a dict whose keys are strings, a struct or a record"}},
		Example: `text = toml.dumps({"lr": 0.1, "model": {"name": "gpt2"}})
print(text.replace("\n", "|"))  # lr = 0.1||[model]|name = "gpt2"|`,
		run: func(c *Call) (star.Value, error) {
			w := &tomlWriter{encoding: encoding{op: c.name}}
			items, ok := pairs(c.raw["data"])
			if !ok {
				if _, secret := c.raw["data"].(*Secret); secret {
					return nil, w.unknown(c.raw["data"], "TOML")
				}
				return nil, c.wrongValue("data", want(c.raw["data"], "a dict, a struct or a record"))
			}
			if err := w.table(c.raw["data"], items, nil); err != nil {
				return nil, err
			}
			return star.String(w.b.String()), nil
		},
	}
}

package builtins

import (
	"fmt"

	star "go.starlark.net/starlark"
)

func yamlModule() *Module {
	return &Module{
		Name: "yaml",
		Doc: "YAML as PyYAML's safe functions read and write it, so yes and on are True, 010 is 8 and 1e5 is a string. " +
			"Custom tags are refused. `loads` and `dumps` are other names for `safe_load` and `safe_dump`.",
		Entries: []*Entry{
			yamlLoadEntry("safe_load"), yamlLoadEntry("loads"), yamlLoadAllEntry(),
			yamlDumpEntry("safe_dump"), yamlDumpEntry("dump"), yamlDumpEntry("dumps"),
		},
	}
}

func yamlLoadEntry(name string) *Entry {
	return &Entry{
		Name: name, Result: "any", Capabilities: pure,
		Doc: "Returns the value that the YAML text has, None for an empty one. Text that is no YAML, or has several documents, is an error of kind \"data\". " +
			"A date without a time is one too, for there is no such type here: put it in quotes.",
		Params: []Param{{Name: "stream", Kind: sourceKind(), Doc: "the text"}},
		Example: fmt.Sprintf(`config = yaml.%s("model: gpt2\nlayers: [1, 2]\nresume: no\n")
print(config)  # {"model": "gpt2", "layers": [1, 2], "resume": False}`, name),
		run: func(c *Call) (star.Value, error) {
			all, err := c.lib.parseYAML(c.name, arg[string](c, "stream"))
			switch {
			case err != nil:
				return nil, err
			case len(all) == 0:
				return star.None, nil
			case len(all) > 1:
				return nil, dataError(c.name, "expected a single document in the stream, but found another document; yaml.safe_load_all reads several")
			}
			return all[0], nil
		},
	}
}

func yamlLoadAllEntry() *Entry {
	return &Entry{
		Name: "safe_load_all", Result: "list", Capabilities: pure,
		Doc:     "Returns the values of the documents in the text.",
		Params:  []Param{{Name: "stream", Kind: sourceKind(), Doc: "the text"}},
		Example: `print(yaml.safe_load_all("a: 1\n---\nb: 2\n"))  # [{"a": 1}, {"b": 2}]`,
		run: func(c *Call) (star.Value, error) {
			all, err := c.lib.parseYAML(c.name, arg[string](c, "stream"))
			if err != nil {
				return nil, err
			}
			return star.NewList(all), nil
		},
	}
}

func yamlDumpEntry(name string) *Entry {
	block := Kind{"bool", func(_ *Call, v star.Value) (any, error) {
		if v != star.False {
			return nil, want(v, "False: lists and dicts are written in lines")
		}
		return false, nil
	}}
	return &Entry{
		Name: name, Result: "str", Capabilities: pure,
		Doc: "Returns the value as YAML, one item a line, written as PyYAML writes it. Tuples become lists, structs and records dicts. " +
			"What YAML has nothing for is an error that says where in the value it is.",
		Params: []Param{
			{Name: "data", Kind: anyKind(), Doc: "None, a bool, number, string, datetime, list, tuple, dict, struct or record"},
			{Name: "sort_keys", Kind: boolKind(), Default: star.True, KeywordOnly: true, Doc: "write the keys in order"},
			{Name: "default_flow_style", Kind: block, Default: star.False, KeywordOnly: true, Doc: "only False"},
			{Name: "allow_unicode", Kind: boolKind(), Default: star.False, KeywordOnly: true, Doc: `write é as it is and not as "\xE9"`},
			{Name: "width", Kind: intKind(10, 1<<31-1), Default: star.MakeInt(80), KeywordOnly: true, Doc: "columns after which long text is broken"},
		},
		Example: fmt.Sprintf(`text = yaml.%s({"model": "gpt2", "layers": [1, 2]}, sort_keys = False)
print(text.replace("\n", "|"))  # model: gpt2|layers:|- 1|- 2|`, name),
		run: func(c *Call) (star.Value, error) {
			w := &yamlWriter{
				encoding: encoding{op: c.name}, sorted: arg[bool](c, "sort_keys"), unicode: arg[bool](c, "allow_unicode"),
				width: arg[int](c, "width"), indent: -1, whitespace: true, indention: true,
				anchors: map[star.Value]string{}, written: map[star.Value]bool{},
			}
			return w.document(c.raw["data"])
		},
	}
}

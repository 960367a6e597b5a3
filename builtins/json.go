package builtins

import (
	"bytes"
	"encoding/json"
	"errors"

	star "go.starlark.net/starlark"
)

func jsonModule() *Module {
	return &Module{
		Name: "json",
		Doc: "JSON. `loads` and `dumps` are Python's; `encode`, `decode`, `encode_indent` and `indent` are Starlark's own. " +
			"Structs and records are written as objects; secrets never are.",
		Entries: []*Entry{jsonLoadsEntry(), jsonDumpsEntry(), jsonEncodeEntry(), jsonEncodeIndentEntry(), jsonDecodeEntry(), jsonIndentEntry()},
	}
}

func jsonLoadsEntry() *Entry {
	return &Entry{
		Name: "loads", Result: "any", Capabilities: pure,
		Doc: "Returns the value that the JSON text has: dicts in the order of the text, lists, strings, ints, floats, True, False, None. " +
			"Text that is no JSON is an error of kind \"data\" with its line and column, which `attempt` catches. A lone surrogate (`\"\\ud800\"`) is one too: strings here are UTF-8.",
		Params: []Param{
			{Name: "s", Kind: sourceKind(), Doc: "the text"},
			{Name: "strict", Kind: boolKind(), Default: star.True, KeywordOnly: true, Doc: "refuse control characters in strings"},
		},
		Example: `config = json.loads('{"model": "gpt2", "steps": [1, 2.5], "resume": null}')
print(config["model"], config["steps"], config["resume"])  # gpt2 [1, 2.5] None
value, err = attempt(json.loads, "{")
print(err.kind, err.message)  # data json.loads: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)`,
		run: func(c *Call) (star.Value, error) {
			return parseJSON(c.name, arg[string](c, "s"), arg[bool](c, "strict"))
		},
	}
}

func jsonDumpsEntry() *Entry {
	return &Entry{
		Name: "dumps", Result: "str", Capabilities: pure,
		Doc: "Returns the value as JSON, written as Python writes it. Keys that are numbers, True, False or None become strings. " +
			"What JSON has nothing for is an error that says where in the value it is.",
		Params: []Param{
			{Name: "obj", Kind: anyKind(), Doc: "None, a bool, number, string, list, tuple, dict, struct or record"},
			{Name: "skipkeys", Kind: boolKind(), Default: star.False, KeywordOnly: true, Doc: "leave out keys of other types, which are an error otherwise"},
			{Name: "ensure_ascii", Kind: boolKind(), Default: star.True, KeywordOnly: true, Doc: `write é as \u00e9`},
			{Name: "allow_nan", Kind: boolKind(), Default: star.True, KeywordOnly: true, Doc: "write NaN, Infinity and -Infinity, which JSON does not have"},
			{Name: "indent", Kind: orNone(indentKind()), Default: star.None, KeywordOnly: true, Doc: "spaces per level, or the text to indent with; None writes one line"},
			{Name: "separators", Kind: orNone(separatorsKind()), Default: star.None, KeywordOnly: true, Doc: `between two items and between key and value; None means (", ", ": "), and (",", ": ") with an indent`},
			{Name: "default", Kind: orNone(functionKind("value")), Default: star.None, KeywordOnly: true, Doc: "is called with a value that JSON has nothing for and returns one to write instead"},
			{Name: "sort_keys", Kind: boolKind(), Default: star.False, KeywordOnly: true, Doc: "write the keys in order"},
		},
		Example: `print(json.dumps({"lr": 1e-05, "layers": [1, 2], 3: None}))  # {"lr": 1e-05, "layers": [1, 2], "3": null}
print(json.dumps({"b": "é", "a": True}, sort_keys = True, separators = (",", ":")))  # {"a":true,"b":"\u00e9"}`,
		run: func(c *Call) (star.Value, error) {
			w := &jsonWriter{
				encoding: encoding{op: c.name}, item: ", ", key: ": ",
				ascii: arg[bool](c, "ensure_ascii"), nan: arg[bool](c, "allow_nan"),
				sorted: arg[bool](c, "sort_keys"), skip: arg[bool](c, "skipkeys"),
			}
			if indent, ok := c.values["indent"].(string); ok {
				w.indent, w.lines, w.item = indent, true, ","
			}
			if s, ok := c.values["separators"].([]string); ok {
				w.item, w.key = s[0], s[1]
			}
			if c.raw["default"] != star.None {
				w.fallback = func(v star.Value) (star.Value, error) {
					return c.thread.Call(c.raw["default"], star.Tuple{v}, nil)
				}
			}
			return w.text(c.raw["obj"])
		},
	}
}

func jsonEncodeEntry() *Entry {
	return &Entry{
		Name: "encode", Result: "str", Capabilities: pure,
		Doc:     "Returns the value as JSON the way Starlark does: no spaces, keys in order, which must be strings, text as it is. Python's is `dumps`.",
		Params:  []Param{{Name: "x", Kind: anyKind(), Doc: "the value"}},
		Example: `print(json.encode({"b": "é", "a": [1, 2.5]}))  # {"a":[1,2.5],"b":"é"}`,
		run: func(c *Call) (star.Value, error) {
			return starlarkJSON(c.name).text(c.raw["x"])
		},
	}
}

// starlarkJSON writes as Starlark's own json.encode.
func starlarkJSON(op string) *jsonWriter {
	return &jsonWriter{encoding: encoding{op: op}, item: ",", key: ":", sorted: true, starlark: true}
}

func jsonEncodeIndentEntry() *Entry {
	return &Entry{
		Name: "encode_indent", Result: "str", Capabilities: pure,
		Doc: "Returns the value as `encode` does, in lines.",
		Params: []Param{
			{Name: "x", Kind: anyKind(), Doc: "the value"},
			{Name: "prefix", Kind: messageKind(), Default: star.String(""), KeywordOnly: true, Doc: "what every line but the first starts with"},
			{Name: "indent", Kind: messageKind(), Default: star.String("\t"), KeywordOnly: true, Doc: "one level"},
		},
		Example: `print(json.encode_indent([1], indent = "").replace("\n", "|"))  # [|1|]`,
		run: func(c *Call) (star.Value, error) {
			text, err := starlarkJSON(c.name).text(c.raw["x"])
			if err != nil {
				return nil, err
			}
			return indentJSON(c, string(text))
		},
	}
}

func jsonIndentEntry() *Entry {
	return &Entry{
		Name: "indent", Result: "str", Capabilities: pure,
		Doc: "Returns JSON text in lines.",
		Params: []Param{
			{Name: "s", Kind: sourceKind(), Doc: "JSON"},
			{Name: "prefix", Kind: messageKind(), Default: star.String(""), KeywordOnly: true, Doc: "what every line but the first starts with"},
			{Name: "indent", Kind: messageKind(), Default: star.String("\t"), KeywordOnly: true, Doc: "one level"},
		},
		Example: `print(json.indent("[1]", indent = " ").replace("\n", "|"))  # [| 1|]`,
		run: func(c *Call) (star.Value, error) {
			s := arg[string](c, "s")
			if _, err := parseJSON(c.name, s, true); err != nil {
				return nil, err
			}
			return indentJSON(c, s)
		},
	}
}

func indentJSON(c *Call, text string) (star.Value, error) {
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(text), arg[string](c, "prefix"), arg[string](c, "indent")); err != nil {
		return nil, dataError(c.name, err.Error()) // NaN, which Python reads
	}
	return star.String(b.String()), nil
}

func jsonDecodeEntry() *Entry {
	return &Entry{
		Name: "decode", Result: "any", Capabilities: pure,
		Doc: "Returns the value of JSON text as `loads` does, or the default for text that is no JSON.",
		Params: []Param{
			{Name: "x", Kind: sourceKind(), Doc: "the text"},
			{Name: "default", Kind: anyKind(), Default: star.None, Doc: "what to return for text that is no JSON; not given, it is an error"},
		},
		Example: `print(json.decode("{", default = {}))  # {}`,
		run: func(c *Call) (star.Value, error) {
			v, err := parseJSON(c.name, arg[string](c, "x"), true)
			var data *DataError
			if c.given["default"] && errors.As(err, &data) {
				return c.raw["default"], nil
			}
			return v, err
		},
	}
}

package builtins

import (
	"fmt"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
)

func optionalEntry() *Entry {
	return &Entry{
		Name: "optional", Result: "optional", Capabilities: pure,
		Example: "results = {\"metrics.json\": \"./results/\", \"vllm.log\": optional(\"./results/\")}\nprint(results[\"vllm.log\"])  # optional(local = \"./results/\")",
		Doc:     "Marks a result that may be missing on the node.",
		Params:  []Param{{Name: "local", Kind: localPathKind(), Doc: "where it goes here, from the current folder"}},
		run:     func(c *Call) (star.Value, error) { return c.description("optional", nil) },
	}
}

func optionalType() *Type {
	return &Type{
		Name: "optional", Doc: "What `optional` returns.",
		Fields: []Field{{Name: "local", Kind: "str or Path", Doc: "where it goes here"}},
	}
}

// resultsKind is a dict of what to fetch, as []engine.ResultSpec in the dict's order.
func resultsKind() Kind {
	return Kind{"dict of str to str, Path or optional(...)", func(c *Call, v star.Value) (any, error) {
		dict, ok := v.(*star.Dict)
		if !ok {
			return nil, want(v, `a dict, {"remote": "./local"}`)
		}
		var specs []engine.ResultSpec
		for _, kv := range dict.Items() {
			remote, err := text(kv[0], "a string")
			if err != nil {
				return nil, fmt.Errorf("remote path: %w", err)
			}
			spec := engine.ResultSpec{Remote: remote}
			value := kv[1]
			if o, ok := value.(*object); ok && o.typ.Name == "optional" {
				value, spec.Optional = o.values["local"], true
			}
			if spec.Local, err = c.localPath(value, "a string, a Path or optional(...)"); err != nil {
				return nil, named(remote, err)
			}
			specs = append(specs, spec)
		}
		return specs, nil
	}}
}

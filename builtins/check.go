package builtins

import star "go.starlark.net/starlark"

func checkEntry() *Entry {
	return &Entry{
		Name: "check", Result: "None", Capabilities: pure,
		Example: "count = 8\ncheck(count in (1, 2, 4, 8), \"gradient accumulation is 8 / count\")",
		Doc:     "Stops the script with the message unless the condition is true, as Python's assert does.",
		Params: []Param{
			{Name: "cond", Kind: anyKind(), Doc: "anything; its truth counts"},
			{Name: "msg", Kind: messageKind(), Default: star.String("the check failed"), Doc: "what is wrong when it is not true"},
		},
		run: func(c *Call) (star.Value, error) {
			if !c.raw["cond"].Truth() {
				return nil, &ScriptError{Kind: "check", Message: arg[string](c, "msg")}
			}
			return star.None, nil
		},
	}
}

package builtins

import star "go.starlark.net/starlark"

func printEntry() *Entry {
	return &Entry{
		Name: "print", Result: "None", Capabilities: pure,
		Example: "print(\"step\", 3, sep = \" = \")  # step = 3",
		Doc:     "Writes its arguments to standard output. The values of secrets are replaced by their names.",
		Params: []Param{
			{Name: "sep", Kind: messageKind(), Default: star.String(" "), KeywordOnly: true, Doc: "between two arguments"},
			{Name: "end", Kind: messageKind(), Default: star.String("\n"), KeywordOnly: true, Doc: "after the last one"},
		},
		Args: "args",
		run: func(c *Call) (star.Value, error) {
			text, err := c.join(arg[string](c, "sep"))
			if err != nil {
				return nil, err
			}
			c.thread.Print(text + arg[string](c, "end"))
			return star.None, nil
		},
	}
}

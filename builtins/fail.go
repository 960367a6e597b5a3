package builtins

import (
	"strings"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark"
)

func failEntry() *Entry {
	return &Entry{
		Name: "fail", Result: "None", Capabilities: pure,
		Example: "def pick(region):\n    fail(\"no GPU in\", region)\n\nvalue, err = attempt(pick, \"EU\")\nprint(err)  # fail: no GPU in EU",
		Doc:     "Stops the script with a message. With one error of attempt it raises that error again, with its kind and exit code.",
		Params:  []Param{{Name: "sep", Kind: messageKind(), Default: star.String(" "), KeywordOnly: true, Doc: "between the parts of the message"}},
		Args:    "args",
		run: func(c *Call) (star.Value, error) {
			if len(c.args) == 1 {
				if o, ok := c.args[0].(*object); ok && o.typ.Name == "error" {
					return nil, &starlark.Reraised{Err: o.data.(error)}
				}
			}
			text, err := c.join(arg[string](c, "sep"))
			if err != nil {
				return nil, err
			}
			return nil, &ScriptError{Kind: "fail", Message: text}
		},
	}
}

// join makes text of the further arguments as print does.
func (c *Call) join(sep string) (string, error) {
	parts := make([]string, len(c.args))
	for i, v := range c.args {
		if err := c.thread.CheckText(c.entry.Name, v); err != nil {
			return "", err
		}
		parts[i] = starlark.Text(v)
	}
	return strings.Join(parts, sep), nil
}

package builtins

import (
	"errors"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine/fault"
)

func confirmEntry() *Entry {
	return &Entry{
		Name: "confirm", Result: "bool", Effect: true, Capabilities: pure,
		Doc:     "Asks the user a question and returns whether the answer was yes. `bifrost exec --yes` answers; without a terminal it is an error.",
		Example: "if not confirm(\"Rent 8 GPUs for the night?\"):\n    exit(1)",
		Params:  []Param{{Name: "prompt", Kind: messageKind(), Doc: "the question; [y/N] is added"}},
		run: func(c *Call) (star.Value, error) {
			if c.lib.opts.Confirm == nil {
				return nil, &fault.Error{
					Kind: fault.Denied, Op: "confirm", Err: errors.New("nobody can be asked: this is no terminal"),
					Hint: "bifrost exec --yes answers every question with yes",
				}
			}
			yes, err := c.lib.opts.Confirm(c.context(), c.thread.Run().Redactor.Redact(arg[string](c, "prompt")))
			return star.Bool(yes), err
		},
	}
}

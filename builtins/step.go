package builtins

import (
	"strings"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
)

func stepEntry() *Entry {
	return &Entry{
		Name: "step", Result: "step", Capabilities: pure,
		Example: "job = remote_job(\n    ssh = \"gpu\",\n    bootstrap = [step(\"uv sync\", inputs = [\"uv.lock\", \"pyproject.toml\"]), \"make data\"],\n    command = \"python train.py\",\n)",
		Doc:     "Describes a bootstrap step that depends on some of the pushed files only: it is run again when its text, the steps before it or those files change.",
		Params: []Param{
			{Name: "cmd", Kind: stepTextKind(), Doc: "text for bash -c (sh -c where there is none)"},
			{Name: "inputs", Kind: orNone(stringsKind()), Default: star.None, KeywordOnly: true, Doc: `patterns of pushed files, "uv.lock" or "src/**"; None means all of them`},
		},
		run: func(c *Call) (star.Value, error) {
			s := engine.Step{Command: arg[string](c, "cmd"), Inputs: arg[[]string](c, "inputs")}
			return c.description("step", s)
		},
	}
}

func stepType() *Type {
	return &Type{Name: "step", Doc: "What `step` returns.", Fields: fieldsOf(stepEntry())}
}

func stepTextKind() Kind {
	return Kind{"str", func(_ *Call, v star.Value) (any, error) {
		s, err := text(v, "a string")
		if err == nil && strings.TrimSpace(s) == "" {
			return nil, &valueError{"it is empty", "remove it or write a command"}
		}
		return s, err
	}}
}

// stepsKind is one bootstrap step or a list of them, as []engine.Step.
func stepsKind() Kind {
	const wanted = "a string, step(...) or a list of these"
	one := stepTextKind()
	return Kind{"str, step or a list of these", func(c *Call, v star.Value) (any, error) {
		return each(v, wanted, func(v star.Value) (engine.Step, error) {
			if o, ok := v.(*object); ok && o.typ.Name == "step" {
				return o.data.(engine.Step), nil
			}
			if _, ok := star.AsString(v); !ok {
				return engine.Step{}, want(v, wanted)
			}
			s, err := one.take(c, v)
			cmd, _ := s.(string)
			return engine.Step{Command: cmd}, err
		})
	}}
}

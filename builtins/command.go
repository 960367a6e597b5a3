package builtins

import (
	"strings"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
)

// commandKind is a string for a shell or a list of arguments, as engine.Command.
func commandKind() Kind {
	const wanted = "a string for the shell, or a list of arguments"
	return Kind{"str or list of str", func(_ *Call, v star.Value) (any, error) {
		if _, ok := star.AsString(v); ok {
			s, err := text(v, wanted)
			if err == nil && strings.TrimSpace(s) == "" {
				return nil, &valueError{"it is empty", `write what to run: command = "python train.py"`}
			}
			return engine.Shell(s), err
		}
		switch v.(type) {
		case *star.List, star.Tuple:
		default:
			return nil, want(v, wanted)
		}
		argv, err := each(v, wanted, func(v star.Value) (string, error) { return text(v, "a string; str(x) makes one") })
		if err != nil {
			return nil, err
		}
		if len(argv) == 0 || strings.TrimSpace(argv[0]) == "" {
			return nil, &valueError{"it is empty", `write what to run: command = ["python", "train.py"]`}
		}
		return engine.Argv(argv...), nil
	}}
}

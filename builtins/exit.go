package builtins

import (
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark"
)

func exitEntry() *Entry {
	return &Entry{
		Name: "exit", Result: "None", Effect: true, Capabilities: pure,
		Doc:     "Ends the script with an exit code; what it holds is torn down first.",
		Example: "if not Path(\"data\").is_dir():\n    print(\"nothing to train on\")\n    exit(2)",
		Params:  []Param{{Name: "code", Kind: intKind(0, 255), Default: star.MakeInt(0), Doc: "of bifrost exec"}},
		run:     func(c *Call) (star.Value, error) { return nil, &starlark.ExitError{Code: arg[int](c, "code")} },
	}
}

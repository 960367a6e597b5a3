package builtins

import (
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
)

func execResultType() *Type {
	return &Type{
		Name: "exec_result", Doc: "What `node.exec` returns.",
		Fields: []Field{
			{Name: "stdout", Kind: "str", Doc: "what the command wrote"},
			{Name: "stderr", Kind: "str", Doc: "what it wrote as errors"},
			{Name: "exit_code", Kind: "int", Doc: "how it ended"},
			{Name: "ok", Kind: "bool", Doc: "whether the exit code is 0"},
		},
	}
}

func (l *Library) execResult(r engine.ExecResult) *object {
	return l.make("exec_result", star.StringDict{
		"stdout": star.String(r.Stdout), "stderr": star.String(r.Stderr), "exit_code": star.MakeInt(r.ExitCode), "ok": star.Bool(r.ExitCode == 0),
	}, nil)
}

package builtins

import (
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
)

func execResultType() *Type {
	return &Type{
		Name: "exec_result", Doc: "What `node.exec` and `local.run` return.",
		Fields: []Field{
			{Name: "stdout", Kind: "str", Doc: "what the command wrote"},
			{Name: "stderr", Kind: "str", Doc: "what it wrote as errors"},
			{Name: "exit_code", Kind: "int", Doc: "how it ended"},
			{Name: "ok", Kind: "bool", Doc: "whether the exit code is 0"},
		},
	}
}

// execResult returns the value of what a command did. Its output has no secret: a command that prints a
// variable of its env must not give the script what secret() kept from it.
func (c *Call) execResult(r engine.ExecResult) *object {
	return c.lib.make("exec_result", star.StringDict{
		"stdout": c.withoutSecrets(r.Stdout), "stderr": c.withoutSecrets(r.Stderr),
		"exit_code": star.MakeInt(r.ExitCode), "ok": star.Bool(r.ExitCode == 0),
	}, nil)
}

// withoutSecrets is text from a machine as a script may have it.
func (c *Call) withoutSecrets(text string) star.String {
	return star.String(c.thread.Run().Redactor.Redact(text))
}

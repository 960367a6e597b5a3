package builtins

import (
	"context"
	"iter"
	"time"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// execParams are what a command on a node takes.
func execParams() []Param {
	return []Param{
		{Name: "cmd", Kind: commandKind(), Doc: "a string for bash -c (sh -c where there is none), or a list of arguments that no shell reads"},
		{Name: "env", Kind: envKind(), Default: star.NewDict(0), KeywordOnly: true, Doc: "variables, never expanded by a shell; None leaves one out"},
		{Name: "working_dir", Kind: orNone(nameKind()), Default: star.None, KeywordOnly: true, Doc: "folder that it runs in; None means where remote relative paths start"},
		{Name: "timeout", Kind: orNone(durationKind()), Default: star.None, KeywordOnly: true, Doc: `seconds or "90s"; an error of kind "timeout" when it has passed`},
		{Name: "stdin", Kind: orNone(dataKind()), Default: star.None, KeywordOnly: true, Doc: "what it reads"},
	}
}

func (c *Call) exec() engine.Exec {
	return engine.Exec{
		Command: arg[engine.Command](c, "cmd"), Env: arg[[]engine.Var](c, "env"), WorkingDir: arg[string](c, "working_dir"),
		Timeout: arg[time.Duration](c, "timeout"), Stdin: arg[[]byte](c, "stdin"),
	}
}

// nodeCommands are the methods that run a command while the script waits.
func nodeCommands() []*Entry {
	ssh := []policy.Capability{policy.SSH}
	return []*Entry{
		{
			Name: "exec", Result: "exec_result", Effect: true, Capabilities: ssh, needs: onNode,
			Example: "result = node.exec([\"nvidia-smi\", \"-L\"], timeout = \"10s\")\nif not result.ok:\n    fail(\"no driver: \" + result.stderr)",
			Doc:     "Runs a command and returns what it wrote and its exit code. It ends with the connection; for what must not, use submit.",
			Params: append(execParams(), Param{
				Name: "check", Kind: boolKind(), Default: star.False, KeywordOnly: true, Doc: `another exit code than 0 is an error of kind "command"`,
			}),
			run: func(c *Call) (star.Value, error) {
				x := c.exec()
				r, err := nodeOf(c).Exec(c.context(), x)
				if err == nil && arg[bool](c, "check") && r.ExitCode != 0 {
					err = engine.CommandFailed(x.Command, nodeOf(c).ID(), r.ExitCode, r.Stderr)
				}
				if err != nil {
					return nil, err
				}
				return c.execResult(r), nil
			},
		},
		{
			Name: "exec_stream", Result: "lines", Effect: true, Capabilities: ssh, needs: onNode,
			Example: "lines = [line for line in node.exec_stream(\"uv sync\")]\nprint(lines)  # [\"one\", \"two\"]",
			Doc:     `Runs a command and returns its lines, stdout and stderr together, to go through with for. After the last line the exit code is checked: another one than 0 fails at the loop with an error of kind "command".`,
			Params:  execParams(),
			run: func(c *Call) (star.Value, error) {
				x, n := c.exec(), nodeOf(c)
				return &lines{owner: c.recv, thread: c.thread, open: func(ctx context.Context) iter.Seq2[string, error] { return n.ExecStream(ctx, x) }}, nil
			},
		},
	}
}

package builtins

import (
	"time"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// submitParams are what a job on a node takes, beside its timeouts.
func submitParams() []Param {
	return []Param{
		{Name: "command", Kind: commandKind(), Doc: "a string for bash -c (sh -c where there is none), or a list of arguments that no shell reads"},
		{Name: "name", Kind: orNone(nameKind()), Default: star.None, KeywordOnly: true, Doc: "of the job and its tmux session; None derives one from the command"},
		{Name: "log_file", Kind: orNone(nameKind()), Default: star.None, KeywordOnly: true, Doc: "path on the node; its folder is made; None means the job's own folder"},
		{Name: "working_dir", Kind: orNone(nameKind()), Default: star.None, KeywordOnly: true, Doc: "folder that it runs in; None means where remote relative paths start"},
		{Name: "env", Kind: envKind(), Default: star.NewDict(0), KeywordOnly: true, Doc: "variables, never expanded by a shell; None leaves one out"},
	}
}

func (c *Call) submit() engine.Submit {
	return engine.Submit{
		Command: arg[engine.Command](c, "command"), Name: arg[string](c, "name"), LogFile: arg[string](c, "log_file"),
		WorkingDir: arg[string](c, "working_dir"), Env: arg[[]engine.Var](c, "env"),
	}
}

// nodeJobs are the methods that send code and start what outlives the connection.
func nodeJobs() []*Entry {
	ssh := []policy.Capability{policy.SSH}
	return []*Entry{
		{
			Name: "push", Result: "str", Effect: true, Capabilities: []policy.Capability{policy.SSH, policy.ReadFile},
			Example: "path = node.push(\"~/.bifrost/workspaces/tests\", bootstrap = \"uv sync\")\nprint(path)  # /root/.bifrost/workspaces/tests",
			Doc:     "Pushes a local folder into a workspace, runs the bootstrap there, and returns the workspace's absolute path. Only what changed travels.",
			Params: []Param{
				{Name: "workspace", Kind: nameKind(), Default: star.String(engine.DefaultWorkspace), Doc: "folder on the node"},
				{Name: "source", Kind: orNone(localPathKind()), Default: star.None, Doc: "local folder; None means the script's root"},
				{Name: "bootstrap", Kind: orNone(stepsKind()), Default: star.None, Doc: "steps to run in the workspace, as in remote_job"},
			},
			needs: func(c *Call) []policy.Request {
				return append(onNode(c), policy.Request{Capability: policy.ReadFile, Target: c.lib.absolute(c.source())})
			},
			run: func(c *Call) (star.Value, error) {
				path, err := nodeOf(c).Push(c.context(), arg[string](c, "workspace"), c.source(), arg[[]engine.Step](c, "bootstrap"))
				return star.String(path), err
			},
		},
		{
			Name: "submit", Result: "handle", Effect: true, Capabilities: ssh, needs: onNode,
			Example: "handle = node.submit([\"python\", \"train.py\"], name = \"train\", timeout = \"2h\")\nprint(handle.wait())  # 0",
			Doc:     "Starts a job that outlives the connection and returns its handle.",
			Params: append(submitParams(),
				Param{Name: "timeout", Kind: orNone(durationKind()), Default: star.None, KeywordOnly: true, Doc: `seconds or "2h", enforced on the node; None means none`},
				Param{Name: "replace", Kind: boolKind(), Default: star.True, KeywordOnly: true, Doc: "end a job of the same name that still runs; False refuses to start"},
			),
			run: func(c *Call) (star.Value, error) {
				s := c.submit()
				s.Timeout, s.Refuse = arg[time.Duration](c, "timeout"), !arg[bool](c, "replace")
				h, err := nodeOf(c).Submit(c.context(), s)
				if err != nil {
					return nil, err
				}
				return c.handle(h, c.recv.scope), nil
			},
		},
		{
			Name: "serve", Result: "server", Effect: true, Capabilities: ssh, needs: onNode,
			Example: "server = node.serve(\"vllm serve gpt2 --port 8000\", port = 8000, timeout = \"15m\")\nprint(server.url)  # http://127.0.0.1:4242",
			Doc:     "Starts a server and returns when its health endpoint answers. One that ends before that, or does not answer in time, is stopped and is an error with the end of its log.",
			Params: append(submitParams(),
				Param{Name: "port", Kind: intKind(1, 65535), KeywordOnly: true, Doc: "that it listens on, on the node"},
				Param{Name: "health_endpoint", Kind: nameKind(), Default: star.String("/health"), KeywordOnly: true, Doc: "path that answers 2xx when it is ready"},
				Param{Name: "timeout", Kind: durationKind(), Default: star.MakeInt(600), KeywordOnly: true, Doc: "how long it may take to get ready"},
			),
			run: func(c *Call) (star.Value, error) {
				server, err := nodeOf(c).Serve(c.context(), engine.Serve{
					Submit: c.submit(), Port: arg[int](c, "port"), HealthEndpoint: arg[string](c, "health_endpoint"), Ready: arg[time.Duration](c, "timeout"),
				})
				if err != nil {
					return nil, err
				}
				return c.server(server, c.recv.scope), nil
			},
		},
	}
}

// source is the local folder of a push.
func (c *Call) source() string {
	if s := arg[string](c, "source"); s != "" {
		return s
	}
	return c.thread.Run().Root
}

package builtins

import (
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark/policy"
)

func attachJobEntry() *Entry {
	return &Entry{
		Name: "attach_job", Result: "handle", Effect: true, Capabilities: []policy.Capability{policy.SSH},
		Example: "handle = attach_job(\"train-1\")\nprint(handle.session_name, handle.status())  # train running",
		Doc:     `Returns the handle of a job that was started before, by this script or another, here or in another terminal. Where the machine is gone since, it has the status and the exit code of the job and nothing else.`,
		Params:  []Param{{Name: "id", Kind: nameKind(), Doc: `the job's id, the beginning of one, its name, which means the latest of that name, or "@last"`}},
		needs:   ask(policy.SSH, func(c *Call) string { return "job " + arg[string](c, "id") }),
		run: func(c *Call) (star.Value, error) {
			h, err := c.lib.engine.Attach(c.context(), arg[string](c, "id"))
			if err != nil {
				return nil, err
			}
			return c.handle(h, nil), nil
		},
	}
}

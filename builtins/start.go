package builtins

import (
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark/policy"
)

func startEntry() *Entry {
	return &Entry{
		Name: "start", Result: "handle", Effect: true,
		Example:      "handle = job.start(finish = True)\nprint(\"bifrost attach \" + handle.job_id)  # bifrost attach train-1",
		Capabilities: []policy.Capability{policy.Rent, policy.SSH, policy.ReadFile, policy.WriteFile},
		Doc:          "Starts the job and leaves it: no results are fetched and nothing is released when the script ends. The job lives on, and every command of bifrost finds it by its id.",
		Params: []Param{
			{Name: "finish", Kind: boolKind(), Default: star.False, Doc: "have the guardian fetch the results and release the machine when the job ends, with nobody attached"},
		},
		needs: func(c *Call) []policy.Request { return needsOfJob(c, c.recv) },
		run: func(c *Call) (star.Value, error) {
			job, err := c.job(c.recv, nil)
			if err != nil {
				return nil, err
			}
			finish := arg[bool](c, "finish")
			h, err := c.lib.engine.Start(c.context(), job, finish)
			if err != nil {
				return nil, err
			}
			if c.lib.opts.Left != nil {
				c.lib.opts.Left(h, finish)
			}
			return c.handle(h, nil), nil
		},
	}
}

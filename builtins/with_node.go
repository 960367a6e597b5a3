package builtins

import (
	"context"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

func withNodeEntry() *Entry {
	return &Entry{
		Name: "with_node", Result: "any", Effect: true,
		Capabilities: []policy.Capability{policy.Rent, policy.SSH, policy.WriteFile},
		Doc: "Calls fn with a node that is ready for work and returns what fn returns. When fn has ended, whatever happened, the results are fetched and a rented node is released, unless it is kept. The node is good inside fn only. " +
			"Exactly one of provision, ssh and node_id is given.",
		Example: `def names(node):
    node.exec("nvidia-smi -pm 1", check = True)
    return [gpu.name for gpu in node.gpus()]

print(with_node(names, ssh = "root@gpu-box"))  # ["NVIDIA A100"]`,
		Params: append(append([]Param{{Name: "fn", Kind: functionKind("node"), Doc: "what to do with the node"}}, nodeParams()...), Param{
			Name: "results", Kind: resultsKind(), Default: star.NewDict(0), KeywordOnly: true,
			Doc: "what is fetched when fn has ended, whatever happened: {remote: local or optional(local)}; relative paths start at the last pushed workspace",
		}),
		needs: func(c *Call) []policy.Request {
			return append(needsOfNode(c), needsOfResults(c, arg[[]engine.ResultSpec](c, "results"))...)
		},
		run: func(c *Call) (star.Value, error) {
			if err := c.oneNode(); err != nil {
				return nil, err
			}
			s := new(scope)
			defer s.end("with_node at " + c.thread.Caller())
			var value star.Value
			spec := c.nodeSpec()
			spec.Results = arg[[]engine.ResultSpec](c, "results")
			err := c.lib.engine.WithNode(c.context(), spec, func(ctx context.Context, n Node) error {
				var err error
				value, err = c.callIn(ctx, c.raw["fn"], c.node(n, s))
				return err
			})
			if err != nil {
				return nil, err
			}
			return value, nil
		},
	}
}

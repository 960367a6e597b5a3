package builtins

import (
	"context"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark/policy"
)

func withNodeEntry() *Entry {
	return &Entry{
		Name: "with_node", Result: "any", Effect: true,
		Capabilities: []policy.Capability{policy.Rent, policy.SSH},
		Doc: "Calls fn with a node that is ready for work and returns what fn returns. A rented node is released when fn has ended, whatever happened, unless it is kept. The node is good inside fn only. " +
			"Exactly one of provision, ssh and node_id is given.",
		Example: `def names(node):
    node.exec("nvidia-smi -pm 1", check = True)
    return [gpu.name for gpu in node.gpus()]

print(with_node(names, ssh = "root@gpu-box"))  # ["NVIDIA A100"]`,
		Params: append([]Param{{Name: "fn", Kind: functionKind("node"), Doc: "what to do with the node"}}, nodeParams()...),
		needs:  needsOfNode,
		run: func(c *Call) (star.Value, error) {
			if err := c.oneNode(); err != nil {
				return nil, err
			}
			s := new(scope)
			defer s.end("with_node at " + c.thread.Caller())
			var value star.Value
			err := c.lib.engine.WithNode(c.context(), c.nodeSpec(), func(ctx context.Context, n Node) error {
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

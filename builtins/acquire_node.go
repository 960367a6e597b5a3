package builtins

import (
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// nodeParams are the parameters that name a machine.
func nodeParams() []Param {
	return []Param{
		{Name: "provision", Kind: orNone(objectKind("gpu_query", "gpu_query(...)")), Default: star.None, KeywordOnly: true, Doc: "the machine to rent"},
		{Name: "ssh", Kind: orNone(nameKind()), Default: star.None, KeywordOnly: true, Doc: `a machine of one's own: "user@host:22", or a Host of ~/.ssh/config; it is never terminated`},
		{Name: "node_id", Kind: orNone(nameKind()), Default: star.None, KeywordOnly: true, Doc: `a machine that exists, "runpod:abc123"; one that bifrost did not rent needs keep_alive said`},
		{Name: "keep_alive", Kind: orNone(boolKind()), Default: star.None, KeywordOnly: true, Doc: "True keeps a rented machine afterwards"},
		{Name: "max_cost", Kind: orNone(positiveKind("USD")), Default: star.None, KeywordOnly: true, Doc: "USD for the machine; with its price it sets a deadline"},
		{Name: "name", Kind: orNone(nameKind()), Default: star.None, KeywordOnly: true, Doc: "of the machine to rent"},
	}
}

func needsOfNode(c *Call) []policy.Request {
	return targets(arg[*object](c, "provision"), arg[string](c, "ssh"), arg[string](c, "node_id"))
}

// nodeSpec is what the parameters of nodeParams say.
func (c *Call) nodeSpec() engine.NodeSpec {
	spec := engine.NodeSpec{
		Provision: c.query(arg[*object](c, "provision")), SSH: arg[string](c, "ssh"), NodeID: arg[string](c, "node_id"),
		Name: arg[string](c, "name"), MaxCost: arg[float64](c, "max_cost"),
	}
	if c.raw["keep_alive"] != star.None {
		keep := arg[bool](c, "keep_alive")
		spec.KeepAlive = &keep
	}
	return spec
}

func acquireNodeEntry() *Entry {
	return &Entry{
		Name: "acquire_node", Result: "node", Effect: true,
		Example:      "node = acquire_node(ssh = \"root@gpu.example.org\")\nnode.push(\"~/.bifrost/workspaces/tests\")\nprint(node.id)  # ssh:root@gpu.example.org",
		Capabilities: []policy.Capability{policy.Rent, policy.SSH},
		Doc: "Returns a node that is ready for work: rented, or one's own. A rented one is released when the script ends, normally or not, unless keep_alive or node.keep() keep it. " +
			"Exactly one of provision, ssh and node_id is given.",
		Params: nodeParams(),
		needs:  needsOfNode,
		run: func(c *Call) (star.Value, error) {
			if err := c.oneNode(); err != nil {
				return nil, err
			}
			n, err := c.lib.engine.Acquire(c.context(), c.nodeSpec())
			if err != nil {
				return nil, err
			}
			return c.node(n, nil), nil
		},
	}
}

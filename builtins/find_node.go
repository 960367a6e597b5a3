package builtins

import (
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark/policy"
)

// everyProvider asks for the accounts of all providers.
func everyProvider(*Call) []policy.Request {
	return []policy.Request{{Capability: policy.Rent, Target: "*"}}
}

func listNodesEntry() *Entry {
	return &Entry{
		Name: "list_nodes", Result: "list of node", Effect: true, Capabilities: []policy.Capability{policy.Rent},
		Doc: "Lists the rented machines that exist, newest first, those that somebody else rented on the same accounts included. " +
			"None is connected to before one of its methods is called, and none is released by this.",
		Example: `for n in list_nodes():
    n.exec("nvidia-smi")
print([n.id for n in list_nodes()])  # ["local:1", "local:2"]`,
		needs: everyProvider,
		run: func(c *Call) (star.Value, error) {
			nodes, err := c.lib.engine.ListNodes(c.context())
			if err != nil {
				return nil, err
			}
			items := make([]star.Value, len(nodes))
			for i, n := range nodes {
				items[i] = c.node(n, nil)
			}
			return star.NewList(items), nil
		},
	}
}

func findNodeEntry() *Entry {
	return &Entry{
		Name: "find_node", Result: "node or None", Effect: true, Capabilities: []policy.Capability{policy.Rent},
		Doc: `Finds a machine that exists, and is None when there is none: by its id ("local:abc123"), by its name, or by a job that is on it. ` +
			"A name that several machines have is an error that lists them. It is connected to when one of its methods is called, and is not released by this.",
		Params: []Param{{Name: "name_or_id", Kind: nameKind(), Doc: "id of a machine, its name, or id of a job"}},
		Example: `print(find_node("local:1").gpu_count)  # 2
print(find_node("runpod:nobody"))  # None`,
		needs: everyProvider,
		run: func(c *Call) (star.Value, error) {
			n, err := c.lib.engine.FindNode(c.context(), arg[string](c, "name_or_id"))
			if err != nil || n == nil {
				return star.None, err
			}
			return c.node(n, nil), nil
		},
	}
}

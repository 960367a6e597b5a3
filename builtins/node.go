package builtins

import (
	"time"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark/policy"
)

// node returns the value of a machine, good as long as the scope (nil: until the script ends).
func (c *Call) node(n Node, s *scope) *object {
	o := c.lib.make("node", star.StringDict{}, n)
	o.thread, o.scope = c.thread, s
	return o
}

// nodeOf returns the machine of a method's receiver.
func nodeOf(c *Call) Node { return c.recv.data.(Node) }

func nodeType() *Type {
	methods := nodeCommands()
	methods = append(methods, nodeJobs()...)
	methods = append(methods, nodeFiles()...)
	methods = append(methods, nodeMachine()...)
	return &Type{
		Name: "node", Doc: "A machine that answers. Remote relative paths start at the last pushed workspace, before any at the home.",
		Fields: nodeFields(), Methods: methods,
		show: func(o *object) string { return "<node " + o.id() + ">" },
	}
}

func nodeFields() []Field {
	text := func(get func(n Node) string) func(o *object) (star.Value, error) {
		return func(o *object) (star.Value, error) { return star.String(get(o.data.(Node))), nil }
	}
	return []Field{
		{Name: "id", Kind: "str", Doc: `"provider:id", or "ssh:user@host:port"`, get: text(Node.ID)},
		{Name: "provider", Kind: "str", Doc: `who rents it out; "ssh" for a machine given with ssh=`, get: text(Node.Provider)},
		{Name: "ssh", Kind: "str", Doc: "the command line that a person reaches it with", get: text(Node.SSH)},
		{Name: "gpu_type", Kind: "str or None", Doc: "canonical name of its GPUs; None when unknown", get: func(o *object) (star.Value, error) {
			return stringOrNone(o.data.(Node).GPUType()), nil
		}},
		{Name: "gpu_count", Kind: "int", Doc: "GPUs that were rented; 0 when unknown", get: func(o *object) (star.Value, error) {
			return star.MakeInt(o.data.(Node).GPUCount()), nil
		}},
		{Name: "price_per_hour", Kind: "float", Doc: "USD for the whole machine; 0 for machines that are not rented", get: func(o *object) (star.Value, error) {
			return star.Float(o.data.(Node).PricePerHour()), nil
		}},
		{Name: "home", Kind: "str", Doc: "absolute path of the home folder", get: func(o *object) (star.Value, error) {
			home, err := o.data.(Node).Home(o.thread.Context())
			return star.String(home), err
		}},
	}
}

// nodeMachine are the methods about the machine itself.
func nodeMachine() []*Entry {
	ssh := []policy.Capability{policy.SSH}
	return []*Entry{
		{
			Name: "gpus", Result: "list of gpu", Effect: true, Capabilities: ssh, needs: onNode,
			Example: "for gpu in node.gpus():\n    print(gpu.index, gpu.name, gpu.memory_used_mb)  # 0 NVIDIA A100 10",
			Doc:     "Lists the GPUs as nvidia-smi shows them.",
			run: func(c *Call) (star.Value, error) {
				gpus, err := nodeOf(c).GPUs(c.context())
				if err != nil {
					return nil, err
				}
				items := make([]star.Value, len(gpus))
				for i, g := range gpus {
					items[i] = c.lib.gpu(g)
				}
				return star.NewList(items), nil
			},
		},
		{
			Name: "wait_for_gpus", Result: "None", Effect: true, Capabilities: ssh, needs: onNode,
			Example: "node.wait_for_gpus([0, 1], timeout = \"10m\")",
			Doc:     `Waits until the GPUs with these indexes are free: at most 1000 MB and 5 % in use. When the timeout has passed it is an error of kind "timeout" that says which are busy.`,
			Params: []Param{
				{Name: "ids", Kind: intsKind(0, 1023), Doc: "indexes as in gpus()"},
				{Name: "timeout", Kind: durationKind(), Default: star.MakeInt(600), Doc: `seconds or "10m"`},
			},
			run: func(c *Call) (star.Value, error) {
				return star.None, nodeOf(c).WaitForGPUs(c.context(), arg[[]int](c, "ids"), arg[time.Duration](c, "timeout"))
			},
		},
		{
			Name: "forward", Result: "int", Effect: true, Capabilities: ssh, needs: onNode,
			Example: "print(\"http://127.0.0.1:%d\" % node.forward(8000))  # http://127.0.0.1:4242",
			Doc:     "Opens a port on this machine that leads to one on the node, and returns its number. It is open until the node's scope ends.",
			Params: []Param{
				{Name: "remote_port", Kind: intKind(1, 65535), Doc: "on the node"},
				{Name: "local_port", Kind: intKind(0, 65535), Default: star.MakeInt(0), Doc: "here; 0 means any that is free"},
			},
			run: func(c *Call) (star.Value, error) {
				port, err := nodeOf(c).Forward(c.context(), arg[int](c, "remote_port"), arg[int](c, "local_port"))
				return star.MakeInt(port), err
			},
		},
		{
			Name: "keep", Result: "None", Effect: true, Capabilities: ssh, needs: onNode,
			Example: "node.keep()",
			Doc:     "Keeps a rented machine after its scope, until it is terminated by hand.",
			run:     func(c *Call) (star.Value, error) { return star.None, nodeOf(c).Keep(c.context()) },
		},
		{
			Name: "terminate", Result: "None", Effect: true, Capabilities: ssh, needs: onNode,
			Example: "node.terminate()",
			Doc:     "Ends the machine now, whatever runs on it. A machine given with ssh= is never terminated.",
			run:     func(c *Call) (star.Value, error) { return star.None, nodeOf(c).Terminate(c.context()) },
		},
	}
}

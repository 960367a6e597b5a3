package builtins

import (
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark/policy"
)

// server returns the value of a server, good as long as the scope.
func (c *Call) server(s Server, scope *scope) *object {
	o := c.lib.make("server", star.StringDict{}, s)
	o.thread, o.scope = c.thread, scope
	return o
}

func serverType() *Type {
	of := func(c *Call) Server { return c.recv.data.(Server) }
	ssh := []policy.Capability{policy.SSH}
	fields := append(handleFields(),
		Field{Name: "url", Kind: "str", Doc: "where it answers, from this machine", get: func(o *object) (star.Value, error) {
			return star.String(o.data.(Server).URL()), nil
		}},
		Field{Name: "port", Kind: "int", Doc: "that it listens on, on the node", get: func(o *object) (star.Value, error) {
			return star.MakeInt(o.data.(Server).Port()), nil
		}},
	)
	methods := append(handleMethods(),
		&Entry{
			Name: "healthy", Result: "bool", Effect: true, Capabilities: ssh, needs: onNode,
			Example: "print(server.healthy())  # True",
			Doc:     "Whether the health endpoint answers now.",
			run:     func(c *Call) (star.Value, error) { return star.Bool(of(c).Healthy(c.context())), nil },
		},
		&Entry{
			Name: "stop", Result: "None", Effect: true, Capabilities: ssh, needs: onNode,
			Example: "server.stop()",
			Doc:     "Stops the server and closes its local port.",
			run:     func(c *Call) (star.Value, error) { return star.None, of(c).Stop(c.context()) },
		},
	)
	return &Type{
		Name: "server", Doc: "A handle of a job that answers HTTP, as `node.serve` returns it.", Fields: fields, Methods: methods,
		show: func(o *object) string { return "<server " + o.id() + " at " + o.data.(Server).URL() + ">" },
	}
}

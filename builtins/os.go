package builtins

import (
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

func osModule() *Module {
	return &Module{
		Name: "os", Doc: "The environment of this machine. Paths are `Path`'s, programs `local.run`'s.",
		Entries: []*Entry{{
			Name: "getenv", Result: "any", Effect: true, Capabilities: []policy.Capability{policy.Env},
			Doc: "Returns a variable of the environment, or the default where it is not set. Those of .env are there after `load_dotenv()`. " +
				"For tokens take `secret`, whose value nothing prints; keys of providers are readable by nobody.",
			Example: "load_dotenv()\nprint(os.getenv(\"WANDB_PROJECT\"), os.getenv(\"WANDB_ENTITY\"), os.getenv(\"RANKS\", \"8\"))  # speedrun None 8",
			Params: []Param{
				{Name: "key", Kind: variableKind(), Doc: "the variable's name"},
				{Name: "default", Kind: anyKind(), Default: star.None, Doc: "what is returned where it is not set"},
			},
			needs: ask(policy.Env, func(c *Call) string { return arg[string](c, "key") }),
			run: func(c *Call) (star.Value, error) {
				name := arg[string](c, "key")
				value, ok := c.getenv(name)
				if !ok {
					return c.raw["default"], nil
				}
				if starlark.LooksSecret(name, value) {
					c.thread.Run().Redactor.Add(name, value)
				}
				return star.String(value), nil
			},
		}},
	}
}

// getenv looks a variable up as the run has it: in the environment and in what load_dotenv has read.
func (c *Call) getenv(name string) (string, bool) {
	loaded := c.dotenv()
	loaded.mu.Lock()
	defer loaded.mu.Unlock()
	if v, ok := loaded.vars[name]; ok {
		return v, true
	}
	if c.lib.opts.Getenv == nil {
		return "", false
	}
	return c.lib.opts.Getenv(name)
}

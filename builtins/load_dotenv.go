package builtins

import (
	"path/filepath"
	"sync"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark/policy"
)

func loadDotenvEntry() *Entry {
	return &Entry{
		Name: "load_dotenv", Result: "bool", Effect: true, Capabilities: []policy.Capability{policy.ReadFile},
		Doc: "Reads lines of NAME=value from the .env file in the script's root (not from the current folder) for `os.getenv`, and returns whether there were any. " +
			"A variable of the environment stays as it is. `export` in front, quotes and comments are understood; `${NAME}` is not expanded. `secret` reads .env without it.",
		Example: "print(load_dotenv(), os.getenv(\"WANDB_PROJECT\"))  # True speedrun",
		Params: []Param{
			{Name: "dotenv_path", Kind: orNone(localPathKind()), Default: star.None, Doc: "another file, from the current folder; one that is missing has no variables"},
			{Name: "override", Kind: boolKind(), Default: star.False, KeywordOnly: true, Doc: "what the file says goes before the environment"},
		},
		needs: func(c *Call) []policy.Request {
			root := c.thread.Run().Root
			own := filepath.Join(root, ".env")
			path := arg[string](c, "dotenv_path")
			if path == "" || c.lib.absolute(path) == own {
				// No script reads this file. Its variables are behind the gate one by one, so that loading
				// them takes no more than reading its folder.
				c.values["dotenv_path"] = own
				return []policy.Request{{Capability: policy.ReadFile, Target: root}}
			}
			real, err := c.lib.realPath(path)
			if err != nil {
				real = path // which reading it will say is wrong
			}
			c.values["dotenv_path"] = real
			return []policy.Request{{Capability: policy.ReadFile, Target: real}}
		},
		run: func(c *Call) (star.Value, error) {
			if c.lib.opts.NoDotenv {
				return star.False, nil
			}
			vars, err := ReadDotenv(arg[string](c, "dotenv_path"))
			if err != nil {
				return nil, err
			}
			loaded := c.dotenv()
			loaded.mu.Lock()
			defer loaded.mu.Unlock()
			for name, value := range vars {
				_, known := loaded.vars[name]
				if !known && c.lib.opts.Getenv != nil {
					_, known = c.lib.opts.Getenv(name)
				}
				if !known || arg[bool](c, "override") {
					loaded.vars[name] = value
				}
			}
			return star.Bool(len(vars) > 0), nil
		},
	}
}

// A dotenv is what load_dotenv has put into the environment of one run.
type dotenv struct {
	mu   sync.Mutex
	vars map[string]string
}

type dotenvKey struct{}

func (c *Call) dotenv() *dotenv {
	return c.thread.Run().Local(dotenvKey{}, func() any { return &dotenv{vars: map[string]string{}} }).(*dotenv)
}

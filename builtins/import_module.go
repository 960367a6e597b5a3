package builtins

import (
	"errors"
	"strings"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark"
)

// A localPath is a value that stands for a file on this machine.
type localPath interface{ LocalPath() string }

func importModuleEntry() *Entry {
	return &Entry{
		Name: "import_module", Result: "module", Capabilities: pure,
		Doc: `Loads a .star file that is chosen while the script runs, and returns its public names as attributes. It is load without the literal: the file and what it loads are checked before any of it runs, a file runs once, and cannot act while it loads.`,
		Example: `name = "hf"
hf = import_module("@std//%s.star" % name)
print(hf.hf_env("/data/hf")["HF_HOME"])  # /data/hf`,
		Params: []Param{{
			Name: "path", Kind: moduleKind(),
			Doc: `a string as load has it, "./x.star" from the file that this is written in, "//lib/x.star", "@std//hf.star"; a Path as the user typed it, from the current folder, within the root`,
		}},
		run: func(c *Call) (star.Value, error) {
			if p, ok := c.raw["path"].(localPath); ok {
				return c.thread.ImportFile(c.lib.absolute(p.LocalPath()), p.LocalPath())
			}
			module, err := c.thread.Import(arg[string](c, "path"))
			var missing *starlark.ImportError
			if errors.As(err, &missing) && missing.Problems == nil && !strings.HasPrefix(arg[string](c, "path"), "@") {
				missing.Hint = strings.TrimPrefix(missing.Hint+"; ", "; ") + "a path as the user types it: import_module(Path(…))"
			}
			if err != nil {
				return nil, err
			}
			return module, nil
		},
	}
}

// moduleKind is what names a module: a string or a Path.
func moduleKind() Kind {
	return Kind{"str or Path", func(_ *Call, v star.Value) (any, error) {
		if p, ok := v.(localPath); ok {
			return p, nil
		}
		if s, ok := star.AsString(v); ok {
			return s, nil // the loader says what is wrong with it
		}
		return nil, want(v, "a string or a Path")
	}}
}

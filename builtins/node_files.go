package builtins

import (
	"errors"
	"os"
	"unicode/utf8"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// nodeFiles are the methods about files on a node.
func nodeFiles() []*Entry {
	ssh := []policy.Capability{policy.SSH}
	path := []Param{{Name: "path", Kind: nameKind(), Doc: "on the node"}}
	return []*Entry{
		{
			Name: "upload", Result: "transfer", Effect: true, Capabilities: []policy.Capability{policy.SSH, policy.ReadFile},
			Example: "print(node.upload(\"data\", \"inputs/\").files)  # 1",
			Doc:     "Copies a local file or folder to the node, as cp would.",
			Params: []Param{
				{Name: "local", Kind: localPathKind(), Doc: "path here, from the current folder"},
				{Name: "remote", Kind: nameKind(), Doc: "path on the node; an existing folder or a trailing slash receives, else the name is the target"},
			},
			needs: onNodeAnd(policy.ReadFile, "local"),
			run: func(c *Call) (star.Value, error) {
				t, err := nodeOf(c).Upload(c.context(), arg[string](c, "local"), arg[string](c, "remote"))
				return c.lib.transfer(t), err
			},
		},
		{
			Name: "download", Result: "transfer", Effect: true, Capabilities: []policy.Capability{policy.SSH, policy.WriteFile},
			Example: "node.download(\"results\", \"local_results\", missing_ok = True)",
			Doc:     "Fetches a file or folder, as cp would: an existing folder or a trailing slash receives it, else the name is the target.",
			Params:  downloadParams("relative to the last pushed workspace, else to the home"),
			needs:   onNodeAnd(policy.WriteFile, "local"),
			run: func(c *Call) (star.Value, error) {
				t, err := nodeOf(c).Download(c.context(), arg[string](c, "remote"), arg[string](c, "local"), arg[bool](c, "missing_ok"))
				return c.lib.transfer(t), err
			},
		},
		{
			Name: "read_file", Result: "str", Effect: true, Capabilities: ssh, needs: onNode, Params: path,
			Example: "loss = node.read_file(\"results/loss.txt\").strip()",
			Doc:     "Returns the text of a file on the node. One that is not UTF-8 is an error; download takes every file.",
			run: func(c *Call) (star.Value, error) {
				data, err := nodeOf(c).ReadFile(c.context(), arg[string](c, "path"))
				if err == nil && !utf8.Valid(data) {
					err = &fault.Error{Kind: fault.Invalid, Op: "read_file", Target: arg[string](c, "path"), Err: errors.New("it is not UTF-8"), Hint: "download takes every file"}
				}
				return c.withoutSecrets(string(data)), err
			},
		},
		{
			Name: "write_file", Result: "None", Effect: true, Capabilities: ssh, needs: onNode,
			Example: "node.write_file(\"config.json\", json.dumps({\"lr\": 0.1}))",
			Doc:     "Writes a file on the node, byte for byte; its folder is made when missing.",
			Params: append(path[:1:1],
				Param{Name: "data", Kind: dataKind(), Doc: "what the file holds then"},
				Param{Name: "mode", Kind: intKind(0, 0o777), Default: star.MakeInt(0o644), KeywordOnly: true, Doc: "permissions, 0o755 for a program"},
			),
			run: func(c *Call) (star.Value, error) {
				return star.None, nodeOf(c).WriteFile(c.context(), arg[string](c, "path"), arg[[]byte](c, "data"), os.FileMode(arg[int](c, "mode")))
			},
		},
		{
			Name: "exists", Result: "bool", Effect: true, Capabilities: ssh, needs: onNode, Params: path,
			Example: "print(node.exists(\"there\"), node.exists(\"results/loss.txt\"))  # True False",
			Doc:     "Whether there is a file or folder of this name on the node.",
			run: func(c *Call) (star.Value, error) {
				ok, err := nodeOf(c).Exists(c.context(), arg[string](c, "path"))
				return star.Bool(ok), err
			},
		},
		{
			Name: "glob", Result: "list of str", Effect: true, Capabilities: ssh, needs: onNode,
			Example: "print(node.glob(\"results/*.json\"))  # [\"a.json\", \"b.json\"]",
			Doc:     "Lists the paths on the node that match a pattern, in order.",
			Params:  []Param{{Name: "pattern", Kind: nameKind(), Doc: `"results/*.json"`}},
			run: func(c *Call) (star.Value, error) {
				all, err := nodeOf(c).Glob(c.context(), arg[string](c, "pattern"))
				return stringList(all), err
			},
		},
		{
			Name: "expand_path", Result: "str", Effect: true, Capabilities: ssh, needs: onNode, Params: path,
			Example: "print(node.expand_path(\"models\"))  # /root/models",
			Doc:     "Returns the absolute path on the node: ~/ is its home, a relative path starts where relative paths start.",
			run: func(c *Call) (star.Value, error) {
				p, err := nodeOf(c).ExpandPath(c.context(), arg[string](c, "path"))
				return star.String(p), err
			},
		},
	}
}

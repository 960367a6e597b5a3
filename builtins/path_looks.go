package builtins

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// fileKey is the argument's name under which a method of a Path keeps what the gate was asked about.
const fileKey = " real path"

// onPath asks for the file that the receiver leads to.
func onPath(capability policy.Capability) func(c *Call) []policy.Request {
	return func(c *Call) []policy.Request {
		real, err := c.lib.realPath(pureOf(c.recv).String())
		c.values[fileKey] = realPath{real, err}
		if err != nil {
			return nil // there is nothing that could be touched
		}
		return []policy.Request{{Capability: capability, Target: real}}
	}
}

// A realPath is the file that a path leads to, or why it leads to none.
type realPath struct {
	path string
	err  error
}

// file is the file that the gate was asked for.
func (c *Call) file() (string, error) {
	real := arg[realPath](c, fileKey)
	if real.err != nil {
		return "", c.fileError(real.err)
	}
	return real.path, nil
}

// fileError says what is wrong with the receiver's file, in the script's own words for it.
func (c *Call) fileError(err error) error {
	if err == nil {
		return nil
	}
	p := pureOf(c.recv)
	e := &fault.Error{Kind: fault.Invalid, Op: c.entry.Name, Target: p.String(), Err: err}
	var path *fs.PathError
	if errors.As(err, &path) {
		e.Err = path.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		e.Err = link.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Kind, e.Err = fault.NotFound, errors.New("it does not exist")
		if p.root == "" {
			if dir, err := c.lib.realPath("."); err == nil {
				e.Hint = "local paths start at the current folder, " + dir + "; Path(__file__).parent is the script's own"
			}
		}
	case errors.Is(err, fs.ErrExist):
		e.Kind, e.Err = fault.Conflict, errors.New("it exists already")
	case errors.Is(err, syscall.ENOSPC):
		e.Kind = fault.DiskFull
	}
	return e
}

// absent reports whether err says that there is no such file, as pathlib's exists takes it.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}

// statResultType is what stat returns.
func statResultType() *Type {
	return &Type{
		Name: "stat_result", Doc: "What `Path.stat` returns.",
		Fields: []Field{
			{Name: "st_size", Kind: "int", Doc: "bytes"},
			{Name: "st_mtime", Kind: "float", Doc: "when it was last changed, in seconds since 1970"},
		},
	}
}

// pathLooks are the methods that look at files without reading them.
func pathLooks() []*Entry {
	read := []policy.Capability{policy.ReadFile}
	is := func(name, doc, example string, test func(info fs.FileInfo) bool) *Entry {
		return &Entry{
			Name: name, Result: "bool", Effect: true, Capabilities: read, needs: onPath(policy.ReadFile), Doc: doc, Example: example,
			run: func(c *Call) (star.Value, error) {
				real := arg[realPath](c, fileKey)
				err := real.err
				var info fs.FileInfo
				if err == nil {
					info, err = os.Stat(real.path)
				}
				switch {
				case err == nil:
					return star.Bool(test(info)), nil
				case absent(err):
					return star.False, nil
				}
				return nil, c.fileError(err)
			},
		}
	}
	return []*Entry{
		is("exists", "Whether there is a file or folder. A link counts as what it leads to.",
			`print(Path("config.json").exists(), Path("none").exists())  # True False`, func(fs.FileInfo) bool { return true }),
		is("is_file", "Whether it is a regular file, or a link to one.",
			`print(Path("config.json").is_file(), Path("data").is_file())  # True False`, func(i fs.FileInfo) bool { return i.Mode().IsRegular() }),
		is("is_dir", "Whether it is a folder, or a link to one.",
			`print(Path("data").is_dir())  # True`, fs.FileInfo.IsDir),
		{
			Name: "resolve", Result: "Path", Effect: true, Capabilities: read, needs: onPath(policy.ReadFile),
			Doc:     "Returns the absolute path without links and without `..`. `__file__` is that already.",
			Example: "print(Path(\"data/../config.json\").resolve() == Path(__file__).parent / \"config.json\")  # True",
			Params:  []Param{{Name: "strict", Kind: boolKind(), Default: star.False, Doc: "a missing file is an error"}},
			run: func(c *Call) (star.Value, error) {
				file, err := c.file()
				if err != nil {
					return nil, err
				}
				if arg[bool](c, "strict") {
					if _, err := os.Stat(file); err != nil {
						return nil, c.fileError(err)
					}
				}
				return c.lib.path(parsePath(filepath.ToSlash(file))), nil
			},
		},
		{
			Name: "stat", Result: "stat_result", Effect: true, Capabilities: read, needs: onPath(policy.ReadFile),
			Doc:     "Returns the size and age of a file, or of what a link leads to.",
			Example: `print(Path("data/a.txt").stat().st_size)  # 6`,
			run: func(c *Call) (star.Value, error) {
				file, err := c.file()
				if err != nil {
					return nil, err
				}
				info, err := os.Stat(file)
				if err != nil {
					return nil, c.fileError(err)
				}
				return c.lib.make("stat_result", star.StringDict{
					"st_size": star.MakeInt64(info.Size()), "st_mtime": star.Float(float64(info.ModTime().UnixNano()) / 1e9),
				}, nil), nil
			},
		},
		{
			Name: "iterdir", Result: "list of Path", Effect: true, Capabilities: read, needs: onPath(policy.ReadFile),
			Doc:     "Lists what is in the folder, in order, hidden files included.",
			Example: `print([p.name for p in Path("data").iterdir()])  # ["a.txt", "b.txt"]`,
			run: func(c *Call) (star.Value, error) {
				file, err := c.file()
				if err != nil {
					return nil, err
				}
				entries, err := os.ReadDir(file)
				if err != nil {
					return nil, c.fileError(err)
				}
				var all []purePath
				for _, e := range entries {
					all = append(all, pureOf(c.recv).child(e.Name()))
				}
				return star.NewList(c.lib.paths(all)), nil
			},
		},
		globEntry("glob", "Lists what matches a pattern beneath the folder, in order: `*` any characters, `?` one, `[a-c]` and `[!a-c]` some, `**` as a part of its own this folder and all beneath it. "+
			"Names that start with a dot match as others do. `**` follows no links; a link that `*` found and that leads where the script may not read is passed over, and the run says so.",
			`print([str(p) for p in Path("data").glob("*.txt")])  # ["data/a.txt", "data/b.txt"]`, ""),
		globEntry("rglob", "Lists what matches a pattern in the folder and in all beneath it, as `glob(\"**/\" + pattern)`.",
			`print([p.name for p in Path(".").rglob("*.log")])  # ["x.log"]`, "**/"),
	}
}

package builtins

import (
	"slices"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// A pathValue is a Path: a path on this machine, as pathlib has it.
type pathValue struct{ object }

// LocalPath returns the path as the script has it.
func (p *pathValue) LocalPath() string { return p.data.(purePath).String() }

// CompareSameType implements star.Comparable. The order is that of the parts.
func (p *pathValue) CompareSameType(op syntax.Token, other star.Value, _ int) (bool, error) {
	return threeway(op, slices.Compare(pureOf(&p.object).all(), pureOf(&other.(*pathValue).object).all())), nil
}

// pureOf is the path that a Path has.
func pureOf(o *object) purePath { return o.data.(purePath) }

func (l *Library) path(p purePath) *pathValue {
	return &pathValue{object{lib: l, typ: l.byName["Path"], data: p}}
}

func (l *Library) paths(all []purePath) []star.Value {
	values := make([]star.Value, len(all))
	for i, p := range all {
		values[i] = l.path(p)
	}
	return values
}

func pathEntry() *Entry {
	return &Entry{
		Name: "Path", Result: "Path", Capabilities: pure,
		Doc: "Makes a path on this machine, as Python's pathlib does: segments are joined, one that starts with a slash drops those before it, `..` stays as it is written. " +
			"Nothing is looked at until a method that reads or writes is called. Relative ones start at the current folder; `Path(__file__).parent` is the folder of the script.",
		Example: "config = Path(\"configs\") / \"train.toml\"\nprint(config, config.stem, config.suffix)  # configs/train.toml train .toml\n" +
			"print(Path(\"a//b/../c\"), Path())  # a/b/../c .",
		Args: "segments",
		run: func(c *Call) (star.Value, error) {
			segments, err := c.segments()
			return c.lib.path(parsePath(segments...)), err
		},
	}
}

// segments are the further arguments of a call, each a part of a path.
func (c *Call) segments() ([]string, error) {
	all := make([]string, len(c.args))
	for i, v := range c.args {
		s, err := segment(v)
		if err != nil {
			return nil, c.wrongValue("segments", err)
		}
		all[i] = s
	}
	return all, nil
}

// segment is a part of a path: a string or a Path.
func segment(v star.Value) (string, error) {
	if p, ok := v.(*pathValue); ok {
		return p.LocalPath(), nil
	}
	return text(v, "a string or a Path")
}

func segmentKind() Kind {
	return Kind{"str or Path", func(_ *Call, v star.Value) (any, error) { return segment(v) }}
}

func pathType() *Type {
	get := func(read func(o *object, p purePath) star.Value) func(o *object) (star.Value, error) {
		return func(o *object) (star.Value, error) { return read(o, pureOf(o)), nil }
	}
	text := func(read func(p purePath) string) func(o *object) (star.Value, error) {
		return get(func(_ *object, p purePath) star.Value { return star.String(read(p)) })
	}
	return &Type{
		Name: "Path",
		Doc: "What `Path` returns. `path / \"name\"` and `\"folder\" / path` join; paths are equal when their parts are, have an order, and are keys of dicts; `str(path)` and `%s` are the path. " +
			"Every parameter that is a local path takes one. What reads or writes goes through the policy, links resolved, and is refused while a module loads.",
		Fields: []Field{
			{Name: "name", Kind: "str", Doc: `the last part, "" where there is none`, get: text(purePath.name)},
			{Name: "stem", Kind: "str", Doc: "the name without its suffix", get: text(purePath.stem)},
			{Name: "suffix", Kind: "str", Doc: `the name's last dot and what follows: ".gz" of "a.tar.gz", "" of ".env"`, get: text(purePath.suffix)},
			{Name: "suffixes", Kind: "list of str", Doc: `all of them: [".tar", ".gz"]`, get: get(func(_ *object, p purePath) star.Value { return stringList(p.suffixes()) })},
			{Name: "parts", Kind: "tuple of str", Doc: "the root, if any, and the parts", get: get(func(_ *object, p purePath) star.Value {
				parts := star.Tuple{}
				for _, s := range p.all() {
					parts = append(parts, star.String(s))
				}
				return parts
			})},
			{Name: "parent", Kind: "Path", Doc: "the path without its last part", get: get(func(o *object, p purePath) star.Value { return o.lib.path(p.parent()) })},
			{Name: "parents", Kind: "tuple of Path", Doc: "the parent, its parent and so on", get: get(func(o *object, p purePath) star.Value {
				return star.Tuple(o.lib.paths(p.parents()))
			})},
		},
		Methods: slices.Concat(pathPure(), pathLooks(), pathContents()),
		show:    func(o *object) string { return pureOf(o).String() },
		binary:  joinPaths,
		hash:    func(o *object) (uint32, error) { return star.String(pureOf(o).String()).Hash() },
	}
}

// joinPaths is the operator /.
func joinPaths(o *object, op syntax.Token, y star.Value, side star.Side) (star.Value, error) {
	if op == syntax.PLUS {
		return nil, &ArgError{Entry: "Path", Message: "paths are not joined by +", Hint: `write path / "name" for a part of its own, path.with_name(path.name + "x") for a longer name, str(path) for the text`}
	}
	if op != syntax.SLASH {
		return nil, nil
	}
	other, err := segment(y)
	if err != nil {
		hint := ""
		if e, ok := err.(*valueError); ok {
			hint = e.hint
		}
		return nil, &ArgError{Entry: "/", Message: err.Error(), Hint: hint}
	}
	if side == star.Right {
		return o.lib.path(parsePath(other, pureOf(o).String())), nil
	}
	return o.lib.path(pureOf(o).join(other)), nil
}

// pathPure are the methods that look at the text alone.
func pathPure() []*Entry {
	other := []Param{{Name: "other", Kind: segmentKind(), Doc: "the folder"}}
	derive := func(param string, with func(p purePath, value string) (purePath, error)) func(c *Call) (star.Value, error) {
		return func(c *Call) (star.Value, error) {
			p, err := with(pureOf(c.recv), arg[string](c, param))
			if err != nil {
				return nil, c.wrongValue(param, err)
			}
			return c.lib.path(p), nil
		}
	}
	return []*Entry{
		{
			Name: "joinpath", Result: "Path", Capabilities: pure, Args: "segments",
			Doc:     "Joins segments to the path, as / does.",
			Example: `print(Path("a").joinpath("b", "c.txt"))  # a/b/c.txt`,
			run: func(c *Call) (star.Value, error) {
				segments, err := c.segments()
				return c.lib.path(pureOf(c.recv).join(segments...)), err
			},
		},
		{
			Name: "with_name", Result: "Path", Capabilities: pure,
			Doc:     "Returns the path with another last part.",
			Example: `print(Path("a/b.txt").with_name("c.md"))  # a/c.md`,
			Params:  []Param{{Name: "name", Kind: messageKind(), Doc: "of the file"}},
			run:     derive("name", purePath.withName),
		},
		{
			Name: "with_stem", Result: "Path", Capabilities: pure,
			Doc:     "Returns the path with another name before the suffix.",
			Example: `print(Path("a/b.txt").with_stem("c"))  # a/c.txt`,
			Params:  []Param{{Name: "stem", Kind: messageKind(), Doc: "of the name"}},
			run: derive("stem", func(p purePath, stem string) (purePath, error) {
				return p.withName(stem + p.suffix())
			}),
		},
		{
			Name: "with_suffix", Result: "Path", Capabilities: pure,
			Doc:     "Returns the path with another suffix.",
			Example: `print(Path("a.tar.gz").with_suffix(".zip"), Path("a").with_suffix(".md"))  # a.tar.zip a.md`,
			Params:  []Param{{Name: "suffix", Kind: messageKind(), Doc: `with its dot; "" takes it away`}},
			run:     derive("suffix", purePath.withSuffix),
		},
		{
			Name: "relative_to", Result: "Path", Capabilities: pure,
			Doc:     "Returns the rest of the path beneath a folder. It is an error where the path does not begin with it: only the text is compared.",
			Example: `print(Path("/work/lib/a.star").relative_to("/work"))  # lib/a.star`,
			Params:  other,
			run: derive("other", func(p purePath, base string) (purePath, error) {
				return p.relativeTo(parsePath(base))
			}),
		},
		{
			Name: "is_relative_to", Result: "bool", Capabilities: pure,
			Doc:     "Whether the path begins with a folder.",
			Example: `print(Path("/work/a").is_relative_to("/work"), Path("/work2").is_relative_to("/work"))  # True False`,
			Params:  other,
			run: func(c *Call) (star.Value, error) {
				return star.Bool(pureOf(c.recv).isRelativeTo(parsePath(arg[string](c, "other")))), nil
			},
		},
		{
			Name: "is_absolute", Result: "bool", Capabilities: pure,
			Doc:     "Whether the path starts at the root.",
			Example: `print(Path("/a").is_absolute(), Path("a").is_absolute())  # True False`,
			run:     func(c *Call) (star.Value, error) { return star.Bool(pureOf(c.recv).root != ""), nil },
		},
		{
			Name: "as_posix", Result: "str", Capabilities: pure,
			Doc:     "Returns the text of the path.",
			Example: `print(Path("a", "b").as_posix() + "/")  # a/b/`,
			run:     func(c *Call) (star.Value, error) { return star.String(pureOf(c.recv).String()), nil },
		},
	}
}

package builtins

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/builtins/argparse"
	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// An adder is a parser or one of its groups.
type adder interface {
	Add(a argparse.Action, given []string) error
}

// noNumber matches what the interpreter's int and float say of a text that is no number.
var noNumber = lazyregexp.New(`^(int|float): invalid`)

func addArgumentEntry(receiver func(c *Call) (*parser, adder)) *Entry {
	return &Entry{
		Name: "add_argument", Result: "None", Capabilities: pure,
		Doc: "Adds an argument: a positional one by one name without dashes, an option by its flags. " +
			"Its name in the namespace is that of the first long flag, with underscores. What an action cannot use is an error.",
		Params: []Param{
			{
				Name: "action", Kind: nameKind(), Default: star.String("store"), KeywordOnly: true,
				Doc: `"store", "store_true", "store_false", "store_const", "append", "append_const", "extend", "count", "version", "help", or argparse.BooleanOptionalAction`,
			},
			{Name: "nargs", Kind: orNone(nargsKind()), Default: star.None, KeywordOnly: true, Doc: `how many strings it takes: an int, "?", "*", "+", or argparse.REMAINDER; None means one, and no list`},
			{Name: "const", Kind: anyKind(), Default: star.None, KeywordOnly: true, Doc: `the value of actions that store one, and of nargs = "?" without a string`},
			{Name: "default", Kind: anyKind(), Default: star.None, KeywordOnly: true, Doc: "the value when it is not given; a string is converted as one on the command line is"},
			{Name: "type", Kind: orNone(converterKind()), Default: star.None, KeywordOnly: true, Doc: "what makes a value of a string: int, float, str, Path, or a function, whose fail says what is wrong"},
			{Name: "choices", Kind: orNone(choicesKind()), Default: star.None, KeywordOnly: true, Doc: "the values that there are"},
			{Name: "required", Kind: boolKind(), Default: star.False, KeywordOnly: true, Doc: "whether an option must be given"},
			{Name: "help", Kind: orNone(messageKind()), Default: star.None, KeywordOnly: true, Doc: "its help; %(default)s and its like stand for values, %% for a percent sign"},
			{Name: "metavar", Kind: orNone(metavarKind()), Default: star.None, KeywordOnly: true, Doc: "what its string is called in the help; a tuple where there are several"},
			{Name: "dest", Kind: orNone(nameKind()), Default: star.None, KeywordOnly: true, Doc: "its name in the namespace"},
			{Name: "version", Kind: orNone(helpTextKind()), Default: star.None, KeywordOnly: true, Doc: `what action = "version" prints`},
		},
		Args: "name_or_flags",
		Example: `parser = argparse.ArgumentParser()
group = parser.add_argument_group("machine")
group.add_mutually_exclusive_group().add_argument("--gpu-ids", nargs = "+", type = int, metavar = "ID")
parser.add_argument("-v", "--verbose", action = "count", default = 0)
print(parser.parse_args(["--gpu-ids", "0", "1", "-vv"]))  # Namespace(gpu_ids=[0, 1], verbose=2)`,
		run: func(c *Call) (star.Value, error) {
			p, to := receiver(c)
			if err := c.change(p); err != nil {
				return nil, err
			}
			a := argparse.Action{
				Action: arg[string](c, "action"), Dest: arg[string](c, "dest"), Nargs: arg[argparse.Nargs](c, "nargs"), Type: arg[argparse.Type](c, "type"),
				Choices: arg[[]star.Value](c, "choices"), Required: arg[bool](c, "required"), Help: arg[string](c, "help"),
				Metavar: arg[[]string](c, "metavar"), Version: arg[string](c, "version"),
			}
			for i, v := range c.args {
				flag, ok := star.AsString(v)
				if !ok || flag == "" {
					return nil, c.wrong(fmt.Sprintf("argument %d: %v", i+1, want(v, `a name or a flag, "--gpus"`)), "")
				}
				a.Flags = append(a.Flags, flag)
			}
			var given []string
			for _, param := range c.entry.Params {
				if c.given[param.Name] {
					given = append(given, param.Name)
				}
			}
			for name, value := range map[string]*star.Value{"default": &a.Default, "const": &a.Const} {
				if !c.given[name] {
					continue
				}
				var err error
				if *value, err = copyOf(c.raw[name]); err != nil {
					return nil, c.wrongValue(name, err)
				}
			}
			err := to.Add(a, given)
			var bad *argparse.DefinitionError
			if errors.As(err, &bad) {
				return nil, c.wrong(bad.Message, bad.Hint)
			}
			return star.None, err
		},
	}
}

func addArgumentGroupEntry() *Entry {
	return &Entry{
		Name: "add_argument_group", Result: "ArgumentGroup", Capabilities: pure,
		Doc: "Adds a part of the help with a title of its own, and returns it: add_argument there.",
		Params: []Param{
			{Name: "title", Kind: orNone(messageKind()), Default: star.None, Doc: "its title"},
			{Name: "description", Kind: orNone(helpTextKind()), Default: star.None, Doc: "text beneath the title"},
		},
		Example: `parser = argparse.ArgumentParser(prog = "deploy", add_help = False)
parser.add_argument_group("machine").add_argument("--gpus", help = "how many")
print("  --gpus GPUS  how many" in parser.format_help())  # True`,
		run: func(c *Call) (star.Value, error) {
			p := c.recv.data.(*parser)
			if err := c.change(p); err != nil {
				return nil, err
			}
			return c.lib.make("ArgumentGroup", star.StringDict{}, &group{p, p.Group(arg[string](c, "title"), arg[string](c, "description"))}), nil
		},
	}
}

func addMutuallyExclusiveEntry(receiver func(c *Call) (*parser, func(required bool) *argparse.Mutex)) *Entry {
	return &Entry{
		Name: "add_mutually_exclusive_group", Result: "MutuallyExclusiveGroup", Capabilities: pure,
		Doc:    "Adds a group of arguments of which at most one may be given, and returns it: add_argument there.",
		Params: []Param{{Name: "required", Kind: boolKind(), Default: star.False, KeywordOnly: true, Doc: "whether one must be given"}},
		Example: `parser = argparse.ArgumentParser()
node = parser.add_mutually_exclusive_group(required = True)
node.add_argument("--ssh")
node.add_argument("--provision", action = "store_true")
print(parser.parse_args(["--provision"]).ssh)  # None`,
		run: func(c *Call) (star.Value, error) {
			p, add := receiver(c)
			if err := c.change(p); err != nil {
				return nil, err
			}
			return c.lib.make("MutuallyExclusiveGroup", star.StringDict{}, &mutex{p, add(arg[bool](c, "required"))}), nil
		},
	}
}

// A group is a group of a parser.
type group struct {
	parser *parser
	group  *argparse.Group
}

func (g *group) Freeze() { g.parser.Freeze() }

// A mutex is a group of arguments that exclude each other.
type mutex struct {
	parser *parser
	mutex  *argparse.Mutex
}

func (m *mutex) Freeze() { m.parser.Freeze() }

func argumentGroupType() *Type {
	return &Type{
		Name: "ArgumentGroup", Doc: "A part of a parser's help, as `add_argument_group` returns it.",
		Methods: []*Entry{
			addArgumentEntry(func(c *Call) (*parser, adder) {
				g := c.recv.data.(*group)
				return g.parser, g.group
			}),
			addMutuallyExclusiveEntry(func(c *Call) (*parser, func(required bool) *argparse.Mutex) {
				g := c.recv.data.(*group)
				return g.parser, g.group.Mutex
			}),
		},
	}
}

func mutuallyExclusiveGroupType() *Type {
	return &Type{
		Name: "MutuallyExclusiveGroup", Doc: "Arguments of which at most one may be given, as `add_mutually_exclusive_group` returns them.",
		Methods: []*Entry{
			addArgumentEntry(func(c *Call) (*parser, adder) {
				m := c.recv.data.(*mutex)
				return m.parser, m.mutex
			}),
		},
	}
}

// helpTextKind is a text of a parser, in which %(prog)s is the program's name.
func helpTextKind() Kind {
	return Kind{"str", func(c *Call, v star.Value) (any, error) {
		s, err := messageKind().take(c, v)
		if err == nil {
			err = argparse.CheckText(s.(string))
		}
		return s, err
	}}
}

// argvKind is a list of strings, as a command line is one.
func argvKind() Kind {
	return Kind{"list of str", func(_ *Call, v star.Value) (any, error) {
		if _, isString := v.(star.String); isString {
			err := &valueError{message: want(v, "a list of strings").Error(), hint: `one string for each argument: ["--gpus", "8"]`}
			return nil, err
		}
		return each(v, "a list of strings", func(v star.Value) (string, error) { return text(v, "a string") })
	}}
}

// nargsKind is a number of strings, as argparse.Nargs.
func nargsKind() Kind {
	return Kind{"int or str", func(_ *Call, v star.Value) (any, error) {
		if n, err := star.AsInt32(v); err == nil && n >= 0 && n <= 1000 {
			return argparse.Nargs(strconv.Itoa(n)), nil
		}
		s, ok := star.AsString(v)
		if words := []argparse.Nargs{argparse.Optional, argparse.Any, argparse.Some, argparse.Remainder}; !ok || !slices.Contains(words, argparse.Nargs(s)) {
			return nil, want(v, `an int, "?", "*", "+" or argparse.REMAINDER`)
		}
		return argparse.Nargs(s), nil
	}}
}

// converterKind is what makes values of strings, as argparse.Type.
func converterKind() Kind {
	return Kind{"function(str)", func(_ *Call, v star.Value) (any, error) {
		fn, ok := v.(star.Callable)
		if !ok {
			err := &valueError{message: want(v, "a function of a string").Error()}
			if s, isString := star.AsString(v); isString && star.Universe.Has(s) {
				err.hint = "write it without quotes: type = " + s
			}
			return nil, err
		}
		if b, isBuiltin := v.(*star.Builtin); isBuiltin && b.Receiver() == nil {
			switch b.Name() {
			case "int":
				return argparse.Int, nil
			case "float":
				return argparse.Float, nil
			case "str":
				return argparse.Type{Name: "str"}, nil
			case "bool":
				return nil, &valueError{`bool("False") is True, so every text would be True`, `for a flag write action = "store_true"`}
			}
		}
		fn.Freeze() // a parser that is frozen may be used from several threads
		name := fn.Name()
		if name == "lambda" {
			name = "<lambda>"
		}
		return argparse.Type{Name: name, Fn: fn}, nil
	}}
}

// choicesKind is a list, tuple, set, range or dict of values.
func choicesKind() Kind {
	return Kind{"list", func(_ *Call, v star.Value) (any, error) {
		seq, ok := v.(star.Iterable)
		if !ok {
			return nil, want(v, "a list of the values that there are")
		}
		all := slices.Collect(star.Elements(seq))
		if len(all) == 0 {
			return nil, errors.New("it is empty")
		}
		for i := range all {
			var err error
			if all[i], err = copyOf(all[i]); err != nil {
				return nil, err
			}
		}
		return all, nil
	}}
}

// metavarKind is a name or a tuple of names.
func metavarKind() Kind {
	return Kind{"str or tuple of str", func(_ *Call, v star.Value) (any, error) {
		names, err := each(v, "a string or a tuple of strings", func(v star.Value) (string, error) { return text(v, "a string") })
		if err == nil && len(names) == 0 {
			err = errors.New("it is empty")
		}
		return names, err
	}}
}

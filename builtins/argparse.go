package builtins

import (
	"errors"
	"path/filepath"
	"strconv"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/builtins/argparse"
	"github.com/bifrost-run/bifrost/starlark"
)

func argparseModule() *Module {
	class := func(f argparse.Formatter, doc string) Constant {
		return Constant{Name: string(f), Kind: "str", Doc: "a formatter_class: " + doc, Value: star.String(f)}
	}
	return &Module{
		Name: "argparse", TakesArgs: true,
		Doc: "The arguments of the script: what stands behind its name on the command line. It parses, helps and complains as Python's module of this name does.",
		Entries: []*Entry{
			argumentParserEntry(),
		},
		Constants: []Constant{
			{Name: "SUPPRESS", Kind: "str", Doc: "as help: do not show the argument; as default: no entry in the namespace", Value: star.String(argparse.Suppress)},
			{Name: "REMAINDER", Kind: "str", Doc: "as nargs: all that follows, options too", Value: star.String(argparse.Remainder)},
			{Name: "BooleanOptionalAction", Kind: "str", Doc: "as action: --x stores True and --no-x False", Value: star.String("BooleanOptionalAction")},
			class(argparse.PlainHelp, "all texts are wrapped"),
			class(argparse.RawDescription, "description and epilog are shown as they are written"),
			class(argparse.RawText, "all texts are shown as they are written"),
			class(argparse.WithDefaults, "the help of an option ends with its default"),
		},
	}
}

func argumentParserEntry() *Entry {
	return &Entry{
		Name: "ArgumentParser", Result: "ArgumentParser", Capabilities: pure,
		Doc: "Makes a parser that knows -h and --help. Nothing is parsed before `parse_args`.",
		Params: []Param{
			{Name: "prog", Kind: orNone(nameKind()), Default: star.None, Doc: "the program's name in texts; None means the script's file name"},
			{Name: "usage", Kind: orNone(helpTextKind()), Default: star.None, Doc: "the usage; None makes one"},
			{Name: "description", Kind: orNone(helpTextKind()), Default: star.None, Doc: "text in front of the arguments' help"},
			{Name: "epilog", Kind: orNone(helpTextKind()), Default: star.None, Doc: "text behind it"},
			{
				Name: "formatter_class", Default: star.String(argparse.PlainHelp), KeywordOnly: true,
				Kind: oneOf(string(argparse.PlainHelp), string(argparse.RawDescription), string(argparse.RawText), string(argparse.WithDefaults)),
				Doc:  "how the help is laid out, one of the module's constants",
			},
			{Name: "add_help", Kind: boolKind(), Default: star.True, KeywordOnly: true, Doc: "whether it knows -h and --help"},
			{Name: "allow_abbrev", Kind: boolKind(), Default: star.True, KeywordOnly: true, Doc: "whether the beginning of a long option is enough"},
		},
		Example: `parser = argparse.ArgumentParser(description = "Train on rented GPUs")
parser.add_argument("config", nargs = "?", default = "config.star")
parser.add_argument("--gpu-count", type = int, default = 8, help = "1 to 8 (default: %(default)s)")
args = parser.parse_args(["--gpu-count", "4"])
print(args.config, args.gpu_count)  # config.star 4`,
		run: func(c *Call) (star.Value, error) {
			prog := arg[string](c, "prog")
			if prog == "" {
				prog = filepath.Base(c.thread.Run().Entry)
			}
			p := argparse.New(prog)
			p.Usage, p.Description, p.Epilog = arg[string](c, "usage"), arg[string](c, "description"), arg[string](c, "epilog")
			p.Formatter, p.NoAbbrev = argparse.Formatter(arg[string](c, "formatter_class")), !arg[bool](c, "allow_abbrev")
			if arg[bool](c, "add_help") {
				if err := p.AddHelp(); err != nil {
					return nil, err
				}
			}
			return c.lib.make("ArgumentParser", star.StringDict{}, &parser{Parser: p}), nil
		},
	}
}

// A parser is what the methods of a parser and of its groups work on.
type parser struct {
	*argparse.Parser
	frozen bool
}

func (p *parser) Freeze() { p.frozen = true }

// change refuses to change a parser that is frozen.
func (c *Call) change(p *parser) error {
	if !p.frozen {
		return nil
	}
	return c.wrong("the parser is frozen: the file that made it has loaded",
		"add the arguments at the top level of that file, or make the parser inside of a function")
}

func argumentParserType() *Type {
	return &Type{
		Name: "ArgumentParser", Doc: "What `argparse.ArgumentParser` returns.",
		Methods: append([]*Entry{
			addArgumentEntry(func(c *Call) (*parser, adder) {
				p := c.recv.data.(*parser)
				return p, p
			}),
			addMutuallyExclusiveEntry(func(c *Call) (*parser, func(required bool) *argparse.Mutex) {
				p := c.recv.data.(*parser)
				return p, p.Mutex
			}),
			addArgumentGroupEntry(),
			setDefaultsEntry(),
			parseArgsEntry(),
		}, parserTexts()...),
		show: func(o *object) string {
			return "ArgumentParser(prog=" + star.String(o.data.(*parser).Prog).String() + ")"
		},
	}
}

func setDefaultsEntry() *Entry {
	return &Entry{
		Name: "set_defaults", Result: "None", Capabilities: pure,
		Doc:    "Gives names in the namespace values that no argument gives, whether or not there is an argument of the name.",
		Kwargs: "defaults",
		Example: `parser = argparse.ArgumentParser()
parser.set_defaults(command = "deploy")
print(parser.parse_args([]).command)  # deploy`,
		run: func(c *Call) (star.Value, error) {
			p := c.recv.data.(*parser)
			if err := c.change(p); err != nil {
				return nil, err
			}
			for _, kv := range c.kwargs {
				value, err := copyOf(kv[1])
				if err != nil {
					return nil, c.wrongValue(string(kv[0].(star.String)), err)
				}
				p.SetDefault(string(kv[0].(star.String)), value)
			}
			return star.None, nil
		},
	}
}

func parseArgsEntry() *Entry {
	return &Entry{
		Name: "parse_args", Result: "Namespace", Effect: true, Capabilities: pure,
		Doc: "Parses the script's arguments. Ones that it does not take end the script with exit code 2, a usage line and the reason on stderr; " +
			"--help ends it with exit code 0. Call it before anything is rented.",
		Params: []Param{{Name: "args", Kind: orNone(argvKind()), Default: star.None, Doc: "the arguments; None means those of the script"}},
		Example: `parser = argparse.ArgumentParser()
parser.add_argument("--detached", action = "store_true")
print(parser.parse_args(["--det"]))  # Namespace(detached=True)`,
		run: func(c *Call) (star.Value, error) {
			p := c.recv.data.(*parser)
			args := c.thread.Run().Args
			if c.raw["args"] != star.None {
				args = arg[[]string](c, "args")
			}
			values, err := p.Parse(args, c.columns(), c.convert)
			var (
				usage *argparse.UsageError
				shown *argparse.Shown
			)
			switch {
			case errors.As(err, &usage):
				return nil, c.usageError(p, usage.Message)
			case errors.As(err, &shown):
				c.thread.Run().Print(shown.Text)
				return nil, &starlark.ExitError{Code: 0}
			case err != nil:
				return nil, err
			}
			return c.lib.namespace(values), nil
		},
	}
}

// usageError ends the script as Python does for arguments that it does not take.
func (c *Call) usageError(p *parser, message string) error {
	c.stderr(p.UsageLine(c.columns()) + p.Prog + ": error: " + message + "\n")
	return &starlark.ExitError{Code: 2}
}

// convert calls a function that is the type of an argument. As in Python, what it says of a text that
// it does not take is the user's error, and not the script's.
func (c *Call) convert(fn star.Callable, text string) (star.Value, error) {
	v, err := c.thread.Call(fn, star.Tuple{star.String(text)}, nil)
	var (
		script *ScriptError
		data   *DataError
		eval   *star.EvalError
	)
	switch {
	case err == nil || c.context().Err() != nil:
		return v, err
	case errors.As(err, &script):
		return nil, &argparse.InvalidError{Message: script.Message}
	case errors.As(err, &data), errors.As(err, &eval) && noNumber().MatchString(eval.Msg):
		return nil, &argparse.InvalidError{}
	}
	return nil, err
}

// columns is the width of help, by the variable that tells it to every program.
func (c *Call) columns() int {
	if c.lib.opts.Getenv != nil {
		text, _ := c.lib.opts.Getenv("COLUMNS")
		if n, err := strconv.Atoi(text); err == nil && n > 0 {
			return n
		}
	}
	return argparse.DefaultWidth
}

// parserTexts are the methods that write.
func parserTexts() []*Entry {
	of := func(c *Call) *parser { return c.recv.data.(*parser) }
	return []*Entry{
		{
			Name: "error", Result: "None", Effect: true, Capabilities: pure,
			Doc:    "Ends the script as arguments that it does not take do: a usage line and the message on stderr, exit code 2.",
			Params: []Param{{Name: "message", Kind: messageKind(), Doc: "what is wrong with the arguments"}},
			Example: `parser = argparse.ArgumentParser()
parser.add_argument("--gpu-count", type = int, default = 8)
if parser.parse_args([]).gpu_count not in [1, 2, 4, 8]:
    parser.error("--gpu-count is 1, 2, 4 or 8")`,
			run: func(c *Call) (star.Value, error) {
				return nil, c.usageError(of(c), arg[string](c, "message"))
			},
		},
		{
			Name: "print_help", Result: "None", Capabilities: pure,
			Doc: "Prints the help.",
			Example: `parser = argparse.ArgumentParser()
parser.add_argument("config", nargs = "?", default = "config.star")
if parser.parse_args([]).config == None:
    parser.print_help()`,
			run: func(c *Call) (star.Value, error) {
				c.thread.Run().Print(of(c).Help(c.columns()))
				return star.None, nil
			},
		},
		{
			Name: "print_usage", Result: "None", Capabilities: pure,
			Doc: "Prints the usage.",
			Example: `parser = argparse.ArgumentParser()
parser.add_argument("config", nargs = "?", default = "config.star")
if parser.parse_args([]).config == None:
    parser.print_usage()`,
			run: func(c *Call) (star.Value, error) {
				c.thread.Run().Print(of(c).UsageLine(c.columns()))
				return star.None, nil
			},
		},
		{
			Name: "format_help", Result: "str", Capabilities: pure,
			Doc:     "Returns the help.",
			Example: `print(argparse.ArgumentParser(prog = "deploy", add_help = False).format_help().strip())  # usage: deploy`,
			run:     func(c *Call) (star.Value, error) { return star.String(of(c).Help(c.columns())), nil },
		},
		{
			Name: "format_usage", Result: "str", Capabilities: pure,
			Doc:     "Returns the usage.",
			Example: `print(argparse.ArgumentParser(prog = "deploy").format_usage().strip())  # usage: deploy [-h]`,
			run:     func(c *Call) (star.Value, error) { return star.String(of(c).UsageLine(c.columns())), nil },
		},
	}
}

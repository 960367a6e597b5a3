package builtins

import (
	"fmt"
	"strings"
	"sync/atomic"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark"
)

// The levels of logging, as Python numbers them.
const (
	levelDebug    = 10
	levelInfo     = 20
	levelWarning  = 30
	levelError    = 40
	levelCritical = 50
)

func loggingModule() *Module {
	level := func(name string, value int) Constant {
		return Constant{Name: name, Kind: "int", Doc: "a level for basicConfig", Value: star.MakeInt(value)}
	}
	return &Module{
		Name: "logging",
		Doc: "Lines on standard error, each with its level. With arguments the message is a format, as `%` has it; without any it is printed as it is. " +
			"From info on they are shown, with `bifrost exec -v` debug too.",
		Constants: []Constant{
			level("DEBUG", levelDebug), level("INFO", levelInfo), level("WARNING", levelWarning), level("ERROR", levelError), level("CRITICAL", levelCritical),
		},
		Entries: append(logEntries("logging."),
			&Entry{
				Name: "basicConfig", Result: "None", Capabilities: pure, Kwargs: "others",
				Doc:     "Sets the level from which on lines are shown. The form of the lines is bifrost's: format, handlers and the like are errors.",
				Example: "logging.basicConfig(level = logging.WARNING)\nlogging.info(\"not shown\")",
				Params:  []Param{{Name: "level", Kind: levelKind(), Default: star.MakeInt(levelInfo), KeywordOnly: true, Doc: `logging.INFO, or its name "INFO"`}},
				run: func(c *Call) (star.Value, error) {
					if len(c.kwargs) > 0 {
						name := string(c.kwargs[0][0].(star.String))
						return nil, c.wrong(name+" is not for a script to set", "lines of logging are those of bifrost, on standard error; leave it out")
					}
					c.logLevel().Store(int64(arg[int](c, "level")))
					return star.None, nil
				},
			},
			&Entry{
				Name: "getLogger", Result: "logger", Capabilities: pure,
				Doc:     "Returns a logger, whose lines have its name in front.",
				Example: "log = logging.getLogger(\"sweep\")\nlog.info(\"run %d of %d\", 1, 4)\nprint(log.name)  # sweep",
				Params:  []Param{{Name: "name", Kind: orNone(messageKind()), Default: star.None, Doc: "None means no name"}},
				run: func(c *Call) (star.Value, error) {
					name := arg[string](c, "name")
					return c.lib.make("logger", star.StringDict{"name": star.String(name)}, name), nil
				},
			},
		),
	}
}

func loggerType() *Type {
	return &Type{
		Name: "logger", Doc: "What `logging.getLogger` returns.",
		Fields:  []Field{{Name: "name", Kind: "str", Doc: "what its lines have in front"}},
		Methods: logEntries("logging.getLogger(\"eval\")."),
	}
}

// logEntries are the functions that log, of the module and of a logger alike.
func logEntries(owner string) []*Entry {
	entry := func(name, doc, example string, level int) *Entry {
		return &Entry{
			Name: name, Result: "None", Capabilities: pure, Args: "args", Doc: doc, Example: owner + example,
			Params: []Param{{Name: "msg", Kind: anyKind(), Doc: "the message, a format where there are arguments"}},
			run: func(c *Call) (star.Value, error) {
				return star.None, c.log(name, level)
			},
		}
	}
	return []*Entry{
		entry("debug", "Logs what helps to find a defect. It is shown with -v, or after basicConfig(level = logging.DEBUG).", `debug("offers: %r", ["a", "b"])`, levelDebug),
		entry("info", "Logs how things go.", `info("loss %.3f after %d steps", 0.25, 100)`, levelInfo),
		entry("warning", "Logs what may turn out wrong.", `warning("disk 90% full")`, levelWarning),
		entry("error", "Logs what went wrong. The script goes on.", `error("no results in %s", "./out")`, levelError),
		entry("critical", "Logs what went wrong for good. The script goes on.", `critical("the model is gone")`, levelCritical),
	}
}

func levelKind() Kind {
	names := map[string]int{"DEBUG": levelDebug, "INFO": levelInfo, "WARNING": levelWarning, "ERROR": levelError, "CRITICAL": levelCritical}
	return Kind{"int or str", func(_ *Call, v star.Value) (any, error) {
		if s, ok := star.AsString(v); ok {
			if level, ok := names[s]; ok {
				return level, nil
			}
		} else if n, err := star.AsInt32(v); err == nil && n >= 0 {
			return n, nil
		}
		return nil, want(v, `logging.DEBUG, INFO, WARNING, ERROR or CRITICAL`)
	}}
}

type logLevelKey struct{}

// logLevel is the level from which on the run shows lines.
func (c *Call) logLevel() *atomic.Int64 {
	return c.thread.Run().Local(logLevelKey{}, func() any {
		level := new(atomic.Int64)
		level.Store(levelInfo)
		return level
	}).(*atomic.Int64)
}

// log writes one line, or none. As in Python a message that its arguments do not fit stops nothing: it
// is shown with them, and says so.
func (c *Call) log(level string, number int) error {
	if c.lib.opts.Log == nil || int64(number) < c.logLevel().Load() && !c.lib.opts.Verbose {
		return nil
	}
	for _, v := range append(star.Tuple{c.raw["msg"]}, c.args...) {
		if err := c.thread.CheckText(c.name, v); err != nil {
			return err
		}
	}
	text := starlark.Text(c.raw["msg"])
	if len(c.args) > 0 {
		formatted, err := c.thread.Percent(text, c.args)
		if err != nil {
			formatted = fmt.Sprintf("%s (the arguments %s do not fit it: %v; %s)", text, c.args, err, c.thread.Caller())
		}
		text = formatted
	}
	if c.recv != nil && c.recv.data.(string) != "" {
		text = c.recv.data.(string) + ": " + text
	}
	c.lib.opts.Log(level, strings.TrimRight(c.thread.Run().Redactor.Redact(text), "\n"))
	return nil
}

package argparse

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark/spell"
)

// Suppress, as a default, keeps a name out of the namespace, and as a help text an argument out of the
// help.
const Suppress = "==SUPPRESS=="

// Nargs says how many strings an argument takes.
type Nargs string

// The numbers of strings that are no numbers. An exact one is its digits.
const (
	Single    Nargs = ""
	Optional  Nargs = "?"
	Any       Nargs = "*"
	Some      Nargs = "+"
	Remainder Nargs = "..."
	none      Nargs = "0"
)

// An Action is an argument that a parser knows. The zero value of a field is what the script did not
// say.
type Action struct {
	Flags    []string // "-v", "--verbose"; none for a positional argument
	Dest     string   // the name in the namespace; derived from the flags when empty
	Action   string   // "store", the default, and the others of actions
	Nargs    Nargs
	Const    star.Value
	Default  star.Value // nil: not said; what it is then depends on the action
	Type     Type
	Choices  []star.Value // nil: any
	Required bool
	Help     string
	Metavar  []string // one, or one for each string
	Version  string

	usage    string // of a Boolean action
	mutex    *Mutex
	declared bool // required was said
}

// actions are what an argument can do, with the keywords beside flags, dest, default and help that each
// takes.
var actions = map[string][]string{
	"store":                 {"nargs", "const", "type", "choices", "required", "metavar"},
	"store_const":           {"const", "required", "metavar"},
	"store_true":            {"required"},
	"store_false":           {"required"},
	"append":                {"nargs", "const", "type", "choices", "required", "metavar"},
	"append_const":          {"const", "required", "metavar"},
	"extend":                {"nargs", "const", "type", "choices", "required", "metavar"},
	"count":                 {"required"},
	"help":                  {},
	"version":               {"version"},
	"BooleanOptionalAction": {"type", "choices", "required", "metavar"},
}

// A DefinitionError is an argument that a script describes wrongly.
type DefinitionError struct{ Message, Hint string }

func (e *DefinitionError) Error() string { return e.Message }

func wrong(format string, args ...any) *DefinitionError {
	return &DefinitionError{Message: fmt.Sprintf(format, args...)}
}

// complete checks what a script said of an argument, given the keywords that it used, and derives the
// rest as Python does.
func (a *Action) complete(given []string) error {
	if a.Action == "" {
		a.Action = "store"
	}
	takes, known := actions[a.Action]
	if !known {
		var names []string
		for name := range actions {
			names = append(names, name)
		}
		slices.Sort(names)
		err := wrong("action: there is no %q", a.Action)
		err.Hint = "it is one of " + strings.Join(names, ", ")
		if near := spell.Nearest(a.Action, names); near != "" {
			err.Hint = fmt.Sprintf("did you mean %q?", near)
		}
		return err
	}
	for _, keyword := range given {
		if slices.Contains(allActionKeywords, keyword) && !slices.Contains(takes, keyword) {
			err := wrong("%s: action %q takes none", keyword, a.Action)
			err.Hint = "leave it out, or choose another action"
			return err
		}
	}
	if err := a.name(given); err != nil {
		return err
	}
	switch a.Action {
	case "store", "append", "extend":
		if a.Nargs == none {
			err := wrong("nargs: 0 stores nothing")
			err.Hint = `for a flag without a value write action = "store_true"`
			return err
		}
		if a.Const != nil && a.Const != star.None && a.Nargs != Optional {
			err := wrong("const: it is for nargs = \"?\" alone")
			err.Hint = `add nargs = "?", or use action = "store_const"`
			return err
		}
		if a.Action == "extend" && (a.Nargs == Single || a.Nargs == Optional) {
			err := wrong("nargs: a list is extended by several strings")
			err.Hint = `write nargs = "+", or action = "append" for one at a time`
			return err
		}
	case "store_true":
		a.Const, a.Default = star.True, or(a.Default, star.False)
	case "store_false":
		a.Const, a.Default = star.False, or(a.Default, star.True)
	case "help", "version":
		a.Default = star.String(Suppress)
		if a.Dest != Suppress && !slices.Contains(given, "dest") {
			a.Dest = Suppress
		}
		if a.Action == "version" && a.Version == "" {
			return wrong("version: there is nothing to show")
		}
		if a.Action == "version" && a.Help == "" {
			a.Help = "show program's version number and exit"
		}
	}
	if len(takes) == 0 || !slices.Contains(takes, "nargs") {
		a.Nargs = none
	}
	if a.Action == "BooleanOptionalAction" {
		a.addNegations()
	}
	if n := a.count(); len(a.Metavar) > 1 && len(a.Metavar) != n {
		return wrong("metavar: it has %d names and the argument takes %d", len(a.Metavar), n)
	}
	a.Default = or(a.Default, star.None)
	return a.checkHelp()
}

// allActionKeywords are those that some actions do not take.
var allActionKeywords = []string{"nargs", "const", "type", "choices", "required", "metavar", "version"}

func or(v, fallback star.Value) star.Value {
	if v == nil {
		return fallback
	}
	return v
}

// name checks the flags and derives the name.
func (a *Action) name(given []string) error {
	if len(a.Flags) == 0 || len(a.Flags) == 1 && !strings.HasPrefix(a.Flags[0], "-") {
		return a.namePositional(given)
	}
	var long string
	for _, flag := range a.Flags {
		switch {
		case !strings.HasPrefix(flag, "-"):
			err := wrong("invalid option string %s: must start with a character '-'", Quote(flag))
			err.Hint = "a positional argument has one name and no dashes"
			return err
		case flag == "-" || flag == "--":
			return wrong("option %q has no name", flag)
		case strings.HasPrefix(flag, "--") && long == "":
			long = flag
		}
	}
	if a.Dest == "" {
		if long == "" {
			long = a.Flags[0]
		}
		a.Dest = strings.ReplaceAll(strings.TrimLeft(long, "-"), "-", "_")
	}
	return nil
}

func (a *Action) namePositional(given []string) error {
	switch {
	case len(a.Flags) == 1 && slices.Contains(given, "dest"):
		err := wrong("dest supplied twice for positional argument")
		err.Hint = "its name is its dest; show another one with metavar"
		return err
	case a.declared:
		err := wrong("'required' is an invalid argument for positionals")
		err.Hint = `a positional argument is required, unless it has nargs = "?" or "*"`
		return err
	case len(a.Flags) == 1:
		a.Dest = a.Flags[0]
	}
	if a.Dest == "" {
		err := wrong("it has no name")
		err.Hint = `add_argument("config") is positional, add_argument("--gpus") an option`
		return err
	}
	a.Flags = nil
	a.Required = a.Nargs != Optional && (a.Nargs != Any || a.Default == nil)
	return nil
}

// addNegations adds --no-x to every --x.
func (a *Action) addNegations() {
	var flags []string
	for _, flag := range a.Flags {
		flags = append(flags, flag)
		if name, long := strings.CutPrefix(flag, "--"); long {
			flags = append(flags, "--no-"+name)
		}
	}
	a.Flags, a.usage = flags, strings.Join(flags, " | ")
}

// count is how many strings the argument takes where that is one number, else how many its metavar
// may have.
func (a *Action) count() int {
	switch a.Nargs {
	case Single, Optional:
		return 1
	case Any, Some:
		return 2
	}
	n, _ := strconv.Atoi(string(a.Nargs))
	return n
}

// pattern matches, in a string of 'A' for arguments, 'O' for options and '-' for "--", what the
// argument takes.
func (a *Action) pattern() string {
	var p string
	switch a.Nargs {
	case Single:
		p = "(-*A-*)"
	case Optional:
		p = "(-*A?-*)"
	case Any:
		p = "(-*[A-]*)"
	case Some:
		p = "(-*A[A-]*)"
	case Remainder:
		p = "([-AO]*)"
	default:
		p = "(-*" + strings.Join(slices.Repeat([]string{"A"}, a.count()), "-*") + "-*)"
	}
	if len(a.Flags) > 0 { // "--" ends the options, so none of them takes it
		p = strings.ReplaceAll(strings.ReplaceAll(p, "-*", ""), "-", "")
	}
	return p
}

// matchOne is how many strings the option takes of those that the pattern stands for.
func (a *Action) matchOne(pattern string) (int, error) {
	m := regexp.MustCompile("^" + a.pattern()).FindStringSubmatch(pattern)
	if m != nil {
		return len(m[1]), nil
	}
	switch a.Nargs {
	case Single:
		return 0, a.errorf("expected one argument")
	case Optional:
		return 0, a.errorf("expected at most one argument")
	case Some:
		return 0, a.errorf("expected at least one argument")
	}
	if a.Nargs == "1" {
		return 0, a.errorf("expected 1 argument")
	}
	return 0, a.errorf("expected %s arguments", a.Nargs)
}

// shown is the argument's name in errors.
func (a *Action) shown() string {
	switch {
	case len(a.Flags) > 0:
		return strings.Join(a.Flags, "/")
	case len(a.Metavar) > 0:
		return strings.Join(a.Metavar, " ")
	}
	return a.Dest
}

func (a *Action) errorf(format string, args ...any) error {
	return &UsageError{fmt.Sprintf("argument %s: %s", a.shown(), fmt.Sprintf(format, args...))}
}

func (a *Action) suppressed() bool { return a.Help == Suppress }

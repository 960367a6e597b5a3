package argparse

import (
	"slices"
	"strings"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// A Formatter says how help is laid out, by the name of Python's class for it.
type Formatter string

// The formatters.
const (
	PlainHelp      Formatter = "HelpFormatter"                 // every text is wrapped
	RawDescription Formatter = "RawDescriptionHelpFormatter"   // description and epilog stay as they are
	RawText        Formatter = "RawTextHelpFormatter"          // every text stays as it is
	WithDefaults   Formatter = "ArgumentDefaultsHelpFormatter" // options say their defaults
)

// A Parser is a description of a command line. It is not safe for concurrent use while arguments are
// added; Parse and the help change nothing.
type Parser struct {
	Prog        string
	Usage       string // "" makes one
	Description string
	Epilog      string
	Formatter   Formatter // "" is PlainHelp
	NoAbbrev    bool      // long options must be written whole

	actions  []*Action
	options  []option // in the order of their adding
	groups   []*Group
	mutexes  []*Mutex
	defaults []dflt
	negative bool // an option looks like a number below zero
}

type option struct {
	flag   string
	action *Action
}

type dflt struct {
	name  string
	value star.Value
}

// A Group is a part of the help with a title.
type Group struct {
	Title, Description string
	parser             *Parser
	actions            []*Action
}

// A Mutex is a group of arguments of which at most one may be given.
type Mutex struct {
	Required bool
	parser   *Parser
	group    *Group // that shows its arguments; nil leaves them to the parser
	actions  []*Action
}

// New returns a parser that knows no arguments but -h and --help.
func New(prog string) *Parser {
	p := &Parser{Prog: prog}
	p.groups = []*Group{{Title: "positional arguments", parser: p}, {Title: "options", parser: p}}
	return p
}

// AddHelp adds -h and --help.
func (p *Parser) AddHelp() error {
	return p.Add(Action{Flags: []string{"-h", "--help"}, Action: "help", Help: "show this help message and exit"}, nil)
}

// Group adds a group.
func (p *Parser) Group(title, description string) *Group {
	g := &Group{Title: title, Description: description, parser: p}
	p.groups = append(p.groups, g)
	return g
}

// Mutex adds a group of arguments that exclude each other.
func (p *Parser) Mutex(required bool) *Mutex { return p.mutex(required, nil) }

// Mutex adds a group of arguments that exclude each other, shown in this group.
func (g *Group) Mutex(required bool) *Mutex { return g.parser.mutex(required, g) }

func (p *Parser) mutex(required bool, g *Group) *Mutex {
	m := &Mutex{Required: required, parser: p, group: g}
	p.mutexes = append(p.mutexes, m)
	return m
}

// Add adds an argument. Given are the keywords that the script used; the errors are *DefinitionError.
func (p *Parser) Add(a Action, given []string) error { return p.add(a, given, nil, nil) }

// Add adds an argument that is shown in the group.
func (g *Group) Add(a Action, given []string) error { return g.parser.add(a, given, g, nil) }

// Add adds an argument that excludes the others of the group.
func (m *Mutex) Add(a Action, given []string) error {
	return m.parser.add(a, given, m.group, m)
}

var negativeNumber = lazyregexp.New(`^-\d+$|^-\d*\.\d+$`)

func (p *Parser) add(action Action, given []string, g *Group, m *Mutex) error {
	a := &action
	a.declared = slices.Contains(given, "required")
	if err := p.takeDefault(a); err != nil {
		return err
	}
	if err := a.complete(given); err != nil {
		return err
	}
	var taken []string
	for _, flag := range a.Flags {
		if p.option(flag) != nil {
			taken = append(taken, flag)
		}
	}
	if len(taken) > 0 {
		s := ""
		if len(taken) > 1 {
			s = "s"
		}
		return wrong("argument %s: conflicting option string%s: %s", a.shown(), s, strings.Join(taken, ", "))
	}
	if m != nil && a.Required {
		err := wrong("mutually exclusive arguments must be optional")
		err.Hint = "say required = True for the group"
		return err
	}
	p.actions = append(p.actions, a)
	for _, flag := range a.Flags {
		p.options = append(p.options, option{flag, a})
		p.negative = p.negative || negativeNumber().MatchString(flag)
	}
	if g == nil {
		g = p.groups[min(1, len(a.Flags))]
	}
	g.actions = append(g.actions, a)
	if m != nil {
		m.actions, a.mutex = append(m.actions, a), m
	}
	return nil
}

// takeDefault gives an argument the default that SetDefault named before.
func (p *Parser) takeDefault(a *Action) error {
	if a.Default != nil {
		return nil
	}
	probe := *a
	if err := probe.name(nil); err != nil {
		return nil // complete tells
	}
	for _, d := range p.defaults {
		if d.name == probe.Dest {
			a.Default = d.value
		}
	}
	return nil
}

// SetDefault gives a name a value that no argument gave, whether or not there is an argument of it.
func (p *Parser) SetDefault(name string, v star.Value) {
	for _, a := range p.actions {
		if a.Dest == name {
			a.Default = v
		}
	}
	for i := range p.defaults {
		if p.defaults[i].name == name {
			p.defaults[i].value = v
			return
		}
	}
	p.defaults = append(p.defaults, dflt{name, v})
}

func (p *Parser) option(flag string) *Action {
	for _, o := range p.options {
		if o.flag == flag {
			return o.action
		}
	}
	return nil
}

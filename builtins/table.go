package builtins

import (
	"fmt"
	"strings"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/bifrost-run/bifrost/starlark/policy"
)

// An Entry declares one builtin or method. Everything about it that is not its code is said here and
// nowhere else.
type Entry struct {
	Name         string // "with_job"; of a method without its type: "wait"
	Params       []Param
	Args, Kwargs string              // what further arguments are; "" where there are none
	Result       string              // the type that it returns, as the reference shows it
	Capabilities []policy.Capability // what it asks the gate for; Pure alone, or any of the others
	Effect       bool                // refused while a module loads
	Doc          string              // sentences for users; no newline at the end

	// Example is a script of its own that a test runs; what a print in it writes stands behind it as a
	// comment: print(round(2.5))  # 2. It may use job, node, handle and server, which are there.
	Example string

	// needs lists what a call asks the gate for before run is called. It is nil for Pure.
	needs func(c *Call) []policy.Request
	run   func(c *Call) (star.Value, error)
}

// A Param declares one parameter.
type Param struct {
	Name        string
	Kind        Kind
	Default     star.Value // nil: the parameter is required
	KeywordOnly bool
	Doc         string
}

// A Type declares a type of values that scripts see: its members.
type Type struct {
	Name    string
	Doc     string
	Fields  []Field
	Methods []*Entry

	show func(o *object) string // nil: the fields by name

	// What values of the type can do beyond having members; nil where they cannot.
	binary    func(o *object, op syntax.Token, y star.Value, side star.Side) (star.Value, error)
	unary     func(o *object, op syntax.Token) (star.Value, error)
	truth     func(o *object) bool                    // nil: always true
	compare   func(x, y *object) (int, error)         // negative, 0, positive; nil: equal to themselves only
	hash      func(o *object) (uint32, error)         // nil: unhashable
	attr      func(o *object, name string) star.Value // members that only this value has; nil when it has none of the name
	attrNames func(o *object) []string                // their names
}

// A Module declares a name through which scripts reach others: json.loads.
type Module struct {
	Name      string
	Doc       string
	Entries   []*Entry
	Constants []Constant
	TakesArgs bool // a script that names it takes arguments

	Call *Entry // what the name does when it is called: datetime(2024, 5, 6); nil: it cannot be
}

// A Constant is a value in a module: math.pi.
type Constant struct {
	Name  string
	Kind  string // the type, as the reference shows it
	Doc   string
	Value star.Value // frozen
}

// A Field declares one attribute.
type Field struct {
	Name string
	Kind string // the type, as the reference shows it
	Doc  string

	get func(o *object) (star.Value, error) // nil: the object has the value
}

// Signature is the entry as a call: `optional(local)`. The owner is "" for builtins.
func (e *Entry) Signature(owner string) string {
	var parts []string
	starred := false // what comes is behind a star
	if e.Args != "" && (len(e.Params) == 0 || e.Params[0].KeywordOnly) {
		parts, starred = append(parts, "*"+e.Args), true
	}
	for i, p := range e.Params {
		if p.KeywordOnly && !starred {
			parts, starred = append(parts, "*"), true
		}
		if p.Default == nil {
			parts = append(parts, p.Name)
		} else {
			parts = append(parts, fmt.Sprintf("%s = %s", p.Name, p.Default))
		}
		if last := i == len(e.Params)-1 || e.Params[i+1].KeywordOnly; e.Args != "" && last && !starred {
			parts, starred = append(parts, "*"+e.Args), true
		}
	}
	if e.Kwargs != "" {
		parts = append(parts, "**"+e.Kwargs)
	}
	name := e.Name
	if owner != "" {
		name = owner + "." + name
	}
	return name + "(" + strings.Join(parts, ", ") + ")"
}

// pure is what entries without an effect declare.
var pure = []policy.Capability{policy.Pure}

// Walk calls visit with every entry of the library in the order of the reference. The owner is the
// name of the module or of the type, and "" for builtins.
func (l *Library) Walk(visit func(owner string, e *Entry)) {
	for _, e := range l.builtins {
		visit("", e)
	}
	for _, m := range l.modules {
		if m.Call != nil {
			visit("", m.Call)
		}
		for _, e := range m.Entries {
			visit(m.Name, e)
		}
	}
	for _, t := range l.types {
		for _, m := range t.Methods {
			visit(t.Name, m)
		}
	}
}

// Modules returns the modules in the order of the reference.
func (l *Library) Modules() []*Module { return l.modules }

// Types returns the types of values in the order of the reference.
func (l *Library) Types() []*Type { return l.types }

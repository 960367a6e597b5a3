package builtins

import (
	"fmt"
	"strings"

	star "go.starlark.net/starlark"

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
// name of the type for methods, and "" for builtins.
func (l *Library) Walk(visit func(owner string, e *Entry)) {
	for _, e := range l.builtins {
		visit("", e)
	}
	for _, t := range l.types {
		for _, m := range t.Methods {
			visit(t.Name, m)
		}
	}
}

// Types returns the types of values in the order of the reference.
func (l *Library) Types() []*Type { return l.types }

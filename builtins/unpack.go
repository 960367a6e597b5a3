package builtins

import (
	"fmt"
	"strings"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark/spell"
)

// An ArgError is a call that is written wrongly. A script cannot catch it, as it cannot catch a
// misspelt name.
type ArgError struct {
	Entry   string
	Message string
	Hint    string
}

func (e *ArgError) Error() string { return e.Entry + ": " + e.Message }

// unpack binds the arguments to the entry's parameters.
func (c *Call) unpack(args star.Tuple, kwargs []star.Tuple) error {
	e := c.entry
	c.values, c.raw, c.given = map[string]any{}, map[string]star.Value{}, map[string]bool{}
	positional := 0
	for _, p := range e.Params {
		if !p.KeywordOnly {
			positional++
		}
	}
	if len(args) > positional && e.Args == "" {
		return c.tooMany(len(args), positional)
	}
	for i, v := range args[:min(len(args), positional)] {
		c.raw[e.Params[i].Name], c.given[e.Params[i].Name] = v, true
	}
	if len(args) > positional {
		c.args = args[positional:]
	}
	for _, kv := range kwargs {
		name := string(kv[0].(star.String))
		switch p := e.param(name); {
		case p == nil && e.Kwargs != "":
			c.kwargs = append(c.kwargs, kv)
		case p == nil:
			return c.unknown(name)
		case c.given[name]:
			return c.wrong(fmt.Sprintf("%s was given twice", name), "")
		default:
			c.raw[name], c.given[name] = kv[1], true
		}
	}
	var missing, docs []string
	for _, p := range e.Params {
		switch {
		case c.given[p.Name]:
		case p.Default == nil:
			missing, docs = append(missing, p.Name), append(docs, p.Name+": "+p.Doc)
		default:
			c.raw[p.Name] = p.Default
		}
	}
	if len(missing) > 0 {
		return c.wrong(fmt.Sprintf("missing %s", strings.Join(missing, " and ")), strings.Join(docs, "\n"))
	}
	for _, p := range e.Params {
		v, err := p.Kind.take(c, c.raw[p.Name])
		if err != nil {
			return c.wrongValue(p.Name, err)
		}
		c.values[p.Name] = v
	}
	return nil
}

func (e *Entry) param(name string) *Param {
	for i := range e.Params {
		if e.Params[i].Name == name {
			return &e.Params[i]
		}
	}
	return nil
}

func (c *Call) wrong(message, hint string) error {
	return &ArgError{Entry: c.name, Message: message, Hint: hint}
}

func (c *Call) wrongValue(name string, err error) error {
	hint := ""
	if e, ok := err.(*valueError); ok {
		hint = e.hint
	}
	return c.wrong(name+": "+err.Error(), hint)
}

func (c *Call) tooMany(got, most int) error {
	takes := "only keyword arguments"
	switch {
	case len(c.entry.Params) == 0:
		takes = "no arguments"
	case most == 1:
		takes = "at most 1 argument without a name"
	case most > 1:
		takes = fmt.Sprintf("at most %d arguments without a name", most)
	}
	hint := ""
	if most < len(c.entry.Params) {
		hint = fmt.Sprintf("write %s = …", c.entry.Params[most].Name)
	}
	return c.wrong(fmt.Sprintf("it takes %s, got %d", takes, got), hint)
}

func (c *Call) unknown(name string) error {
	names := make([]string, len(c.entry.Params))
	for i, p := range c.entry.Params {
		names[i] = p.Name
	}
	hint := "it has " + strings.Join(names, ", ")
	if len(names) == 0 {
		hint = "it takes no arguments"
	}
	if near := spell.Nearest(name, names); near != "" {
		hint = "did you mean " + near + "?"
	}
	if habit := keywordHabits[c.entry.Name+"."+name]; habit != "" {
		hint = habit
	}
	return c.wrong("it has no parameter "+name, hint)
}

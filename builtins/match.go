package builtins

import (
	"fmt"
	"strings"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// A matched is what a match has: where the groups of a pattern matched in a text.
type matched struct {
	pattern *pattern
	text    string
	span    span
}

// group is the text of a group, or other where it did not match.
func (m *matched) group(i int, other star.Value) star.Value {
	if m.span[2*i] < 0 {
		return other
	}
	return star.String(m.text[m.span[2*i]:m.span[2*i+1]])
}

func (m *matched) groups(other star.Value) star.Tuple {
	all := star.Tuple{}
	for i := 1; i < len(m.pattern.groups); i++ {
		all = append(all, m.group(i, other))
	}
	return all
}

// number is that of a group which is given by its number or name.
func (m *matched) number(op string, v star.Value) (int, error) {
	if name, ok := star.AsString(v); ok {
		if i, known := m.pattern.names[name]; known {
			return i, nil
		}
	} else if i, err := star.AsInt32(v); err == nil && i >= 0 && i < len(m.pattern.groups) {
		return i, nil
	}
	hint := fmt.Sprintf("the pattern has %d", len(m.pattern.groups)-1)
	if len(m.pattern.order) > 0 {
		hint += ", by name " + strings.Join(m.pattern.order, ", ")
	}
	return 0, &ArgError{Entry: op, Message: "no such group: " + v.String(), Hint: hint}
}

// A matchValue is a match as scripts see it: m[1] is m.group(1).
type matchValue struct{ *object }

// CompareSameType implements star.Comparable.
func (m matchValue) CompareSameType(op syntax.Token, other star.Value, depth int) (bool, error) {
	return m.object.CompareSameType(op, other.(matchValue).object, depth)
}

// Get implements star.Mapping.
func (m matchValue) Get(key star.Value) (star.Value, bool, error) {
	found := m.data.(*matched)
	i, err := found.number("match", key)
	if err != nil {
		return nil, false, err
	}
	return found.group(i, star.None), true, nil
}

func (l *Library) match(p *pattern, text string, at span) star.Value {
	if at == nil {
		return star.None
	}
	return matchValue{l.make("match", star.StringDict{"string": star.String(text)}, &matched{p, text, at})}
}

func matchType() *Type {
	group := Param{Name: "group", Kind: anyKind(), Default: star.MakeInt(0), Doc: "number or name; 0 is the whole match"}
	other := Param{Name: "default", Kind: anyKind(), Default: star.None, Doc: "what a group that did not match has"}
	// position returns a method of where a group is.
	position := func(name, result, doc, example string, of func(start, end int) star.Value) *Entry {
		return &Entry{
			Name: name, Result: result, Capabilities: pure, Doc: doc, Params: []Param{group}, Example: example,
			run: func(c *Call) (star.Value, error) {
				m := c.recv.data.(*matched)
				i, err := m.number(c.name, c.raw["group"])
				if err != nil {
					return nil, err
				}
				return of(m.span[2*i], m.span[2*i+1]), nil
			},
		}
	}
	return &Type{
		Name: "match", Doc: "Where a pattern matched. `m[1]` is `m.group(1)`. Positions count as `len` does, in bytes, and index the text: `text[m.start():m.end()]`.",
		Fields: []Field{{Name: "string", Kind: "str", Doc: "the text"}},
		Methods: []*Entry{
			{
				Name: "group", Result: "str or None or tuple", Capabilities: pure, Args: "groups",
				Doc: "Returns the text of a group, given by number or name: the whole match for 0 or nothing, None for one that did not match. Several give a tuple.",
				Example: `m = re.search(r"(?P<key>\w+)=(\d+)", "lr=3")
print(m.group(), m.group(2), m["key"], m.group(1, 2))  # lr=3 3 lr ("lr", "3")`,
				run: func(c *Call) (star.Value, error) {
					m, texts := c.recv.data.(*matched), star.Tuple{}
					for _, v := range c.args {
						i, err := m.number(c.name, v)
						if err != nil {
							return nil, err
						}
						texts = append(texts, m.group(i, star.None))
					}
					switch len(texts) {
					case 0:
						return m.group(0, star.None), nil
					case 1:
						return texts[0], nil
					}
					return texts, nil
				},
			},
			{
				Name: "groups", Result: "tuple", Capabilities: pure, Doc: "Returns the texts of all groups.", Params: []Param{other},
				Example: `print(re.search("(a)(b)?", "ac").groups())  # ("a", None)`,
				run: func(c *Call) (star.Value, error) {
					return c.recv.data.(*matched).groups(c.raw["default"]), nil
				},
			},
			{
				Name: "groupdict", Result: "dict", Capabilities: pure, Doc: "Returns the texts of the groups that have names, by name.", Params: []Param{other},
				Example: `print(re.search("(?P<x>a)", "a").groupdict())  # {"x": "a"}`,
				run: func(c *Call) (star.Value, error) {
					m := c.recv.data.(*matched)
					dict := star.NewDict(len(m.pattern.order))
					for _, name := range m.pattern.order {
						if err := dict.SetKey(star.String(name), m.group(m.pattern.names[name], c.raw["default"])); err != nil {
							return nil, err
						}
					}
					return dict, nil
				},
			},
			position("start", "int", "Returns where a group starts, -1 for one that did not match.", `print(re.search("b", "abc").start())  # 1`,
				func(start, _ int) star.Value { return star.MakeInt(start) }),
			position("end", "int", "Returns where a group ends, -1 for one that did not match.", `print(re.search("b", "abc").end())  # 2`,
				func(_, end int) star.Value { return star.MakeInt(end) }),
			position("span", "tuple", "Returns where a group starts and ends.", `print(re.search("b", "abc").span())  # (1, 2)`,
				func(start, end int) star.Value { return star.Tuple{star.MakeInt(start), star.MakeInt(end)} }),
		},
		show: func(o *object) string {
			m := o.data.(*matched)
			return fmt.Sprintf("<match (%d, %d) %s>", m.span.start(), m.span.end(), m.group(0, star.None))
		},
	}
}

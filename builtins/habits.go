package builtins

import (
	"strings"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
	"github.com/bifrost-run/bifrost/starlark/spell"
)

// A habit is something that Python has and Starlark refuses, and how to write it instead.
type habit struct {
	message lazyregexp.Regexp // what the interpreter says
	line    lazyregexp.Regexp // the source line; nil for any
	before  lazyregexp.Regexp // the source line up to the column; nil for any
	hint    string            // ${1} is what the message has there
}

func m(pattern string) lazyregexp.Regexp { return lazyregexp.New(pattern) }

// HabitHint returns how to write what the interpreter refuses with this message, or "". It is for
// starlark.Host. The column is where the message points in the source line, from 1 and in characters.
func HabitHint(message, line string, col int) string {
	if name, ok := strings.CutPrefix(message, "undefined: "); ok {
		if name == "__name__" && strings.Contains(line, "getLogger") {
			return `write the name: logging.getLogger("deploy"), or logging.info(text) without one`
		}
		return undefinedHint(name)
	}
	if hint := importHint(message, line); hint != "" {
		return hint
	}
	if found := noAttr().FindStringSubmatch(message); found != nil {
		return attrHint(found[1], found[2])
	}
	text := []rune(line)
	before := string(text[:max(0, min(col-1, len(text)))])
	for _, habits := range [][]habit{syntaxHabits, valueHabits} {
		for _, h := range habits {
			found := h.message().FindStringSubmatchIndex(message)
			if found != nil && (h.line == nil || h.line().MatchString(line)) && (h.before == nil || h.before().MatchString(before)) {
				return string(h.message().ExpandString(nil, h.hint, message, found))
			}
		}
	}
	return ""
}

var noAttr = m(`^(?:getattr: )?([\w.]+) has no \.(\w+) field or method$`)

// attrHint is about a member that a value does not have.
func attrHint(typeName, attr string) string {
	if typeName == "NoneType" {
		return noneHint
	}
	for _, name := range []string{typeName + "." + attr, "*." + attr} {
		if hint := memberHabits[name]; hint != "" {
			return hint
		}
	}
	names, ours := membersOf(typeName)
	if near := spell.Nearest(attr, names); near != "" {
		return "did you mean " + near + "?"
	}
	switch {
	case typeName == "dict":
		return `a value of a dict is read with d["` + attr + `"]`
	case ours:
		return "bifrost doc " + typeName + " lists what it has"
	}
	return ""
}

// membersOf lists the members of a type or a module by its name, and says whether it is in the table.
func membersOf(name string) (names []string, ours bool) {
	switch name {
	case "string":
		return star.String("").AttrNames(), false
	case "bytes":
		return star.Bytes("").AttrNames(), false
	case "list":
		return star.NewList(nil).AttrNames(), false
	case "dict":
		return new(star.Dict).AttrNames(), false
	case "set":
		return new(star.Set).AttrNames(), false
	}
	l := New(nil, Options{})
	for _, t := range l.types {
		if t.Name == name {
			return t.memberNames(), t.attr == nil // the table does not know members that one value alone has
		}
	}
	for _, m := range l.modules {
		if m.Name == name {
			return (&moduleValue{lib: l, mod: m}).AttrNames(), true
		}
	}
	return nil, false
}

package builtins

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/starlark/spell"
)

// specURL says what Starlark's own functions do.
const specURL = "https://github.com/google/starlark-go/blob/master/doc/spec.md#built-in-constants-and-functions"

// Help returns what the table says about a name as text for a terminal: a builtin, a module, a type, or a
// member of one, "node.exec". The empty name lists everything. The error of an unknown name has what is
// near as its hint.
func Help(name string) (string, error) {
	l := New(nil, Options{})
	var b strings.Builder
	if name == "" {
		l.writeList(&b)
		return b.String(), nil
	}
	owner, member, _ := strings.Cut(name, ".")
	for _, e := range l.builtins {
		if e.Name == name {
			writeHelp(&b, "", e)
		}
	}
	for _, m := range l.modules {
		switch {
		case m.Name == name:
			m.writeHelp(&b)
		case m.Name == owner:
			for _, e := range m.Entries {
				if e.Name == member {
					writeHelp(&b, owner, e)
				}
			}
			for _, c := range m.Constants {
				if c.Name == member {
					fmt.Fprintf(&b, "%s: %s\n\n%s\n", name, c.Kind, wrap(c.Doc, ""))
				}
			}
		}
	}
	for _, t := range l.types {
		switch {
		case t.Name == name:
			t.writeHelp(&b)
		case t.Name == owner:
			for _, e := range t.Methods {
				if e.Name == member {
					writeHelp(&b, owner, e)
				}
			}
			for _, f := range t.Fields {
				if f.Name == member {
					fmt.Fprintf(&b, "%s: %s\n\n%s\n", name, f.Kind, wrap(f.Doc, ""))
				}
			}
		}
	}
	if b.Len() > 0 {
		return b.String(), nil
	}
	if _, ok := star.Universe[name]; ok {
		return name + " is Starlark's own:\n" + specURL + "\n", nil
	}
	return "", l.unknownName(name)
}

// unknownName is the error for a name that the table does not have.
func (l *Library) unknownName(name string) error {
	names := l.names()
	hint := ""
	var owned []string
	_, member, dotted := strings.Cut(name, ".")
	if hint = cmp.Or(undefinedHint(name), memberHabits[name], memberHabits["*."+member]); hint != "" {
		// Python has it
	} else {
		for _, known := range names { // a member named alone
			if _, has, _ := strings.Cut(known, "."); has == name && !dotted {
				owned = append(owned, known)
			}
		}
		if len(owned) > 0 {
			hint = "there is " + strings.Join(owned, ", ")
		} else if near := spell.Nearest(name, names); near != "" {
			hint = "did you mean " + near + "?"
		}
	}
	if hint == "" {
		hint = "bifrost doc lists what there is"
	}
	return &fault.Error{Kind: fault.NotFound, Op: "doc", Target: name, Err: errors.New("no builtin, module, type or member has this name"), Hint: hint}
}

// names lists every name that Help knows.
func (l *Library) names() []string {
	var names []string
	for _, e := range l.builtins {
		names = append(names, e.Name)
	}
	for _, m := range l.modules {
		names = append(names, m.Name)
		for _, e := range m.Entries {
			names = append(names, m.Name+"."+e.Name)
		}
		for _, c := range m.Constants {
			names = append(names, m.Name+"."+c.Name)
		}
	}
	for _, t := range l.types {
		if !slices.Contains(names, t.Name) {
			names = append(names, t.Name)
		}
		for _, member := range t.memberNames() {
			names = append(names, t.Name+"."+member)
		}
	}
	for name := range star.Universe {
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// HelpNames lists every name that Help knows, sorted.
func HelpNames() []string { return New(nil, Options{}).names() }

func (l *Library) writeList(b *strings.Builder) {
	rows := func(title string, names, docs []string) {
		fmt.Fprintf(b, "%s\n", title)
		width := 0
		for _, n := range names {
			width = max(width, len(n))
		}
		for i, n := range names {
			fmt.Fprintf(b, "  %-*s  %s\n", width, n, firstSentence(docs[i], 76-width))
		}
	}
	var names, docs []string
	for _, e := range l.builtins {
		names, docs = append(names, e.Name), append(docs, e.Doc)
	}
	rows("Builtins", names, docs)
	names, docs = nil, nil
	for _, m := range l.modules {
		names, docs = append(names, m.Name), append(docs, m.Doc)
	}
	rows("\nModules", names, docs)
	names, docs = nil, nil
	for _, t := range l.types {
		names, docs = append(names, t.Name), append(docs, t.Doc)
	}
	rows("\nTypes", names, docs)
	b.WriteString("\nbifrost doc NAME explains one; members are named with their owner: node.exec, json.loads.\n")
}

// firstSentence is the beginning of a doc, of at most limit characters.
func firstSentence(doc string, limit int) string {
	first, _, _ := strings.Cut(strings.ReplaceAll(doc, "`", ""), ". ")
	first = strings.TrimSuffix(strings.ReplaceAll(first, "\n", " "), ".")
	if text := []rune(first); len(text) > limit {
		return strings.TrimRight(string(text[:limit-1]), " ,;:") + "…"
	}
	return first
}

func writeHelp(b *strings.Builder, owner string, e *Entry) {
	fmt.Fprintf(b, "%s -> %s\n\n%s\n", e.Signature(owner), e.Result, wrap(e.Doc, ""))
	if len(e.Params) > 0 {
		b.WriteByte('\n')
	}
	for _, p := range e.Params {
		value := "required"
		if p.Default != nil {
			value = "default " + p.Default.String()
		}
		fmt.Fprintf(b, "  %s: %s, %s\n%s\n", p.Name, p.Kind.Name, value, wrap(p.Doc, "      "))
	}
	if e.Example != "" {
		fmt.Fprintf(b, "\nExample:\n\n    %s\n", strings.ReplaceAll(strings.TrimSpace(e.Example), "\n", "\n    "))
	}
	names := make([]string, len(e.Capabilities))
	for i, c := range e.Capabilities {
		names[i] = string(c)
	}
	fmt.Fprintf(b, "\nCapability: %s.\n", strings.Join(names, ", "))
	if e.Effect {
		b.WriteString("Refused while a module loads.\n")
	}
}

func (m *Module) writeHelp(b *strings.Builder) {
	fmt.Fprintf(b, "module %s\n\n%s\n\n", m.Name, wrap(m.Doc, ""))
	if m.Call != nil {
		writeHelp(b, "", m.Call)
		b.WriteByte('\n')
	}
	for _, c := range m.Constants {
		fmt.Fprintf(b, "  %s.%s: %s\n%s\n", m.Name, c.Name, c.Kind, wrap(c.Doc, "      "))
	}
	for _, e := range m.Entries {
		fmt.Fprintf(b, "  %s -> %s\n%s\n", e.Signature(m.Name), e.Result, wrap(firstSentence(e.Doc, 400), "      "))
	}
}

func (t *Type) writeHelp(b *strings.Builder) {
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	fmt.Fprintf(b, "type %s\n\n%s\n", t.Name, wrap(t.Doc, ""))
	if len(t.Fields)+len(t.Methods) > 0 {
		b.WriteByte('\n')
	}
	for _, f := range t.Fields {
		fmt.Fprintf(b, "  .%s: %s\n%s\n", f.Name, f.Kind, wrap(f.Doc, "      "))
	}
	for _, e := range t.Methods {
		fmt.Fprintf(b, "  .%s -> %s\n%s\n", e.Signature(""), e.Result, wrap(firstSentence(e.Doc, 400), "      "))
	}
}

// wrap breaks the lines of a doc, without its Markdown quotes, at 88 characters.
func wrap(doc, indent string) string {
	const width = 88
	var b strings.Builder
	for i, line := range strings.Split(strings.ReplaceAll(doc, "`", ""), "\n") {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(indent)
		length := len(indent)
		for j, word := range strings.Fields(line) {
			if j > 0 && length+1+len([]rune(word)) > width {
				b.WriteString("\n" + indent)
				length = len(indent)
			} else if j > 0 {
				b.WriteByte(' ')
				length++
			}
			b.WriteString(word)
			length += len([]rune(word))
		}
	}
	return b.String()
}

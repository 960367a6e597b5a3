package builtins

import (
	"fmt"
	"io"
	"strings"
)

// WriteReference writes everything that scripts can say as Markdown, and what modules add to it in
// tests. The text is the same every time.
func WriteReference(w io.Writer, inTests ...*Module) error {
	l := New(nil, Options{})
	var b strings.Builder
	b.WriteString("# Reference of the script language\n\n" +
		"Generated from the table of builtins; do not edit. Scripts are Starlark, a small Python. Beside what is listed here they have " +
		"[Starlark's own functions](https://github.com/google/starlark-go/blob/master/doc/spec.md#built-in-constants-and-functions), `load` for modules, " +
		"and, if they define it, `main(argv)` or `main()`, which bifrost calls once the file has loaded: an int that it returns is the exit code.\n\n" +
		"What a builtin may touch is its capability, which every call asks the run's policy for. `pure` ones touch nothing. " +
		"Those that act are refused while a module loads. Durations are seconds, or strings like `\"90s\"` and `\"2h\"`.\n\n## Builtins\n\n")
	for _, e := range l.builtins {
		writeEntry(&b, "", e)
	}
	if len(l.modules) > 0 {
		b.WriteString("## Modules\n\n")
	}
	for _, m := range l.modules {
		writeModule(&b, m)
	}
	b.WriteString("## Types\n\n")
	for _, t := range l.types {
		fmt.Fprintf(&b, "### `%s`\n\n%s\n\n", t.Name, t.Doc)
		if len(t.Fields) > 0 {
			b.WriteString("| field | type | meaning |\n|---|---|---|\n")
			for _, f := range t.Fields {
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, cell(f.Kind), cell(f.Doc))
			}
			b.WriteByte('\n')
		}
		for _, m := range t.Methods {
			writeEntry(&b, t.Name, m)
		}
	}
	if len(inTests) > 0 {
		b.WriteString("## In tests\n\n`bifrost test` runs the functions `test_…` of files `*_test.star`, each in a run and a world of its own.\n\n")
	}
	for _, m := range inTests {
		writeModule(&b, m)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeModule(b *strings.Builder, m *Module) {
	fmt.Fprintf(b, "### `%s`\n\n%s\n\n", m.Name, m.Doc)
	if len(m.Constants) > 0 {
		b.WriteString("| constant | type | meaning |\n|---|---|---|\n")
		for _, c := range m.Constants {
			fmt.Fprintf(b, "| `%s.%s` | %s | %s |\n", m.Name, c.Name, cell(c.Kind), cell(c.Doc))
		}
		b.WriteByte('\n')
	}
	if m.Call != nil {
		writeEntry(b, "", m.Call)
	}
	for _, e := range m.Entries {
		writeEntry(b, m.Name, e)
	}
}

func writeEntry(b *strings.Builder, owner string, e *Entry) {
	name, level := e.Name, "###"
	if owner != "" {
		name, level = owner+"."+e.Name, "####"
	}
	fmt.Fprintf(b, "%s `%s`\n\n```python\n%s -> %s\n```\n\n%s\n\n", level, name, e.Signature(owner), e.Result, e.Doc)
	if len(e.Params) > 0 {
		b.WriteString("| parameter | type | default | meaning |\n|---|---|---|---|\n")
		for _, p := range e.Params {
			value := "required"
			if p.Default != nil {
				value = "`" + p.Default.String() + "`"
			}
			fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", p.Name, cell(p.Kind.Name), cell(value), cell(p.Doc))
		}
		b.WriteByte('\n')
	}
	if e.Example != "" {
		fmt.Fprintf(b, "```python\n%s\n```\n\n", strings.TrimSpace(e.Example))
	}
	names := make([]string, len(e.Capabilities))
	for i, c := range e.Capabilities {
		names[i] = string(c)
	}
	fmt.Fprintf(b, "Capability: %s.\n\n", strings.Join(names, ", "))
}

// cell is text in a table of Markdown.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

package builtins

import (
	"fmt"
	"math"
	"sort"
	"strings"
	"unicode/utf8"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark"
)

// A yamlWriter writes one value in YAML's block style. Its steps are those of PyYAML's emitter, so that
// the text is the same.
type yamlWriter struct {
	encoding
	b strings.Builder

	sorted, unicode bool
	width           int

	anchors map[star.Value]string // of lists and dicts that were seen; "" where once only
	next    int
	written map[star.Value]bool

	column     int
	indent     int // -1 outside of everything
	whitespace bool
	indention  bool
	openEnded  bool // a document that is plain text needs a mark at its end
}

const yamlIndent = 2

func (w *yamlWriter) document(v star.Value) (star.Value, error) {
	if err := w.count(v); err != nil {
		return nil, err
	}
	if err := w.node(v, false, true); err != nil {
		return nil, err
	}
	w.b.WriteByte('\n')
	if w.openEnded {
		w.b.WriteString("...\n")
	}
	return star.String(w.b.String()), nil
}

// shared is what a list or dict is known by; nil for values that are written in full every time.
func shared(v star.Value) star.Value {
	switch v.(type) {
	case *star.List, *star.Dict:
		return v
	}
	return nil
}

// count finds the lists and dicts that occur more than once, which get anchors, and refuses what YAML
// cannot have.
func (w *yamlWriter) count(v star.Value) error {
	if s := shared(v); s != nil {
		anchor, seen := w.anchors[s]
		if seen {
			if anchor == "" {
				w.next++
				w.anchors[s] = fmt.Sprintf("id%03d", w.next)
			}
			return nil
		}
		w.anchors[s] = ""
	}
	if list, ok := elements(v); ok {
		for i := range list.Len() {
			if err := w.into(v, indexStep(i), func() error { return w.count(list.Index(i)) }); err != nil {
				return err
			}
		}
		return nil
	}
	if items, ok := w.items(v); ok {
		for _, kv := range items {
			err := w.into(v, keyStep(kv[0]), func() error {
				if _, _, err := w.text(kv[0]); err != nil {
					return err
				}
				return w.count(kv[1])
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	_, _, err := w.text(v)
	return err
}

// into walks into a part. What contains itself is no error: it has an anchor.
func (w *yamlWriter) into(container star.Value, step string, walk func() error) error {
	if shared(container) != nil {
		container = star.None
	}
	return w.enter(container, step, walk)
}

func (w *yamlWriter) items(v star.Value) ([]star.Tuple, bool) {
	items, ok := pairs(v)
	if !ok || !w.sorted {
		return items, ok
	}
	sorted, unordered := append([]star.Tuple{}, items...), false
	sort.SliceStable(sorted, func(i, j int) bool {
		less, err := keyLess(sorted[i][0], sorted[j][0])
		unordered = unordered || err != nil
		return less
	})
	if unordered {
		return items, true // PyYAML leaves them as they are
	}
	return sorted, true
}

// text is a scalar's, and whether plain text of it is read as the same type again.
func (w *yamlWriter) text(v star.Value) (text string, plain bool, err error) {
	switch v := v.(type) {
	case star.NoneType:
		return "null", true, nil
	case star.Bool:
		return strings.ToLower(v.String()), true, nil
	case star.Int:
		return v.String(), true, nil
	case star.Float:
		return yamlFloatText(float64(v)), true, nil
	case star.String:
		if !utf8.ValidString(string(v)) {
			return "", false, dataError(w.op, strings.TrimPrefix(w.at()+": the text is not UTF-8", ": "))
		}
		return string(v), yamlTag(string(v)) == "!!str", nil
	case *object:
		if m, ok := v.data.(moment); ok {
			return m.iso(" ", "auto"), true, nil
		}
	case star.Tuple:
		return "", false, w.refuse("the key is a tuple, want a string or number", "")
	}
	return "", false, w.unknown(v, "YAML")
}

func yamlFloatText(f float64) string {
	switch {
	case math.IsNaN(f):
		return ".nan"
	case math.IsInf(f, 1):
		return ".inf"
	case math.IsInf(f, -1):
		return "-.inf"
	}
	text := starlark.FloatText(f)
	if !strings.Contains(text, ".") {
		text = strings.Replace(text, "e", ".0e", 1)
	}
	return text
}

// node writes a value. It is the value of a key, or the root, or else an element of a list.
func (w *yamlWriter) node(v star.Value, ofKey, root bool) error {
	if err := checkTextLength(w.op, w.b.Len()); err != nil {
		return err
	}
	if s := shared(v); s != nil && w.anchors[s] != "" {
		if w.written[s] {
			w.indicator("*"+w.anchors[s], true, false, false)
			return nil
		}
		w.written[s] = true
		w.indicator("&"+w.anchors[s], true, false, false)
	}
	if list, ok := elements(v); ok {
		return w.list(v, list, ofKey)
	}
	if items, ok := w.items(v); ok {
		return w.dict(v, items)
	}
	return w.scalar(v, root, false)
}

func (w *yamlWriter) list(v star.Value, list star.Indexable, ofKey bool) error {
	if list.Len() == 0 {
		w.indicator("[", true, true, false)
		w.indicator("]", false, false, false)
		return nil
	}
	defer w.deeper(false, ofKey && !w.indention)()
	for i := range list.Len() {
		w.newline()
		w.indicator("-", true, false, true)
		if err := w.into(v, indexStep(i), func() error { return w.node(list.Index(i), false, false) }); err != nil {
			return err
		}
	}
	return nil
}

func (w *yamlWriter) dict(v star.Value, items []star.Tuple) error {
	if len(items) == 0 {
		w.indicator("{", true, true, false)
		w.indicator("}", false, false, false)
		return nil
	}
	defer w.deeper(false, false)()
	for _, kv := range items {
		w.newline()
		text, _, err := w.text(kv[0])
		if err != nil {
			return err
		}
		simple := text != "" && !strings.ContainsAny(text, "\n\u0085\u2028\u2029") && utf8.RuneCountInString(text) < 128
		if !simple {
			w.indicator("?", true, false, true)
		}
		if err := w.scalar(kv[0], false, simple); err != nil {
			return err
		}
		if simple {
			w.indicator(":", false, false, false)
		} else {
			w.newline()
			w.indicator(":", true, false, true)
		}
		if err := w.into(v, keyStep(kv[0]), func() error { return w.node(kv[1], true, false) }); err != nil {
			return err
		}
	}
	return nil
}

// deeper indents what follows, until back is called.
func (w *yamlWriter) deeper(flow, indentless bool) (back func()) {
	before := w.indent
	switch {
	case w.indent < 0 && flow:
		w.indent = yamlIndent
	case w.indent < 0:
		w.indent = 0
	case !indentless:
		w.indent += yamlIndent
	}
	return func() { w.indent = before }
}

func (w *yamlWriter) write(s string) {
	w.b.WriteString(s)
	w.column += utf8.RuneCountInString(s)
}

func (w *yamlWriter) indicator(s string, needsSpace, whitespace, indention bool) {
	if !w.whitespace && needsSpace {
		s = " " + s
	}
	w.whitespace = whitespace
	w.indention = w.indention && indention
	w.openEnded = false
	w.write(s)
}

func (w *yamlWriter) lineBreak(r rune) {
	w.b.WriteRune(r)
	w.whitespace, w.indention, w.column = true, true, 0
}

func (w *yamlWriter) newline() {
	indent := max(w.indent, 0)
	if !w.indention || w.column > indent || w.column == indent && !w.whitespace {
		w.lineBreak('\n')
	}
	if w.column < indent {
		w.whitespace = true
		w.write(strings.Repeat(" ", indent-w.column))
	}
}

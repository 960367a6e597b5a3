package builtins

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
	"github.com/bifrost-run/bifrost/starlark"
)

// A tomlWriter writes one value as TOML: of every table first the plain values, then its tables.
type tomlWriter struct {
	encoding
	b strings.Builder
}

var bareTOMLKey = lazyregexp.New(`^[A-Za-z0-9_-]+$`)

func (w *tomlWriter) table(v star.Value, items []star.Tuple, way []string) error {
	var later []star.Tuple
	for _, kv := range items {
		if isTOMLTable(kv[1]) {
			later = append(later, kv)
			continue
		}
		err := w.enter(v, keyStep(kv[0]), func() error {
			key, err := w.key(kv[0])
			if err != nil {
				return err
			}
			w.b.WriteString(key + " = ")
			if err := w.inline(kv[1]); err != nil {
				return err
			}
			w.b.WriteByte('\n')
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, kv := range later {
		err := w.enter(v, keyStep(kv[0]), func() error {
			key, err := w.key(kv[0])
			if err != nil {
				return err
			}
			return w.tables(kv[1], append(append([]string{}, way...), key))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// isTOMLTable reports whether a value is written under a header of its own: it is a dict, or a list of
// nothing else.
func isTOMLTable(v star.Value) bool {
	if _, ok := pairs(v); ok {
		return true
	}
	list, ok := elements(v)
	if !ok || list.Len() == 0 {
		return false
	}
	for i := range list.Len() {
		if _, ok := pairs(list.Index(i)); !ok {
			return false
		}
	}
	return true
}

func (w *tomlWriter) tables(v star.Value, way []string) error {
	header := strings.Join(way, ".")
	write := func(open, shut string, v star.Value) error {
		if err := checkTextLength(w.op, w.b.Len()); err != nil {
			return err
		}
		if w.b.Len() > 0 {
			w.b.WriteByte('\n')
		}
		w.b.WriteString(open + header + shut + "\n")
		items, _ := pairs(v)
		return w.table(v, items, way)
	}
	list, ok := elements(v)
	if !ok {
		return write("[", "]", v)
	}
	for i := range list.Len() {
		if err := w.enter(v, indexStep(i), func() error { return write("[[", "]]", list.Index(i)) }); err != nil {
			return err
		}
	}
	return nil
}

func (w *tomlWriter) key(v star.Value) (string, error) {
	s, ok := star.AsString(v)
	switch {
	case !ok:
		return "", w.refuse(fmt.Sprintf("the key is of type %s; keys of TOML are strings", v.Type()), "make it one: str(key)")
	case bareTOMLKey().MatchString(s):
		return s, nil
	}
	return w.quote(s)
}

func (w *tomlWriter) quote(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", dataError(w.op, strings.TrimPrefix(w.at()+": the text is not UTF-8", ": "))
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		escape, named := jsonEscapes[r]
		switch {
		case named:
			b.WriteString(escape)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String(), nil
}

// inline writes a value that stands behind a key.
func (w *tomlWriter) inline(v star.Value) error {
	if err := checkTextLength(w.op, w.b.Len()); err != nil {
		return err
	}
	if list, ok := elements(v); ok {
		return w.list(v, list)
	}
	if items, ok := pairs(v); ok {
		return w.inlineTable(v, items)
	}
	switch v := v.(type) {
	case star.Bool:
		w.b.WriteString(strings.ToLower(v.String()))
		return nil
	case star.Int:
		if _, fits := v.Int64(); !fits {
			return w.refuse("TOML has no int of more than 64 bits", "make it a string: str(n)")
		}
		w.b.WriteString(v.String())
		return nil
	case star.Float:
		w.b.WriteString(tomlFloat(float64(v)))
		return nil
	case star.String:
		s, err := w.quote(string(v))
		w.b.WriteString(s)
		return err
	case star.NoneType:
		return w.refuse("TOML has no None", "leave the key out")
	case *object:
		if m, ok := v.data.(moment); ok {
			w.b.WriteString(m.iso("T", "auto"))
			return nil
		}
	}
	return w.unknown(v, "TOML")
}

func tomlFloat(f float64) string {
	text := starlark.FloatText(f)
	if math.IsNaN(f) || math.IsInf(f, 0) || strings.Contains(text, ".") {
		return text
	}
	return strings.Replace(text, "e", ".0e", 1)
}

func (w *tomlWriter) list(v star.Value, list star.Indexable) error {
	w.b.WriteByte('[')
	for i := range list.Len() {
		if i > 0 {
			w.b.WriteString(", ")
		}
		if err := w.enter(v, indexStep(i), func() error { return w.inline(list.Index(i)) }); err != nil {
			return err
		}
	}
	w.b.WriteByte(']')
	return nil
}

func (w *tomlWriter) inlineTable(v star.Value, items []star.Tuple) error {
	w.b.WriteByte('{')
	for i, kv := range items {
		err := w.enter(v, keyStep(kv[0]), func() error {
			key, err := w.key(kv[0])
			if err != nil {
				return err
			}
			if i > 0 {
				w.b.WriteByte(',')
			}
			w.b.WriteString(" " + key + " = ")
			return w.inline(kv[1])
		})
		if err != nil {
			return err
		}
	}
	if len(items) > 0 {
		w.b.WriteByte(' ')
	}
	w.b.WriteByte('}')
	return nil
}

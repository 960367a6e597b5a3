package builtins

import (
	"fmt"
	"math"
	"sort"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark"
)

// A jsonWriter writes one value as JSON. Its zero options write as json.dumps does with
// ensure_ascii and allow_nan off.
type jsonWriter struct {
	encoding
	b strings.Builder

	item, key string // separators
	lines     bool   // one item a line, indented
	indent    string
	ascii     bool
	nan       bool // write what is not finite
	sorted    bool
	skip      bool // leave out keys that JSON cannot have
	starlark  bool // keys are strings, and any iterable is a list
	fallback  func(star.Value) (star.Value, error)
}

func (w *jsonWriter) text(v star.Value) (star.String, error) {
	if err := w.write(v); err != nil {
		return "", err
	}
	return star.String(w.b.String()), nil
}

func (w *jsonWriter) write(v star.Value) error {
	if err := checkTextLength(w.op, w.b.Len()); err != nil {
		return err
	}
	if list, ok := elements(v); ok {
		return w.list(v, list)
	}
	if items, ok := pairs(v); ok {
		return w.dict(v, items)
	}
	switch v := v.(type) {
	case star.NoneType:
		w.b.WriteString("null")
	case star.Bool:
		w.b.WriteString(strings.ToLower(v.String()))
	case star.Int:
		w.b.WriteString(v.String())
	case star.Float:
		return w.float(float64(v))
	case star.String:
		return w.quote(string(v))
	default:
		return w.other(v)
	}
	return nil
}

// other writes a value that JSON has nothing for.
func (w *jsonWriter) other(v star.Value) error {
	if _, secret := v.(*Secret); w.fallback != nil && !secret {
		instead, err := w.fallback(v)
		if err != nil {
			return err
		}
		return w.enter(v, "", func() error { return w.write(instead) })
	}
	if all, ok := v.(star.Iterable); ok && w.starlark {
		var list star.Tuple
		for x := range star.Elements(all) {
			list = append(list, x)
		}
		return w.list(v, list)
	}
	return w.unknown(v, "JSON")
}

func (w *jsonWriter) list(v star.Value, list star.Indexable) error {
	w.b.WriteByte('[')
	for i := range list.Len() {
		w.separate(i == 0, len(w.path)+1)
		if err := w.enter(v, indexStep(i), func() error { return w.write(list.Index(i)) }); err != nil {
			return err
		}
	}
	w.end(list.Len() > 0, ']')
	return nil
}

func (w *jsonWriter) dict(v star.Value, items []star.Tuple) error {
	if w.sorted {
		if err := w.sort(items); err != nil {
			return err
		}
	}
	w.b.WriteByte('{')
	some := false
	for _, kv := range items {
		key, ok := w.keyText(kv[0])
		if !ok && w.skip {
			continue
		}
		err := w.enter(v, keyStep(kv[0]), func() error {
			switch {
			case !ok && w.starlark:
				return w.refuse(fmt.Sprintf("the key is of type %s, want a string", kv[0].Type()), "json.dumps writes keys that are numbers")
			case !ok:
				return w.refuse(fmt.Sprintf("the key is of type %s; keys of JSON are strings", kv[0].Type()), "make it one: str(key)")
			}
			w.separate(!some, len(w.path))
			some = true
			if err := w.quote(key); err != nil {
				return err
			}
			w.b.WriteString(w.key)
			return w.write(kv[1])
		})
		if err != nil {
			return err
		}
	}
	w.end(some, '}')
	return nil
}

// sort puts the items into the order of their keys.
func (w *jsonWriter) sort(items []star.Tuple) error {
	var failed error
	sort.SliceStable(items, func(i, j int) bool {
		less, err := keyLess(items[i][0], items[j][0])
		if err != nil {
			failed = err
		}
		return less
	})
	if failed != nil {
		return w.refuse(failed.Error(), "leave out sort_keys, or give the dict keys of one type")
	}
	return nil
}

func (w *jsonWriter) keyText(key star.Value) (text string, ok bool) {
	if s, ok := star.AsString(key); ok {
		return s, true
	}
	if w.starlark {
		return "", false
	}
	switch k := key.(type) {
	case star.Int:
		return k.String(), true
	case star.Float:
		return jsonFloat(float64(k)), true
	case star.Bool:
		return strings.ToLower(k.String()), true
	case star.NoneType:
		return "null", true
	}
	return "", false
}

// separate writes what stands before an item.
func (w *jsonWriter) separate(first bool, depth int) {
	if !first {
		w.b.WriteString(w.item)
	}
	w.newline(depth)
}

func (w *jsonWriter) end(some bool, bracket byte) {
	if some {
		w.newline(len(w.path))
	}
	w.b.WriteByte(bracket)
}

func (w *jsonWriter) newline(depth int) {
	if w.lines {
		w.b.WriteByte('\n')
		w.b.WriteString(strings.Repeat(w.indent, depth))
	}
}

func (w *jsonWriter) float(f float64) error {
	if !w.nan && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return w.refuse("JSON has no "+starlark.FloatText(f), "write None, or a string")
	}
	w.b.WriteString(jsonFloat(f))
	return nil
}

func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return starlark.FloatText(f)
}

var jsonEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\f': `\f`, '\b': `\b`}

func (w *jsonWriter) quote(s string) error {
	if !utf8.ValidString(s) {
		return dataError(w.op, strings.TrimPrefix(w.at()+": the text is not UTF-8", ": "))
	}
	w.b.WriteByte('"')
	for _, r := range s {
		escape, named := jsonEscapes[r]
		switch {
		case named:
			w.b.WriteString(escape)
		case r < 0x20 || w.ascii && r > 0x7e && r < 0x10000:
			fmt.Fprintf(&w.b, `\u%04x`, r)
		case w.ascii && r >= 0x10000:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&w.b, `\u%04x\u%04x`, high, low)
		default:
			w.b.WriteRune(r)
		}
	}
	w.b.WriteByte('"')
	return nil
}

// indentKind is a number of spaces or the text itself, as string.
func indentKind() Kind {
	return Kind{"int or str", func(c *Call, v star.Value) (any, error) {
		if s, ok := star.AsString(v); ok {
			return s, nil
		}
		i, err := star.AsInt32(v)
		if _, isInt := v.(star.Int); !isInt || err != nil || i > 100 {
			return nil, want(v, "a number of spaces up to 100, or the text to indent with")
		}
		return strings.Repeat(" ", max(i, 0)), nil
	}}
}

// separatorsKind is two strings, as []string.
func separatorsKind() Kind {
	return Kind{"(str, str)", func(_ *Call, v star.Value) (any, error) {
		const wanted = "two strings: (item_separator, key_separator)"
		if _, isString := v.(star.String); isString {
			return nil, want(v, wanted)
		}
		all, err := stringsKind().take(nil, v)
		if err != nil || len(all.([]string)) != 2 {
			return nil, want(v, wanted)
		}
		return all, nil
	}}
}

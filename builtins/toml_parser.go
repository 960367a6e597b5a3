package builtins

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	star "go.starlark.net/starlark"
)

// A tomlTree makes values of what the library has read, with the keys in the order of the text.
type tomlTree struct {
	lib   *Library
	op    string
	order map[string]int // where a key first occurs in the text, by its way from the root
}

// keySeparator stands between two keys of a way; a key that has one would only change the order.
const keySeparator = "\x00"

func (l *Library) parseTOML(op, text string) (star.Value, error) {
	if strings.Count(text, "[")+strings.Count(text, "{") > deepestNesting {
		if depth := bracketDepth(text); depth > deepestNesting {
			return nil, dataError(op, fmt.Sprintf("nested more than %d deep", deepestNesting))
		}
	}
	var all map[string]any
	meta, err := toml.Decode(text, &all)
	if err != nil {
		var parse toml.ParseError
		if errors.As(err, &parse) {
			return nil, dataError(op, fmt.Sprintf("line %d, column %d: %s", parse.Position.Line, parse.Position.Col, tomlMessage(parse)))
		}
		return nil, dataError(op, strings.TrimPrefix(err.Error(), "toml: "))
	}
	t := &tomlTree{lib: l, op: op, order: map[string]int{}}
	for i, key := range meta.Keys() {
		for n := range key { // a.b = 1 is where a begins, too
			way := strings.Join(key[:n+1], keySeparator)
			if _, known := t.order[way]; !known {
				t.order[way] = i
			}
		}
	}
	return t.value(all, nil)
}

// tomlMessage is what is wrong, without the place.
func tomlMessage(err toml.ParseError) string {
	if err.Message != "" {
		return strings.TrimSuffix(err.Message, ".")
	}
	text := err.Error()
	if _, after, found := strings.Cut(text, "): "); found {
		return after
	}
	return strings.TrimPrefix(text, "toml: ")
}

// bracketDepth is how deep brackets are open at most, those in strings too.
func bracketDepth(text string) int {
	depth, most := 0, 0
	for _, c := range []byte(text) {
		switch c {
		case '[', '{':
			depth++
			most = max(most, depth)
		case ']', '}':
			depth = max(depth-1, 0)
		}
	}
	return most
}

func (t *tomlTree) value(v any, way []string) (star.Value, error) {
	switch v := v.(type) {
	case string:
		return star.String(v), nil
	case bool:
		return star.Bool(v), nil
	case int64:
		return star.MakeInt64(v), nil
	case float64:
		return star.Float(v), nil
	case time.Time:
		return t.time(v, way)
	case map[string]any:
		return t.table(v, way)
	case []map[string]any:
		list := star.NewList(nil)
		for _, item := range v {
			if err := t.add(list, item, way); err != nil {
				return nil, err
			}
		}
		return list, nil
	case []any:
		list := star.NewList(nil)
		for _, item := range v {
			if err := t.add(list, item, way); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	return nil, fmt.Errorf("a value of Go's type %T", v) // unreachable: the library makes no others
}

func (t *tomlTree) add(list *star.List, item any, way []string) error {
	v, err := t.value(item, way)
	if err != nil {
		return err
	}
	return list.Append(v)
}

func (t *tomlTree) table(v map[string]any, way []string) (star.Value, error) {
	type entry struct {
		key  string
		rank int
	}
	entries := make([]entry, 0, len(v))
	for key := range v {
		rank, known := t.order[strings.Join(append(slices.Clone(way), key), keySeparator)]
		if !known {
			rank = math.MaxInt
		}
		entries = append(entries, entry{key, rank})
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.key, b.key)) })
	dict := star.NewDict(len(v))
	for _, e := range entries {
		item, err := t.value(v[e.key], append(slices.Clone(way), e.key))
		if err == nil {
			err = dict.SetKey(star.String(e.key), item)
		}
		if err != nil {
			return nil, err
		}
	}
	return dict, nil
}

// time makes a datetime. The library says in the location what the text has.
func (t *tomlTree) time(v time.Time, way []string) (star.Value, error) {
	switch v.Location().String() {
	case "date-local", "time-local":
		return nil, dataError(t.op, fmt.Sprintf("%s is a date or a time alone, for which there is no type here: put it in quotes", strings.Join(way, ".")))
	case "datetime-local":
		return t.lib.datetime(t.op, moment{wall: wallDigits(v)})
	}
	_, offset := v.Zone()
	return t.lib.datetime(t.op, moment{wallDigits(v), t.lib.timezone(int64(offset) * microsPerSecond)})
}

// wallDigits is what a time shows in its zone, to the microsecond.
func wallDigits(v time.Time) time.Time {
	return time.Date(v.Year(), v.Month(), v.Day(), v.Hour(), v.Minute(), v.Second(), v.Nanosecond()/1000*1000, time.UTC)
}

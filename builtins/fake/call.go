package fake

import (
	"time"

	star "go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"github.com/bifrost-run/bifrost/engine"
)

// A call is one act of the script on the world.
type call struct {
	op     string
	fields []field
}

// A field is one argument of a call. Values are strings, numbers, durations, lists of strings, variables
// of an environment, or nil.
type field struct {
	name  string
	value any
}

// record is called with the world locked.
func (w *World) record(op string, fields ...field) {
	w.calls = append(w.calls, call{op, fields})
}

// value is the call as scripts see it. Text passes through redact, so that secrets stay secrets.
func (c call) value(redact func(string) string) star.Value {
	values := star.StringDict{"op": star.String(c.op)}
	for _, f := range c.fields {
		values[f.name] = plain(f.value, redact)
	}
	s := starlarkstruct.FromStringDict(star.String("call"), values)
	s.Freeze()
	return s
}

func plain(v any, redact func(string) string) star.Value {
	switch v := v.(type) {
	case string:
		return star.String(redact(v))
	case bool:
		return star.Bool(v)
	case int:
		return star.MakeInt(v)
	case float64:
		return star.Float(v)
	case time.Duration:
		if v == 0 {
			return star.None
		}
		return star.Float(v.Seconds())
	case []string:
		items := make([]star.Value, len(v))
		for i, s := range v {
			items[i] = star.String(redact(s))
		}
		return star.NewList(items)
	case engine.Command:
		if v.Shell != "" || v.Argv == nil {
			return star.String(redact(v.Shell))
		}
		return plain(v.Argv, redact)
	case []engine.Var:
		dict := star.NewDict(len(v))
		for _, one := range v {
			_ = dict.SetKey(star.String(one.Name), star.String(redact(one.Value))) // a string is a key
		}
		return dict
	}
	return star.None
}

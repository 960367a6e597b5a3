package starlark

import (
	"math"
	"strconv"
	"strings"

	star "go.starlark.net/starlark"
)

// Text is a value as print shows it: a string as it is, anything else as Repr.
func Text(v star.Value) string {
	if s, ok := star.AsString(v); ok {
		return s
	}
	return Repr(v)
}

// Repr is the interpreter's own text of a value, but for floats, also within lists, tuples, dicts and sets:
// theirs is Python's. CheckText says whether it may be made.
func Repr(v star.Value) string {
	switch v.(type) {
	case star.Float, *star.List, star.Tuple, *star.Dict, *star.Set:
		var r representation
		r.write(v)
		return r.b.String()
	}
	return v.String()
}

type representation struct {
	b    strings.Builder
	open []star.Value // the lists and dicts that it is inside of
}

func (r *representation) write(v star.Value) {
	switch v := v.(type) {
	case star.Float:
		r.b.WriteString(FloatText(float64(v)))
	case *star.List:
		if r.enter(v, "[...]") {
			r.list("[", v, "]")
			r.leave()
		}
	case star.Tuple:
		if len(v) == 1 {
			r.list("(", v, ",)")
		} else {
			r.list("(", v, ")")
		}
	case *star.Set:
		r.list("set([", v, "])")
	case *star.Dict:
		if !r.enter(v, "{...}") {
			return
		}
		r.b.WriteByte('{')
		first := true
		for key, value := range star.Entries(v) {
			r.separate(&first)
			r.write(key)
			r.b.WriteString(": ")
			r.write(value)
		}
		r.b.WriteByte('}')
		r.leave()
	default:
		r.b.WriteString(v.String())
	}
}

// enter goes into a container, or writes again instead where it is inside of itself.
func (r *representation) enter(v star.Value, again string) bool {
	for _, o := range r.open {
		if o == v {
			r.b.WriteString(again)
			return false
		}
	}
	r.open = append(r.open, v)
	return true
}

func (r *representation) leave() { r.open = r.open[:len(r.open)-1] }

// list writes the elements of a list or tuple between what opens and closes it.
func (r *representation) list(open string, v star.Iterable, shut string) {
	r.b.WriteString(open)
	first := true
	for element := range star.Elements(v) {
		r.separate(&first)
		r.write(element)
	}
	r.b.WriteString(shut)
}

func (r *representation) separate(first *bool) {
	if !*first {
		r.b.WriteString(", ")
	}
	*first = false
}

// FloatText is the shortest text that reads as f again, in the notation of Python's repr: an exponent
// below 1e-4 and from 1e16 on. The interpreter's own has one from 1e6 on.
func FloatText(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	scientific := strconv.FormatFloat(f, 'e', -1, 64)
	exponent, err := strconv.Atoi(scientific[strings.IndexByte(scientific, 'e')+1:])
	if err != nil || exponent < -4 || exponent >= 16 {
		return scientific
	}
	plain := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(plain, ".") {
		plain += ".0"
	}
	return plain
}

// A shown is a value that the interpreter makes text of, which is Repr's.
type shown struct{ star.Value }

func (s shown) String() string { return Repr(s.Value) }

// texted returns what the interpreter is to make text of instead of v.
func texted(v star.Value) star.Value {
	switch v.(type) {
	case star.Float, *star.List, star.Tuple, *star.Dict, *star.Set:
		return shown{v}
	}
	return v
}

// showAll is texted for the arguments of a call.
func showAll(args star.Tuple, kwargs []star.Tuple) (star.Tuple, []star.Tuple) {
	shownArgs := make(star.Tuple, len(args))
	for i, v := range args {
		shownArgs[i] = texted(v)
	}
	shownKwargs := make([]star.Tuple, len(kwargs))
	for i, kv := range kwargs {
		shownKwargs[i] = star.Tuple{kv[0], texted(kv[1])}
	}
	return shownArgs, shownKwargs
}

package builtins

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/bifrost-run/bifrost/starlark/spell"

	"github.com/bifrost-run/bifrost/starlark"
)

// A structValue is a struct or a record: fields in the order in which they were written. It is frozen,
// and so are the lists and dicts in it, copies of what it was made of.
type structValue struct{ object }

// A structData is what a structValue has beside its values.
type structData struct {
	names []string
	maker *Entry // of a record, its constructor; nil for a struct
}

// newStruct returns a value of these fields. Without a maker it is a struct.
func (c *Call) newStruct(maker *Entry, names []string, values star.StringDict) (star.Value, error) {
	typeName := "struct"
	if maker != nil {
		typeName = "record"
	}
	frozen := make(star.StringDict, len(values))
	for _, name := range names {
		var err error
		if frozen[name], err = copyOf(values[name]); err != nil {
			return nil, c.wrongValue(name, err)
		}
	}
	return &structValue{object{lib: c.lib, typ: c.lib.byName[typeName], values: frozen, data: &structData{names: names, maker: maker}}}, nil
}

// fields implements fielded.
func (s *structValue) fields() iter.Seq2[string, star.Value] { return fieldsIn(&s.object) }

func fieldsIn(o *object) iter.Seq2[string, star.Value] {
	return func(yield func(string, star.Value) bool) {
		for _, name := range o.data.(*structData).names {
			if !yield(name, o.values[name]) {
				return
			}
		}
	}
}

// Attr implements star.HasAttrs.
func (s *structValue) Attr(name string) (star.Value, error) {
	v, err := s.object.Attr(name)
	if v == nil && err == nil {
		return nil, &ArgError{Entry: s.Type(), Message: "it has no field " + name, Hint: nearName(name, s.data.(*structData).names)}
	}
	return v, err
}

// CompareSameType implements star.Comparable: equal are structs of equal fields, and records of one
// constructor with equal fields.
func (s *structValue) CompareSameType(op syntax.Token, other star.Value, depth int) (bool, error) {
	if op != syntax.EQL && op != syntax.NEQ {
		return false, fmt.Errorf("%s %s %s not implemented", s.Type(), op, other.Type())
	}
	equal, err := s.equal(other.(*structValue), depth)
	return equal == (op == syntax.EQL), err
}

func (s *structValue) equal(other *structValue, depth int) (bool, error) {
	if s.data.(*structData).maker != other.data.(*structData).maker || len(s.values) != len(other.values) {
		return false, nil
	}
	for name, v := range s.fields() {
		y, ok := other.values[name]
		if !ok {
			return false, nil
		}
		if equal, err := star.EqualDepth(v, y, depth-1); err != nil || !equal {
			return false, err
		}
	}
	return true, nil
}

// describeStruct completes a type whose values are structValues.
func describeStruct(t *Type) *Type {
	t.show = func(o *object) string {
		var parts []string
		for name, v := range fieldsIn(o) {
			parts = append(parts, name+" = "+starlark.Repr(v))
		}
		return t.Name + "(" + strings.Join(parts, ", ") + ")"
	}
	t.hash = func(o *object) (uint32, error) {
		var sum uint32 = 8731
		for _, name := range slices.Sorted(slices.Values(o.data.(*structData).names)) { // equal structs may differ in their order
			nameHash, err := star.String(name).Hash()
			if err != nil {
				return 0, err
			}
			h, err := o.values[name].Hash()
			if err != nil {
				return 0, err
			}
			sum = sum*1000003 ^ nameHash ^ 3*h
		}
		return sum, nil
	}
	t.attr = func(o *object, name string) star.Value {
		if v, ok := o.values[name]; ok {
			return v
		}
		return nil
	}
	t.attrNames = func(o *object) []string { return o.data.(*structData).names }
	return t
}

func structType() *Type {
	return describeStruct(&Type{
		Name: "struct",
		Doc: "What `struct` returns: its arguments as fields. It does not change, nor do the lists and dicts in it. " +
			"Structs of equal fields are equal, one of hashable fields is a key of dicts, and json encodes it as a dict.",
	})
}

func structEntry() *Entry {
	return &Entry{
		Name: "struct", Result: "struct", Capabilities: pure, Kwargs: "fields",
		Doc:     "Makes a value with these fields, for what belongs together: `point.x` in place of `point[\"x\"]`. `record` makes many of one shape.",
		Example: "point = struct(x = 1, y = [2, 3])\nprint(point.x, point)  # 1 struct(x = 1, y = [2, 3])\nprint(json.dumps(point))  # {\"x\": 1, \"y\": [2, 3]}",
		run: func(c *Call) (star.Value, error) {
			names, values := namesAndValues(c.kwargs)
			return c.newStruct(nil, names, values)
		},
	}
}

// namesAndValues takes named arguments apart, in their order.
func namesAndValues(kwargs []star.Tuple) ([]string, star.StringDict) {
	names, values := make([]string, len(kwargs)), star.StringDict{}
	for i, kv := range kwargs {
		names[i] = string(kv[0].(star.String))
		values[names[i]] = kv[1]
	}
	return names, values
}

// nearName is the way out for a name that is none of some.
func nearName(name string, names []string) string {
	if near := spell.Nearest(name, names); near != "" {
		return "did you mean " + near + "?"
	}
	if len(names) == 0 {
		return "it has no fields"
	}
	return "it has " + strings.Join(names, ", ")
}

package builtins

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

const (
	deepestNesting = 1000     // of values that are encoded and decoded, about where Python gives up
	longestText    = 64 << 20 // bytes that an encoding makes before it gives up
	longestInt     = 4300     // digits; Python's own limit
)

// An encoding is the walk through one value that becomes text. It knows where in the value it is.
type encoding struct {
	op   string              // "json.dumps"
	path []string            // ".env", "[0]"
	open map[star.Value]bool // the lists and dicts that it is inside of
}

// enter walks into a part of a list, dict or struct.
func (e *encoding) enter(container star.Value, step string, walk func() error) error {
	if len(e.path) >= deepestNesting {
		return e.refuse(fmt.Sprintf("it is nested more than %d deep", deepestNesting), "")
	}
	switch container.(type) {
	case *star.List, *star.Dict:
		if e.open[container] {
			return e.refuse("it contains itself", "")
		}
		if e.open == nil {
			e.open = map[star.Value]bool{}
		}
		e.open[container] = true
		defer delete(e.open, container)
	}
	e.path = append(e.path, step)
	defer func() { e.path = e.path[:len(e.path)-1] }()
	return walk()
}

// refuse says what is wrong with the part of the value that the walk is at.
func (e *encoding) refuse(message, hint string) error {
	if at := e.at(); at != "" {
		message = at + ": " + message
	}
	return &ArgError{Entry: e.op, Message: message, Hint: hint}
}

// at is the way to where the walk is: "config.env.HF_TOKEN".
func (e *encoding) at() string {
	steps := e.path
	if len(steps) > 8 {
		steps = append(append([]string{}, steps[:7]...), "…", steps[len(steps)-1])
	}
	return strings.TrimPrefix(strings.Join(steps, ""), ".")
}

// unknown refuses a value that the format has nothing for.
func (e *encoding) unknown(v star.Value, format string) error {
	var hint string
	switch v := v.(type) {
	case *Secret:
		return e.refuse(fmt.Sprintf("%s is not to be encoded", v), secretHint)
	case *star.Set:
		hint = "make it a list: sorted(x)"
	case star.Bytes:
		hint = "make it a string: str(x)"
	case star.Callable:
		hint = "name what it returns: call it"
	case star.Iterable:
		hint = "make it a list: list(x)"
	default:
		switch v.Type() {
		case "datetime":
			hint = "make it a string: x.isoformat()"
		case "timedelta":
			hint = "make it a number: x.total_seconds()"
		case "Path":
			hint = "make it a string: str(x)"
		default:
			hint = `name the parts that you want: {"name": x.name}`
		}
	}
	return e.refuse(fmt.Sprintf("%s has nothing for a value of type %s", format, v.Type()), hint)
}

var identifier = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*$`)

// keyStep is how a path goes into the value of a key.
func keyStep(key star.Value) string {
	if s, ok := star.AsString(key); ok && identifier().MatchString(s) {
		return "." + s
	}
	return "[" + key.String() + "]"
}

func indexStep(i int) string { return "[" + strconv.Itoa(i) + "]" }

// elements returns the value as a list, if that is what it encodes as.
func elements(v star.Value) (star.Indexable, bool) {
	switch v := v.(type) {
	case *star.List:
		return v, true
	case star.Tuple:
		return v, true
	}
	return nil, false
}

// pairs returns the keys and values of what encodes as a dict, in their order.
func pairs(v star.Value) ([]star.Tuple, bool) {
	switch v := v.(type) {
	case *star.Dict:
		return v.Items(), true
	case fielded:
		var all []star.Tuple
		for name, value := range v.fields() {
			all = append(all, star.Tuple{star.String(name), value})
		}
		return all, true
	}
	return nil, false
}

// sourceKind is text to decode.
func sourceKind() Kind {
	return Kind{"str or bytes", func(_ *Call, v star.Value) (any, error) {
		switch v := v.(type) {
		case star.String:
			return string(v), nil
		case star.Bytes:
			return string(v), nil
		}
		return nil, want(v, "a string or bytes")
	}}
}

// lineAndColumn are those of an offset in text, from 1, the column in characters.
func lineAndColumn(text string, offset int) (line, column int) {
	before := text[:min(offset, len(text))]
	start := strings.LastIndexByte(before, '\n') + 1
	return strings.Count(before, "\n") + 1, len([]rune(before[start:])) + 1
}

// keyLess orders keys as Python's sorted does, where True is 1.
func keyLess(a, b star.Value) (bool, error) {
	asNumber := func(v star.Value) star.Value {
		if b, ok := v.(star.Bool); ok {
			return star.Float(map[star.Bool]float64{true: 1}[b])
		}
		return v
	}
	less, err := star.Compare(syntax.LT, asNumber(a), asNumber(b))
	if err != nil {
		return false, fmt.Errorf("keys of type %s and %s have no order", a.Type(), b.Type())
	}
	return less, nil
}

// dataError is what is wrong with data that a function was given: "json.loads: Expecting value: …".
func dataError(op, message string) error { return &DataError{Format: op, Err: errors.New(message)} }

// checkTextLength ends an encoding whose text has become too long.
func checkTextLength(op string, length int) error {
	if length > longestText {
		return &ArgError{Entry: op, Message: fmt.Sprintf("the text has more than %d MiB", longestText>>20), Hint: "write it in parts"}
	}
	return nil
}

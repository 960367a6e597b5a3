package builtins

import (
	"fmt"
	"math"
	"strings"
	"time"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/spell"
)

// A Kind is the set of values that a parameter takes, and what they become in Go.
type Kind struct {
	Name string // as the reference shows it: "str", "number or str"
	// take returns the Go value, nil for None where that is allowed. Its error says what was got and
	// what is wanted, without the parameter's name.
	take func(c *Call, v star.Value) (any, error)
}

// A valueError is a value that a parameter does not take, with the way out.
type valueError struct{ message, hint string }

func (e *valueError) Error() string { return e.message }

func want(v star.Value, wanted string) error {
	if v == star.None {
		return fmt.Errorf("got None, want %s", wanted)
	}
	shown := v.Type()
	switch v := v.(type) {
	case star.String:
		shown = v.String()
	case star.Int, star.Float, star.Bool:
		shown = starlark.Repr(v)
	}
	if len(shown) > 60 {
		shown = shown[:57] + `…"`
	}
	err := &valueError{message: fmt.Sprintf("got %s, want %s", shown, wanted)}
	if _, secret := v.(*Secret); secret {
		err.hint = secretHint
	}
	return err
}

// placeholder is what a secret leaves in text that it was formatted into.
var placeholder = lazyregexp.New(`<secret [A-Za-z_][A-Za-z0-9_]*>`)

// text takes a string that goes to a machine. One with the placeholder of a secret was meant to
// have its value.
func text(v star.Value, wanted string) (string, error) {
	s, ok := star.AsString(v)
	if !ok {
		return "", want(v, wanted)
	}
	if found := placeholder().FindString(s); found != "" {
		return "", &valueError{fmt.Sprintf("it has %s, which stands for a value that no text may have", found), secretHint}
	}
	if strings.ContainsRune(s, 0) {
		return "", fmt.Errorf("it has a NUL byte")
	}
	return s, nil
}

// nameKind is a string that is not empty.
func nameKind() Kind {
	return Kind{"str", func(_ *Call, v star.Value) (any, error) {
		s, err := text(v, "a string")
		if err == nil && strings.TrimSpace(s) == "" {
			return nil, fmt.Errorf("it is empty")
		}
		return s, err
	}}
}

// messageKind is a string for people, which may show the placeholder of a secret.
func messageKind() Kind {
	return Kind{"str", func(_ *Call, v star.Value) (any, error) {
		if s, ok := star.AsString(v); ok {
			return s, nil
		}
		return nil, want(v, "a string")
	}}
}

// dataKind is the content of a file.
func dataKind() Kind {
	return Kind{"str or bytes", func(_ *Call, v star.Value) (any, error) {
		if b, ok := v.(star.Bytes); ok {
			return []byte(b), nil
		}
		s, ok := star.AsString(v)
		if !ok {
			return nil, want(v, "a string or bytes")
		}
		if found := placeholder().FindString(s); found != "" {
			return nil, &valueError{fmt.Sprintf("it has %s, which stands for a value that no text may have", found), secretHint}
		}
		return []byte(s), nil
	}}
}

func boolKind() Kind {
	return Kind{"bool", func(_ *Call, v star.Value) (any, error) {
		if b, ok := v.(star.Bool); ok {
			return bool(b), nil
		}
		return nil, want(v, "True or False; bool(x) makes one")
	}}
}

// intKind is an int of at least least and at most most.
func intKind(least, most int) Kind {
	wanted := fmt.Sprintf("an int from %d to %d", least, most)
	if most == math.MaxInt {
		wanted = fmt.Sprintf("an int of at least %d", least)
	}
	return Kind{"int", func(_ *Call, v star.Value) (any, error) {
		i, err := star.AsInt32(v)
		if _, isInt := v.(star.Int); !isInt || err != nil || i < least || i > most {
			return nil, want(v, wanted)
		}
		return i, nil
	}}
}

// positiveKind is a number above 0, as float64.
func positiveKind(unit string) Kind {
	return Kind{"number", func(_ *Call, v star.Value) (any, error) {
		f, ok := number(v)
		if !ok || f <= 0 {
			return nil, want(v, "a number of "+unit+" above 0")
		}
		return f, nil
	}}
}

// number returns an int or float that is finite.
func number(v star.Value) (float64, bool) {
	f, ok := star.AsFloat(v)
	return f, ok && !math.IsNaN(f) && !math.IsInf(f, 0)
}

// durationKind is a number of seconds, or a string such as "90s" or "2h".
func durationKind() Kind {
	const wanted = `seconds or a string like "90s" or "2h"`
	const longest = 10 * 365 * 24 * time.Hour
	return Kind{"seconds or str", func(_ *Call, v star.Value) (any, error) {
		var d time.Duration
		if s, ok := star.AsString(v); ok {
			var err error
			if d, err = parseDuration(strings.TrimSpace(s)); err != nil {
				return nil, want(v, wanted)
			}
		} else {
			f, ok := number(v)
			if !ok {
				return nil, want(v, wanted)
			}
			if math.Abs(f) > longest.Seconds() {
				return nil, want(v, "at most 10 years")
			}
			d = time.Duration(f * float64(time.Second))
		}
		switch {
		case d <= 0:
			return nil, want(v, "more than 0 seconds")
		case d > longest:
			return nil, want(v, "at most 10 years")
		}
		return d, nil
	}}
}

var days = lazyregexp.New(`^(\d+)d`)

// parseDuration is time.ParseDuration with days in front, "1d12h".
func parseDuration(s string) (time.Duration, error) {
	m := days().FindStringSubmatch(s)
	if m == nil {
		return time.ParseDuration(s)
	}
	d, err := time.ParseDuration(m[1] + "h")
	if err != nil || d > 24*365*10*time.Hour {
		return 0, fmt.Errorf("%q is no duration", s)
	}
	d *= 24
	if rest := s[len(m[0]):]; rest != "" {
		more, err := time.ParseDuration(rest)
		if err != nil {
			return 0, err
		}
		d += more
	}
	return d, nil
}

// orNone is a kind that takes None too.
func orNone(k Kind) Kind {
	return Kind{k.Name + " or None", func(c *Call, v star.Value) (any, error) {
		if v == star.None {
			return nil, nil
		}
		return k.take(c, v)
	}}
}

// oneOf is one of some words.
func oneOf(words ...string) Kind {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = fmt.Sprintf("%q", w)
	}
	wanted := strings.Join(quoted, " or ")
	return Kind{wanted, func(_ *Call, v star.Value) (any, error) {
		return word(v, words, wanted)
	}}
}

func word(v star.Value, words []string, wanted string) (any, error) {
	s, ok := star.AsString(v)
	for _, w := range words {
		if ok && s == w {
			return s, nil
		}
	}
	err := want(v, wanted)
	if near := spell.Nearest(s, words); near != "" {
		err = &valueError{err.Error(), fmt.Sprintf("did you mean %q?", near)}
	}
	return nil, err
}

// wordsKind is one of some words or a list of them, as []string.
func wordsKind(words ...string) Kind {
	wanted := "one or a list of " + strings.Join(words, ", ")
	return Kind{"str or list of str", func(_ *Call, v star.Value) (any, error) {
		return each(v, wanted, func(v star.Value) (string, error) {
			w, err := word(v, words, wanted)
			s, _ := w.(string)
			return s, err
		})
	}}
}

// stringsKind is a string or a list of strings, as []string.
func stringsKind() Kind {
	return Kind{"str or list of str", func(_ *Call, v star.Value) (any, error) {
		return each(v, "a string or a list of strings", func(v star.Value) (string, error) { return text(v, "a string") })
	}}
}

// each takes one value or a list or tuple of them.
func each[T any](v star.Value, wanted string, take func(star.Value) (T, error)) ([]T, error) {
	seq, ok := v.(star.Indexable)
	if _, isString := v.(star.String); !ok || isString {
		one, err := take(v)
		if err != nil {
			return nil, err
		}
		return []T{one}, nil
	}
	switch v.(type) {
	case *star.List, star.Tuple:
	default:
		return nil, want(v, wanted)
	}
	all := []T{} // empty and None differ
	for i := range seq.Len() {
		one, err := take(seq.Index(i))
		if err != nil {
			if hint, ok := err.(*valueError); ok {
				return nil, &valueError{fmt.Sprintf("element %d: %s", i, hint.message), hint.hint}
			}
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
		all = append(all, one)
	}
	return all, nil
}

// intsKind is a list of ints from least to most, as []int.
func intsKind(least, most int) Kind {
	inner := intKind(least, most)
	return Kind{"list of int", func(c *Call, v star.Value) (any, error) {
		switch v.(type) {
		case *star.List, star.Tuple:
		default:
			return nil, want(v, "a list of ints")
		}
		return each(v, "a list of ints", func(v star.Value) (int, error) {
			i, err := inner.take(c, v)
			n, _ := i.(int)
			return n, err
		})
	}}
}

// functionKind is something to call, with the arguments that it is called with.
func functionKind(arguments string) Kind {
	return Kind{"function(" + arguments + ")", func(_ *Call, v star.Value) (any, error) {
		if f, ok := v.(star.Callable); ok {
			return f, nil
		}
		return nil, want(v, "a function of ("+arguments+")")
	}}
}

func anyKind() Kind {
	return Kind{"any", func(_ *Call, v star.Value) (any, error) { return v, nil }}
}

// objectKind is a value of one of the library's types, as *object.
func objectKind(typeName, constructor string) Kind {
	return Kind{typeName, func(_ *Call, v star.Value) (any, error) {
		if o, ok := v.(*object); ok && o.typ.Name == typeName {
			return o, nil
		}
		return nil, want(v, "what "+constructor+" returns")
	}}
}

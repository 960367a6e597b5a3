package startest

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	star "go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"

	"github.com/bifrost-run/bifrost/starlark"
)

type value = star.Value

// An Assertion is a function of the module assert.
type Assertion struct {
	Signature string
	Doc       string

	name  string
	check func(t *starlark.Thread, args []value) error
	least int // arguments that must be given
	most  int
}

// Assertions lists the functions of the module assert. One that does not hold fails the test, which
// goes on.
func Assertions() []Assertion {
	return []Assertion{
		comparison("eq", "want", "Both are equal.", syntax.EQL, func(x, y string) string { return differ(x, y) }),
		comparison("ne", "other", "They are not equal.", syntax.NEQ, func(x, _ string) string { return "both are " + x }),
		comparison("lt", "limit", "The first is less than the second.", syntax.LT, func(x, y string) string { return x + " is not less than " + y }),
		comparison("le", "limit", "The first is at most the second.", syntax.LE, func(x, y string) string { return x + " is more than " + y }),
		comparison("gt", "limit", "The first is more than the second.", syntax.GT, func(x, y string) string { return x + " is not more than " + y }),
		comparison("ge", "limit", "The first is at least the second.", syntax.GE, func(x, y string) string { return x + " is less than " + y }),
		{
			name: "true", Signature: `assert.true(cond, message = "")`, Doc: "The condition is true.", least: 1, most: 2,
			check: func(_ *starlark.Thread, args []value) error {
				if args[0].Truth() {
					return nil
				}
				return said(args, 1, "%s is not true", show(args[0]))
			},
		},
		{
			name: "false", Signature: `assert.false(cond, message = "")`, Doc: "The condition is false.", least: 1, most: 2,
			check: func(_ *starlark.Thread, args []value) error {
				if !args[0].Truth() {
					return nil
				}
				return said(args, 1, "%s is not false", show(args[0]))
			},
		},
		{
			name: "contains", Signature: "assert.contains(all, part)", Doc: "The list, dict or string has this part.", least: 2, most: 2,
			check: func(_ *starlark.Thread, args []value) error {
				in, err := star.Binary(syntax.IN, args[1], args[0])
				if err != nil {
					return err
				}
				if !in.Truth() {
					return fail("%s does not contain %s", show(args[0]), show(args[1]))
				}
				return nil
			},
		},
		{
			name: "fails", Signature: `assert.fails(fn, pattern = "")`, Doc: "The function, called without arguments, fails, and the pattern, a regular expression, is found in its kind and message: `no_capacity: no offer`.", least: 1, most: 2,
			check: fails,
		},
		{
			name: "exits", Signature: "assert.exits(fn, code)", Doc: "The function, called without arguments, ends with a call of exit with this code.", least: 2, most: 2,
			check: exits,
		},
		{
			name: "fail", Signature: "assert.fail(message)", Doc: "Never holds.", least: 1, most: 1,
			check: func(_ *starlark.Thread, args []value) error { return said(args, 0, "") },
		},
	}
}

// param is the name of a parameter, from its place in the signature.
func (a Assertion) param(i int) string {
	_, inside, _ := strings.Cut(strings.TrimSuffix(a.Signature, ")"), "(")
	name, _, _ := strings.Cut(strings.Split(inside, ", ")[i], " ")
	return name
}

// module is assert, whose failures go to r.
func module(r *report) value {
	members := star.StringDict{}
	for _, a := range Assertions() {
		members[a.name] = star.NewBuiltin("assert."+a.name, func(t *star.Thread, b *star.Builtin, args star.Tuple, kwargs []star.Tuple) (value, error) {
			thread := starlark.ThreadOf(t)
			given := []value(args)
			for _, kv := range kwargs {
				if name := string(kv[0].(star.String)); len(given) >= a.most || name != a.param(len(given)) {
					return nil, fmt.Errorf("%s: unexpected %s = …; it is %s", b.Name(), name, a.Signature)
				}
				given = append(given, kv[1])
			}
			if len(given) < a.least || len(given) > a.most {
				return nil, fmt.Errorf("%s: got %d arguments; it is %s", b.Name(), len(given), a.Signature)
			}
			err := a.check(thread, given)
			var found *failure
			if err == nil || !errors.As(err, &found) {
				return star.None, err
			}
			r.add(thread.Failure(found))
			return star.None, nil
		})
	}
	return &starlarkstruct.Module{Name: "assert", Members: members}
}

// A failure is an assertion that does not hold.
type failure struct{ message string }

func (f *failure) Error() string { return f.message }

func fail(format string, args ...any) error { return &failure{fmt.Sprintf(format, args...)} }

// said is a failure with the message among the arguments, if there is one.
func said(args []value, at int, format string, more ...any) error {
	if len(args) > at {
		if s, ok := star.AsString(args[at]); ok && s != "" {
			return &failure{s}
		}
		return &failure{show(args[at])}
	}
	return fail(format, more...)
}

func comparison(name, second, doc string, op syntax.Token, message func(x, y string) string) Assertion {
	return Assertion{
		name: name, Signature: fmt.Sprintf("assert.%s(got, %s)", name, second), Doc: doc, least: 2, most: 2,
		check: func(_ *starlark.Thread, args []value) error {
			ok, err := star.Compare(op, args[0], args[1])
			if err != nil {
				return err
			}
			if !ok {
				return fail("%s", message(show(args[0]), show(args[1])))
			}
			return nil
		},
	}
}

// differ shows two values that should be equal, beneath each other where they are long.
func differ(x, y string) string {
	if len(x)+len(y) > 60 {
		return "they differ\ngot  " + x + "\nwant " + y
	}
	return "got " + x + ", want " + y
}

// maxShown is the length in bytes up to which a value is shown.
const maxShown = 2000

func show(v value) string {
	s := v.String()
	if len(s) > maxShown {
		s = s[:maxShown] + "…"
	}
	return s
}

func fails(t *starlark.Thread, args []value) error {
	pattern := ""
	if len(args) > 1 {
		s, ok := star.AsString(args[1])
		if !ok {
			return fmt.Errorf("assert.fails: pattern: got %s, want a string", args[1].Type())
		}
		pattern = s
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return fmt.Errorf("assert.fails: pattern: %w", err)
	}
	_, err = t.Call(args[0], nil, nil)
	var exit *starlark.ExitError
	var limit *starlark.LimitError
	switch {
	case err == nil:
		return fail("it did not fail; an error with %q was expected", pattern)
	case errors.As(err, &limit), t.Context().Err() != nil:
		return err
	case errors.As(err, &exit):
		return fail("it called exit(%d); assert.exits expects that", exit.Code)
	}
	t.Lift()
	shown := t.Failure(err)
	if text := shown.Kind + ": " + shown.Message; !re.MatchString(text) {
		return fail("it failed otherwise\ngot  %s\nwant %s", text, pattern)
	}
	return nil
}

func exits(t *starlark.Thread, args []value) error {
	code, err := star.AsInt32(args[1])
	if err != nil {
		return fmt.Errorf("assert.exits: code: got %s, want an int", args[1])
	}
	_, err = t.Call(args[0], nil, nil)
	var exit *starlark.ExitError
	switch {
	case errors.As(err, &exit) && exit.Code == code:
		return nil
	case errors.As(err, &exit):
		return fail("got exit(%d), want exit(%d)", exit.Code, code)
	case err != nil:
		return err
	}
	return fail("it did not call exit; exit(%d) was expected", code)
}

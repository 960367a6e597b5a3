package builtins

import (
	"errors"
	"fmt"
	"math"
	"strings"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/builtins/argparse"
	"github.com/bifrost-run/bifrost/starlark"
)

func intEntry() *Entry {
	return &Entry{
		Name: "int", Result: "int", Capabilities: pure,
		Doc: "Returns a number without its fraction, or the int that a text has in a base. " +
			"Text that is no int is an error of kind \"data\", which `attempt` catches.",
		Params: []Param{
			{Name: "x", Kind: anyKind(), Default: star.MakeInt(0), Doc: "a number, True, False or a text, which may have spaces around it and underscores between digits"},
			{Name: "base", Kind: orNone(intKind(0, 36)), Default: star.None, Doc: "of a text, 2 to 36; 0 reads 0x1f, 0o17 and 0b11 by their prefix; None is 10"},
		},
		Example: "print(int(2.9), int(\"8\"), int(\"0x1f\", 16))  # 2 8 31\n" +
			"steps, err = attempt(int, \"many\")\nprint(err.kind)  # data",
		run: func(c *Call) (star.Value, error) {
			base := 10
			if c.raw["base"] != star.None {
				base = arg[int](c, "base")
				if base == 1 {
					return nil, c.notNumber("int() base must be >= 2 and <= 36, or 0")
				}
				if _, isText := c.raw["x"].(star.String); !isText {
					return nil, c.wrong("base: only a text has one", "")
				}
			}
			switch x := c.raw["x"].(type) {
			case star.String:
				return c.intOf(string(x), base)
			case star.Float:
				switch f := float64(x); {
				case math.IsNaN(f):
					return nil, c.notNumber("cannot convert float NaN to integer")
				case math.IsInf(f, 0):
					return nil, c.notNumber("cannot convert float infinity to integer")
				}
				return star.NumberToInt(x)
			}
			if n, ok := starlark.AsInt(c.raw["x"]); ok {
				return n, nil
			}
			return nil, c.noNumberFrom(c.raw["x"])
		},
	}
}

// intOf reads an int, which in a base that is no power of 2 takes a time that grows with the square.
func (c *Call) intOf(text string, base int) (star.Value, error) {
	if base&(base-1) != 0 && len(text) > longestInt {
		if digits := len(strings.Trim(text, " \t\r\n+-")) - strings.Count(text, "_"); digits > longestInt {
			return nil, c.notNumber(fmt.Sprintf("Exceeds the limit (%d digits) for integer string conversion: value has %d digits", longestInt, digits))
		}
	}
	if n, ok := argparse.ParseInt(text, base); ok {
		return n, nil
	}
	err := c.notNumber(fmt.Sprintf("invalid literal for int() with base %d: %s", base, argparse.Quote(excerpt(text))))
	err.Hint = "s.isdigit() tells whether a text is a whole number; int(float(s)) cuts a fraction off"
	return nil, err
}

// notNumber is what is no number, in Python's words.
func (c *Call) notNumber(message string) *DataError {
	return &DataError{Format: c.name, Err: errors.New(message), Hint: "attempt(" + c.name + ", s) returns the error, where a script goes on without the number"}
}

// noNumberFrom refuses a value of a type that is no number and no text.
func (c *Call) noNumberFrom(v star.Value) error {
	err := want(v, "a number or a string")
	if v == star.None {
		err = &valueError{err.Error(), noneHint}
	}
	return c.wrongValue("x", err)
}

// excerpt is the beginning of a text for a message.
func excerpt(text string) string {
	const most = 200 // characters, as Python's own message
	if chars := []rune(text[:min(len(text), 4*most)]); len(chars) > most {
		return string(chars[:most])
	}
	return text
}

func floatEntry() *Entry {
	return &Entry{
		Name: "float", Result: "float", Capabilities: pure,
		Doc:     "Returns a number as a float, or the one that a text has. Text that is no number is an error of kind \"data\", which `attempt` catches.",
		Params:  []Param{{Name: "x", Kind: anyKind(), Default: star.Float(0), Doc: "a number, True, False or a text: 1.5, 1e-4, inf, nan"}},
		Example: "print(float(\"3e-4\"), float(2))  # 0.0003 2.0\nlr, err = attempt(float, \"auto\")\nprint(err.kind)  # data",
		run: func(c *Call) (star.Value, error) {
			if s, ok := star.AsString(c.raw["x"]); ok {
				if f, ok := argparse.ParseFloat(s); ok {
					return f, nil
				}
				return nil, c.notNumber("could not convert string to float: " + argparse.Quote(excerpt(s)))
			}
			v := c.raw["x"]
			if n, ok := starlark.AsInt(v); ok {
				v = n
			}
			f, ok := star.AsFloat(v)
			switch _, isFloat := v.(star.Float); {
			case !ok:
				return nil, c.noNumberFrom(v)
			case math.IsInf(f, 0) && !isFloat:
				return nil, c.notNumber("int too large to convert to float")
			}
			return star.Float(f), nil
		},
	}
}

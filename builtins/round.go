package builtins

import (
	"math"
	"strconv"

	star "go.starlark.net/starlark"
)

func roundEntry() *Entry {
	return &Entry{
		Name: "round", Result: "int or float", Capabilities: pure,
		Doc:     "Rounds as Python does: halves to the even neighbour, to an int without ndigits.",
		Example: "print(round(2.5), round(2.675, 2))  # 2 2.67",
		Params: []Param{
			{Name: "number", Kind: finiteKind(), Doc: "int or float"},
			{Name: "ndigits", Kind: orNone(intKind(-300, 300)), Default: star.None, Doc: "digits after the point; None means an int"},
		},
		run: func(c *Call) (star.Value, error) {
			digits := arg[int](c, "ndigits")
			whole, isInt := c.raw["number"].(star.Int)
			if isInt && digits >= 0 {
				return whole, nil
			}
			x := arg[float64](c, "number")
			if c.raw["ndigits"] == star.None {
				return star.NumberToInt(star.Float(math.RoundToEven(x)))
			}
			if digits < 0 {
				unit := math.Pow10(-digits)
				x = math.RoundToEven(x/unit) * unit
				if isInt {
					return star.NumberToInt(star.Float(x))
				}
				return star.Float(x), nil
			}
			// The shortest text of that many digits is rounded correctly from the exact binary value.
			rounded, err := strconv.ParseFloat(strconv.FormatFloat(x, 'f', digits, 64), 64)
			return star.Float(rounded), err
		},
	}
}

func finiteKind() Kind {
	return Kind{"number", func(_ *Call, v star.Value) (any, error) {
		if f, ok := number(v); ok {
			return f, nil
		}
		return nil, want(v, "a finite number")
	}}
}

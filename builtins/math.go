package builtins

import (
	"fmt"
	"math"
	"math/big"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

var (
	infinity   = star.Float(math.Inf(1))
	notANumber = star.Float(math.NaN())
)

func mathModule() *Module {
	return &Module{
		Name: "math",
		Doc: "Python's functions of numbers, those of them that are used most. What has no answer (`math.sqrt(-1)`) is an error of kind \"data\". " +
			"The last digit of a transcendental function may differ from that of a C library.",
		Constants: []Constant{
			{Name: "pi", Kind: "float", Doc: "3.14…", Value: star.Float(math.Pi)},
			{Name: "e", Kind: "float", Doc: "2.71…", Value: star.Float(math.E)},
			{Name: "tau", Kind: "float", Doc: "2 * pi", Value: star.Float(2 * math.Pi)},
			{Name: "inf", Kind: "float", Doc: "infinity", Value: infinity},
			{Name: "nan", Kind: "float", Doc: "not a number", Value: notANumber},
		},
		Entries: append([]*Entry{
			mathWholeEntry("floor", "the largest int that is not above x", "print(math.floor(2.7), math.floor(-2.7))  # 2 -3", math.Floor),
			mathWholeEntry("ceil", "the smallest int that is not below x", "print(math.ceil(2.1), math.ceil(-2.1))  # 3 -2", math.Ceil),
			mathWholeEntry("trunc", "x without its fraction, an int", "print(math.trunc(-2.7))  # -2", math.Trunc),
			mathTestEntry("isnan", "x is not a number", "print(math.isnan(math.nan))  # True", math.IsNaN),
			mathTestEntry("isinf", "x is infinite", "print(math.isinf(-math.inf))  # True", func(x float64) bool { return math.IsInf(x, 0) }),
			mathTestEntry("isfinite", "x is a number and not infinite", "print(math.isfinite(1e308))  # True",
				func(x float64) bool { return !math.IsInf(x, 0) && !math.IsNaN(x) }),
			mathIscloseEntry(),
			mathLogEntry(),
			mathLogBaseEntry("log2", "print(math.log2(1024))  # 10.0", 2, math.Log2),
			mathLogBaseEntry("log10", "print(math.log10(1000))  # 3.0", 10, log10),
			mathFsumEntry(),
			mathProdEntry(),
			mathGcdEntry(),
			mathFactorialEntry(),
			mathCombEntry(),
		}, append(mathUnaryEntries(), mathBinaryEntries()...)...),
	}
}

// mathFault is what Python's math has for an input without an answer.
func (c *Call) mathFault(message string) error { return dataError(c.name, message) }

// float returns a parameter that is a number as a float.
func (c *Call) float(name string) (float64, error) {
	f, _ := star.AsFloat(c.raw[name])
	if _, isInt := c.raw[name].(star.Int); isInt && math.IsInf(f, 0) {
		return 0, c.mathFault("int too large to convert to float")
	}
	return f, nil
}

// answer checks a result as Python does: what finite input cannot give is an error.
func (c *Call) answer(result float64, overflows bool, inputs ...float64) (star.Value, error) {
	finite := true
	for _, x := range inputs {
		if math.IsNaN(x) {
			return star.Float(result), nil
		}
		finite = finite && !math.IsInf(x, 0)
	}
	switch {
	case math.IsNaN(result), math.IsInf(result, 0) && finite && !overflows:
		return nil, c.mathFault("math domain error")
	case math.IsInf(result, 0) && finite:
		return nil, c.mathFault("math range error")
	}
	return star.Float(result), nil
}

func numberParam(name, doc string) Param { return Param{Name: name, Kind: numberKind(), Doc: doc} }

func mathUnaryEntries() []*Entry {
	var entries []*Entry
	for _, f := range []struct {
		name, doc, example string
		of                 func(float64) float64
		overflows          bool
	}{
		{"sqrt", "the square root of x", "print(math.sqrt(2))  # 1.4142135623730951", math.Sqrt, false},
		{"exp", "e to the power of x", "print(math.exp(0))  # 1.0", math.Exp, true},
		{"exp2", "2 to the power of x", "print(math.exp2(10))  # 1024.0", math.Exp2, true},
		{"expm1", "exp(x) - 1, precise for small x", "print(math.expm1(0))  # 0.0", math.Expm1, true},
		{"log1p", "log(1 + x), precise for small x", "print(math.log1p(0))  # 0.0", math.Log1p, false},
		{"fabs", "the absolute value of x, a float", "print(math.fabs(-3))  # 3.0", math.Abs, false},
		{"degrees", "the angle x in degrees", "print(math.degrees(math.pi))  # 180.0", func(x float64) float64 { return x * (180 / math.Pi) }, true},
		{"radians", "the angle x, given in degrees, in radians", "print(math.radians(180))  # 3.141592653589793", func(x float64) float64 { return x * (math.Pi / 180) }, false},
		{"sin", "the sine of x", "print(math.sin(0))  # 0.0", math.Sin, false},
		{"cos", "the cosine of x", "print(math.cos(0))  # 1.0", math.Cos, false},
		{"tan", "the tangent of x", "print(math.tan(0))  # 0.0", math.Tan, false},
		{"asin", "the angle whose sine is x", "print(math.asin(0))  # 0.0", math.Asin, false},
		{"acos", "the angle whose cosine is x", "print(math.acos(1))  # 0.0", math.Acos, false},
		{"atan", "the angle whose tangent is x", "print(math.atan(0))  # 0.0", math.Atan, false},
		{"sinh", "the hyperbolic sine of x", "print(math.sinh(0))  # 0.0", math.Sinh, true},
		{"cosh", "the hyperbolic cosine of x", "print(math.cosh(0))  # 1.0", math.Cosh, true},
		{"tanh", "the hyperbolic tangent of x", "print(math.tanh(0))  # 0.0", math.Tanh, false},
	} {
		entries = append(entries, &Entry{
			Name: f.name, Result: "float", Capabilities: pure,
			Doc: "Returns " + f.doc + ".", Params: []Param{numberParam("x", "int or float")}, Example: f.example,
			run: func(c *Call) (star.Value, error) {
				x, err := c.float("x")
				if err != nil {
					return nil, err
				}
				return c.answer(f.of(x), f.overflows, x)
			},
		})
	}
	return entries
}

func mathBinaryEntries() []*Entry {
	var entries []*Entry
	for _, f := range []struct {
		name, x, y, doc, example string
		of                       func(x, y float64) float64
		overflows                bool
	}{
		{"pow", "x", "y", "x to the power of y, a float", "print(math.pow(2, 10))  # 1024.0", math.Pow, true},
		{"fmod", "x", "y", "the remainder of x / y, with the sign of x", "print(math.fmod(-7, 3))  # -1.0", math.Mod, false},
		{"copysign", "x", "y", "x with the sign of y", "print(math.copysign(1, -0.0))  # -1.0", math.Copysign, false},
		{"atan2", "y", "x", "the angle of the point (x, y)", "print(math.atan2(0, 1))  # 0.0", math.Atan2, false},
		{"hypot", "x", "y", "the length of the vector (x, y)", "print(math.hypot(3, 4))  # 5.0", math.Hypot, true},
	} {
		entries = append(entries, &Entry{
			Name: f.name, Result: "float", Capabilities: pure,
			Doc: "Returns " + f.doc + ".", Params: []Param{numberParam(f.x, "int or float"), numberParam(f.y, "int or float")}, Example: f.example,
			run: func(c *Call) (star.Value, error) {
				x, err := c.float(f.x)
				if err != nil {
					return nil, err
				}
				y, err := c.float(f.y)
				if err != nil {
					return nil, err
				}
				if f.name == "pow" && x == 0 && y < 0 && !math.IsInf(y, 0) {
					return nil, c.mathFault("math domain error")
				}
				return c.answer(f.of(x, y), f.overflows, x, y)
			},
		})
	}
	return entries
}

func mathWholeEntry(name, doc, example string, of func(float64) float64) *Entry {
	return &Entry{
		Name: name, Result: "int", Capabilities: pure,
		Doc: "Returns " + doc + ".", Params: []Param{numberParam("x", "int or float")}, Example: example,
		run: func(c *Call) (star.Value, error) {
			f, isFloat := c.raw["x"].(star.Float)
			switch x := float64(f); {
			case !isFloat:
				return c.raw["x"], nil
			case math.IsNaN(x):
				return nil, c.mathFault("cannot convert float NaN to integer")
			case math.IsInf(x, 0):
				return nil, c.mathFault("cannot convert float infinity to integer")
			default:
				return star.NumberToInt(star.Float(of(x)))
			}
		},
	}
}

func mathTestEntry(name, doc, example string, holds func(float64) bool) *Entry {
	return &Entry{
		Name: name, Result: "bool", Capabilities: pure,
		Doc: "Reports whether " + doc + ".", Params: []Param{numberParam("x", "int or float")}, Example: example,
		run: func(c *Call) (star.Value, error) {
			x, err := c.float("x")
			return star.Bool(holds(x)), err
		},
	}
}

func mathIscloseEntry() *Entry {
	return &Entry{
		Name: "isclose", Result: "bool", Capabilities: pure,
		Doc: "Reports whether two numbers are about the same: by rel_tol of the larger one, or by abs_tol.",
		Params: []Param{
			numberParam("a", "one number"), numberParam("b", "the other"),
			{Name: "rel_tol", Kind: numberKind(), Default: star.Float(1e-9), KeywordOnly: true, Doc: "the difference as a part of the larger number"},
			{Name: "abs_tol", Kind: numberKind(), Default: star.Float(0), KeywordOnly: true, Doc: "the difference; it decides near zero"},
		},
		Example: "print(math.isclose(0.1 + 0.2, 0.3), math.isclose(0, 1e-12))  # True False",
		run: func(c *Call) (star.Value, error) {
			var n [4]float64
			for i, name := range []string{"a", "b", "rel_tol", "abs_tol"} {
				var err error
				if n[i], err = c.float(name); err != nil {
					return nil, err
				}
			}
			a, b, rel, abs := n[0], n[1], n[2], n[3]
			switch {
			case rel < 0 || abs < 0:
				return nil, c.mathFault("tolerances must be non-negative")
			case a == b:
				return star.True, nil
			case math.IsInf(a, 0) || math.IsInf(b, 0):
				return star.False, nil
			}
			diff := math.Abs(b - a)
			return star.Bool(diff <= math.Abs(rel*b) || diff <= math.Abs(rel*a) || diff <= abs), nil
		},
	}
}

func mathFsumEntry() *Entry {
	return &Entry{
		Name: "fsum", Result: "float", Capabilities: pure,
		Doc:     "Adds up numbers without losing digits on the way.",
		Params:  []Param{{Name: "seq", Kind: iterableKind(), Doc: "numbers"}},
		Example: "print(math.fsum([0.1] * 10), 0.1 + 0.1 + 0.1)  # 1.0 0.30000000000000004",
		run: func(c *Call) (star.Value, error) {
			// Wide enough for every sum of up to 2^60 floats to be exact.
			total, special := new(big.Float).SetPrec(2200), 0.0
			i := 0
			for v := range star.Elements(c.raw["seq"].(star.Iterable)) {
				if _, err := numberKind().take(c, v); err != nil {
					return nil, c.wrongValue(fmt.Sprintf("element %d", i), err)
				}
				x, _ := star.AsFloat(v)
				switch {
				case !math.IsNaN(x) && !math.IsInf(x, 0):
					total.Add(total, big.NewFloat(x))
				case math.IsInf(special, 0) && math.IsInf(x, 0) && special != x:
					return nil, c.mathFault("-inf + inf in fsum")
				default:
					special += x
				}
				i++
			}
			if special != 0 {
				return star.Float(special), nil
			}
			sum, _ := total.Float64()
			if math.IsInf(sum, 0) {
				return nil, c.mathFault("intermediate overflow in fsum")
			}
			return star.Float(sum), nil
		},
	}
}

func mathProdEntry() *Entry {
	return &Entry{
		Name: "prod", Result: "number", Capabilities: pure,
		Doc: "Multiplies numbers.",
		Params: []Param{
			{Name: "iterable", Kind: iterableKind(), Doc: "numbers"},
			{Name: "start", Kind: numberKind(), Default: star.MakeInt(1), KeywordOnly: true, Doc: "what they are multiplied with"},
		},
		Example: "print(math.prod([2, 3, 7]), math.prod([]))  # 42 1",
		run: func(c *Call) (star.Value, error) {
			product, i := c.raw["start"], 0
			for v := range star.Elements(c.raw["iterable"].(star.Iterable)) {
				if _, err := numberKind().take(c, v); err != nil {
					return nil, c.wrongValue(fmt.Sprintf("element %d", i), err)
				}
				var err error
				if product, err = star.Binary(syntax.STAR, product, v); err != nil {
					return nil, err
				}
				if n, ok := product.(star.Int); ok && n.BigInt().BitLen() > longestIntBits {
					return nil, c.mathFault("the product has too many digits")
				}
				i++
			}
			return product, nil
		},
	}
}

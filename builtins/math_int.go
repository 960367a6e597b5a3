package builtins

import (
	"fmt"
	"math"
	"math/big"

	star "go.starlark.net/starlark"
)

// longestIntBits is where functions that make large ints give up.
const longestIntBits = 1 << 20

// wholeKind is an int that is not negative and at most most, as int.
func wholeKind(most int) Kind { return intKind(0, most) }

func mathGcdEntry() *Entry {
	return &Entry{
		Name: "gcd", Result: "int", Capabilities: pure,
		Doc: "Returns the greatest common divisor of ints; 0 of none.", Args: "integers",
		Example: "print(math.gcd(12, 18), math.gcd())  # 6 0",
		run: func(c *Call) (star.Value, error) {
			divisor := new(big.Int)
			for i, v := range c.args {
				n, ok := v.(star.Int)
				if !ok {
					return nil, c.wrongValue(fmt.Sprintf("argument %d", i+1), want(v, "an int"))
				}
				divisor.GCD(nil, nil, divisor, new(big.Int).Abs(n.BigInt()))
			}
			return star.MakeBigInt(divisor), nil
		},
	}
}

func mathFactorialEntry() *Entry {
	return &Entry{
		Name: "factorial", Result: "int", Capabilities: pure,
		Doc: "Returns the product of the ints from 1 to n.", Params: []Param{{Name: "n", Kind: wholeKind(10000), Doc: "at most 10000"}},
		Example: "print(math.factorial(5))  # 120",
		run: func(c *Call) (star.Value, error) {
			return star.MakeBigInt(new(big.Int).MulRange(1, int64(arg[int](c, "n")))), nil
		},
	}
}

func mathCombEntry() *Entry {
	return &Entry{
		Name: "comb", Result: "int", Capabilities: pure,
		Doc:     "Returns in how many ways k things can be chosen out of n.",
		Params:  []Param{{Name: "n", Kind: wholeKind(10000), Doc: "at most 10000"}, {Name: "k", Kind: wholeKind(10000), Doc: "at most 10000"}},
		Example: "print(math.comb(5, 2))  # 10",
		run: func(c *Call) (star.Value, error) {
			return star.MakeBigInt(new(big.Int).Binomial(int64(arg[int](c, "n")), int64(arg[int](c, "k")))), nil
		},
	}
}

func mathLogEntry() *Entry {
	return &Entry{
		Name: "log", Result: "float", Capabilities: pure,
		Doc: "Returns the natural logarithm of x, or that to a base. For the bases 2 and 10, `math.log2` and `math.log10` are more precise.",
		Params: []Param{
			numberParam("x", "int or float above 0, however large"),
			{Name: "base", Kind: orNone(numberKind()), Default: star.None, Doc: "of the logarithm; None means e"},
		},
		Example: "print(math.log(math.e), math.log(8, 2), math.log(1000, 10))  # 1.0 3.0 2.9999999999999996",
		run: func(c *Call) (star.Value, error) {
			x, err := c.logarithm(c.raw["x"], math.Log)
			if err != nil || c.raw["base"] == star.None {
				return x, err
			}
			base, err := c.logarithm(c.raw["base"], math.Log)
			if err != nil {
				return nil, err
			}
			if base == 0 {
				return nil, c.mathFault("float division by zero")
			}
			return x / base, nil
		},
	}
}

// mathLogBaseEntry is log2 or log10.
func mathLogBaseEntry(name, example string, base int, log func(float64) float64) *Entry {
	return &Entry{
		Name: name, Result: "float", Capabilities: pure,
		Doc:     fmt.Sprintf("Returns the logarithm of x to base %d, exact for its powers.", base),
		Params:  []Param{numberParam("x", "int or float above 0, however large")},
		Example: example,
		run:     func(c *Call) (star.Value, error) { return c.logarithm(c.raw["x"], log) },
	}
}

// logarithm is that of a number, which may be an int beyond the floats.
func (c *Call) logarithm(v star.Value, log func(float64) float64) (star.Float, error) {
	x, _ := star.AsFloat(v)
	if n, isInt := v.(star.Int); isInt && math.IsInf(x, 1) {
		// n = m * 2**k
		k := n.BigInt().BitLen() - 60
		m, _ := new(big.Float).SetInt(new(big.Int).Rsh(n.BigInt(), uint(k))).Float64()
		return star.Float(log(m) + float64(k)*log(2)), nil
	}
	if x <= 0 {
		return 0, c.mathFault("math domain error")
	}
	return star.Float(log(x)), nil
}

// log10 is math.Log10, which misses powers of ten by a digit: of 1000 it makes 2.9999999999999996.
func log10(x float64) float64 {
	near := math.Round(math.Log10(x))
	if !math.IsInf(x, 0) && math.Pow10(int(near)) == x {
		return near
	}
	return math.Log10(x)
}

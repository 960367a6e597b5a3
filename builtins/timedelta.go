package builtins

import (
	"fmt"
	"math"
	"math/big"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

const (
	microsPerSecond = int64(1_000_000)
	microsPerDay    = 24 * 60 * 60 * microsPerSecond
)

// timedeltaUnits are the parameters of timedelta in Python's order, each with its microseconds.
var timedeltaUnits = []struct {
	name   string
	micros int64
}{
	{"days", microsPerDay},
	{"seconds", microsPerSecond},
	{"microseconds", 1},
	{"milliseconds", 1000},
	{"minutes", 60 * microsPerSecond},
	{"hours", 60 * 60 * microsPerSecond},
	{"weeks", 7 * microsPerDay},
}

func timedeltaEntry() *Entry {
	e := &Entry{
		Name: "timedelta", Result: "timedelta", Capabilities: pure,
		Doc: "Returns a length of time, the sum of its arguments, exact to a microsecond. It can be added to and subtracted from a datetime or another timedelta, " +
			"multiplied and divided, and compared.",
		Example: `print(timedelta(hours = 1, minutes = 30))  # 1:30:00
print(timedelta(days = 2, seconds = 5.5).total_seconds())  # 172805.5`,
		run: func(c *Call) (star.Value, error) {
			total := new(big.Rat)
			for _, unit := range timedeltaUnits {
				n, err := exact(c.raw[unit.name])
				if err != nil {
					return nil, c.wrongValue(unit.name, err)
				}
				total.Add(total, n.Mul(n, new(big.Rat).SetInt64(unit.micros)))
			}
			return c.lib.timedelta(c.name, total)
		},
	}
	for _, unit := range timedeltaUnits {
		e.Params = append(e.Params, Param{Name: unit.name, Kind: numberKind(), Default: star.MakeInt(0), Doc: "int or float, may be negative"})
	}
	return e
}

// exact is a number without loss.
func exact(v star.Value) (*big.Rat, error) {
	switch v := v.(type) {
	case star.Int:
		return new(big.Rat).SetInt(v.BigInt()), nil
	case star.Float:
		if r := new(big.Rat).SetFloat64(float64(v)); r != nil {
			return r, nil
		}
	}
	return nil, want(v, "a finite number")
}

// timedelta makes one of microseconds, rounded to whole ones, halves to the even neighbour.
func (l *Library) timedelta(op string, micros *big.Rat) (star.Value, error) {
	whole, err := roundHalfEven(micros)
	if err != nil {
		return nil, dataError(op, "a timedelta of more than 100 million days")
	}
	return l.timedeltaOf(whole), nil
}

func roundHalfEven(r *big.Rat) (int64, error) {
	// floor(r + 1/2), one less where r + 1/2 is whole and odd
	shifted := new(big.Rat).Add(r, big.NewRat(1, 2))
	floor := new(big.Int).Div(shifted.Num(), shifted.Denom())
	if shifted.IsInt() && floor.Bit(0) == 1 {
		floor.Sub(floor, big.NewInt(1))
	}
	if !floor.IsInt64() || floor.Int64() < -100_000_000*microsPerDay || floor.Int64() > 100_000_000*microsPerDay {
		return 0, fmt.Errorf("out of range")
	}
	return floor.Int64(), nil
}

func (l *Library) timedeltaOf(micros int64) *object { return l.make("timedelta", nil, micros) }

// floorDiv divides as Python does: the remainder is never negative.
func floorDiv(a, b int64) (quotient, remainder int64) {
	quotient, remainder = a/b, a%b
	if remainder < 0 {
		quotient, remainder = quotient-1, remainder+b
	}
	return quotient, remainder
}

func timedeltaType() *Type {
	part := func(of func(micros int64) int64) func(o *object) (star.Value, error) {
		return func(o *object) (star.Value, error) { return star.MakeInt64(of(o.data.(int64))), nil }
	}
	return &Type{
		Name: "timedelta", Doc: "A length of time, from `timedelta` or the difference of two datetimes. Its text is that of Python: `1 day, 2:03:04`.",
		Fields: []Field{
			{Name: "days", Kind: "int", Doc: "whole days, negative for a negative length", get: part(func(n int64) int64 { q, _ := floorDiv(n, microsPerDay); return q })},
			{Name: "seconds", Kind: "int", Doc: "of the rest, 0 to 86399", get: part(func(n int64) int64 { _, r := floorDiv(n, microsPerDay); return r / microsPerSecond })},
			{Name: "microseconds", Kind: "int", Doc: "of the rest, 0 to 999999", get: part(func(n int64) int64 { _, r := floorDiv(n, microsPerSecond); return r })},
		},
		Methods: []*Entry{{
			Name: "total_seconds", Result: "float", Capabilities: pure,
			Doc:     "Returns the length in seconds.",
			Example: "print(timedelta(minutes = 1, milliseconds = 500).total_seconds())  # 60.5",
			run: func(c *Call) (star.Value, error) {
				return star.Float(float64(c.recv.data.(int64)) / float64(microsPerSecond)), nil
			},
		}},
		show: func(o *object) string { return timedeltaText(o.data.(int64)) },
		compare: func(x, y *object) (int, error) {
			a, b := x.data.(int64), y.data.(int64)
			switch {
			case a < b:
				return -1, nil
			case a > b:
				return 1, nil
			}
			return 0, nil
		},
		hash:   func(o *object) (uint32, error) { return star.MakeInt64(o.data.(int64)).Hash() },
		binary: timedeltaBinary,
		unary: func(o *object, op syntax.Token) (star.Value, error) {
			switch op {
			case syntax.MINUS:
				return o.lib.timedelta("timedelta", big.NewRat(-o.data.(int64), 1))
			case syntax.PLUS:
				return o, nil
			}
			return nil, nil
		},
		truth: func(o *object) bool { return o.data.(int64) != 0 },
	}
}

func timedeltaText(micros int64) string {
	days, rest := floorDiv(micros, microsPerDay)
	seconds, micros := rest/microsPerSecond, rest%microsPerSecond
	text := fmt.Sprintf("%d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
	if micros != 0 {
		text += fmt.Sprintf(".%06d", micros)
	}
	switch days {
	case 0:
		return text
	case 1, -1:
		return fmt.Sprintf("%d day, %s", days, text)
	}
	return fmt.Sprintf("%d days, %s", days, text)
}

func timedeltaBinary(o *object, op syntax.Token, y star.Value, side star.Side) (star.Value, error) {
	const name = "timedelta"
	x := o.data.(int64)
	left := new(big.Rat).SetInt64(x)
	if other, ok := y.(*object); ok && other.typ.Name == name && side == star.Left {
		by := other.data.(int64)
		right := new(big.Rat).SetInt64(by)
		switch op {
		case syntax.PLUS:
			return o.lib.timedelta(name, left.Add(left, right))
		case syntax.MINUS:
			return o.lib.timedelta(name, left.Sub(left, right))
		case syntax.SLASH, syntax.SLASHSLASH, syntax.PERCENT:
			if by == 0 {
				return nil, dataError(name, "division by zero")
			}
			quotient := new(big.Rat).Quo(left, right)
			if op == syntax.SLASH {
				f, _ := quotient.Float64()
				return star.Float(f), nil
			}
			whole := new(big.Int).Div(quotient.Num(), quotient.Denom())
			if op == syntax.SLASHSLASH {
				return star.MakeBigInt(whole), nil
			}
			return o.lib.timedelta(name, left.Sub(left, right.Mul(right, new(big.Rat).SetInt(whole))))
		}
		return nil, nil
	}
	_, isInt := y.(star.Int)
	if _, isFloat := y.(star.Float); !isInt && !isFloat {
		return nil, nil
	}
	by, err := exact(y)
	if err != nil {
		return nil, dataError(name, err.Error())
	}
	switch {
	case op == syntax.STAR:
		return o.lib.timedelta(name, left.Mul(left, by))
	case side != star.Left, op != syntax.SLASH && (op != syntax.SLASHSLASH || !isInt):
		return nil, nil
	case by.Sign() == 0:
		return nil, dataError(name, "division by zero")
	}
	quotient := left.Quo(left, by)
	if op == syntax.SLASHSLASH {
		quotient.SetInt(new(big.Int).Div(quotient.Num(), quotient.Denom()))
	}
	return o.lib.timedelta(name, quotient)
}

// unixMicros is a number of seconds since 1970 in microseconds, rounded as Python does.
func unixMicros(v star.Value) (int64, error) {
	f, ok := number(v)
	if !ok || math.Abs(f) > 1e12 {
		return 0, want(v, "seconds since 1970")
	}
	r, err := exact(v)
	if err != nil {
		return 0, err
	}
	return roundHalfEven(r.Mul(r, new(big.Rat).SetInt64(microsPerSecond)))
}

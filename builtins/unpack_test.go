package builtins

import (
	"fmt"
	"math"
	"testing"
	"time"

	star "go.starlark.net/starlark"
)

func TestDurations(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		value star.Value
		want  time.Duration // 0: refused
	}{
		{star.MakeInt(90), 90 * time.Second},
		{star.Float(0.5), 500 * time.Millisecond},
		{star.String("90s"), 90 * time.Second},
		{star.String(" 2h "), 2 * time.Hour},
		{star.String("1h30m"), 90 * time.Minute},
		{star.String("2d"), 48 * time.Hour},
		{star.String("1d12h"), 36 * time.Hour},
		{star.String("soon"), 0},
		{star.String("90"), 0},
		{star.String(""), 0},
		{star.String("-1s"), 0},
		{star.String("99999999d"), 0},
		{star.String("99999999999999999999d"), 0},
		{star.MakeInt(0), 0},
		{star.MakeInt(-1), 0},
		{star.MakeUint64(math.MaxUint64), 0},
		{star.Float(math.NaN()), 0},
		{star.Float(math.Inf(1)), 0},
		{star.True, 0},
		{star.None, 0},
	} {
		got, err := durationKind().take(nil, test.value)
		if (err == nil) != (test.want != 0) || (err == nil && got != test.want) {
			t.Errorf("duration %s = %v, %v, want %v", test.value, got, err, test.want)
		}
	}
}

// FuzzUnpack binds arguments of all sorts to every entry and looks for panics.
func FuzzUnpack(f *testing.F) {
	f.Add(uint8(0), uint8(1), "type", "A100", int64(3), 1.5, uint8(0))
	f.Add(uint8(1), uint8(0), "timeout", "soon", int64(-1), math.Inf(1), uint8(3))
	lib := New(nil, Options{})
	var entries []*Entry
	lib.Walk(func(_ string, e *Entry) { entries = append(entries, e) })
	f.Fuzz(func(t *testing.T, which, positional uint8, name, text string, i int64, x float64, shape uint8) {
		e := entries[int(which)%len(entries)]
		dict := star.NewDict(1)
		if err := dict.SetKey(star.String(name), star.String(text)); err != nil {
			t.Fatal(err)
		}
		values := []star.Value{
			star.String(text), star.MakeInt64(i), star.Float(x), star.None, star.True, dict,
			star.NewList([]star.Value{star.String(text), star.MakeInt64(i)}),
			star.Tuple{star.String(text)},
			star.Bytes(text), &Secret{name: "X", value: text},
		}
		var args star.Tuple
		for n := range int(positional) % 4 {
			args = append(args, values[(int(shape)+n)%len(values)])
		}
		kwargs := []star.Tuple{{star.String(name), values[int(shape)%len(values)]}}
		for _, p := range e.Params {
			if p.Default == nil {
				kwargs = append(kwargs, star.Tuple{star.String(p.Name), values[(int(shape)+1)%len(values)]})
			}
		}
		c := &Call{lib: lib, entry: e}
		if err := c.unpack(args, kwargs); err == nil {
			for _, p := range e.Params {
				if _, known := c.values[p.Name]; !known {
					t.Errorf("%s: %s has no value", e.Name, p.Name)
				}
			}
		} else if _, ok := err.(*ArgError); !ok {
			t.Errorf("%s: %s", e.Name, fmt.Sprintf("%T %v, want an *ArgError", err, err))
		}
	})
}

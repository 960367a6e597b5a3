package builtins

import (
	"fmt"

	star "go.starlark.net/starlark"
)

func timezoneModule(l *Library) *Module {
	return &Module{
		Name: "timezone", Doc: "Python's `datetime.timezone`: offsets from UTC.",
		Constants: []Constant{{Name: "utc", Kind: "timezone", Doc: "UTC", Value: l.timezone(0)}},
		Call: &Entry{
			Name: "timezone", Result: "timezone", Capabilities: pure,
			Doc:     "Returns the zone that is ahead of UTC by an offset.",
			Params:  []Param{{Name: "offset", Kind: objectKind("timedelta", "timedelta"), Doc: "less than a day, may be negative"}},
			Example: "print(timezone(timedelta(hours = 2)))  # UTC+02:00",
			run: func(c *Call) (star.Value, error) {
				offset := arg[*object](c, "offset").data.(int64)
				if offset <= -microsPerDay || offset >= microsPerDay {
					return nil, dataError(c.name, "the offset must be strictly between -24 and 24 hours")
				}
				return c.lib.timezone(offset), nil
			},
		},
	}
}

// timezone makes the zone whose clocks are ahead of UTC by an offset in microseconds.
func (l *Library) timezone(offset int64) *object { return l.make("timezone", nil, offset) }

func timezoneType() *Type {
	return &Type{
		Name: "timezone", Doc: "An offset from UTC, for `datetime.now(timezone.utc)`.",
		show: func(o *object) string {
			if o.data.(int64) == 0 {
				return "UTC"
			}
			return "UTC" + offsetText(o.data.(int64), ":")
		},
		compare: func(x, y *object) (int, error) {
			if x.data != y.data {
				return 0, fmt.Errorf("timezones have no order")
			}
			return 0, nil
		},
		hash: func(o *object) (uint32, error) { return star.MakeInt64(o.data.(int64)).Hash() },
	}
}

// offsetText is an offset in microseconds as +02:00, with seconds and their fraction where it has some.
func offsetText(micros int64, colon string) string {
	sign := "+"
	if micros < 0 {
		sign, micros = "-", -micros
	}
	seconds, fraction := micros/microsPerSecond, micros%microsPerSecond
	text := fmt.Sprintf("%s%02d%s%02d", sign, seconds/3600, colon, seconds/60%60)
	if seconds%60 != 0 || fraction != 0 {
		text += fmt.Sprintf("%s%02d", colon, seconds%60)
	}
	if fraction != 0 {
		text += fmt.Sprintf(".%06d", fraction)
	}
	return text
}

package builtins

import (
	"fmt"
	"time"

	star "go.starlark.net/starlark"
)

// A moment is what a datetime has: what clocks show, to the microsecond, and where.
type moment struct {
	wall time.Time // in UTC, whatever the zone is
	zone *object   // timezone; nil: a naive one, of this machine's zone where it matters
}

// instant is the moment as a point in time. Naive ones are in the zone local.
func (m moment) instant(local *time.Location) time.Time {
	if m.zone != nil {
		return m.wall.Add(-time.Duration(m.zone.data.(int64)) * time.Microsecond)
	}
	w := m.wall
	return time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), w.Nanosecond(), local)
}

func datetimeModule() *Module {
	return &Module{
		Name: "datetime", Doc: "Python's `datetime.datetime`: points in time, with a zone or, as `datetime.now()` without one, as the clock on the wall shows.",
		Call: datetimeEntry(),
		Entries: []*Entry{
			datetimeNowEntry(),
			datetimeFromtimestampEntry(),
			datetimeFromisoformatEntry(),
			datetimeStrptimeEntry(),
		},
	}
}

// datetime makes a value of a moment, if Python could.
func (l *Library) datetime(op string, m moment) (star.Value, error) {
	if y := m.wall.Year(); y < 1 || y > 9999 {
		return nil, dataError(op, "date value out of range: the years are 1 to 9999")
	}
	return l.make("datetime", nil, m), nil
}

// localZone is this machine's.
func (l *Library) localZone() *time.Location { return l.opts.Clock.Now().Location() }

// in returns a point in time as a zone, or for nil this machine's clock, shows it.
func (l *Library) in(t time.Time, zone *object) moment {
	if zone == nil {
		return moment{wall: wall(t.In(l.localZone()))}
	}
	return moment{t.UTC().Add(time.Duration(zone.data.(int64)) * time.Microsecond).Truncate(time.Microsecond), zone}
}

func zoneParam(name, doc string) Param {
	return Param{Name: name, Kind: orNone(objectKind("timezone", "timezone.utc is, or timezone")), Default: star.None, Doc: doc}
}

// clockParts are the parts of a moment in the order in which datetime takes them.
var clockParts = []struct {
	name        string
	least, most int
	of          func(t time.Time) int
}{
	{"year", 1, 9999, time.Time.Year},
	{"month", 1, 12, func(t time.Time) int { return int(t.Month()) }},
	{"day", 1, 31, time.Time.Day},
	{"hour", 0, 23, time.Time.Hour},
	{"minute", 0, 59, time.Time.Minute},
	{"second", 0, 59, time.Time.Second},
	{"microsecond", 0, 999999, func(t time.Time) int { return t.Nanosecond() / 1000 }},
}

// wallOf makes a time of its parts, or says which of them is wrong.
func wallOf(parts [7]int) (time.Time, error) {
	for i, p := range clockParts {
		if n := parts[i]; n < p.least || n > p.most {
			return time.Time{}, fmt.Errorf("%s must be in %d..%d, got %d", p.name, p.least, p.most, n)
		}
	}
	t := time.Date(parts[0], time.Month(parts[1]), parts[2], parts[3], parts[4], parts[5], parts[6]*1000, time.UTC)
	if t.Day() != parts[2] {
		return time.Time{}, fmt.Errorf("day is out of range for month: %s has no day %d", t.AddDate(0, 0, -t.Day()).Month(), parts[2])
	}
	return t, nil
}

// wallArgs makes a time of the arguments with the names of clockParts; what is None is that of from.
func (c *Call) wallArgs(from time.Time) (time.Time, error) {
	var parts [7]int
	for i, p := range clockParts {
		parts[i] = p.of(from)
		if n, ok := c.values[p.name].(int); ok {
			parts[i] = n
		}
	}
	t, err := wallOf(parts)
	if err != nil {
		return t, dataError(c.name, err.Error())
	}
	return t, nil
}

func datetimeEntry() *Entry {
	e := &Entry{
		Name: "datetime", Result: "datetime", Capabilities: pure,
		Doc: "Returns a point in time of its parts.",
		Example: `print(datetime(2024, 5, 6, 7, 8))  # 2024-05-06 07:08:00
print(datetime(2024, 5, 6, tzinfo = timezone.utc).isoformat())  # 2024-05-06T00:00:00+00:00`,
		run: func(c *Call) (star.Value, error) {
			t, err := c.wallArgs(time.Time{})
			if err != nil {
				return nil, err
			}
			return c.lib.datetime(c.name, moment{t, arg[*object](c, "tzinfo")})
		},
	}
	for i, p := range clockParts {
		param := Param{Name: p.name, Kind: intKind(-1<<31, 1<<31-1), Doc: fmt.Sprintf("%d to %d", p.least, p.most)}
		if i >= 3 {
			param.Default = star.MakeInt(0)
		}
		e.Params = append(e.Params, param)
	}
	e.Params = append(e.Params, zoneParam("tzinfo", "the zone; None makes a naive one"))
	return e
}

func datetimeNowEntry() *Entry {
	return &Entry{
		Name: "now", Result: "datetime", Capabilities: pure,
		Doc:     "Returns the time now, in a zone or as this machine's clock on the wall shows it.",
		Params:  []Param{zoneParam("tz", "the zone, timezone.utc; None makes a naive one in local time")},
		Example: `print(len(datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")))  # 15`,
		run: func(c *Call) (star.Value, error) {
			return c.lib.datetime(c.name, c.lib.in(c.lib.opts.Clock.Now(), arg[*object](c, "tz")))
		},
	}
}

func datetimeFromtimestampEntry() *Entry {
	return &Entry{
		Name: "fromtimestamp", Result: "datetime", Capabilities: pure,
		Doc: "Returns the time of a number of seconds since 1970.",
		Params: []Param{
			{Name: "timestamp", Kind: numberKind(), Doc: "seconds, int or float"},
			zoneParam("tz", "the zone, timezone.utc; None makes a naive one in local time"),
		},
		Example: "print(datetime.fromtimestamp(0, timezone.utc))  # 1970-01-01 00:00:00+00:00",
		run: func(c *Call) (star.Value, error) {
			micros, err := unixMicros(c.raw["timestamp"])
			if err != nil {
				return nil, dataError(c.name, "timestamp: "+err.Error())
			}
			return c.lib.datetime(c.name, c.lib.in(time.UnixMicro(micros), arg[*object](c, "tz")))
		},
	}
}

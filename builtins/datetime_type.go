package builtins

import (
	"fmt"
	"time"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

func datetimeType() *Type {
	t := &Type{
		Name: "datetime",
		Doc: "A point in time. Two of them can be compared and subtracted, which gives a timedelta; a timedelta can be added and subtracted. " +
			"Its text is that of Python: `2024-05-06 07:08:09+00:00`.",
		Methods: []*Entry{
			datetimeStrftimeEntry(),
			datetimeIsoformatEntry(),
			datetimeTimestampEntry(),
			datetimeAstimezoneEntry(),
			datetimeReplaceEntry(),
			datetimeWeekdayEntry("weekday", "Monday is 0", 0),
			datetimeWeekdayEntry("isoweekday", "Monday is 1", 1),
		},
		show: func(o *object) string { return o.data.(moment).iso(" ", "auto") },
		compare: func(x, y *object) (int, error) {
			a, b := x.data.(moment), y.data.(moment)
			if (a.zone == nil) != (b.zone == nil) {
				return 0, dataError("datetime", "can't compare offset-naive and offset-aware datetimes: give both a zone, datetime.now(timezone.utc)")
			}
			return a.instant(time.UTC).Compare(b.instant(time.UTC)), nil
		},
		hash: func(o *object) (uint32, error) {
			return star.MakeInt64(o.data.(moment).instant(time.UTC).UnixMicro()).Hash()
		},
		binary: datetimeBinary,
	}
	for _, p := range clockParts {
		t.Fields = append(t.Fields, Field{
			Name: p.name, Kind: "int", Doc: fmt.Sprintf("%d to %d", p.least, p.most),
			get: func(o *object) (star.Value, error) { return star.MakeInt(p.of(o.data.(moment).wall)), nil },
		})
	}
	t.Fields = append(t.Fields, Field{
		Name: "tzinfo", Kind: "timezone or None", Doc: "the zone; None for a naive one",
		get: func(o *object) (star.Value, error) {
			if zone := o.data.(moment).zone; zone != nil {
				return zone, nil
			}
			return star.None, nil
		},
	})
	return t
}

func datetimeBinary(o *object, op syntax.Token, y star.Value, side star.Side) (star.Value, error) {
	const name = "datetime"
	m := o.data.(moment)
	other, ok := y.(*object)
	switch {
	case !ok:
		return nil, nil
	case other.typ.Name == "timedelta" && (op == syntax.PLUS || op == syntax.MINUS && side == star.Left):
		micros := other.data.(int64)
		if op == syntax.MINUS {
			micros = -micros
		}
		// In two steps, for a time.Duration ends after 292 years.
		days, rest := floorDiv(micros, microsPerDay)
		if days < -4_000_000 || days > 4_000_000 {
			days = 4_000_000 // past the year 9999
		}
		return o.lib.datetime(name, moment{m.wall.AddDate(0, 0, int(days)).Add(time.Duration(rest) * time.Microsecond), m.zone})
	case other.typ.Name == name && op == syntax.MINUS && side == star.Left:
		n := other.data.(moment)
		if (m.zone == nil) != (n.zone == nil) {
			return nil, dataError(name, "can't subtract offset-naive and offset-aware datetimes: give both a zone, datetime.now(timezone.utc)")
		}
		return o.lib.timedeltaOf(m.instant(time.UTC).UnixMicro() - n.instant(time.UTC).UnixMicro()), nil
	}
	return nil, nil
}

// iso is the text that isoformat returns.
func (m moment) iso(sep, timespec string) string {
	w := m.wall
	layout := "15:04:05"
	switch {
	case timespec == "hours":
		layout = "15"
	case timespec == "minutes":
		layout = "15:04"
	case timespec == "milliseconds":
		layout = "15:04:05.000"
	case timespec == "microseconds", timespec == "auto" && w.Nanosecond() != 0:
		layout = "15:04:05.000000"
	}
	text := fmt.Sprintf("%04d-%s%s%s", w.Year(), w.Format("01-02"), sep, w.Format(layout))
	if m.zone != nil {
		text += offsetText(m.zone.data.(int64), ":")
	}
	return text
}

func datetimeStrftimeEntry() *Entry {
	return &Entry{
		Name: "strftime", Result: "str", Capabilities: pure,
		Doc:     "Returns the time as text, in English. Directives that Python does not have on every machine are refused.",
		Params:  []Param{formatParam()},
		Example: `print(datetime(2024, 5, 6, 7, 8, 9).strftime("%Y%m%d-%H%M%S, %A"))  # 20240506-070809, Monday`,
		run: func(c *Call) (star.Value, error) {
			m := c.recv.data.(moment)
			t := wallTime{Time: m.wall}
			if m.zone != nil {
				t.zone, t.offset = m.zone.String(), offsetText(m.zone.data.(int64), "")
			}
			text, err := t.strftime(arg[string](c, "format"))
			if err != nil {
				return nil, c.wrongValue("format", err)
			}
			return star.String(text), nil
		},
	}
}

func datetimeIsoformatEntry() *Entry {
	return &Entry{
		Name: "isoformat", Result: "str", Capabilities: pure,
		Doc: "Returns the time in the format of ISO 8601.",
		Params: []Param{
			{Name: "sep", Kind: messageKind(), Default: star.String("T"), Doc: "between date and time"},
			{Name: "timespec", Kind: oneOf("auto", "hours", "minutes", "seconds", "milliseconds", "microseconds"), Default: star.String("auto"), Doc: "how exact; auto shows microseconds where there are some"},
		},
		Example: `print(datetime(2024, 5, 6, 7, 8, 9).isoformat())  # 2024-05-06T07:08:09`,
		run: func(c *Call) (star.Value, error) {
			return star.String(c.recv.data.(moment).iso(arg[string](c, "sep"), arg[string](c, "timespec"))), nil
		},
	}
}

func datetimeTimestampEntry() *Entry {
	return &Entry{
		Name: "timestamp", Result: "float", Capabilities: pure,
		Doc:     "Returns the seconds since 1970. A naive time counts as local.",
		Example: "print(datetime(1970, 1, 2, tzinfo = timezone.utc).timestamp())  # 86400.0",
		run: func(c *Call) (star.Value, error) {
			return star.Float(float64(c.recv.data.(moment).instant(c.lib.localZone()).UnixMicro()) / float64(microsPerSecond)), nil
		},
	}
}

func datetimeAstimezoneEntry() *Entry {
	return &Entry{
		Name: "astimezone", Result: "datetime", Capabilities: pure,
		Doc:     "Returns the same point in time as clocks in another zone show it. A naive time counts as local.",
		Params:  []Param{zoneParam("tz", "the zone; None means this machine's")},
		Example: `print(datetime(2024, 5, 6, tzinfo = timezone.utc).astimezone(timezone(timedelta(hours = 2))))  # 2024-05-06 02:00:00+02:00`,
		run: func(c *Call) (star.Value, error) {
			local := c.lib.localZone()
			t, zone := c.recv.data.(moment).instant(local), arg[*object](c, "tz")
			if zone == nil {
				_, offset := t.In(local).Zone()
				zone = c.lib.timezone(int64(offset) * microsPerSecond)
			}
			return c.lib.datetime(c.name, c.lib.in(t, zone))
		},
	}
}

func datetimeReplaceEntry() *Entry {
	e := &Entry{
		Name: "replace", Result: "datetime", Capabilities: pure,
		Doc:     "Returns a copy with other parts.",
		Example: "print(datetime(2024, 5, 6, 7, 8, 9).replace(hour = 0, minute = 0, second = 0))  # 2024-05-06 00:00:00",
		run: func(c *Call) (star.Value, error) {
			m := c.recv.data.(moment)
			t, err := c.wallArgs(m.wall)
			if err != nil {
				return nil, err
			}
			if c.given["tzinfo"] {
				m.zone = arg[*object](c, "tzinfo")
			}
			return c.lib.datetime(c.name, moment{t, m.zone})
		},
	}
	for _, p := range clockParts {
		e.Params = append(e.Params, Param{Name: p.name, Kind: orNone(intKind(-1<<31, 1<<31-1)), Default: star.None, Doc: "as it is where it is None"})
	}
	e.Params = append(e.Params, zoneParam("tzinfo", "as it is where it is not given; None makes a naive time"))
	return e
}

func datetimeWeekdayEntry(name, doc string, monday int) *Entry {
	return &Entry{
		Name: name, Result: "int", Capabilities: pure,
		Doc:     "Returns the day of the week: " + doc + ".",
		Example: fmt.Sprintf("print(datetime(2024, 5, 6).%s())  # %d", name, monday),
		run: func(c *Call) (star.Value, error) {
			return star.MakeInt((int(c.recv.data.(moment).wall.Weekday())+6)%7 + monday), nil
		},
	}
}

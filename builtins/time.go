package builtins

import (
	"fmt"
	"time"

	star "go.starlark.net/starlark"
)

func timeModule() *Module {
	return &Module{
		Name: "time", Doc: "Python's clock and pause.",
		Entries: []*Entry{
			timeTimeEntry(),
			timeSleepEntry(),
			monotonicEntry("monotonic"),
			monotonicEntry("perf_counter"),
			timeStrftimeEntry(),
		},
	}
}

func timeTimeEntry() *Entry {
	return &Entry{
		Name: "time", Result: "float", Capabilities: pure,
		Doc:     "Returns the seconds since 1970.",
		Example: "print(time.time() > 1.7e9)  # True",
		run: func(c *Call) (star.Value, error) {
			return star.Float(float64(c.lib.opts.Clock.Now().UnixMicro()) / float64(microsPerSecond)), nil
		},
	}
}

func timeSleepEntry() *Entry {
	return &Entry{
		Name: "sleep", Result: "None", Effect: true, Capabilities: pure,
		Doc:     "Waits. The end of the run ends the wait.",
		Params:  []Param{{Name: "secs", Kind: sleepKind(), Doc: "seconds, int or float"}},
		Example: "time.sleep(0.001)",
		run: func(c *Call) (star.Value, error) {
			return star.None, c.lib.opts.Clock.Sleep(c.context(), arg[time.Duration](c, "secs"))
		},
	}
}

// sleepKind is a number of seconds from 0 on, as time.Duration.
func sleepKind() Kind {
	const longest = 10 * 365 * 24 * 60 * 60 // seconds
	return Kind{"number", func(_ *Call, v star.Value) (any, error) {
		f, ok := number(v)
		if !ok || f < 0 || f > longest {
			return nil, want(v, "seconds from 0 to 10 years")
		}
		return time.Duration(f * float64(time.Second)), nil
	}}
}

func monotonicEntry(name string) *Entry {
	return &Entry{
		Name: name, Result: "float", Capabilities: pure,
		Doc:     "Returns seconds of a clock that never goes back. Only the difference of two calls means something.",
		Example: fmt.Sprintf("start = time.%s()\nprint(time.%s() - start >= 0)  # True", name, name),
		run: func(c *Call) (star.Value, error) {
			return star.Float(c.lib.opts.Clock.Now().Sub(c.lib.started).Seconds()), nil
		},
	}
}

func timeStrftimeEntry() *Entry {
	return &Entry{
		Name: "strftime", Result: "str", Capabilities: pure,
		Doc:     "Returns the local time now as text. Another time, or another zone: `datetime.now(timezone.utc).strftime`.",
		Params:  []Param{formatParam()},
		Example: `print(len(time.strftime("%Y%m%d-%H%M%S")))  # 15`,
		run: func(c *Call) (star.Value, error) {
			now := c.lib.opts.Clock.Now()
			zone, seconds := now.Zone()
			t := wallTime{wall(now), zone, offsetText(int64(seconds)*microsPerSecond, "")}
			text, err := t.strftime(arg[string](c, "format"))
			if err != nil {
				return nil, c.wrongValue("format", err)
			}
			return star.String(text), nil
		},
	}
}

// wall is what a clock in the time's zone shows, as if it were in UTC, to the microsecond.
func wall(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second).Truncate(time.Microsecond)
}

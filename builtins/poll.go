package builtins

import (
	"fmt"
	"time"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine/fault"
)

func pollEntry() *Entry {
	return &Entry{
		Name: "poll", Result: "any", Effect: true, Capabilities: pure,
		Doc:     `Calls fn again and again and returns the first value that is true. When the timeout has passed it is an error of kind "timeout".`,
		Example: `poll(lambda: node.exec("curl -sf localhost:8000/health").ok, every = 5, timeout = "10m")`,
		Params: []Param{
			{Name: "fn", Kind: functionKind(""), Doc: "what to call"},
			{Name: "every", Kind: durationKind(), KeywordOnly: true, Doc: "pause between two calls"},
			{Name: "timeout", Kind: durationKind(), KeywordOnly: true, Doc: "how long to try; fn is called at least once"},
		},
		run: func(c *Call) (star.Value, error) {
			every, timeout := arg[time.Duration](c, "every"), arg[time.Duration](c, "timeout")
			clock := c.lib.opts.Clock
			deadline := clock.Now().Add(timeout)
			for {
				v, err := c.thread.Call(c.raw["fn"], nil, nil)
				if err != nil || bool(v.Truth()) {
					return v, err
				}
				pause := min(every, deadline.Sub(clock.Now()))
				if pause <= 0 {
					return nil, &fault.Error{
						Kind: fault.Timeout, Op: "poll", Target: arg[star.Callable](c, "fn").Name(),
						Err: fmt.Errorf("nothing true after %s", timeout), Hint: "raise timeout",
					}
				}
				if err := clock.Sleep(c.context(), pause); err != nil {
					return nil, err
				}
			}
		},
	}
}

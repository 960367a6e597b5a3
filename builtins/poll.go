package builtins

import (
	"context"
	"fmt"
	"time"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine/fault"
)

func pollEntry() *Entry {
	return &Entry{
		Name: "poll", Result: "any", Effect: true, Capabilities: pure,
		Doc: `Calls fn again and again and returns the first value that is true. When the timeout has passed it is an error of kind "timeout".`,
		Params: []Param{
			{Name: "fn", Kind: functionKind(""), Doc: "what to call"},
			{Name: "every", Kind: durationKind(), KeywordOnly: true, Doc: "pause between two calls"},
			{Name: "timeout", Kind: durationKind(), KeywordOnly: true, Doc: "how long to try; fn is called at least once"},
		},
		run: func(c *Call) (star.Value, error) {
			every, timeout := arg[time.Duration](c, "every"), arg[time.Duration](c, "timeout")
			deadline := time.Now().Add(timeout)
			for {
				v, err := c.thread.Call(c.raw["fn"], nil, nil)
				if err != nil || bool(v.Truth()) {
					return v, err
				}
				pause := min(every, time.Until(deadline))
				if pause <= 0 {
					return nil, &fault.Error{
						Kind: fault.Timeout, Op: "poll", Target: arg[star.Callable](c, "fn").Name(),
						Err: fmt.Errorf("nothing true after %s", timeout), Hint: "raise timeout",
					}
				}
				if err := sleep(c.context(), pause); err != nil {
					return nil, err
				}
			}
		},
	}
}

// sleep returns early with the context's cause.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

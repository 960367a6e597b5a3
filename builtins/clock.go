package builtins

import (
	"context"
	"time"
)

// A Clock tells the time and lets it pass. It must be safe for concurrent use.
type Clock interface {
	Now() time.Time
	// Sleep returns after d, or with the context's cause when ctx ends first.
	Sleep(ctx context.Context, d time.Duration) error
}

// A realClock is this machine's.
type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

func (realClock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

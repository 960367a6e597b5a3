package fake

import (
	"context"
	"sync"
	"time"
)

// start is what the clock of every test shows first.
var start = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// A clock stands still until somebody waits, and then goes on at once.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	alarm *alarm // nil: none
}

// An alarm goes off when the clock comes to its time.
type alarm struct {
	at   time.Time
	ring func()
}

// Now implements builtins.Clock.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Sleep implements builtins.Clock.
func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	return c.until(ctx, c.Now().Add(d))
}

// until moves the clock to t, or to the alarm that ends ctx before. It never goes back.
func (c *clock) until(ctx context.Context, t time.Time) error {
	if err := ended(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	if a := c.alarm; a != nil && !a.at.After(t) {
		c.alarm = nil
		if a.at.After(c.now) {
			c.now = a.at
		}
		c.mu.Unlock()
		a.ring()
		if err := ended(ctx); err != nil {
			return err
		}
		c.mu.Lock()
	}
	if t.After(c.now) {
		c.now = t
	}
	c.mu.Unlock()
	return nil
}

// set sets the alarm; nil takes it back. It reports whether the one before had not gone off.
func (c *clock) set(a *alarm) (pending bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pending = c.alarm != nil
	c.alarm = a
	return pending
}

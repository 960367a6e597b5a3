package transfer

import (
	"context"
	"time"
)

// A retry says how a transfer behaves when the connection breaks.
type retry struct {
	first, max time.Duration // pause before the first attempt, and the longest one
	patience   time.Duration // how long to go on without any progress
}

func defaultRetry() retry {
	return retry{first: 250 * time.Millisecond, max: 8 * time.Second, patience: 2 * time.Minute}
}

// A backoff keeps account of the attempts of one transfer.
type backoff struct {
	retry
	pause time.Duration
	since time.Time // the loss after which there was no progress; zero while connected
	lost  bool
}

func newBackoff(r retry) *backoff { return &backoff{retry: r, pause: r.first} }

// progress says that the last attempt brought something, so that patience starts anew.
func (b *backoff) progress() { b.pause, b.since = b.first, time.Time{} }

// lose notes that the connection broke, and says whether that is news.
func (b *backoff) lose() bool {
	news := !b.lost
	b.lost = true
	if b.since.IsZero() {
		b.since = time.Now()
	}
	return news
}

// reconnected notes that the node answers, and says whether that is news.
func (b *backoff) reconnected() bool {
	news := b.lost
	b.lost = false
	return news
}

// wait pauses before the next attempt; false means that there is none.
func (b *backoff) wait(ctx context.Context) bool {
	if time.Since(b.since)+b.pause > b.patience {
		return false
	}
	if !sleep(ctx, b.pause) {
		return false
	}
	b.pause = min(2*b.pause, b.max)
	return true
}

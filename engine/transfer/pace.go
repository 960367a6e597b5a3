package transfer

import (
	"context"
	"time"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A pace holds back what a fresh connection is given to send: TCP begins with ten segments, doubles that with
// each round trip, and the buffers before it take more at once, for which the others would have to wait in the
// end.
type pace struct {
	trip    time.Duration // 0: there is no need
	allowed int64         // bytes to be given
	next    time.Time     // when that doubles
}

const (
	paceFirst = 64 << 10 // bytes; the first two round trips carry 44 kB
	paceMost  = 2 << 20  // bytes, the window of a channel
)

func (w width) pace(ctx context.Context, runner ssh.Runner) *pace {
	p := &pace{}
	if far, ok := runner.(distant); ok {
		p.trip, _ = far.RoundTrip(ctx)
	}
	return p
}

// wait returns when out may be given more.
func (p *pace) wait(ctx context.Context, out *packer) error {
	if p.trip == 0 {
		return nil
	}
	if p.allowed == 0 {
		p.allowed, p.next = paceFirst, time.Now().Add(p.trip)
	}
	for out.given >= p.allowed && p.allowed < paceMost {
		if err := out.flush(); err != nil {
			return err
		}
		if !sleep(ctx, time.Until(p.next)) {
			return context.Cause(ctx)
		}
		p.allowed *= 2
		p.next = p.next.Add(p.trip)
	}
	return nil
}

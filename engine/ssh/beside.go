package ssh

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// Beside returns a client with connections of its own to the same node. The window of a channel bounds
// what one connection carries over a long distance, so large transfers use several. It is for a node
// that c has reached: it takes only the host key that c has seen, asks nobody, tries once and reports
// nothing, so that whoever can do without it goes on with c. Like c it connects at the first use; its
// Close must be called.
func (c *Client) Beside() (*Client, error) {
	key := c.HostKeySeen()
	if key == "" {
		return nil, &fault.Error{Kind: fault.Unreachable, Op: "connect once more to", Target: c.cfg.Target.String(), Err: errors.New("there is no first connection yet")}
	}
	cfg := c.cfg
	cfg.HostKey, cfg.Confirm, cfg.Patience, cfg.Report = key, nil, 0, nil
	b, err := Open(cfg)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(b.accepted, c.accepted) // those of jump hosts
	b.limit = c.limit
	return b, nil
}

// windowTrip is the round trip from which on the window of a connection is the limit, and not the processor: of
// 2 MiB in each, a connection carries less than a processor compresses.
const windowTrip = 15 * time.Millisecond

// IsFar says whether a node is at a distance from which on compressing pays, where the Runner can tell, as
// *Client can. The handshake of an open connection has told, so it takes no time; it connects if there is none.
func IsFar(ctx context.Context, node Runner) (bool, error) {
	r, ok := node.(interface {
		RoundTrip(ctx context.Context) (time.Duration, error)
	})
	if !ok {
		return false, nil
	}
	trip, err := r.RoundTrip(ctx)
	return err == nil && trip >= windowTrip, err
}

// RoundTrip returns how long the node took to answer during the handshake of a connection that is open.
func (c *Client) RoundTrip(ctx context.Context) (time.Duration, error) {
	if err := c.begin(); err != nil {
		return 0, err
	}
	defer c.wg.Done()
	n, err := c.anyConn(ctx)
	if err != nil {
		return 0, err
	}
	return n.trip, nil
}

// anyConn returns a living connection, full or not. It dials if there is none.
func (c *Client) anyConn(ctx context.Context) (*conn, error) {
	for {
		c.mu.Lock()
		c.conns = slices.DeleteFunc(c.conns, (*conn).isDead)
		if len(c.conns) > 0 {
			defer c.mu.Unlock()
			return c.conns[0], nil
		}
		d := c.dialing
		c.mu.Unlock()
		if d == nil {
			n, err := c.reserve(ctx)
			if err == nil {
				c.release(n)
			}
			return n, err
		}
		select {
		case <-d.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if d.err != nil {
			return nil, d.err
		}
	}
}

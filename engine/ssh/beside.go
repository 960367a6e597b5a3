package ssh

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// Beside returns a client with connections of its own to the same node. The window of a channel bounds
// what one connection carries over a long distance, so large transfers use several. It takes only the host key
// that c takes, asks nobody, tries once and reports nothing, so that whoever can do without it goes on with c.
// It is for a node that has answered c at least once. While c still logs in, it goes as far as it can without offering
// a key, so that one which is refused is refused once. Like c it connects at the first use; its Close must be called.
//
// There is none where a person confirms each login, with a touch of a key for example.
func (c *Client) Beside() (*Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.answered.happened():
		return nil, c.besideError(errors.New("there is no first connection yet"))
	case c.confirmed:
		return nil, c.besideError(errConfirmed)
	}
	cfg := c.cfg
	cfg.Confirm, cfg.Patience, cfg.Report = nil, 0, nil
	b, err := Open(cfg)
	if err != nil {
		return nil, err
	}
	b.first, b.limit = c, c.limit
	maps.Copy(b.accepted, c.accepted)
	return b, nil
}

var errConfirmed = errors.New("a person confirms each login")

func (c *Client) besideError(err error) error {
	return &fault.Error{Kind: fault.Unreachable, Op: "connect once more to", Target: c.cfg.Target.String(), Err: err}
}

// meets is told the accepted host key of the node during a handshake. Beside another client it must be the one that
// was shown there.
func (c *Client) meets(ctx context.Context, h *hop, key gossh.PublicKey) error {
	if c.first == nil {
		c.mu.Lock()
		c.shown = key
		c.mu.Unlock()
		c.met.happen()
		return nil
	}
	select {
	case <-c.first.met.done:
	case <-c.first.settled.done: // both may have happened
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c.first.mu.Lock()
	want := c.first.shown
	c.first.mu.Unlock()
	switch {
	case want == nil:
		return c.besideError(errFirstFailed)
	case !bytes.Equal(key.Marshal(), want.Marshal()):
		return c.notPinned(h, key, want)
	}
	return nil
}

var errFirstFailed = errors.New("the first connection failed")

// mayLogIn waits, beside another client, until that has logged in.
func (c *Client) mayLogIn(ctx context.Context) error {
	if c.first == nil {
		return nil
	}
	select {
	case <-c.first.settled.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c.first.mu.Lock()
	defer c.first.mu.Unlock()
	switch {
	case !c.first.reached:
		return c.besideError(errFirstFailed)
	case c.first.confirmed:
		return c.besideError(errConfirmed)
	}
	return nil
}

// FirstAnswer waits until the node has said its first word to c, and returns how long that took: about a round trip, and
// what the node needs to start a server. It is 0 when c has logged in. It does not connect.
func (c *Client) FirstAnswer(ctx context.Context) (time.Duration, error) {
	select {
	case <-c.answered.done:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-c.ctx.Done():
		return 0, errClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reached {
		return 0, nil
	}
	return c.firstAnswer, nil
}

// An event happens once.
type event struct {
	done   chan struct{} // closed when it has happened
	happen func()
}

func newEvent() event {
	done := make(chan struct{})
	return event{done, sync.OnceFunc(func() { close(done) })}
}

func (e event) happened() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
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

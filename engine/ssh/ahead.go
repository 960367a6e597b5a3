package ssh

import (
	"slices"
	"time"
)

// farTrip is the round trip from which on shells are opened ahead: below it, one that is opened when it is
// needed costs less than those that nobody comes to need.
const farTrip = 20 * time.Millisecond

// shellsAhead is how many wait. A command that follows another at once finds one that is ready: the
// next one takes two round trips, which two commands take as well.
const shellsAhead = 2

// A shell is a session that was opened before there is a command for it: a shell on the node that
// reads from its stdin what to run. Without it a command costs a round trip for its channel, and one
// more where it does not fit into the request, because OpenSSH gives a channel no window before.
type shell struct {
	ch  *channel
	enc encoded
}

// ended reports whether nobody reads any more.
func (s *shell) ended() bool {
	select {
	case <-s.ch.closed:
		return true
	default:
		return len(s.ch.exits) > 0
	}
}

// takeShell returns a shell for cmd, which is in its encoding, or nil. What is written to a shell on a
// connection that turns out to be broken may have been run or not, whereas opening a channel tells
// before anything is sent: so the connection must have shown a sign of life a moment ago.
func (c *Client) takeShell(cmd Command) (*conn, *shell) {
	if cmd.Pty != nil {
		return nil, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.conns {
		n.ahead = slices.DeleteFunc(n.ahead, (*shell).ended)
		if len(n.ahead) == 0 || n.isDead() || n.wire.quiet() >= c.keepalive.Interval {
			continue
		}
		s := n.ahead[0]
		n.ahead = slices.Delete(n.ahead, 0, 1)
		s.enc = s.enc.read(cmd)
		return n, s
	}
	return nil, nil
}

// openAhead has shells opened on the client's first connection, up to what is to wait there. The caller
// is counted by begin.
func (c *Client) openAhead(n *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.trip < c.far || n.alone || len(c.conns) == 0 || c.conns[0] != n {
		return
	}
	n.ahead = slices.DeleteFunc(n.ahead, (*shell).ended)
	for len(n.ahead)+n.soon < shellsAhead && (n.limit == 0 || n.inUse < n.limit) {
		n.inUse++
		n.soon++
		c.wg.Go(func() { c.openShell(n) })
	}
}

func (c *Client) openShell(n *conn) {
	raw, reqs, err := n.open(c.ctx, "session", nil)
	if err != nil {
		c.mu.Lock()
		n.soon--
		n.alone = true
		c.mu.Unlock()
		c.release(n)
		return
	}
	c.opened(n)
	s := &shell{ch: n.listen(raw, reqs, func() { c.closed(n) }), enc: encodeShell()}
	err = s.ch.exec(s.enc.exec)
	c.mu.Lock()
	defer c.mu.Unlock()
	n.soon--
	if err == nil {
		n.ahead = append(n.ahead, s)
	}
}

// A stopwatch knows the shortest time between two splits.
type stopwatch struct {
	last     time.Time
	shortest time.Duration
}

func (w *stopwatch) split() {
	now := time.Now()
	if d := now.Sub(w.last); !w.last.IsZero() && (w.shortest == 0 || d < w.shortest) {
		w.shortest = d
	}
	w.last = now
}

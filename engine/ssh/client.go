package ssh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// A Client is the way to one node: a kept connection on which all commands run at the same time. It
// is dialled at the first use, dialled again when it is dead and nothing was sent on it, and joined
// by further connections only when the server takes no more sessions on it. It is safe for
// concurrent use and implements Runner.
type Client struct {
	cfg            Config
	home           string
	keepalive      keepalive
	handshakeLimit time.Duration
	far            time.Duration // the round trip from which on shells are opened ahead
	first          *Client       // that this one is beside; nil for most

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // everything that runs
	enders sync.WaitGroup // what ends remote processes

	// How connecting for the first time goes, for who is beside.
	answered event // the node has said its first word
	met      event // its host key was accepted
	settled  event // it has ended, well or not

	mu          sync.Mutex
	shut        bool    // by Close
	reached     bool    // at least once
	limit       int     // most sessions on a connection, as the server's refusals taught; 0 is unknown
	conns       []*conn // the first one is kept, the others only while they are needed
	dialing     *dialing
	firstAnswer time.Duration              // how long the node took to answer for the first time
	shown       gossh.PublicKey            // the accepted host key of the newest handshake, before its login
	seen        gossh.PublicKey            // the node's host key
	confirmed   bool                       // a person did so with a login
	accepted    map[string]gossh.PublicKey // by known_hosts name, in this process
	warned      map[string]bool
}

// A dialing is an attempt that several commands wait for.
type dialing struct {
	done chan struct{}
	err  error // set before done is closed
}

// extraIdle is how long a connection beyond the first one is kept without a session.
const extraIdle = 20 * time.Second

// Open returns a client for the node. It does no I/O: connecting begins with the first command, or
// with Connect. Close must be called.
func Open(cfg Config) (*Client, error) {
	if cfg.Target.Host == "" {
		return nil, &fault.Error{Kind: fault.Invalid, Op: "connect", Err: errors.New("there is no host")}
	}
	home, err := homeDir(cfg.Home)
	if err != nil {
		return nil, &fault.Error{Kind: fault.Invalid, Op: "find the home folder", Err: err, Hint: "set HOME"}
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Client{
		cfg: cfg, home: home, ctx: ctx, cancel: cancel,
		// Silence of 5 s is asked about; the peer is dead after 15 s.
		keepalive:      keepalive{Interval: 5 * time.Second, Limit: 15 * time.Second},
		handshakeLimit: handshakeLimit,
		far:            farTrip,
		answered:       newEvent(),
		met:            newEvent(),
		settled:        newEvent(),
		accepted:       map[string]gossh.PublicKey{},
		warned:         map[string]bool{},
	}, nil
}

// Target returns the target that the client was opened with.
func (c *Client) Target() Target { return c.cfg.Target }

// HostKeySeen returns the node's host key in the form of authorized_keys, or "" before the first
// connection.
func (c *Client) HostKeySeen() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		return ""
	}
	return strings.TrimSpace(string(gossh.MarshalAuthorizedKey(c.seen)))
}

// Connect dials if there is no living connection.
func (c *Client) Connect(ctx context.Context) error {
	if err := c.begin(); err != nil {
		return err
	}
	defer c.wg.Done()
	n, err := c.reserve(ctx)
	if err != nil {
		return err
	}
	c.release(n)
	return nil
}

// Run implements Runner. A Stdin whose Read blocks does not hold it up: it may return while such a
// Read is still waiting, and what that Read returns is lost.
func (c *Client) Run(ctx context.Context, cmd Command) error {
	if err := cmd.check(); err != nil {
		return &fault.Error{Kind: fault.Invalid, Op: "run a command on", Target: c.cfg.Target.String(), Err: err}
	}
	if err := c.begin(); err != nil {
		return err
	}
	defer c.wg.Done()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if n, sh := c.takeShell(cmd); sh != nil {
		c.openAhead(n)
		s := c.newSession(n, sh.ch, cmd, sh.enc)
		s.sent = true
		err := s.run(ctx)
		if s.out.isStarted() || cmd.Stdin != nil || fault.KindOf(err) != fault.Unreachable {
			return err
		}
		// The shell had ended before it read the command, which goes the long way then.
	}
	n, ch, err := c.session(ctx)
	if err != nil {
		return err
	}
	return c.newSession(n, ch, cmd, encode(cmd, execLimit(string(n.ssh.ServerVersion())))).run(ctx)
}

func (c *Client) newSession(n *conn, ch *channel, cmd Command, enc encoded) *session {
	return &session{
		conn: n, ch: ch, cmd: cmd, enc: enc, user: n.ssh.User(), host: c.cfg.Target.String(),
		spawn: func(f func()) {
			c.enders.Add(1)
			c.wg.Go(func() {
				defer c.enders.Done()
				f()
			})
		},
	}
}

// begin counts an operation, which Close waits for.
func (c *Client) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shut {
		return &fault.Error{Kind: fault.Unreachable, Op: "use the connection to", Target: c.cfg.Target.String(), Err: errClosed}
	}
	c.wg.Add(1)
	return nil
}

// lagPause is how long a server that has just ended sessions is given to notice.
const lagPause = 20 * time.Millisecond

// session opens a session channel on a living connection. Nothing has been sent to a shell when it
// fails, so it tries again on another connection. The place on the connection is given back with
// closed.
func (c *Client) session(ctx context.Context) (*conn, *channel, error) {
	const mostLags = 50 // waits of lagPause
	broken, lags := 1, 0
	for {
		n, err := c.reserve(ctx)
		if err != nil {
			return nil, nil, err
		}
		c.openAhead(n)
		ch, reqs, err := n.open(ctx, "session", nil)
		if err == nil {
			c.opened(n)
			return n, n.listen(ch, reqs, func() { c.closed(n) }), nil
		}
		if ctx.Err() != nil {
			c.release(n)
			return nil, nil, context.Cause(ctx)
		}
		var refused *gossh.OpenChannelError
		if !errors.As(err, &refused) {
			if err := c.drop(n, err); broken == mostBroken {
				return nil, nil, err
			}
			broken++
			continue
		}
		switch c.refused(n, lags < mostLags) {
		case useless:
			return nil, nil, &fault.Error{
				Kind: fault.Unreachable, Op: "open a session on", Target: c.cfg.Target.String(),
				Err:  fmt.Errorf("the server refuses it: %s", refused.Message),
				Hint: "see MaxSessions in its sshd_config and its log",
			}
		case lagging:
			lags++
			t := time.NewTimer(lagPause)
			select {
			case <-t.C:
			case <-ctx.Done():
			}
			t.Stop()
		case full: // its limit is known now, and each refusal lowers it: this comes to an end
		}
	}
}

// mostBroken is how often an operation takes a new connection: one may die just after it was made, five in a row
// are no accident.
const mostBroken = 5

// drop gives up n, on which nothing could be opened, and its place. It returns the error for who gives up too.
func (c *Client) drop(n *conn, err error) error {
	n.close(err)
	c.release(n)
	return &fault.Error{
		Kind: fault.Unreachable, Op: "open a channel to", Target: c.cfg.Target.String(),
		Err: fmt.Errorf("the connection broke %d times: %w", mostBroken, err), Hint: "try again",
	}
}

// A refusal is what it means that a server refuses a session.
type refusal int

const (
	full    refusal = iota // other sessions take all places of the connection
	lagging                // sessions are just beginning or ending, so the refusal teaches nothing
	useless                // the server takes none
)

// refused gives the place on n back and learns from the refusal.
func (c *Client) refused(n *conn, mayLag bool) refusal {
	c.mu.Lock()
	defer c.mu.Unlock()
	n.inUse--
	switch {
	case mayLag && (n.held < n.peak || n.held < n.inUse):
		return lagging
	case n.held == 0:
		return useless
	}
	if n.limit == 0 || n.held < n.limit {
		n.limit = n.held
	}
	if c.limit == 0 || n.limit < c.limit {
		c.limit = n.limit
	}
	return full
}

// opened counts a session that the server has confirmed.
func (c *Client) opened(n *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n.held++
	n.peak = max(n.peak, n.held)
}

// closed gives back the place of a session that was opened.
func (c *Client) closed(n *conn) {
	c.mu.Lock()
	n.held--
	c.mu.Unlock()
	c.release(n)
}

// reserve returns a living connection with room for a session and counts it; dials if there is none.
func (c *Client) reserve(ctx context.Context) (*conn, error) {
	for {
		c.mu.Lock()
		if c.shut {
			c.mu.Unlock()
			return nil, errClosed
		}
		c.conns = slices.DeleteFunc(c.conns, (*conn).isDead)
		for _, n := range c.conns {
			if n.limit == 0 || n.inUse < n.limit {
				n.inUse++
				if n.idle != nil {
					n.idle.Stop()
				}
				c.mu.Unlock()
				return n, nil
			}
		}
		if d := c.dialing; d != nil {
			c.mu.Unlock()
			select {
			case <-d.done:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
			if d.err != nil {
				return nil, d.err
			}
			continue
		}
		d := &dialing{done: make(chan struct{})}
		c.dialing = d
		patience := c.cfg.Patience
		if c.reached {
			patience = redialPatience
		}
		c.mu.Unlock()

		n, err := c.dialWhileOpen(ctx, patience)
		c.mu.Lock()
		c.dialing = nil
		if err == nil {
			c.reached = true
			n.inUse = 1
			if n.limit == 0 {
				n.limit = c.limit
			}
			c.conns = append(c.conns, n)
		} else if ctx.Err() == nil {
			d.err = err // those who wait have the same node before them
		}
		c.mu.Unlock()
		c.settled.happen()
		close(d.done)
		return n, err
	}
}

// dialWhileOpen dials until ctx ends or the client is closed.
func (c *Client) dialWhileOpen(ctx context.Context, patience time.Duration) (*conn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.ctx, func() { cancel(errClosed) })()
	return c.dial(ctx, patience)
}

// release gives a place on n back.
func (c *Client) release(n *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n.inUse--
	if n.inUse == 0 && len(c.conns) > 0 && c.conns[0] != n {
		if n.idle == nil {
			n.idle = time.AfterFunc(extraIdle, func() { c.retire(n) })
		} else {
			n.idle.Reset(extraIdle)
		}
	}
}

// retire closes an extra connection that nobody uses.
func (c *Client) retire(n *conn) {
	c.mu.Lock()
	if n.inUse > 0 {
		c.mu.Unlock()
		return
	}
	c.conns = slices.DeleteFunc(c.conns, func(o *conn) bool { return o == n })
	c.mu.Unlock()
	n.close(errors.New("not needed any more"))
}

// enderGrace is how long Close waits for remote processes to be ended.
const enderGrace = 2 * time.Second

// Close ends the connections and waits for everything that runs on them; commands that run return
// LostError.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.shut {
		c.mu.Unlock()
		c.wg.Wait()
		return nil
	}
	c.shut = true
	c.mu.Unlock()
	c.cancel()

	ended := make(chan struct{})
	go func() {
		c.enders.Wait()
		close(ended)
	}()
	t := time.NewTimer(enderGrace)
	select {
	case <-ended:
	case <-t.C:
	}
	t.Stop()
	c.mu.Lock()
	conns := slices.Clone(c.conns)
	c.mu.Unlock()
	for _, n := range conns {
		n.close(errClosed)
	}
	c.wg.Wait()
	return nil
}

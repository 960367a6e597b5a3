package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/report"
)

const (
	connectLimit   = 15 * time.Second // TCP
	handshakeLimit = 30 * time.Second // SSH handshake and login
	redialPatience = 5 * time.Second  // for a node that was reached before
	firstPause     = 300 * time.Millisecond
	longestPause   = 5 * time.Second
	silence        = 5 * time.Second // after which a person is told what is waited for
)

// A dialError is a failed attempt; booting says that a node which is still booting may look so.
type dialError struct {
	err     error
	booting bool
	state   string // of a booting node: "refuses connections"
}

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// dial makes a connection, with patience. Every error is a *fault.Error or the context's cause.
func (c *Client) dial(ctx context.Context, patience time.Duration) (*conn, error) {
	deadline := time.Now().Add(patience)
	pause := firstPause
	lastState, lastNotice := "", time.Time{}
	waited := false
	for {
		n, err := c.dialHops(ctx)
		if err == nil {
			if waited {
				c.notice(fmt.Sprintf("%s answers", c.cfg.Target))
			}
			return n, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var failed *dialError
		if !errors.As(err, &failed) {
			return nil, err
		}
		left := time.Until(deadline)
		if !failed.booting || left <= 0 {
			if failed.booting && patience > redialPatience {
				var f *fault.Error
				if errors.As(failed.err, &f) {
					f.Err = fmt.Errorf("%w (tried for %v)", f.Err, patience)
				}
			}
			return nil, failed.err
		}
		if patience > redialPatience && (failed.state != lastState || time.Since(lastNotice) > 30*time.Second) {
			c.notice(fmt.Sprintf("%s %s; trying for another %v", c.cfg.Target, failed.state, left.Round(time.Second)))
			lastState, lastNotice, waited = failed.state, time.Now(), true
		}
		t := time.NewTimer(min(pause, left))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, context.Cause(ctx)
		}
		pause = min(pause*3/2, longestPause)
	}
}

func (c *Client) notice(text string) {
	c.cfg.Report.Emit(report.Event{Kind: report.Notice, Step: "connect", Text: text})
}

// tellIfSlow says text when ctx, that of a part of the first connection, does not end soon.
func (c *Client) tellIfSlow(ctx context.Context, text string) {
	if c.cfg.Patience <= redialPatience {
		return
	}
	c.wg.Go(func() {
		t := time.NewTimer(silence)
		defer t.Stop()
		select {
		case <-t.C:
			c.notice(text)
		case <-ctx.Done():
		}
	})
}

// dialHops connects to the node through its jump hosts, asking about unknown host keys.
func (c *Client) dialHops(ctx context.Context) (*conn, error) {
	hops, err := c.resolve()
	if err != nil {
		return nil, &fault.Error{Kind: fault.Invalid, Op: "connect to", Target: c.cfg.Target.String(), Err: err, Hint: "correct the SSH configuration"}
	}
	for {
		n, h, err := c.chain(ctx, hops)
		var unknown *unknownHostError
		if err == nil || !errors.As(err, &unknown) {
			return n, err
		}
		if err := c.ask(ctx, h, unknown.key); err != nil {
			return nil, err
		}
	}
}

// chain connects through all hops; on an error it returns the hop that failed.
func (c *Client) chain(ctx context.Context, hops []*hop) (*conn, *hop, error) {
	var via *conn
	for _, h := range hops {
		raw, err := c.transport(ctx, via, h)
		if err != nil {
			if via != nil {
				via.close(errClosed)
			}
			return nil, h, err
		}
		n, err := c.handshake(ctx, raw, h) // closes raw, and with it via, on an error
		if err != nil {
			return nil, h, err
		}
		via = n
	}
	return via, nil, nil
}

// transport opens the byte stream to h, directly or through via.
func (c *Client) transport(ctx context.Context, via *conn, h *hop) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, connectLimit, errNoAnswer)
	defer cancel()
	c.tellIfSlow(ctx, fmt.Sprintf("%s has not answered yet; waiting up to %v", h.label(), connectLimit))
	if via == nil {
		var d net.Dialer
		raw, err := d.DialContext(ctx, "tcp", h.addr())
		if err != nil {
			return nil, connectError(h, err)
		}
		return raw, nil
	}
	ch, reqs, err := via.open(ctx, "direct-tcpip", gossh.Marshal(forwardRequest{
		Host: h.host, Port: uint32(h.port), OriginHost: "127.0.0.1",
	}))
	if err != nil {
		var refused *gossh.OpenChannelError
		if errors.As(err, &refused) {
			err = fmt.Errorf("the jump host cannot reach it: %s", refused.Message)
			if refused.Reason == gossh.Prohibited {
				err = fmt.Errorf("the jump host forbids forwarding: %s", refused.Message)
				return nil, &dialError{err: unreachable(h, err, "see AllowTcpForwarding in the jump host's sshd_config")}
			}
			return nil, &dialError{
				err:     unreachable(h, err, "see that the node runs and that the jump host reaches its port"),
				booting: true, state: "is not reached by the jump host yet",
			}
		}
		return nil, connectError(h, err)
	}
	c.wg.Go(func() { gossh.DiscardRequests(reqs) })
	return &tunnel{Channel: ch, host: via, addr: &net.TCPAddr{IP: net.IPv4zero}}, nil
}

var (
	errNoAnswer = errors.New("no answer")
	errClosed   = errors.New("the client was closed")
)

func unreachable(h *hop, err error, hint string) *fault.Error {
	return &fault.Error{Kind: fault.Unreachable, Op: "connect to", Target: h.label(), Err: err, Hint: hint}
}

// connectError explains why no byte stream to h came about.
func connectError(h *hop, err error) error {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		cause := fmt.Errorf("the name %s does not resolve", h.host)
		hint := "check the spelling, or give the host a HostName in ~/.ssh/config"
		if !dns.IsNotFound {
			cause = fmt.Errorf("the name %s could not be looked up: %s", h.host, dns.Err)
			hint = "check the spelling and this machine's network"
		}
		return &dialError{err: unreachable(h, cause, hint)}
	case errors.Is(err, syscall.ECONNREFUSED) || strings.Contains(err.Error(), "refused"):
		return &dialError{
			err:     unreachable(h, fmt.Errorf("connection refused: nothing listens on port %d", h.port), "see that the node runs, that its SSH server is up, and that the port is right"),
			booting: true, state: "refuses connections",
		}
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errNoAnswer) || isTimeout(err):
		return &dialError{
			err:     unreachable(h, fmt.Errorf("no answer within %v", connectLimit), "see that the node runs, that the address is right, and that no firewall is in between"),
			booting: true, state: "does not answer",
		}
	case errors.Is(err, syscall.ECONNRESET):
		return closedEarly(h)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return &dialError{
		err:     unreachable(h, err, "see that the node runs and that this machine's network reaches it"),
		booting: true, state: "is not reachable",
	}
}

// closedEarly is for a server that ends the connection before it has said who it is.
func closedEarly(h *hop) error {
	return &dialError{
		err: unreachable(h, errors.New("it closed the connection during the SSH handshake"),
			"try again; if it stays so, see the SSH server's log (too many connections, a banned address, or a node that is still booting)"),
		booting: true, state: "closes the connection",
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// handshake turns raw into an authenticated connection; on an error it closes raw.
func (c *Client) handshake(ctx context.Context, raw net.Conn, h *hop) (*conn, error) {
	check, err := c.hostCheck(h)
	if err != nil {
		raw.Close()
		return nil, err
	}
	keys, err := c.keys(h)
	if err != nil {
		raw.Close()
		return nil, err
	}
	defer keys.close()

	limited, cancel := context.WithTimeoutCause(ctx, c.handshakeLimit, errNoAnswer)
	defer cancel()
	w := newWire(raw)
	if h.last {
		start := time.Now()
		w.answered = func() { c.answers(time.Since(start)) }
	}
	var methods []string // that the server takes
	var trips stopwatch
	conf := &gossh.ClientConfig{
		User: h.user,
		HostKeyCallback: func(host string, addr net.Addr, key gossh.PublicKey) error {
			err := check.callback(host, addr, key)
			if err == nil && h.last {
				err = c.meets(limited, h, key)
			}
			trips.split()
			return err
		},
		HostKeyAlgorithms: check.algorithms,
		Auth:              []gossh.AuthMethod{gossh.PublicKeys(keys.signers...)},
		AuthCallback: func(a *gossh.ClientAuthContext) (gossh.AuthMethod, error) {
			methods = a.AllowedMethods
			trips.split()
			if h.last {
				return nil, c.mayLogIn(limited)
			}
			return nil, nil
		},
		ClientVersion: "SSH-2.0-bifrost",
	}
	conf.Ciphers = ciphers()
	c.tellIfSlow(limited, fmt.Sprintf("%s accepts the connection, but there is no SSH login yet; waiting up to %v", h.label(), c.handshakeLimit))
	stop := context.AfterFunc(limited, func() { w.Close() })
	sshConn, chans, reqs, err := gossh.NewClientConn(w, h.addr(), conf)
	if !stop() && err == nil {
		sshConn.Close()
		err = context.Cause(limited)
	}
	if err == nil {
		n := newConn(sshConn, w, chans, reqs, c.keepalive, &c.wg)
		trips.split()
		n.trip = trips.shortest / 2
		c.mu.Lock()
		defer c.mu.Unlock()
		c.confirmed = c.confirmed || keys.confirmed
		if h.last {
			c.seen = check.seen
		}
		return n, nil
	}
	w.Close()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var reason *fault.Error
	var unknown *unknownHostError
	switch {
	case errors.As(err, &unknown):
		return nil, unknown
	case errors.As(err, &reason):
		return nil, reason
	}
	return nil, c.handshakeError(h, w, keys, methods, limited.Err() != nil, err)
}

// answers notes that the node has said its first word.
func (c *Client) answers(after time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.answered.happened() {
		c.firstAnswer = after
		c.answered.happen()
	}
}

// handshakeError explains a handshake that failed for another reason than the host key's.
func (c *Client) handshakeError(h *hop, w *wire, keys *keyring, methods []string, late bool, err error) error {
	text := err.Error()
	said := w.greeting()
	switch {
	case strings.Contains(text, "unable to authenticate"), strings.Contains(text, "Too many authentication failures"):
		e := keys.refused(h, methods, c.cfg.AgentSocket)
		if strings.Contains(text, "Too many authentication failures") {
			var f *fault.Error
			if errors.As(e, &f) {
				f.Hint = "the server stopped after too many keys; name the right one with -i, or set IdentitiesOnly in ~/.ssh/config"
			}
		}
		return e
	case said != "" && !strings.HasPrefix(said, "SSH-") && !strings.Contains(said, "\nSSH-"):
		line, _, _ := strings.Cut(said, "\n")
		return &dialError{err: unreachable(h, fmt.Errorf("what listens on port %d is not an SSH server; it says %q", h.port, strings.TrimSpace(line)), "check the port")}
	case late:
		return &dialError{
			err: unreachable(h, fmt.Errorf("it accepts connections on port %d but does not answer as an SSH server within %v", h.port, c.handshakeLimit),
				"see that the port belongs to an SSH server and that the node is not overloaded"),
			booting: true, state: "accepts the connection but does not answer",
		}
	case strings.Contains(text, "no common algorithm"):
		return &dialError{err: unreachable(h, fmt.Errorf("no algorithm in common with its SSH server: %s", strings.TrimPrefix(text, "ssh: handshake failed: ssh: ")), "update the SSH server")}
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), strings.Contains(text, "reset by peer"), strings.Contains(text, "EOF"):
		return closedEarly(h)
	}
	return &dialError{err: unreachable(h, errors.New(strings.TrimPrefix(text, "ssh: handshake failed: ")), "see the SSH server's log")}
}

// ciphers puts AES-GCM first: with the instructions of every present processor it is about twice as
// fast as what follows.
func ciphers() []string {
	first := []string{gossh.CipherAES128GCM, gossh.CipherAES256GCM}
	for _, name := range gossh.SupportedAlgorithms().Ciphers {
		if !slices.Contains(first, name) {
			first = append(first, name)
		}
	}
	return first
}

// ask has the user decide about the unknown host key of h.
func (c *Client) ask(ctx context.Context, h *hop, key gossh.PublicKey) error {
	shown := key.Type() + " " + gossh.FingerprintSHA256(key)
	ok := h.acceptNew
	if !ok {
		login := h.user + "@" + h.alias
		if h.port != 22 {
			login = fmt.Sprintf("-p %d %s", h.port, login)
		}
		unanswered := &fault.Error{
			Kind: fault.HostKey, Op: "connect to", Target: h.label(),
			Err:  fmt.Errorf("its host key %s is not known", shown),
			Hint: fmt.Sprintf("connect once with: ssh %s, compare the fingerprint and accept it, or pass --yes to accept it now", login),
		}
		if c.cfg.Confirm == nil {
			return unanswered
		}
		var err error
		ok, err = c.cfg.Confirm(ctx, fmt.Sprintf("The host key of %s is not known: %s. Accept it and remember it in %s?", h.label(), shown, h.knownHosts[0]))
		if fault.KindOf(err) == fault.Denied {
			return unanswered // nobody is there to ask
		}
		if err != nil {
			return err
		}
	}
	if !ok {
		return &fault.Error{
			Kind: fault.HostKey, Op: "connect to", Target: h.label(),
			Err:  fmt.Errorf("its host key %s was not accepted", shown),
			Hint: "compare the fingerprint with what the host's owner says, and accept it when it is the same",
		}
	}
	c.remember(h, key)
	return nil
}

package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/engine/fault"
)

const (
	// probeDelay is how long a node may take to start the command before the server is asked
	// whether it accepted the request at all.
	probeDelay = 10 * time.Second
	// startLimit is how long rc files may take before the command starts.
	startLimit = 2 * time.Minute
	// enderLimit bounds the ending of a command whose context is done.
	enderLimit = 5 * time.Second
)

// A status is how the remote process ended; known is false where the server did not say.
type status struct {
	known bool
	exit  ExitError
}

func (s status) err() error {
	if s.exit.Code == 0 {
		return nil
	}
	return &s.exit
}

// A session is one command on an open channel.
type session struct {
	conn     *conn
	ch       *channel
	cmd      Command
	enc      encoded
	sent     bool // the exec request went out before there was a command
	out, err *output
	user     string // for messages
	host     string
	spawn    func(func()) // starts a goroutine that ends a command; the client waits a little for it
}

// A channel is an open session channel, and what the server says of the end of what runs on it.
type channel struct {
	gossh.Channel
	exits  chan status   // takes the first one
	closed chan struct{} // by the server
	clean  bool          // it was closed on a connection that lives; set before closed is
}

// listen makes a channel of what opening it returned; release is called when the server has closed it.
func (n *conn) listen(raw gossh.Channel, reqs <-chan *gossh.Request, release func()) *channel {
	ch := &channel{Channel: raw, exits: make(chan status, 1), closed: make(chan struct{})}
	n.wg.Go(func() {
		defer release()
		defer close(ch.closed)
		for r := range reqs {
			if st, ok := exitOf(r); ok {
				select {
				case ch.exits <- st:
				default: // a second status counts for nothing
				}
				continue
			}
			if r.WantReply {
				r.Reply(false, nil)
			}
		}
		ch.clean = n.wire.err() == nil
	})
	return ch
}

// run sends the command and waits for its end. It closes the channel in every case.
func (s *session) run(ctx context.Context) error {
	s.out = newOutput(s.cmd.Stdout, s.enc)
	s.err = newOutput(s.cmd.Stderr, s.enc)
	exits, closed := s.ch.exits, s.ch.closed
	copied := make(chan error, 2)
	s.conn.wg.Go(func() { copied <- s.out.copy(s.ch) })
	s.conn.wg.Go(func() { copied <- s.err.copy(s.ch.Stderr()) })

	over := make(chan struct{})
	defer close(over)
	fed := make(chan error, 1)
	feed := newPump()
	defer feed.stop()
	s.conn.wg.Go(func() { fed <- s.feed(feed, over) })
	if s.cmd.Pty != nil && s.cmd.Pty.Resize != nil {
		s.conn.wg.Go(func() { s.resize(over) })
	}

	probe := time.NewTimer(probeDelay)
	defer probe.Stop()
	late := time.NewTimer(startLimit)
	defer late.Stop()
	var st status
	ended := closed
	open := 2
	for open > 0 || ended != nil {
		var exit <-chan status
		if !st.known {
			exit = exits
		}
		select {
		case <-ctx.Done():
			s.abandon(closed)
			return context.Cause(ctx)
		case st = <-exit:
			st.known = true
			ended = nil
		case <-ended:
			ended = nil
			// The exit status comes before the end of the channel, but select is not in order.
			select {
			case st = <-exits:
				st.known = true
			default:
			}
		case err := <-copied:
			open--
			if err != nil {
				s.abandon(closed)
				if errors.Is(err, errNoise) {
					return s.notStarted(err.Error())
				}
				return fmt.Errorf("write output of remote command: %w", err)
			}
		case err := <-fed:
			fed = nil
			var refused *fault.Error
			if errors.As(err, &refused) {
				s.abandon(closed)
				return err
			}
			if err != nil {
				s.abandon(closed)
				return fmt.Errorf("read input of remote command: %w", err)
			}
		case <-probe.C:
			if !s.out.isStarted() {
				s.conn.wg.Go(s.probe)
			}
		case <-late.C:
			if !s.out.isStarted() {
				s.abandon(closed)
				return s.notStarted(fmt.Sprintf("it was not started within %v", startLimit))
			}
		}
	}
	s.out.close()
	s.err.close()
	whole := s.whole(closed)
	s.conn.wg.Go(func() { s.ch.Close() })
	if !st.known || !whole {
		return &LostError{Err: s.lost()}
	}
	if !s.out.isStarted() {
		return s.notStarted("it ended with " + (&st.exit).Error())
	}
	return st.err()
}

// whole reports whether the streams ended because the server said so. A server may send the exit
// status before the last output, so a connection that breaks in between leaves a status without the
// bytes that belong to it, and x/crypto shows both ends as io.EOF. The wire knows that it is broken
// before any channel is closed for it; in doubt the worse is assumed.
func (s *session) whole(closed <-chan struct{}) bool {
	select {
	case <-closed:
		if s.ch.clean {
			return true
		}
	default:
	}
	return s.conn.wire.err() == nil
}

// lost says why there is no exit status. The channel ends just before the connection is known to be
// dead, so that is waited for.
func (s *session) lost() error {
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-s.conn.dead:
		return s.conn.why()
	case <-t.C:
		return errors.New("the server closed the session without an exit status")
	}
}

func (s *session) notStarted(why string) error {
	said := s.out.lastLines()
	if e := s.err.lastLines(); e != "" && s.cmd.Pty == nil {
		said = strings.TrimPrefix(said+"\n"+e, "\n")
	}
	if said == "" {
		said = "(it printed nothing)"
	}
	return &fault.Error{
		Kind: fault.Unreachable, Op: "run a command on", Target: s.host,
		Err:  fmt.Errorf("the login shell of %s did not start the command: %s; its last output: %s", s.user, why, said),
		Hint: "log in with ssh and see that the account's shell runs commands, and that its rc files neither exit nor wait for input",
	}
}

// feed sends the request and then everything that goes over stdin.
func (s *session) feed(p *pump, over <-chan struct{}) error {
	if s.cmd.Pty != nil {
		ok, err := s.ch.SendRequest("pty-req", true, gossh.Marshal(ptyRequest(s.cmd.Pty)))
		if err != nil {
			return nil // the connection's end is seen elsewhere
		}
		if !ok {
			return &fault.Error{
				Kind: fault.Unreachable, Op: "open a terminal on", Target: s.host,
				Err:  errors.New("the server does not give one"),
				Hint: "see PermitTTY in its sshd_config, or run the command without a terminal",
			}
		}
	}
	if !s.sent && s.ch.exec(s.enc.exec) != nil {
		return nil
	}
	if len(s.enc.stdin) > 0 {
		if s.cmd.Pty != nil {
			select {
			case <-s.out.ready:
			case <-over:
				return nil
			}
		}
		if _, err := s.ch.Write(s.enc.stdin); err != nil {
			return nil
		}
	}
	if s.cmd.Stdin != nil {
		go p.fill(s.cmd.Stdin) // not joined: a Read may block for ever, and Run must not
		if err := p.drain(s.ch); err != nil {
			return err
		}
	}
	s.ch.CloseWrite()
	return nil
}

// exec starts a program. No reply is asked for: waiting for it would cost a round trip, and the mark
// says more.
func (ch *channel) exec(text string) error {
	_, err := ch.SendRequest("exec", false, gossh.Marshal(struct{ Command string }{text}))
	return err
}

func (s *session) resize(over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case size, ok := <-s.cmd.Pty.Resize:
			if !ok {
				return
			}
			s.ch.SendRequest("window-change", false, gossh.Marshal(struct{ Cols, Rows, Width, Height uint32 }{
				uint32(max(size.Cols, 0)), uint32(max(size.Rows, 0)), 0, 0,
			}))
		}
	}
}

// probe asks for a second program on a channel whose first has not said anything. A server refuses
// it while the first runs (RFC 4254, 6.5: only one request can succeed); where it accepts, it had
// refused the first, and the session ends without a mark.
func (s *session) probe() {
	s.ch.SendRequest("exec", true, gossh.Marshal(struct{ Command string }{"exit 255"}))
}

// abandon stops writing and has the remote process ended in the background.
func (s *session) abandon(closed <-chan struct{}) {
	s.out.close()
	s.err.close()
	s.spawn(func() {
		defer s.ch.Close()
		limit := time.NewTimer(enderLimit)
		defer limit.Stop()
		select {
		case <-closed:
			return
		case <-s.out.started:
		case <-limit.C:
		}
		// OpenSSH refuses signals in sessions of root, and dropbear passes them to one process only, so
		// a command ends the process group first; after the signal alone, children could not be found.
		if pid := s.out.pid(); pid != 0 {
			ctx, cancel := context.WithTimeout(context.Background(), enderLimit)
			defer cancel()
			s.conn.kill(ctx, pid)
		}
		s.ch.SendRequest("signal", false, gossh.Marshal(struct{ Signal string }{"TERM"}))
	})
}

// killScript sends TERM to the process group that $p leads, or, where it leads none (dropbear), to
// $p and all its descendants.
const killScript = `kill -TERM "-$p" 2>/dev/null && exit
all=" $p "
again=1
while [ "$again" ]; do
again=
for f in /proc/[0-9]*/stat; do
read -r l 2>/dev/null <"$f" || continue
set -- ${l##*) }
case $all in *" ${l%% *} "*) ;; *" $2 "*) all="$all${l%% *} "; again=1 ;; esac
done
done
kill -TERM $all 2>/dev/null`

// kill ends the processes that a command with the given process id has started.
func (n *conn) kill(ctx context.Context, pid int) {
	ch, reqs, err := n.open(ctx, "session", nil)
	if err != nil {
		return
	}
	defer ch.Close()
	n.wg.Go(func() { io.Copy(io.Discard, ch) })
	n.wg.Go(func() { io.Copy(io.Discard, ch.Stderr()) })
	text := fmt.Sprintf("p=%d\n%s", pid, killScript)
	ch.SendRequest("exec", false, gossh.Marshal(struct{ Command string }{wrap("", text)}))
	ch.CloseWrite()
	for {
		select {
		case r, ok := <-reqs:
			if !ok {
				return
			}
			if r.WantReply {
				r.Reply(false, nil)
			}
		case <-ctx.Done():
			n.wg.Go(func() { gossh.DiscardRequests(reqs) })
			return
		}
	}
}

func exitOf(r *gossh.Request) (status, bool) {
	switch r.Type {
	case "exit-status":
		var m struct{ Code uint32 }
		if gossh.Unmarshal(r.Payload, &m) != nil {
			return status{}, false
		}
		return status{exit: ExitError{Code: int(m.Code)}}, true
	case "exit-signal":
		var m struct {
			Signal     string
			CoreDumped bool
			Error      string
			Lang       string
		}
		if gossh.Unmarshal(r.Payload, &m) != nil {
			return status{}, false
		}
		code, ok := signalNumbers()[m.Signal]
		if !ok {
			code = 127
		}
		return status{exit: ExitError{Code: 128 + code, Signal: m.Signal}}, true
	}
	return status{}, false
}

// signalNumbers are those of Linux, which nodes run.
func signalNumbers() map[string]int {
	return map[string]int{
		"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "BUS": 7, "FPE": 8, "KILL": 9,
		"USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "XCPU": 24,
	}
}

type ptyRequestMsg struct {
	Term                      string
	Cols, Rows, Width, Height uint32
	Modes                     string
}

func ptyRequest(p *Pty) ptyRequestMsg {
	term := p.Term
	if term == "" {
		term = "xterm"
	}
	// ECHO on, speeds, end of list: RFC 4254, section 8.
	modes := []byte{53, 0, 0, 0, 1, 128, 0, 0, 0x96, 0, 129, 0, 0, 0x96, 0, 0}
	cols, rows := p.Cols, p.Rows
	if cols <= 0 || rows <= 0 {
		cols, rows = 80, 24
	}
	return ptyRequestMsg{Term: term, Cols: uint32(cols), Rows: uint32(rows), Modes: string(modes)}
}

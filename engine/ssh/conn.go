package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// A conn is one authenticated connection to a node. Its goroutines belong to the WaitGroup of its
// client and end when it is closed.
type conn struct {
	ssh  gossh.Conn
	wire *wire
	wg   *sync.WaitGroup
	dead chan struct{} // closed when the connection has ended

	mu    sync.Mutex
	cause error // why it ended; set before dead is closed

	trip time.Duration // a round trip, as the handshake had it; set before the connection is shared

	// The pool's, guarded by Client.mu.
	inUse int         // sessions open or being opened
	limit int         // most sessions that the server takes; 0 as long as that is unknown
	held  int         // of inUse, those that the server has confirmed
	peak  int         // most that were held at a time
	ahead []*shell    // that wait for commands, the oldest first; they count as held
	soon  int         // of those, that are being opened
	alone bool        // the server refused one: none is opened ahead any more
	idle  *time.Timer // closes a connection beyond the first one
}

// keepalive says how a dead peer is noticed: a probe after Interval of silence, the end after Limit.
type keepalive struct{ Interval, Limit time.Duration }

var errSilent = errors.New("the node does not answer any more")

// headroom is never written to, so it takes no memory; but the garbage collector, which runs when the heap
// has doubled, counts it. x/crypto makes a slice of each packet that it reads, and without headroom a heap
// of 4 MB is collected hundreds of times for a gigabyte, which takes longer than to decrypt it.
var headroom = sync.OnceValue(func() []byte { return make([]byte, 16<<20) })

func newConn(c gossh.Conn, w *wire, chans <-chan gossh.NewChannel, reqs <-chan *gossh.Request, k keepalive, wg *sync.WaitGroup) *conn {
	_ = headroom()
	n := &conn{ssh: c, wire: w, wg: wg, dead: make(chan struct{}), limit: knownLimit(string(c.ServerVersion()))}
	wg.Go(func() { gossh.DiscardRequests(reqs) })
	wg.Go(func() {
		for ch := range chans {
			ch.Reject(gossh.UnknownChannelType, "not supported")
		}
	})
	wg.Go(func() {
		err := c.Wait()
		w.Close()
		n.end(err)
		close(n.dead)
	})
	wg.Go(func() { n.watch(k) })
	return n
}

// knownLimit returns the most sessions that a server handles at the same time. dropbear (2022.83 and
// others) confuses the streams of sessions that begin and end at the same moment: one loop of it takes
// the readiness of a closed descriptor for that of a new session's, reads nothing, and gives the new
// session up without an exit status. So each session on it gets a connection, which is a process.
func knownLimit(version string) int {
	if strings.Contains(version, "dropbear") {
		return 1
	}
	return 0
}

// end records err as the reason for the connection's end unless there is one already.
func (n *conn) end(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cause == nil {
		if err == nil || errors.Is(err, io.EOF) {
			err = errors.New("the server closed the connection")
		}
		n.cause = err
	}
}

// why returns the reason for the connection's end, nil as long as it lives.
func (n *conn) why() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cause
}

func (n *conn) close(cause error) {
	n.end(cause)
	n.wire.Close() // first: closing the transport alone can wait for a write that is stuck
	n.ssh.Close()
}

// isDead reports whether the connection has ended or is about to.
func (n *conn) isDead() bool { return n.why() != nil }

// watch probes a silent peer and closes the connection when it stays silent.
func (n *conn) watch(k keepalive) {
	tick := time.NewTicker(k.Interval / 5)
	defer tick.Stop()
	probing := false
	var since time.Time
	answered := make(chan struct{}, 1)
	for {
		select {
		case <-n.dead:
			return
		case <-answered:
			probing = false
			continue
		case <-tick.C:
		}
		quiet := n.wire.quiet()
		switch {
		case !probing && quiet >= k.Interval:
			probing, since = true, time.Now()
			n.wg.Go(func() {
				// Any answer will do; servers that do not know the request say so.
				n.ssh.SendRequest("keepalive@openssh.com", true, nil)
				answered <- struct{}{}
			})
		// The probe's own age counts too: after a suspend the silence was ours.
		case probing && quiet >= k.Limit && time.Since(since) >= k.Limit-k.Interval:
			n.close(fmt.Errorf("%w (silent for %v)", errSilent, k.Limit))
			return
		}
	}
}

// open opens a channel, or returns when ctx is done.
func (n *conn) open(ctx context.Context, kind string, payload []byte) (gossh.Channel, <-chan *gossh.Request, error) {
	type opened struct {
		ch   gossh.Channel
		reqs <-chan *gossh.Request
		err  error
	}
	result := make(chan opened, 1)
	n.wg.Go(func() {
		ch, reqs, err := n.ssh.OpenChannel(kind, payload)
		result <- opened{ch, reqs, err}
	})
	select {
	case o := <-result:
		return o.ch, o.reqs, o.err
	case <-ctx.Done():
		n.wg.Go(func() {
			if o := <-result; o.err == nil {
				o.ch.Close()
				gossh.DiscardRequests(o.reqs)
			}
		})
		return nil, nil, context.Cause(ctx)
	}
}

// A wire is the transport of a connection. It remembers when the peer was last heard and what it
// said first, and asks the kernel to acknowledge at once while the handshake runs.
type wire struct {
	net.Conn
	last  atomic.Int64 // unix nanoseconds of the last byte read
	reads atomic.Int32
	quick func() // sets TCP_QUICKACK; nil where there is no such thing

	answered func() // called when the peer has said its first word; may be nil

	// Of the one goroutine that reads: what the kernel gave and nobody has asked for yet. x/crypto asks for
	// a packet of 32 kB in two or three reads, and each is a system call otherwise.
	space, ahead []byte

	mu     sync.Mutex
	first  []byte
	failed error // of Read
}

const readAhead = 128 << 10 // bytes

// quickReads is how many reads are acknowledged at once: more than the handshake takes.
const quickReads = 200

func newWire(c net.Conn) *wire {
	w := &wire{Conn: c, quick: quickAck(c), space: make([]byte, readAhead)}
	w.last.Store(time.Now().UnixNano())
	return w
}

func (w *wire) Read(b []byte) (int, error) {
	if len(w.ahead) == 0 {
		if err := w.fetch(); err != nil {
			return 0, err
		}
	}
	n := copy(b, w.ahead)
	w.ahead = w.ahead[n:]
	return n, nil
}

// fetch reads what the kernel has. After an error there is nothing more.
func (w *wire) fetch() error {
	n, err := w.Conn.Read(w.space)
	w.ahead = w.space[:n]
	if n > 0 {
		w.last.Store(time.Now().UnixNano())
	}
	if err != nil {
		w.mu.Lock()
		w.failed = err
		w.mu.Unlock()
	}
	if n > 0 && w.answered != nil {
		w.answered()
		w.answered = nil
	}
	if w.reads.Load() < quickReads {
		w.reads.Add(1)
		if w.quick != nil {
			w.quick()
		}
		w.mu.Lock()
		if room := 256 - len(w.first); room > 0 {
			w.first = append(w.first, w.space[:min(n, room)]...)
		}
		w.mu.Unlock()
	}
	if n > 0 {
		return nil
	}
	return err
}

// quiet is the wall time since the peer was last heard; it counts while this machine sleeps.
func (w *wire) quiet() time.Duration {
	return time.Duration(time.Now().UnixNano() - w.last.Load())
}

// err returns the error that ended reading, nil as long as it goes on. It is set before any channel
// sees the end.
func (w *wire) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

func (w *wire) greeting() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.first)
}

// A tunnel is a direct-tcpip channel as a net.Conn, for the connection behind a jump host. Closing
// it closes the connections to the jump hosts too.
type tunnel struct {
	gossh.Channel
	host *conn
	addr net.Addr
}

func (t *tunnel) Close() error {
	t.host.close(errors.New("closed"))
	return nil
}

func (t *tunnel) LocalAddr() net.Addr              { return t.addr }
func (t *tunnel) RemoteAddr() net.Addr             { return t.addr }
func (t *tunnel) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (t *tunnel) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (t *tunnel) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

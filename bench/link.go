//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A link is a network path on loopback: a relay to one address through which bytes arrive later, by half
// the round trip time in each direction, each chunk by its own clock. It has no bandwidth limit. What it
// takes over from TCP, because it decides what transports gain over distance: making a connection costs a
// round trip, and each direction of each connection has a window of bytes in flight that begins with ten
// segments, doubles with every round trip that fills it, shrinks while the sender is idle, and ends at
// flowWindow. It loses nothing.
type link struct {
	addr string
	trip time.Duration // round trip

	target   string
	listener net.Listener
	late     time.Duration // by which sleeps of this machine end too late
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	count traffic
	seen  []passage // since record
}

// A traffic is what went through a link since the count was last taken.
type traffic struct {
	Conns    int
	Up, Down int64 // bytes to the node and back
}

// A passage is a chunk as it enters a link.
type passage struct {
	at   time.Time
	conn int // 1 is the link's first
	up   bool
	size int // bytes; 0 is what opens a connection
}

const (
	segment       = 1460 // bytes
	initialWindow = 10 * segment
	flowWindow    = 3 << 20 // bytes, what one flow of Linux with its default buffers comes to
	chunkSize     = 64 << 10
	idleTimeout   = 200 * time.Millisecond // beyond a round trip, as Linux's shortest retransmission timeout
)

// newLink starts a link to target. close ends it.
func newLink(target string, trip time.Duration) (*link, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	k := &link{addr: l.Addr().String(), trip: trip, target: target, listener: l, late: oversleep(), cancel: cancel, conns: map[net.Conn]bool{}}
	k.wg.Go(func() { k.accept(ctx) })
	return k, nil
}

// oversleep measures by how much a sleep is too long here.
func oversleep() time.Duration {
	const naps, nap = 20, 2 * time.Millisecond
	start := time.Now()
	for range naps {
		time.Sleep(nap)
	}
	return min(time.Since(start)/naps-nap, time.Millisecond)
}

func (k *link) close() {
	k.cancel()
	k.listener.Close()
	k.mu.Lock()
	for c := range k.conns {
		c.Close()
	}
	k.mu.Unlock()
	k.wg.Wait()
}

// take returns what went through since the last call.
func (k *link) take() traffic {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.count
	k.count = traffic{}
	return t
}

// record forgets what went through so far.
func (k *link) record() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen = nil
}

// recorded returns what went through since record, in order.
func (k *link) recorded() []passage {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.seen)
}

// roundTrips is how often bytes that went through between two moments went back and forth, each after the
// ones before had arrived: the longest such chain. It does not depend on how busy the machine is, as the time
// does that they took. A chain of a stream of bytes is as long as the stream takes.
func roundTrips(seen []passage, trip time.Duration, from, to time.Time) float64 {
	type leg struct {
		arrives time.Time
		length  int
	}
	var under [2][]leg // way: up, down
	var arrived [2]int // the longest chain that has arrived there
	index := map[bool]int{true: 0, false: 1}
	longest := 0
	for _, p := range seen {
		if p.at.Before(from) || !to.IsZero() && p.at.After(to) {
			continue
		}
		for way := range under {
			for len(under[way]) > 0 && !under[way][0].arrives.After(p.at) {
				arrived[way] = max(arrived[way], under[way][0].length)
				under[way] = under[way][1:]
			}
		}
		way := index[p.up]
		length := arrived[1-way] + 1
		longest = max(longest, length)
		under[way] = append(under[way], leg{p.at.Add(trip/2 - time.Millisecond), length}) // it may be written a little early
	}
	return float64(longest) / 2
}

func (k *link) accept(ctx context.Context) {
	for id := 1; ; id++ {
		near, err := k.listener.Accept()
		if err != nil {
			return
		}
		k.mu.Lock()
		k.count.Conns++
		k.conns[near] = true
		k.mu.Unlock()
		k.note(passage{at: time.Now(), conn: id, up: true})
		k.wg.Go(func() {
			k.join(ctx, near, id)
			near.Close()
			k.mu.Lock()
			delete(k.conns, near)
			k.mu.Unlock()
		})
	}
}

// join carries one connection. The client's kernel has it at once; over a real path it would have it, and
// begin to send, a round trip later. The server would have it half of one after that, and what it says first
// would arrive after two.
func (k *link) join(ctx context.Context, near net.Conn, id int) {
	opened := time.Now().Add(k.trip)
	if !k.sleepUntil(ctx, opened.Add(-k.trip/2)) {
		return
	}
	k.note(passage{at: time.Now(), conn: id})
	if !k.sleepUntil(ctx, opened) {
		return
	}
	far, err := net.Dial("tcp", k.target)
	if err != nil {
		return
	}
	k.mu.Lock()
	k.conns[far] = true
	k.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { k.carry(ctx, near, far, id, true, opened) })
	both.Go(func() { k.carry(ctx, far, near, id, false, opened.Add(k.trip)) })
	both.Wait()
	far.Close()
	k.mu.Lock()
	delete(k.conns, far)
	k.mu.Unlock()
}

type chunk struct {
	due time.Time
	b   []byte
}

// carry moves bytes in one direction until their sender has no more, or the receiver is gone. Nothing
// arrives before the time given.
func (k *link) carry(ctx context.Context, from, to net.Conn, id int, up bool, notBefore time.Time) {
	queue := make(chan chunk, 8192)
	free := make(chan []byte, 64) // buffers to use again
	var writer sync.WaitGroup
	writer.Go(func() {
		gone := false
		for c := range queue {
			if !gone && (!k.sleepUntil(ctx, c.due) || write(to, c.b) != nil) {
				gone = true
				from.Close()
			}
			select {
			case free <- c.b[:chunkSize]:
			default:
			}
		}
		to.(*net.TCPConn).CloseWrite()
	})
	w := window{trip: k.trip, size: initialWindow, last: time.Now()}
	for {
		room, wait := w.room(time.Now())
		if room == 0 {
			if !k.sleepUntil(ctx, wait) {
				break
			}
			continue
		}
		var b []byte
		select {
		case b = <-free:
		default:
			b = make([]byte, chunkSize)
		}
		n, err := from.Read(b[:min(room, chunkSize)])
		acknowledge(from)
		if n > 0 {
			now := time.Now()
			w.sent(now, n)
			k.note(passage{at: now, conn: id, up: up, size: n})
			due := now.Add(k.trip / 2)
			if due.Before(notBefore) {
				due = notBefore
			}
			queue <- chunk{due, b[:n]}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				to.Close()
			}
			// The end travels too.
			k.sleepUntil(ctx, time.Now().Add(k.trip/2))
			break
		}
	}
	close(queue)
	writer.Wait()
}

func write(to net.Conn, b []byte) error {
	_, err := to.Write(b)
	return err
}

func (k *link) note(p passage) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p.up {
		k.count.Up += int64(p.size)
	} else {
		k.count.Down += int64(p.size)
	}
	k.seen = append(k.seen, p)
}

// sleepUntil returns false when ctx ended before.
func (k *link) sleepUntil(ctx context.Context, t time.Time) bool {
	d := time.Until(t) - k.late
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// acknowledge keeps the kernel from waiting with its acknowledgement: on the loopback that would be 40 ms
// that no part of the path has.
func acknowledge(c net.Conn) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
	}
}

// A window is how much of one direction of a connection may be in flight.
type window struct {
	trip     time.Duration
	size     int
	inFlight int
	last     time.Time // of the last send
	acks     []ack     // on their way back, oldest first

	// Linux lets it grow when more than half of it was in use at any time of the round trip before.
	peak, peakBefore int       // of inFlight, in this round trip and in the one before
	until            time.Time // end of this round trip
}

type ack struct {
	at   time.Time
	size int
}

// room returns how many bytes may be sent now; where none may, when that will change.
func (w *window) room(now time.Time) (int, time.Time) {
	for len(w.acks) > 0 && !w.acks[0].at.After(now) {
		a := w.acks[0]
		if w.size < 2*max(w.peak, w.peakBefore) {
			w.size = min(w.size+a.size, flowWindow)
		}
		w.inFlight -= a.size
		w.acks = w.acks[1:]
	}
	if w.inFlight == 0 {
		for idle := now.Sub(w.last); idle > w.trip+idleTimeout && w.size > initialWindow; idle -= w.trip + idleTimeout {
			w.size = max(w.size/2, initialWindow)
			w.last = now
		}
	}
	if w.inFlight >= w.size {
		return 0, w.acks[0].at
	}
	return w.size - w.inFlight, time.Time{}
}

func (w *window) sent(now time.Time, n int) {
	w.inFlight += n
	if now.After(w.until) {
		w.peak, w.peakBefore = 0, w.peak
		w.until = now.Add(w.trip)
	}
	w.peak = max(w.peak, w.inFlight)
	w.last = now
	w.acks = append(w.acks, ack{now.Add(w.trip), n})
}

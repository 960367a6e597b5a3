//go:build unix

package enginetest

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// A Proxy stands between a client and a server and breaks their connections as a test wants. All
// methods are safe for concurrent use.
type Proxy struct {
	Addr string // what clients connect to
	Port int

	listener net.Listener
	wg       sync.WaitGroup

	mu       sync.Mutex
	target   string
	changed  sync.Cond
	links    map[*link]bool
	accepted int
	carried  int64 // bytes in both directions
	stalled  bool
	refuse   bool
	closed   bool
	delay    time.Duration
	cutAfter int64 // bytes left until the cut; negative: never
}

// A link is one connection of a client and its counterpart.
type link struct{ near, far net.Conn }

func (l *link) reset() {
	for _, c := range []net.Conn{l.near, l.far} {
		if t, ok := c.(*net.TCPConn); ok {
			t.SetLinger(0) // RST, as a broken network path gives
		}
		c.Close()
	}
}

// NewProxy starts a proxy to the address target and stops it when the test ends.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{
		Addr: l.Addr().String(), Port: l.Addr().(*net.TCPAddr).Port,
		target: target, listener: l, links: map[*link]bool{}, cutAfter: -1,
	}
	p.changed.L = &p.mu
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.changed.Broadcast()
		p.mu.Unlock()
		l.Close()
		p.Cut()
		p.wg.Wait()
	})
	return p
}

func (p *Proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuse := p.refuse || p.closed
		target := p.target
		p.mu.Unlock()
		if refuse {
			(&link{near: near, far: near}).reset()
			continue
		}
		far, err := net.Dial("tcp", target)
		if err != nil {
			near.Close()
			continue
		}
		l := &link{near, far}
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			l.reset()
			continue
		}
		p.links[l] = true
		p.accepted++
		p.mu.Unlock()
		p.wg.Go(func() {
			var both sync.WaitGroup
			both.Go(func() { p.carry(l, l.near, l.far) })
			both.Go(func() { p.carry(l, l.far, l.near) })
			both.Wait()
			near.Close()
			far.Close()
			p.mu.Lock()
			delete(p.links, l)
			p.mu.Unlock()
		})
	}
}

type packet struct {
	due time.Time
	b   []byte
}

// carry moves bytes from one side to the other, each after the delay.
func (p *Proxy) carry(l *link, from, to net.Conn) {
	queue := make(chan packet, 1024)
	var wg sync.WaitGroup
	wg.Go(func() {
		for q := range queue {
			time.Sleep(time.Until(q.due))
			if !p.pass(l, len(q.b)) {
				l.reset()
				continue // until the reader sees it too
			}
			if _, err := to.Write(q.b); err != nil {
				from.Close()
			}
		}
		if t, ok := to.(*net.TCPConn); ok {
			t.CloseWrite()
		}
	})
	for {
		b := make([]byte, 32<<10)
		n, err := from.Read(b)
		if n > 0 {
			p.mu.Lock()
			due := time.Now().Add(p.delay)
			p.mu.Unlock()
			queue <- packet{due, b[:n]}
		}
		if err != nil {
			break
		}
	}
	close(queue)
	wg.Wait()
}

// pass waits while the proxy is stalled and counts n bytes; false means that the link is to be cut.
func (p *Proxy) pass(l *link, n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.stalled && !p.closed && p.links[l] {
		p.changed.Wait()
	}
	if !p.links[l] {
		return false
	}
	p.carried += int64(n)
	if p.cutAfter >= 0 {
		if p.cutAfter -= int64(n); p.cutAfter <= 0 {
			p.cutAfter = -1
			delete(p.links, l)
			return false
		}
	}
	return true
}

// Cut resets all present connections; new ones are accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	links := p.links
	p.links = map[*link]bool{}
	p.changed.Broadcast()
	p.mu.Unlock()
	for l := range links {
		l.reset()
	}
}

// Stall lets no byte through and keeps the connections open, as a network does that drops packets.
func (p *Proxy) Stall() { p.set(func() { p.stalled = true }) }

// Resume ends Stall; what was held up arrives.
func (p *Proxy) Resume() { p.set(func() { p.stalled = false }) }

// Delay lets bytes arrive d later in each direction, from now on.
func (p *Proxy) Delay(d time.Duration) { p.set(func() { p.delay = d }) }

// CutAfter resets the connection that carries the n-th byte from now, both directions counted
// together. A negative n takes that back.
func (p *Proxy) CutAfter(n int64) { p.set(func() { p.cutAfter = n }) }

// SetTarget sends new connections to another address; the present ones stay.
func (p *Proxy) SetTarget(target string) { p.set(func() { p.target = target }) }

// Refuse makes new connections break at once; the present ones stay.
func (p *Proxy) Refuse(refuse bool) { p.set(func() { p.refuse = refuse }) }

func (p *Proxy) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.changed.Broadcast()
}

// Accepted returns how many connections were made so far.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Carried returns how many bytes have passed so far, both directions together.
func (p *Proxy) Carried() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.carried
}

// CutRandomly resets all connections again and again, after pauses between shortest and longest that
// follow from seed, until the returned function is called or the test ends. The pauses grow by a tenth
// with each cut: on a machine so busy that none of them suffices for a login, one does in the end.
func (p *Proxy) CutRandomly(t testing.TB, seed uint64, shortest, longest time.Duration) (stop func()) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, seed))
	done := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	wg.Go(func() {
		for cuts := int64(0); ; cuts++ {
			length := shortest + time.Duration(r.Int64N(int64(longest-shortest)+1))
			pause := time.NewTimer(length + length*time.Duration(cuts)/10)
			select {
			case <-pause.C:
				p.Cut()
			case <-done:
				pause.Stop()
				return
			}
		}
	})
	stop = func() {
		once.Do(func() { close(done) })
		wg.Wait()
	}
	t.Cleanup(stop)
	return stop
}

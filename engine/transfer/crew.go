package transfer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A distant Runner knows how far its node is and makes further connections to it; *ssh.Client is one.
type distant interface {
	ssh.Runner
	RoundTrip(ctx context.Context) (time.Duration, error)
	FirstAnswer(ctx context.Context) (time.Duration, error)
	Beside() (*ssh.Client, error)
}

// A width says when a transfer uses further connections, and how.
//
// Over a distance a connection carries a window per round trip, 2 MiB where OpenSSH is the node, and that
// is counted in round trips: a further connection is ready after about ten of them, in which the first
// one moves 20 MiB at most. So what decides is the amount, not the distance, as long as there is one. Those that are
// begun while the first one is made are ready two round trips after it.
type width struct {
	trip    time.Duration // shortest round trip for which it is worth it
	first   int64         // bytes that each connection moves meanwhile
	part    int64         // bytes of a piece or stretch of a large file
	asked   int64         // bytes of small files that a download asks a command for at most before they have come
	large   int64         // bytes from which on a file is moved by commands of its own; 0 is never
	stretch int64         // bytes of a large file that one command of an upload moves where the node is near
	each    int64         // bytes for which one more connection is made
	most    int           // further connections
	greet   int           // of them, in their handshake at a time: sshd drops some from the eleventh on
	early   int           // of them, that a download makes while the first one is made, before it knows its bytes
	late    time.Duration // for which the end waits for the logins of those
	at      int           // commands at a time on each
	spill   int64         // bytes of a download that may wait for those before them
}

func defaultWidth() width {
	return width{
		trip: 15 * time.Millisecond, first: 8 << 20, part: 4 << 20, asked: 8 << 20, large: 32 << 20, stretch: 64 << 20, each: 4 << 20,
		most: 11, greet: 8, early: 4, late: 500 * time.Millisecond, at: 3, spill: 256 << 20,
	}
}

// isLarge says whether so many bytes of a file are moved by commands of their own.
func (w width) isLarge(size int64) bool { return w.large > 0 && size >= w.large }

// further is how many connections are made for so many bytes.
func (w width) further(bytes int64) int {
	if w.most == 0 {
		return 0
	}
	return int(max(0, min(int64(w.most), bytes/w.each)))
}

// isFar says whether runner makes further connections and its node is far enough for them. It connects, and
// the handshake tells.
func (w width) isFar(ctx context.Context, runner ssh.Runner) (bool, error) {
	far, ok := runner.(distant)
	if !ok || w.most == 0 {
		return false, nil
	}
	trip, err := far.RoundTrip(ctx)
	return err == nil && trip >= w.trip, err
}

// A job moves a part of a transfer by one command on whatever connection it is given. It must be safe to
// run again after an error. Its error ends what its connection does; one that is not about the connection,
// which isConnection says, ends the transfer.
type job struct {
	run   func(ctx context.Context, runner ssh.Runner) error
	ready func() bool // nil: at any time; else asked with the crew's lock held
}

// A crew does jobs on the first connection and on further ones, as many as come up. What a connection
// that breaks had taken is done by another one. Connections may be made before there are jobs.
type crew struct {
	width    width
	node     ssh.Runner
	ctx      context.Context // of the jobs
	cancel   context.CancelFunc
	greeting chan struct{}  // has one for each handshake that runs
	hands    sync.WaitGroup // further connections

	early    context.Context // of the handshakes that run while the first connection is made
	cutEarly context.CancelFunc

	mu      sync.Mutex
	changed sync.Cond
	hired   int // further connections that were begun
	given   bool
	todo    []job
	taken   int
	err     error
}

// newCrew returns one without jobs. stop must be called.
func newCrew(ctx context.Context, w width, node ssh.Runner) *crew {
	c := &crew{width: w, node: node, greeting: make(chan struct{}, max(w.greet, 1))}
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.early, c.cutEarly = context.WithCancel(ctx)
	c.changed.L = &c.mu
	context.AfterFunc(c.ctx, c.wake)
	return c
}

func (c *crew) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed.Broadcast()
}

// hireEarly makes so many further connections while the first one is made, if there is none yet and the node seems far: its
// first word takes a round trip and the start of a server, which takes the longer the busier the node is.
func (c *crew) hireEarly(count int) {
	far, ok := c.node.(distant)
	if !ok || min(count, c.width.most) == 0 {
		return
	}
	c.hands.Go(func() {
		if answer, err := far.FirstAnswer(c.ctx); err == nil && answer >= 3*c.width.trip {
			c.begin(count, c.early)
		}
	})
}

// hire makes further connections for so many bytes, beyond those that the ones that there are move until then.
func (c *crew) hire(bytes int64) {
	c.mu.Lock()
	count := c.hired + c.width.further(bytes-int64(c.hired)*c.width.first)
	c.mu.Unlock()
	c.begin(count, c.ctx)
}

// begin begins to make further connections until there are so many.
func (c *crew) begin(count int, handshake context.Context) {
	far, ok := c.node.(distant)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; c.hired < min(count, c.width.most); c.hired++ {
		c.hands.Go(func() { c.connect(far, handshake) })
	}
}

// give gives it all its jobs.
func (c *crew) give(todo []job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.given, c.todo = true, todo
	c.changed.Broadcast()
}

// connect makes a connection and works on it. Whatever is wrong with it, the others go on.
func (c *crew) connect(far distant, handshake context.Context) {
	select {
	case c.greeting <- struct{}{}:
	case <-c.ctx.Done():
		return
	}
	node, err := far.Beside()
	if err == nil {
		defer node.Close()
		err = node.Connect(handshake)
	}
	<-c.greeting
	if err == nil {
		_ = c.work(c.ctx, node)
	}
}

// work does jobs until there are none, or the connection fails. It begins with one at a time: what a connection
// carries grows with each round trip, and what a fresh one has taken the others wait for in the end.
func (c *crew) work(ctx context.Context, runner ssh.Runner) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var workers sync.WaitGroup
	var begun atomic.Int32
	var begin func()
	begin = func() {
		if begun.Add(1) > int32(c.width.at) {
			return
		}
		workers.Go(func() {
			for {
				j, ok := c.take(ctx)
				if !ok {
					return
				}
				err := j.run(ctx, runner)
				c.done(j, err)
				if err != nil {
					cancel(err)
					return
				}
				begin()
			}
		})
	}
	begin()
	workers.Wait()
	return context.Cause(ctx)
}

// take returns the next job. It waits while there may be one later: one that is not ready, or one that
// comes back.
func (c *crew) take(ctx context.Context) (job, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer context.AfterFunc(ctx, c.wake)()
	for ctx.Err() == nil && c.err == nil && (!c.given || len(c.todo) > 0 || c.taken > 0) {
		if len(c.todo) > 0 && (c.todo[0].ready == nil || c.todo[0].ready()) {
			j := c.todo[0]
			c.todo = c.todo[1:]
			c.taken++
			return j, true
		}
		c.changed.Wait()
	}
	return job{}, false
}

// done notes how a job ended; one that did not is the next to be taken.
func (c *crew) done(j job, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken--
	if err != nil {
		c.todo = slices.Insert(c.todo, 0, j)
		if c.err == nil && !isConnection(err) {
			c.err = err
		}
	}
	if c.err != nil || len(c.todo) == 0 && c.taken == 0 {
		c.cancel() // also of connections that would come too late
	}
	c.changed.Broadcast()
}

// finish works on the first connection too, and waits for all. The error is the first one that ends the
// transfer, or that of the first connection.
func (c *crew) finish(ctx context.Context) error {
	err := c.work(ctx, c.node)
	c.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case c.err != nil:
		return c.err
	case len(c.todo) > 0:
		return err
	}
	return nil
}

// stop ends all that the crew does. Handshakes that are as old as that of the first connection are about to end, and
// may do so: a server holds it against a client when it goes without having logged in (sshd's PerSourcePenalties).
func (c *crew) stop() {
	c.cancel()
	defer time.AfterFunc(c.width.late, c.cutEarly).Stop()
	c.hands.Wait()
	c.cutEarly()
}

// isConnection says whether an error is about the way to the node, and not about what is moved.
func isConnection(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unreachable, fault.Auth, fault.HostKey:
		return true
	}
	return isLost(err) || errors.Is(err, context.Canceled)
}

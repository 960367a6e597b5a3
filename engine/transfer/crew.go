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
	Beside() (*ssh.Client, error)
}

// A width says when a transfer uses further connections, and how.
//
// Over a distance a connection carries a window per round trip, 2 MiB where OpenSSH is the node, and that
// is counted in round trips: a further connection is ready after about ten of them, in which the first
// one moves 20 MiB at most. So what decides is the amount, not the distance, as long as there is one.
type width struct {
	trip    time.Duration // shortest round trip for which it is worth it
	first   int64         // bytes that the first connection moves meanwhile
	part    int64         // bytes of a piece or stretch of a large file
	chunk   int64         // bytes of small files that a download asks a command for at a time
	large   int64         // bytes from which on a file is moved by commands of its own; 0 is never
	stretch int64         // bytes of a large file that one command of an upload moves where the node is near
	each    int64         // bytes for which one more connection is made
	most    int           // further connections
	greet   int           // of them, in their handshake at a time: sshd drops some from the eleventh on
	at      int           // commands at a time on each
	spill   int64         // bytes of a download that may wait for those before them
}

func defaultWidth() width {
	return width{
		trip: 15 * time.Millisecond, first: 8 << 20, part: 4 << 20, chunk: 1 << 20, large: 32 << 20, stretch: 64 << 20, each: 4 << 20,
		most: 11, greet: 8, at: 3, spill: 256 << 20,
	}
}

// isLarge says whether so many bytes of a file are moved by commands of their own.
func (w width) isLarge(size int64) bool { return w.large > 0 && size >= w.large }

// further is how many connections are made for so many bytes.
func (w width) further(bytes int64) int64 { return min(int64(w.most), bytes/w.each) }

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
// that breaks had taken is done by another one.
type crew struct {
	width  width
	node   ssh.Runner
	cancel context.CancelFunc
	hands  sync.WaitGroup // further connections

	mu      sync.Mutex
	changed sync.Cond
	todo    []job
	taken   int
	err     error
}

// newCrew begins to make connections for so many bytes; for 0 the first one does all. finish must be called.
func newCrew(ctx context.Context, w width, node ssh.Runner, todo []job, bytes int64) *crew {
	ctx, cancel := context.WithCancel(ctx)
	c := &crew{width: w, node: node, cancel: cancel, todo: todo}
	c.changed.L = &c.mu
	context.AfterFunc(ctx, c.wake)
	if far, ok := node.(distant); ok && bytes > 0 {
		greeting := make(chan struct{}, w.greet)
		for range w.further(bytes) {
			c.hands.Go(func() { c.connect(ctx, far, greeting) })
		}
	}
	return c
}

func (c *crew) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed.Broadcast()
}

// connect makes a connection and works on it. Whatever is wrong with it, the others go on.
func (c *crew) connect(ctx context.Context, far distant, greeting chan struct{}) {
	select {
	case greeting <- struct{}{}:
	case <-ctx.Done():
		return
	}
	node, err := far.Beside()
	if err == nil {
		defer node.Close()
		err = node.Connect(ctx)
	}
	<-greeting
	if err == nil {
		_ = c.work(ctx, node)
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
	for ctx.Err() == nil && c.err == nil && (len(c.todo) > 0 || c.taken > 0) {
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

// stop ends all that the crew does.
func (c *crew) stop() {
	c.cancel()
	c.hands.Wait()
}

// isConnection says whether an error is about the way to the node, and not about what is moved.
func isConnection(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unreachable, fault.Auth, fault.HostKey:
		return true
	}
	return isLost(err) || errors.Is(err, context.Canceled)
}

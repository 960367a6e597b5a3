//go:build unix

package local

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// children starts the daemon's commands, and buries its orphans without taking an exit status that
// a command's Wait is owed.
type children struct {
	mu     sync.Mutex
	own    map[int]bool // started here and not yet waited for
	closed bool
}

func newChildren() *children { return &children{own: map[int]bool{}} }

// start starts cmd. It holds the lock while a child exists that is not yet in own.
func (c *children) start(cmd *exec.Cmd) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errors.New("this instance is being terminated")
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.own[cmd.Process.Pid] = true
	return nil
}

// wait is cmd.Wait; released is called when the process id is free again.
func (c *children) wait(cmd *exec.Cmd, released func()) error {
	err := cmd.Wait()
	released()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.own, cmd.Process.Pid)
	return err
}

// close makes every later start fail.
func (c *children) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// reap waits for orphans from now on, until stop is called; a second call of stop does nothing.
func (c *children) reap() (stop func()) {
	if !adoptsOrphans {
		return func() {}
	}
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		// Signals of several deaths may come as one, so look now and then without any. A pause
		// after each look keeps a command that starts thousands of others cheap.
		often := time.NewTicker(100 * time.Millisecond)
		defer often.Stop()
		for {
			select {
			case <-died:
			case <-time.After(5 * time.Second):
			case <-quit:
				return
			}
			c.bury()
			select {
			case <-often.C:
			case <-quit:
				return
			}
		}
	})
	return sync.OnceFunc(func() {
		signal.Stop(died)
		close(quit)
		wg.Wait()
	})
}

// bury takes the exit status of every dead child that was not started here.
func (c *children) bury() {
	c.mu.Lock()
	defer c.mu.Unlock()
	all, err := processes()
	if err != nil {
		return // next time
	}
	self := os.Getpid()
	for _, p := range all {
		if p.parent == self && p.dead && !c.own[p.pid] {
			var status syscall.WaitStatus
			_, _ = syscall.Wait4(p.pid, &status, syscall.WNOHANG, nil)
		}
	}
}

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interruptible returns a context that Ctrl-C ends, and the function that stops listening. What
// merely watches or can be repeated uses it: nothing is touched. A second Ctrl-C ends the process.
func (a *app) interruptible(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done, joined := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(joined)
		again := false
		for {
			select {
			case <-done:
				return
			case s := <-signals:
				cause, code := errInterrupted, exitInterrupt
				if s == syscall.SIGTERM {
					cause, code = errTerminated, exitTerminated
				}
				if again {
					a.leaveNow(code)
				}
				again = true
				cancel(cause)
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		<-joined
		cancel(nil)
	}
}

// surviveHangup keeps the process alive when its terminal goes away, until the returned function is
// called. The signal is caught, not ignored: what this process starts would inherit that.
func surviveHangup() func() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	return func() { signal.Stop(signals) }
}

// survivePipe makes a write to a closed pipe an error instead of the end of the process, which would
// have no chance to release what it holds.
func survivePipe() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}

// leaveNow ends the process with code, whatever else runs.
func (a *app) leaveNow(code int) {
	select {
	case a.leave <- code:
	default:
	}
}

// quietInterrupt turns the end of ctx by the user into the exit code alone: who pressed Ctrl-C need
// not be told.
func quietInterrupt(ctx context.Context, err error) error {
	switch context.Cause(ctx) {
	case errInterrupted:
		return exitError(exitInterrupt)
	case errTerminated:
		return exitError(exitTerminated)
	}
	return err
}

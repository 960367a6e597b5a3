package transfer

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A conversation is one command on the node whose answers are read while it is told what to do.
type conversation struct {
	in     *io.PipeWriter // what the command reads
	out    *bufio.Reader  // what it writes
	stderr tail

	pipe    *io.PipeReader
	cancel  context.CancelFunc
	ended   chan error
	writers sync.WaitGroup
}

func converse(ctx context.Context, runner ssh.Runner, script string) *conversation {
	ctx, cancel := context.WithCancel(ctx)
	stdin, in := io.Pipe()
	out, stdout := io.Pipe()
	c := &conversation{
		in: in, out: bufio.NewReaderSize(out, 256<<10),
		pipe: out, cancel: cancel, ended: make(chan error, 1),
	}
	go func() {
		err := runner.Run(ctx, ssh.Command{Script: script, Stdin: stdin, Stdout: stdout, Stderr: &c.stderr})
		// Who still writes to a command that has ended, or reads from it, must not wait for ever.
		stdin.CloseWithError(io.ErrClosedPipe)
		stdout.Close()
		c.ended <- err
	}()
	return c
}

// tell runs fn, which writes to the command, beside the reader, and ends the command's input when fn
// is done. Where fn fails the command finds its input too short.
func (c *conversation) tell(fn func(*bufio.Writer) error) {
	c.writers.Go(func() {
		w := bufio.NewWriterSize(c.in, 256<<10)
		if fn(w) == nil {
			_ = w.Flush()
		}
		_ = c.in.Close()
	})
}

// end waits for the command. With stop it is not given the time to finish by itself. The error is
// the Runner's.
func (c *conversation) end(stop bool) error {
	if stop {
		c.cancel()
		c.pipe.CloseWithError(io.ErrClosedPipe)
		c.in.CloseWithError(io.ErrClosedPipe)
	}
	_ = c.in.Close()
	_, _ = io.Copy(io.Discard, c.out)
	err := <-c.ended
	c.writers.Wait()
	c.cancel()
	return err
}

// reason finds words for a command that did not do what it should: its own, how it ended, or what
// this side saw of that.
func (c *conversation) reason(runErr, seen error) error {
	if lines := c.stderr.lines(); len(lines) > 0 {
		return errors.New(strings.Join(lines[:min(len(lines), 3)], "; "))
	}
	if runErr != nil {
		return runErr
	}
	return seen
}

// A tail keeps the last bytes of what a command writes to standard error.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 64 << 10 // bytes

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if extra := len(t.buf) - tailSize; extra > 0 {
		t.buf = append(t.buf[:0], t.buf[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(strings.TrimSpace(string(t.buf)), "\uFFFD")
}

// lines returns those that are kept, without the empty ones.
func (t *tail) lines() []string {
	var lines []string
	for line := range strings.Lines(t.String()) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

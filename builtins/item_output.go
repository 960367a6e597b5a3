package builtins

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/bifrost-run/bifrost/engine/follow"
	"github.com/bifrost-run/bifrost/starlark"
)

// An itemOutput is where one item of parallel prints, and where the bytes of its jobs go. Lines come out
// whole.
type itemOutput struct {
	prints *lineWriter
	bytes  *lineWriter
	jobs   io.WriteCloser // to bytes
	file   *os.File       // nil for standard output
}

// newPrefixed writes to where the call's thread does, with a prefix before each line.
func newPrefixed(prefix string, c *Call) *itemOutput {
	outer, jobs := c.thread, c.jobOutput()
	o := &itemOutput{prints: &lineWriter{prefix: prefix, out: func(line string) error { outer.Print(line); return nil }}}
	o.bytes = &lineWriter{prefix: prefix, out: func(line string) error {
		_, err := io.WriteString(jobs, line)
		return err
	}}
	o.jobs = follow.CollapseFrames(o.bytes)
	return o
}

// newLogFile writes to a file of the item's own, without the values of secrets.
func newLogFile(f *os.File, r *starlark.Redactor) *itemOutput {
	w := &lineWriter{out: func(line string) error {
		_, err := f.WriteString(r.Redact(line))
		return err
	}}
	return &itemOutput{prints: w, bytes: w, jobs: w, file: f}
}

// Print implements starlark.Output.
func (o *itemOutput) Print(text string) { _, _ = o.prints.Write([]byte(text)) } // its error is Close's

// Close writes what has no end of line yet.
func (o *itemOutput) Close() error {
	err := errors.Join(o.prints.Close(), o.jobs.Close(), o.bytes.Close())
	if o.file != nil {
		err = errors.Join(err, o.file.Close())
	}
	return err
}

// A lineWriter hands on whole lines, each in one piece.
type lineWriter struct {
	prefix string
	out    func(line string) error

	mu   sync.Mutex
	held []byte
	err  error
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = append(w.held, p...)
	for {
		i := bytes.IndexByte(w.held, '\n')
		if i < 0 {
			return len(p), w.err
		}
		w.line(w.held[:i+1])
		w.held = w.held[i+1:]
	}
}

func (w *lineWriter) line(line []byte) {
	if err := w.out(w.prefix + string(line)); w.err == nil {
		w.err = err
	}
}

// Close ends the last line. More may be written after it.
func (w *lineWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.held) > 0 {
		w.line(append(w.held, '\n'))
		w.held = nil
	}
	return w.err
}

// jobOutput is where the bytes of the call's jobs go: to its thread's output, or the program's.
func (c *Call) jobOutput() io.Writer {
	if o, ok := c.thread.Output().(*itemOutput); ok {
		return o.jobs
	}
	if c.lib.opts.JobOutput == nil {
		return io.Discard
	}
	return c.lib.opts.JobOutput
}

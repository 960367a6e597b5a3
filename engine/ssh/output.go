package ssh

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"sync"
)

// An output is one stream of a command: what precedes the mark is cut off, the rest goes to w.
type output struct {
	started chan struct{} // closed at the mark that ends the prelude
	ready   chan struct{} // closed at the first mark

	mu     sync.Mutex
	w      io.Writer
	scan   scanner
	marked bool
	closed bool
}

func newOutput(w io.Writer, e encoded) *output {
	if w == nil {
		w = io.Discard
	}
	return &output{
		w: w, scan: scanner{mark: []byte(e.mark), left: e.marks},
		started: make(chan struct{}), ready: make(chan struct{}),
	}
}

// copy moves r to the output until r ends. After close it goes on reading and discards.
func (o *output) copy(r io.Reader) error {
	b := make([]byte, bufferBytes)
	for {
		n, err := r.Read(b)
		if n > 0 {
			if werr := o.write(b[:n]); werr != nil {
				return werr
			}
		}
		// With bytes an error is that of asking for more, on a connection that has just broken. Behind them may lie
		// all the rest, with the exit status; the channel says how it ended.
		if n == 0 && err != nil {
			return nil
		}
	}
}

func (o *output) write(b []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.scan.left
	b, err := o.scan.scan(b)
	if o.scan.left < before && !o.marked {
		o.marked = true
		close(o.ready)
	}
	if o.scan.left == 0 && before > 0 {
		close(o.started)
	}
	if o.closed || err != nil || len(b) == 0 {
		return err
	}
	_, err = o.w.Write(b)
	return err
}

// close ends writing; it waits for a Write that is under way.
func (o *output) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
}

func (o *output) isStarted() bool {
	select {
	case <-o.started:
		return true
	default:
		return false
	}
}

// pid returns the process id of the command's shell, 0 where it did not say.
func (o *output) pid() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := strconv.Atoi(o.scan.pid)
	if err != nil || n < 2 {
		return 0
	}
	return n
}

// lastLines returns the end of what came before the mark.
func (o *output) lastLines() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	noise := bytes.ToValidUTF8(o.scan.noise, []byte("?"))
	lines := strings.FieldsFunc(string(noise), func(r rune) bool { return r == '\n' || r == '\r' })
	if len(lines) > 5 {
		lines = lines[len(lines)-5:]
	}
	for i, l := range lines {
		if len(l) > 200 {
			lines[i] = l[:200] + "…"
		}
	}
	return strings.Join(lines, "\n")
}

package ssh

import (
	"io"
	"sync"
)

// bufferBytes is the size of the buffers that carry a command's streams: large enough that the
// cipher, not the number of packets, is the limit.
const bufferBytes = 256 << 10

// A pump carries a reader's bytes to a channel. Small reads that arrive while a write is under way
// leave together in one packet; a read that arrives while nothing is written leaves at once.
type pump struct {
	mu      sync.Mutex
	changed sync.Cond
	buf     []byte
	err     error // the reader's end: io.EOF or its error
	stopped bool
}

func newPump() *pump {
	p := &pump{}
	p.changed.L = &p.mu
	return p
}

// fill reads r until it ends or the pump is stopped. It runs on a goroutine that may outlive the
// command when a Read blocks for ever.
func (p *pump) fill(r io.Reader) {
	b := make([]byte, 64<<10)
	for {
		n, err := r.Read(b)
		p.mu.Lock()
		for len(p.buf) > 0 && len(p.buf)+n > bufferBytes && !p.stopped {
			p.changed.Wait()
		}
		p.buf = append(p.buf, b[:n]...)
		p.err = err
		stop := p.stopped || err != nil
		p.changed.Broadcast()
		p.mu.Unlock()
		if stop {
			return
		}
	}
}

// drain writes what fill reads to w, until the reader ends or w fails. It returns the reader's
// error; that w no longer takes anything is not an error: the command has closed its stdin.
func (p *pump) drain(w io.Writer) error {
	var spare []byte
	for {
		p.mu.Lock()
		for len(p.buf) == 0 && p.err == nil && !p.stopped {
			p.changed.Wait()
		}
		if p.stopped || len(p.buf) == 0 {
			err := p.err
			p.mu.Unlock()
			if err == io.EOF {
				err = nil
			}
			return err
		}
		b := p.buf
		p.buf = spare[:0]
		p.changed.Broadcast()
		p.mu.Unlock()
		if _, err := w.Write(b); err != nil {
			p.stop()
			return nil
		}
		spare = b
	}
}

// stop ends drain, and fill after its present Read.
func (p *pump) stop() {
	p.mu.Lock()
	p.stopped = true
	p.changed.Broadcast()
	p.mu.Unlock()
}

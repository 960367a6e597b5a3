package transfer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// blockSize is that of dd, and what the pieces of a file begin at a multiple of. dd seeks in every
// coreutils and busybox, which tail does not.
const blockSize = 64 << 10

// Pieces are those of the large files of a download. They arrive on several connections in any order
// and are written in order, so that a part is the beginning of its file at every moment.
type pieces struct {
	fetch *fetch
	list  []piece
	ahead int // how many may arrive before the one that is next

	mu   sync.Mutex
	next int            // to be written
	held map[int][]byte // arrived, but not next
	free [][]byte
}

// A piece is length bytes of a file.
type piece struct {
	of     *rest
	offset int64
	length int64
}

func (d *fetch) newPieces(files []*rest) *pieces {
	p := &pieces{fetch: d, ahead: int(d.width.memory / d.width.part), held: make(map[int][]byte)}
	for _, f := range files {
		for offset := f.offset; ; {
			end := min((offset/d.width.part+1)*d.width.part, f.entry.size)
			p.list = append(p.list, piece{f, offset, end - offset})
			if offset = end; offset == f.entry.size {
				break
			}
		}
	}
	return p
}

// jobs returns one for each piece.
func (p *pieces) jobs() []job {
	jobs := make([]job, len(p.list))
	for i := range p.list {
		jobs[i] = job{
			run:   func(ctx context.Context, runner ssh.Runner) error { return p.bring(ctx, runner, i) },
			ready: func() bool { return i < p.reached()+p.ahead },
		}
	}
	return jobs
}

func (p *pieces) reached() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}

// bring fetches a piece and writes it, or leaves it to be written.
func (p *pieces) bring(ctx context.Context, runner ssh.Runner, i int) error {
	pc := p.list[i]
	if p.fetch.isOver(pc.of.entry) {
		return p.deliver(i, nil)
	}
	if pc.length == 0 { // all of the file is here but for its sum
		return p.deliver(i, []byte{})
	}
	skip := pc.offset / blockSize
	count := (pc.offset+pc.length+blockSize-1)/blockSize - skip
	content := &exactly{buf: p.buffer(), most: int(count * blockSize), count: p.fetch.count}
	defer content.end()
	err := runner.Run(ctx, ssh.Command{
		Script: p.fetch.readScript(pc.of.entry, fmt.Sprintf("skip=%d count=%d", skip, count)),
		Stdout: content, Stderr: p.fetch.stderr,
	})
	switch {
	case err == nil, isExit(err), errors.Is(err, errOver):
	case ctx.Err() != nil:
		return context.Cause(ctx)
	default:
		return err
	}
	from := pc.offset - skip*blockSize
	if int64(len(content.buf)) < from+pc.length {
		p.miss(pc.of.entry) // it has become shorter, or is gone
		return p.deliver(i, nil)
	}
	content.good = int(pc.length)
	return p.deliver(i, content.buf[:from+pc.length])
}

func (p *pieces) miss(e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetch.miss(e)
}

// deliver takes a piece that arrived, behind what comes before its offset in its first block; nil is
// one of a file that is given up.
func (p *pieces) deliver(i int, b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held[i] = b
	for {
		b, ok := p.held[p.next]
		if !ok {
			return nil
		}
		pc := p.list[p.next]
		if err := p.write(pc, b); err != nil {
			return err
		}
		delete(p.held, p.next)
		if len(b) > 0 {
			p.free = append(p.free, b)
		}
		p.next++
	}
}

func (p *pieces) write(pc piece, b []byte) error {
	f, d := pc.of, p.fetch
	if b == nil || d.isOver(f.entry) {
		f.drop()
		return nil
	}
	if err := d.begin(f); f.part == nil {
		return err
	}
	if _, err := f.part.Write(b[int64(len(b))-pc.length:]); err != nil {
		return d.writeError(f.part, err)
	}
	if pc.offset+pc.length < f.entry.size {
		return nil
	}
	return d.arrived(f)
}

// buffer returns an empty one for a piece.
func (p *pieces) buffer() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b[:0]
	}
	return make([]byte, 0, p.fetch.width.part+blockSize)
}

// An exactly is a writer that keeps at most so many bytes. It counts them as they come, and end takes
// that back for those that were no good.
type exactly struct {
	buf   []byte
	most  int
	count func(n int)
	good  int
}

func (e *exactly) Write(b []byte) (int, error) {
	if len(e.buf)+len(b) > e.most {
		return 0, errOver
	}
	e.buf = append(e.buf, b...)
	e.count(len(b))
	return len(b), nil
}

func (e *exactly) end() { e.count(e.good - len(e.buf)) }

package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// blockSize is that of dd, and what the pieces of a file begin at a multiple of. dd seeks in every
// coreutils and busybox, which tail does not.
const blockSize = 64 << 10

// Pieces are those of the large files of a download. They arrive on several connections in any order, in a
// spill beside the part of their file, and are moved to the part in order, so that it is the beginning of its
// file at every moment.
type pieces struct {
	fetch *fetch
	list  []piece
	ahead int // how many may be under way or in a spill, from the one that is next on

	mu      sync.Mutex
	next    int // to be moved to its part
	arrived map[int]bool
	moving  bool // somebody moves what is next
}

// A piece is length bytes of a file.
type piece struct {
	of     *rest
	offset int64
	length int64
}

func (pc piece) isLast() bool { return pc.offset+pc.length == pc.of.entry.size }

// newPieces divides files of a download that has so many bytes to write.
func (d *fetch) newPieces(files []*rest, bytes int64) *pieces {
	p := &pieces{fetch: d, ahead: d.spillPieces(bytes), arrived: make(map[int]bool)}
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

// bring fetches a piece.
func (p *pieces) bring(ctx context.Context, runner ssh.Runner, i int) error {
	pc, d := p.list[i], p.fetch
	if d.isOver(pc.of.entry) || pc.length == 0 { // the latter: all of the file is here but for its sum
		return p.deliver(i)
	}
	spill, err := p.spill(pc.of)
	if err != nil {
		return err
	}
	if spill == nil {
		return p.deliver(i)
	}
	skip := pc.offset / blockSize
	count := (pc.offset+pc.length+blockSize-1)/blockSize - skip
	in := &inflow{
		fetch: d, ctx: ctx, part: spill, to: io.NewOffsetWriter(spill.file, p.place(pc)),
		skip: pc.offset - skip*blockSize, left: pc.length,
	}
	err = runner.Run(ctx, ssh.Command{
		Script: d.readScript(pc.of.entry, fmt.Sprintf("skip=%d count=%d", skip, count)),
		Stdout: in, Stderr: d.stderr,
	})
	if in.left > 0 {
		d.count(-int(pc.length - in.left))
	}
	switch {
	case in.err != nil:
		return in.err
	case err == nil, isExit(err), errors.Is(err, errOver):
	case ctx.Err() != nil:
		return context.Cause(ctx)
	default:
		return err
	}
	if in.left > 0 {
		p.miss(pc.of.entry) // it has become shorter, or is gone
	}
	return p.deliver(i)
}

func (p *pieces) miss(e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetch.miss(e)
}

// deliver notes that a piece is in the spill of its file, or that its file is given up, and moves what is
// next. Others deliver meanwhile.
func (p *pieces) deliver(i int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.arrived[i] = true
	if p.moving {
		return nil
	}
	p.moving = true
	defer func() { p.moving = false }()
	for p.arrived[p.next] {
		p.mu.Unlock()
		err := p.move(p.list[p.next])
		p.mu.Lock()
		if err != nil {
			return err
		}
		delete(p.arrived, p.next)
		p.next++
	}
	return nil
}

// move takes a piece from the spill to the part.
func (p *pieces) move(pc piece) error {
	f, d := pc.of, p.fetch
	if pc.isLast() {
		defer f.endSpill()
	}
	if d.isOver(f.entry) {
		f.drop()
		return nil
	}
	if err := d.begin(f); f.part == nil {
		return err
	}
	if pc.length > 0 {
		buf := d.buffer()
		defer d.buffers.Put(buf)
		from := io.NewSectionReader(f.spill.file, p.place(pc), pc.length)
		n, err := io.CopyBuffer(f.part, struct{ io.Reader }{from}, *buf)
		if err == nil && n < pc.length {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return d.writeError(f.part, err)
		}
	}
	if !pc.isLast() {
		return nil
	}
	return d.arrived(f)
}

package transfer

import (
	"context"
	"errors"
	"path"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// share moves what commands of their own can do out of a plan and returns it as jobs: large files, and,
// where the node is far and there is much to move, batches of small ones. What the first connection moves
// while further ones are made stays.
func (d *fetch) share(ctx context.Context, p *plan) []job {
	large, small := false, int64(0)
	for _, r := range p.rests {
		large = large || d.isLarge(r.entry, r.offset)
	}
	for _, e := range p.want {
		if d.isLarge(e, 0) {
			large = true
		} else {
			small += e.size
		}
	}
	if !large && small < d.width.first+d.width.each {
		return nil
	}
	p.far = d.width.isFar(ctx, d.runner)
	if !large && !p.far {
		return nil
	}
	d.divide(p)
	if !p.far {
		return d.streams(p.large)
	}
	jobs := d.newPieces(p.large).jobs()
	for _, batch := range p.batches {
		jobs = append(jobs, job{run: func(ctx context.Context, runner ssh.Runner) error { return d.bringBatch(ctx, runner, batch) }})
	}
	return jobs
}

// isLarge says whether a file from some offset on is worth commands of its own.
func (d *fetch) isLarge(e *entry, offset int64) bool {
	return e.isFile() && (e.late || d.width.isLarge(e.size-offset))
}

// fileOverhead is about what a file costs in an archive beside its content, in bytes.
const fileOverhead = 768

// divide decides what of a plan goes where.
func (d *fetch) divide(p *plan) {
	rests, names := p.rests, p.names
	p.rests, p.names = nil, nil
	for _, r := range rests {
		if d.isLarge(r.entry, r.offset) {
			p.large = append(p.large, r)
			p.bytes += r.entry.size - r.offset
		} else {
			p.rests = append(p.rests, r)
		}
	}
	var first, size int64
	var batch []*entry
	for _, name := range names {
		e := p.want[name]
		switch {
		case d.isLarge(e, 0):
			p.large = append(p.large, &rest{entry: e})
			p.bytes += e.size
		case !p.far || first < d.width.first:
			first += e.size + fileOverhead
			p.names = append(p.names, name)
			continue
		default:
			if len(batch) > 0 && size+e.size+fileOverhead > d.width.part {
				p.batches, batch, size = append(p.batches, batch), nil, 0
			}
			batch = append(batch, e)
			size += e.size + fileOverhead
			p.bytes += e.size + fileOverhead
		}
		delete(p.want, name)
	}
	if len(batch) > 0 {
		p.batches = append(p.batches, batch)
	}
}

// bringBatch fetches whole files by a command of their own.
func (d *fetch) bringBatch(ctx context.Context, runner ssh.Runner, batch []*entry) error {
	p := d.newPlan()
	for _, e := range batch {
		if !d.isOver(e) {
			p.ask(e)
		}
	}
	if len(p.names) == 0 {
		return nil
	}
	c := converse(ctx, runner, batchScript(d.remote))
	c.tell(p.request)
	_, err := readHead(c.out)
	if err != nil {
		err = &streamError{err}
	} else {
		err = d.receive(ctx, c.out, p)
	}
	var broken *streamError
	stop := err != nil && (!errors.As(err, &broken) || errors.Is(err, errProtocol))
	runErr := c.end(stop)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case stop:
		return err
	case runErr != nil && !isExit(runErr):
		return runErr
	}
	for _, e := range p.want { // not in what came
		d.miss(e)
	}
	return nil
}

// nodeName returns the name of what was listed in the folder on the node.
func (d *fetch) nodeName(e *entry) string {
	if d.head.kind == 'f' {
		return path.Base(d.remote.path)
	}
	return e.name
}

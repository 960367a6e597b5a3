package transfer

import (
	"context"
	"errors"
	"path"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// share moves what several connections can do out of a plan and returns it as jobs: none where the
// node is near or there is little to move. What the first connection moves while the others are made
// stays.
func (d *fetch) share(ctx context.Context, p *plan) []job {
	var large, small int64
	for _, r := range p.rests {
		if n := r.entry.size - r.offset; n >= d.width.large {
			large += n
		}
	}
	for _, e := range p.want {
		if e.size >= d.width.large {
			large += e.size
		} else {
			small += e.size
		}
	}
	if large == 0 && small < d.width.first+d.width.each {
		return nil
	}
	node, ok := d.width.widen(ctx, d.runner)
	if !ok {
		return nil
	}
	p.node = node
	d.divide(p)
	jobs := d.newPieces(p.large).jobs()
	for _, batch := range p.batches {
		jobs = append(jobs, job{run: func(ctx context.Context, runner ssh.Runner) error { return d.bringBatch(ctx, runner, batch) }})
	}
	return jobs
}

// fileOverhead is about what a file costs in an archive beside its content, in bytes.
const fileOverhead = 768

// divide decides what of a plan goes where.
func (d *fetch) divide(p *plan) {
	rests, names := p.rests, p.names
	p.rests, p.names = nil, nil
	for _, r := range rests {
		if n := r.entry.size - r.offset; n >= d.width.large {
			p.large = append(p.large, r)
			p.bytes += n
		} else {
			p.rests = append(p.rests, r)
		}
	}
	var first, size int64
	var batch []*entry
	for _, name := range names {
		e := p.want[name]
		switch {
		case e.isFile() && e.size >= d.width.large:
			p.large = append(p.large, &rest{entry: e})
			p.bytes += e.size
		case first < d.width.first:
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

// remoteFile returns the path on the node of what was listed.
func (d *fetch) remoteFile(e *entry) string {
	if d.head.kind == 'f' {
		return path.Join(d.head.where, path.Base(d.remote.path))
	}
	return path.Join(d.head.where, e.name)
}

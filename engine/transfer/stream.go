package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// streams returns a job for each of the large files of a node that is near: one command brings all that is
// missing of it, and it is written as it comes.
func (d *fetch) streams(files []*rest) []job {
	jobs := make([]job, len(files))
	for i, f := range files {
		jobs[i] = job{run: func(ctx context.Context, runner ssh.Runner) error { return d.stream(ctx, runner, f) }}
	}
	return jobs
}

// stream goes on where the part ends, which is where an earlier attempt on another connection left it.
func (d *fetch) stream(ctx context.Context, runner ssh.Runner, f *rest) error {
	if d.isOver(f.entry) {
		f.drop()
		return nil
	}
	if err := d.begin(f); f.part == nil {
		return err
	}
	if f.part.size == f.entry.size { // but for its sum
		return d.arrived(f)
	}
	skip := f.part.size / blockSize
	in := &inflow{fetch: d, ctx: ctx, part: f.part, to: f.part, skip: f.part.size - skip*blockSize, left: f.entry.size - f.part.size}
	err := runner.Run(ctx, ssh.Command{
		Script: d.readScript(f.entry, fmt.Sprintf("skip=%d", skip)),
		Stdout: in, Stderr: d.stderr,
	})
	switch {
	case in.err != nil:
		return in.err
	case err == nil, isExit(err), errors.Is(err, errOver):
	case ctx.Err() != nil:
		return context.Cause(ctx)
	default:
		return err
	}
	if err != nil || in.left > 0 {
		d.miss(f.entry) // it has another size now, or is gone
		f.drop()
		return nil
	}
	return d.arrived(f)
}

// readScript reads a file in blocks, from one of them on.
func (d *fetch) readScript(e *entry, which string) string {
	return fmt.Sprintf("export LC_ALL=C; cd %s && exec <%s && exec dd bs=%d %s 2>/dev/null", ssh.Quote(d.head.where), ssh.Quote("./"+d.nodeName(e)), blockSize, which)
}

// begin opens the part of a file unless it is open. Without a part and without an error the file has failed.
func (d *fetch) begin(f *rest) (err error) {
	if f.part == nil {
		f.part, err = d.newPart(f.entry)
	}
	return err
}

// drop gives up what has arrived of a file.
func (r *rest) drop() {
	if r.part != nil {
		r.part.discard()
		r.part = nil
	}
}

// arrived completes a file whose content is here, at once or when its sum is.
func (d *fetch) arrived(f *rest) error {
	part := f.part
	f.part = nil
	if l := d.late.all[f.entry]; l != nil {
		d.late.await(part, f, l)
		return nil
	}
	return d.complete(part, f)
}

// An inflow writes bytes of a file to a part, and no more than are missing.
type inflow struct {
	fetch *fetch
	ctx   context.Context
	part  *part
	to    io.Writer // in the part
	skip  int64     // bytes that come before it
	left  int64
	err   error // of this machine
}

func (in *inflow) Write(b []byte) (int, error) {
	n := len(b)
	if in.skip > 0 {
		past := min(in.skip, int64(n))
		in.skip -= past
		b = b[past:]
	}
	over := int64(len(b)) > in.left
	if over {
		b = b[:in.left]
	}
	if len(b) > 0 {
		if _, err := in.to.Write(b); err != nil {
			in.err = in.fetch.writeError(in.part, err)
			return 0, in.err
		}
		in.left -= int64(len(b))
		in.fetch.count(len(b))
	}
	if over {
		return 0, errOver
	}
	return n, in.ctx.Err()
}

package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"os"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/follow"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/report"
)

// LogOptions say which part of a log is wanted.
type LogOptions struct {
	Tail   int  // of what is there only that many last lines; 0 means all, below 0 none
	Follow bool // go on until the job has ended

	// Present, if not nil, is called once when Follow has written what was there and what comes
	// next is new.
	Present func()
}

// Logs yields the lines of the job's log from its beginning. The last pair holds the error of a
// stream that broke for good; a broken connection alone is mended unseen.
func (h *Handle) Logs(ctx context.Context, o LogOptions) iter.Seq2[string, error] {
	return lines(ctx, func(ctx context.Context, w io.Writer) error { return h.write(ctx, o, w) })
}

// Stream writes the job's bytes to w, from the first one, until the job has ended.
func (h *Handle) Stream(ctx context.Context, w io.Writer) error {
	return h.write(ctx, LogOptions{Follow: true}, w)
}

func (h *Handle) write(ctx context.Context, o LogOptions, w io.Writer) error {
	if err := h.check(ctx); err != nil {
		return err
	}
	switch {
	case o.Follow:
		return h.writeOn(ctx, o, w)
	case o.Tail < 0:
		return nil
	case o.Tail > 0:
		return follow.Tail(ctx, h.patient(), h.id, o.Tail, w)
	}
	return follow.Read(ctx, h.patient(), h.id, w)
}

// writeOn writes the log until the job has ended. It passes through the copy on this machine, so
// that only what is not here yet travels.
func (h *Handle) writeOn(ctx context.Context, o LogOptions, w io.Writer) error {
	if o.Tail != 0 || o.Present != nil {
		past, err := follow.Size(ctx, h.patient(), h.id)
		if err != nil {
			return err
		}
		b := &backlog{w: w, left: past, tail: o.Tail, present: o.Present}
		if err := b.begin(); err != nil {
			return err
		}
		w = b
	}
	local, err := h.copy()
	if err != nil {
		return err
	}
	defer local.Close()
	if err := local.WriteTo(w, 0); err != nil {
		return err
	}
	_, err = h.follow(ctx, local, w)
	return err
}

// Logs writes a job's log to w, read only: from the node while it exists, else from the copy on
// this machine.
func (e *Engine) Logs(ctx context.Context, jobID string, o LogOptions, w io.Writer) error {
	job, err := e.journal.Job(ctx, jobID)
	if err != nil {
		return err
	}
	node, err := e.nodeOf(ctx, job)
	if err != nil {
		return err
	}
	if node.State == journal.NodeGone || node.State == "" {
		return e.writeCopy(job, o.Tail, w)
	}
	h, _, err := e.attach(ctx, job.ID)
	if err != nil {
		return err
	}
	o.Follow = o.Follow && !job.State.Final()
	err = h.write(ctx, o, w)
	if !isLost(err) || o.Follow || ctx.Err() != nil {
		return err
	}
	if copyErr := e.writeCopy(job, o.Tail, w); copyErr != nil {
		return err
	}
	e.cfg.Report.Emit(report.Event{Kind: report.Warning, Text: job.NodeID + " does not answer: this is the copy on this machine, which may lack the end"})
	return nil
}

// nodeOf is the machine of a job, the zero Node where it never had one.
func (e *Engine) nodeOf(ctx context.Context, job journal.Job) (journal.Node, error) {
	if job.NodeID == "" {
		return journal.Node{}, nil
	}
	return e.journal.Node(ctx, job.NodeID)
}

// writeCopy writes what this machine has of a job's log, or its last lines.
func (e *Engine) writeCopy(job journal.Job, tail int, w io.Writer) error {
	if _, err := os.Stat(job.LocalLog); err != nil {
		reason := "its machine is gone and no copy was made here"
		if job.NodeID == "" || job.Started.IsZero() {
			reason = "it never ran" + because(job.Reason)
		}
		return &fault.Error{Kind: fault.NotFound, Op: "read log of", Target: job.ID, Err: errors.New(reason), Hint: "bifrost ps -a shows what became of it"}
	}
	local, err := follow.OpenCopy(job.LocalLog)
	if err != nil {
		return err
	}
	defer local.Close()
	if tail == 0 {
		return local.WriteTo(w, 0)
	}
	return local.WriteTo(&backlog{w: w, left: local.Size(), tail: tail}, 0)
}

// shownCopy writes what this machine has of the log of a job and nobody has been shown.
func (e *Engine) shownCopy(job journal.Job, shown *countingWriter) error {
	local, err := follow.OpenCopy(job.LocalLog)
	if err != nil {
		return err
	}
	defer local.Close()
	if shown.count >= local.Size() {
		return nil
	}
	return errors.Join(local.WriteTo(shown, shown.count), shown.save())
}

// A backlog passes on the bytes of a log, of those that were there at the beginning only the last
// lines.
type backlog struct {
	w       io.Writer
	left    int64  // bytes that are still of the past
	tail    int    // lines of the past to pass on; 0 means all, below 0 none
	present func() // called once, when the past is over; nil for nobody
	held    []byte
	over    bool
}

// begin ends a past that is empty.
func (b *backlog) begin() error {
	if b.left == 0 {
		return b.end()
	}
	return nil
}

func (b *backlog) end() error {
	b.over = true
	_, err := b.w.Write(b.held)
	b.held = nil
	if b.present != nil {
		b.present()
	}
	return err
}

func (b *backlog) Write(p []byte) (int, error) {
	n := len(p)
	if !b.over {
		past := p[:min(int64(len(p)), b.left)]
		b.left -= int64(len(past))
		p = p[len(past):]
		if b.tail == 0 {
			if _, err := b.w.Write(past); err != nil {
				return 0, err
			}
		} else if b.tail > 0 {
			b.held = tailOf(append(b.held, past...), b.tail)
		}
		if b.left > 0 {
			return n, nil
		}
		if err := b.end(); err != nil {
			return 0, err
		}
	}
	if len(p) > 0 {
		if _, err := b.w.Write(p); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// tailOf returns the last lines of b; one without an end of line counts.
func tailOf(b []byte, lines int) []byte {
	at := len(b)
	if at > 0 && b[at-1] == '\n' {
		at--
	}
	for ; lines > 0; lines-- {
		i := bytes.LastIndexByte(b[:at], '\n')
		if i < 0 {
			return b
		}
		at = i
	}
	return b[at+1:]
}

package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/bifrost-run/bifrost/engine/follow"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/report"
)

// Logs writes a job's log to w, read only: from the node while it exists, else from the copy on
// this machine.
func (e *Engine) Logs(ctx context.Context, jobID string, o LogOptions, w io.Writer) error {
	job, err := e.journal.Job(ctx, jobID)
	if err != nil {
		return err
	}
	h, _, err := e.attach(ctx, job.ID)
	if err == nil {
		err = h.write(ctx, o, w)
		if !isLost(err) || !job.State.Final() {
			return err
		}
	}
	if _, statErr := os.Stat(job.LocalLog); statErr != nil {
		return err
	}
	if isLost(err) {
		e.cfg.Report.Emit(report.Event{Kind: report.Warning, Text: fmt.Sprintf("%v; this is the copy on this machine", err)})
	}
	return e.writeCopy(job, o.Tail, w)
}

// writeCopy writes what this machine has of a job's log, or its last lines.
func (e *Engine) writeCopy(job journal.Job, tail int, w io.Writer) error {
	local, err := follow.OpenCopy(job.LocalLog)
	if err != nil {
		return err
	}
	defer local.Close()
	if tail > 0 {
		w = &tailWriter{w: w, lines: tail, backlog: local.Size()}
	}
	return local.WriteTo(w, 0)
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

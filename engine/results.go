package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/engine/session"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// finish brings a job that has ended to its conclusion: the rest of the log, the results, the
// machine. It is what Run, attach and the guardian have in common, and is called by whoever holds
// the run's lock.
func (e *Engine) finish(ctx context.Context, id string, h *Handle) (Result, error) {
	status := h.known()
	res := Result{
		JobID: id, NodeID: h.node.ID(), Status: string(jobState(status)), ExitCode: exitCode(status), Signal: status.Signal, Reason: status.Reason,
		Duration: status.Ended.Sub(status.Started), Price: h.node.PricePerHour(), LogPath: e.logPath(id),
	}
	if status.DiskFull {
		e.cfg.Report.Emit(report.Event{Kind: report.Warning, Text: fmt.Sprintf("the disk of %s is full: the log of job %s may lack what did not fit", h.node.ID(), id)})
	}
	rec, err := e.journal.Job(ctx, id)
	if err != nil {
		return res, err
	}
	stop := h.node.vouch(ctx) // it may take long
	fetched, fetchErr := e.fetch(ctx, h, rec)
	stop()
	res.Results = fetched
	policy, err := ParseFailure(rec.OnFailure)
	if err != nil {
		return res, err
	}
	succeeded := status.State == session.Exited && status.ExitCode == 0
	releaseErr := h.node.conclude(ctx, policy, succeeded, fetchErr == nil || !succeeded && neverWritten(fetched), &res)
	return res, errors.Join(fetchErr, releaseErr)
}

// neverWritten reports whether all that is missing of the results does not exist on the node. Of a job
// that failed there is then nothing to hold the machine for.
func neverWritten(fetched []Fetched) bool {
	for _, f := range fetched {
		if f.Err != nil && fault.KindOf(f.Err) != fault.NotFound {
			return false
		}
	}
	return true
}

// fetch brings the job's results here, all of them even when one fails. The error names every one
// that is not complete.
func (e *Engine) fetch(ctx context.Context, h *Handle, rec journal.Job) ([]Fetched, error) {
	all := h.fetchAll(ctx, "results", rec.Results)
	for i, f := range all {
		all[i].Local = cmp.Or(f.Local, rec.Results[i].Local) // where it would be
	}
	failed, cause := incomplete(all)
	e.warnOfStale(ctx, h, all)
	if cause != nil {
		return all, &fault.Error{
			Kind: fault.Results, Op: "results of", Target: rec.ID, Err: fmt.Errorf("%s not complete: %w", strings.Join(failed, ", "), cause),
			Hint: resultsHint(rec.ID, cause),
		}
	}
	return all, e.journal.SetJob(ctx, rec.ID, func(j *journal.Job) error {
		j.ResultsDone = true
		return nil
	})
}

// incomplete lists what did not arrive, and why.
func incomplete(all []Fetched) (failed []string, cause error) {
	for _, f := range all {
		if f.Err != nil {
			failed, cause = append(failed, f.Remote), errors.Join(cause, f.Err)
		}
	}
	return failed, cause
}

// fetchResults brings the results of a scope without a job. Where some are on the node and did not
// arrive, a machine that would be released is held for them.
func (n *Node) fetchResults(ctx context.Context, specs []ResultSpec) error {
	if n.check() != nil {
		return nil // it was terminated or left, on purpose
	}
	var wanted []journal.ResultSpec
	for _, r := range specs {
		wanted = append(wanted, journal.ResultSpec{Remote: r.Remote, Local: n.engine.localPath(r.Local), Optional: r.Optional})
	}
	all := n.fetchAll(ctx, "results", n.base(), wanted)
	failed, cause := incomplete(all)
	if cause == nil {
		return nil
	}
	err := error(&fault.Error{
		Kind: fault.Results, Op: "results of", Target: n.ID(), Err: fmt.Errorf("%s not complete: %w", strings.Join(failed, ", "), cause),
		Hint: "optional(path) marks what may be missing; bifrost cp " + n.ID() + ":PATH . copies while the machine exists",
	})
	if rec := n.record(); !neverWritten(all) && releasable(rec) && !rec.Keep && n.engine.machineDead(ctx, rec) == "" {
		err = errors.Join(err, n.hold(ctx, n.engine.now().Add(n.engine.cfg.Timing.Hold)))
	}
	return err
}

// fetchAll downloads every result, whatever became of the others. Local is empty where nothing came.
func (h *Handle) fetchAll(ctx context.Context, step string, specs []journal.ResultSpec) []Fetched {
	return h.node.fetchAll(ctx, step, h.dir, specs)
}

func (n *Node) fetchAll(ctx context.Context, step, dir string, specs []journal.ResultSpec) []Fetched {
	var all []Fetched
	for _, spec := range specs {
		r, err := n.download(ctx, step, dir, ResultSpec{Remote: spec.Remote, Local: spec.Local, Optional: spec.Optional})
		all = append(all, Fetched{Remote: spec.Remote, Local: r.Target, Files: r.Files + r.Skipped, Err: err})
	}
	return all
}

// resultsHint is the way to results that did not arrive.
func resultsHint(id string, cause error) string {
	again := "bifrost sync " + id + " fetches them while the machine exists"
	switch hint := fault.HintOf(cause); {
	case fault.KindOf(cause) == fault.NotFound:
		return again + "; optional(path) marks what may be missing"
	case fault.KindOf(cause) == fault.DiskFull:
		return "free space; then " + again + ", from where it stopped"
	case hint != "":
		return hint + "; " + again
	}
	return "remove the cause, then " + again + "; bifrost cp " + id + ":PATH FOLDER copies to another folder"
}

// warnOfStale says which results hold nothing that was written since the job began: in a workspace
// that is used again they may be those of an earlier run. It is advice, so its own failure is none.
func (e *Engine) warnOfStale(ctx context.Context, h *Handle, fetched []Fetched) {
	script := "cd " + ssh.QuotePath(h.dir) + " || exit 0\n"
	asked := false
	for i, f := range fetched {
		if f.Err == nil && f.Files > 0 {
			asked = true
			script += fmt.Sprintf("[ -n \"$(find -H %s -type f -newer %s/run.sh 2>/dev/null | head -n 1)\" ] || echo %d\n",
				ssh.QuotePath(f.Remote), session.Dir(h.id), i)
		}
	}
	if !asked {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var out strings.Builder
	if err := h.node.runner.Run(ctx, ssh.Command{Script: script, Stdout: &out}); err != nil {
		return
	}
	for _, line := range strings.Fields(out.String()) {
		if i, err := strconv.Atoi(line); err == nil && i < len(fetched) {
			e.cfg.Report.Emit(report.Event{Kind: report.Warning, Text: fmt.Sprintf(
				"%s holds nothing that was written since job %s began: it may be of an earlier run", fetched[i].Remote, h.id)})
		}
	}
}

// Sync fetches a job's results now, as they are. Of a job that has ended, and that another process
// attends to, it waits for that one to fetch them.
func (e *Engine) Sync(ctx context.Context, jobID string) ([]Fetched, error) {
	job, err := e.journal.Job(ctx, jobID)
	if err != nil {
		return nil, err
	}
	if len(job.Results) == 0 {
		return nil, invalid("sync", job.ID, errors.New("its script names no results"), "fetch a path by name: bifrost cp "+job.ID+":PATH .")
	}
	if job, err = e.unattended(ctx, job); err != nil {
		return nil, err
	}
	node, err := e.nodeOf(ctx, job)
	if err != nil {
		return nil, err
	}
	if job.ResultsDone && node.State == journal.NodeGone {
		return e.fetchedBefore(job), nil
	}
	h, job, err := e.attach(ctx, job.ID)
	if err != nil {
		return nil, err
	}
	fetched, err := e.fetchNow(ctx, h, job)
	if err != nil && ctx.Err() == nil {
		// Whoever attends to the job may have fetched them meanwhile and released the machine.
		if now, jobErr := e.journal.Job(ctx, job.ID); jobErr == nil && now.State.Final() {
			if now, jobErr = e.unattended(ctx, now); jobErr == nil && now.ResultsDone {
				return e.fetchedBefore(now), nil
			}
		}
	}
	if err != nil || !job.State.Final() {
		return fetched, err
	}
	// The machine was held for these results only.
	node, err = e.journal.Node(ctx, job.NodeID)
	if err == nil && !node.HoldUntil.IsZero() && node.State != journal.NodeGone {
		err = h.node.terminate(ctx, "its results are complete")
	}
	return fetched, err
}

// unattended waits while another process attends to a job that has ended, and returns the job as
// that one left it. A job that runs, and a machine that is held, are waited for by nobody.
func (e *Engine) unattended(ctx context.Context, job journal.Job) (journal.Job, error) {
	for job.State.Final() && job.RunID != e.runID {
		node, err := e.nodeOf(ctx, job)
		if err != nil {
			return job, err
		}
		if node.State == journal.NodeGone || !node.HoldUntil.IsZero() {
			return e.journal.Job(ctx, job.ID) // read after its machine
		}
		free, err := e.journal.TryRun(job.RunID)
		if err != nil || free {
			return job, err
		}
		if err := sleep(ctx, e.cfg.Timing.Guard/5); err != nil {
			return job, err
		}
		if job, err = e.journal.Job(ctx, job.ID); err != nil {
			return job, err
		}
	}
	return job, nil
}

// fetchedBefore lists results that arrived in another process.
func (e *Engine) fetchedBefore(job journal.Job) []Fetched {
	e.cfg.Report.Emit(report.Event{Kind: report.Notice, Text: "the results of " + job.ID + " are here: another process fetched them"})
	var all []Fetched
	for _, r := range job.Results {
		all = append(all, Fetched{Remote: r.Remote, Local: r.Local})
	}
	return all
}

// fetchNow is fetch for a job that may still run: its results are then not done yet.
func (e *Engine) fetchNow(ctx context.Context, h *Handle, rec journal.Job) ([]Fetched, error) {
	if status, err := h.read(ctx); err != nil {
		return nil, err
	} else if status.Final() {
		return e.fetch(ctx, h, rec)
	}
	// Of a job that runs nothing is missing yet.
	specs := slices.Clone(rec.Results)
	for i := range specs {
		specs[i].Optional = true
	}
	all := h.fetchAll(ctx, "sync", specs)
	var cause error
	for _, f := range all {
		cause = errors.Join(cause, f.Err)
	}
	return all, cause
}

func (e *Engine) logPath(id string) string { return filepath.Join(e.jobDir(id), "log") }

// printedEvery bounds how often the count of shown bytes is written to the journal.
const printedEvery = time.Second

// counted passes bytes of a job's log on to w and records how many a person has seen, starting at
// offset.
func (e *Engine) counted(id string, w io.Writer, offset int64) *countingWriter {
	if w == nil {
		w = io.Discard
	}
	return &countingWriter{engine: e, id: id, w: w, count: offset}
}

type countingWriter struct {
	engine *Engine
	id     string
	w      io.Writer
	count  int64
	saved  time.Time
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.count += int64(n)
	if time.Since(c.saved) > printedEvery {
		c.engine.warn(c.save()) // a journal that is busy must not end the stream
	}
	return n, err
}

func (c *countingWriter) save() error {
	c.saved = time.Now()
	count := c.count
	return c.engine.journal.SetJob(context.Background(), c.id, func(j *journal.Job) error {
		j.Printed = max(j.Printed, count)
		return nil
	})
}

package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/follow"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/session"
)

// A Handle is a job that was started on a node. Its methods are safe for concurrent use.
type Handle struct {
	node    *Node
	id      string
	session string
	tmux    bool
	log     string       // on the node, absolute
	dir     string       // where relative paths start, on the node
	past    *journal.Job // of a job whose machine is gone; else nil

	mu     sync.Mutex
	status session.Status // the last one read; final ones never change
}

// JobID names the job in every command of bifrost.
func (h *Handle) JobID() string { return h.id }

// SessionName is the tmux session in which the job runs, "" where the node has no tmux.
func (h *Handle) SessionName() string {
	if !h.tmux {
		return ""
	}
	return h.session
}

// TmuxCommand attaches to the job's session when typed on the node.
func (h *Handle) TmuxCommand() string {
	if !h.tmux {
		return ""
	}
	return "tmux -L bifrost attach -t " + h.session
}

// LogFile is the absolute path of the job's log on the node.
func (h *Handle) LogFile() string { return h.log }

// Node is the machine that the job runs on.
func (h *Handle) Node() *Node { return h.node }

// follow writes what is not yet in the local copy to it and to w, until the job has ended.
func (h *Handle) follow(ctx context.Context, local *follow.Copy, w io.Writer) (session.Status, error) {
	status, err := follow.Follow(ctx, h.patient(), follow.Request{JobID: h.id, Log: local, Report: h.node.engine.cfg.Report}, w)
	switch {
	case err == nil:
		return status, h.settle(ctx, status)
	case isLost(err) && ctx.Err() == nil:
		return h.endedElsewhere(ctx, local, w, err)
	}
	return status, err
}

// endedElsewhere looks whether contact was lost because another process saw the job end first and
// released its machine. Then the journal knows the end, and the copy has the whole log.
func (h *Handle) endedElsewhere(ctx context.Context, local *follow.Copy, w io.Writer, lost error) (session.Status, error) {
	job, err := h.node.engine.journal.Job(ctx, h.id)
	if err != nil {
		return session.Status{}, errors.Join(lost, err)
	}
	status, ok := statusOf(job)
	if !ok {
		return session.Status{}, lost
	}
	whole, err := h.copy()
	if err != nil {
		return status, err
	}
	defer whole.Close()
	status.LogSize = whole.Size()
	if w != nil {
		if err := whole.WriteTo(w, local.Size()); err != nil {
			return status, err
		}
	}
	return status, h.settle(ctx, status)
}

// statusOf is the status that a job's record stands for, once it has one that a node gave.
func statusOf(job journal.Job) (session.Status, bool) {
	states := map[journal.JobState]session.State{
		journal.JobSucceeded: session.Exited, journal.JobFailed: session.Exited,
		journal.JobTimeout: session.TimedOut, journal.JobCancelled: session.Cancelled,
	}
	state, ok := states[job.State]
	if !ok || job.ExitCode == nil && job.State != journal.JobCancelled {
		return session.Status{}, false
	}
	status := session.Status{State: state, Signal: job.Signal, Reason: job.Reason, Started: job.Started, Ended: job.Ended, LogSize: -1}
	if job.ExitCode != nil {
		status.ExitCode = *job.ExitCode
	}
	return status, true
}

// copy opens the log's copy on this machine.
func (h *Handle) copy() (*follow.Copy, error) {
	return follow.OpenCopy(h.node.engine.jobDir(h.id) + string(os.PathSeparator) + "log")
}

// Wait returns the job's exit code when it has ended, or 124 when timeout (if not 0) has passed or
// the job ran into its own. A job that is gone without an exit record is an error of kind lost.
func (h *Handle) Wait(ctx context.Context, timeout time.Duration) (int, error) {
	if h.past != nil && h.past.ExitCode != nil {
		return *h.past.ExitCode, nil
	}
	if err := h.check(ctx); err != nil {
		return 0, err
	}
	expired := errors.New("wait timed out")
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, expired)
		defer cancel()
	}
	status, err := h.end(ctx, nil)
	if err != nil {
		if errors.Is(context.Cause(ctx), expired) {
			return 124, nil
		}
		return 0, err
	}
	if status.State == session.Lost || status.State == session.Missing {
		return 0, h.lost(status)
	}
	return exitCode(status), nil
}

// end follows the job to its end, the log into the local copy and to w, which may be nil.
func (h *Handle) end(ctx context.Context, w io.Writer) (session.Status, error) {
	local, err := h.copy()
	if err != nil {
		return session.Status{}, err
	}
	defer local.Close()
	return h.follow(ctx, local, w)
}

func (h *Handle) lost(status session.Status) error {
	reason := "its processes are gone and left no exit record"
	if status.Reason != "" {
		reason = status.Reason
	}
	return &fault.Error{
		Kind: fault.Lost, Op: "job", Target: h.id, Err: errors.New(reason),
		Hint: "what it wrote is in bifrost logs " + h.id + "; a power cut, a restart of the machine or too little memory are the usual causes",
	}
}

// exitCode is the code that stands for a job's end: its own, or 124 at its timeout.
func exitCode(s session.Status) int {
	if s.State == session.TimedOut {
		return 124
	}
	return s.ExitCode
}

// over reports whether nothing more will become of a job: it has ended, or the node has no trace of
// it.
func over(s session.Status) bool { return s.Final() || s.State == session.Missing }

// jobState is the journal's word for a status of the node.
func jobState(s session.Status) journal.JobState {
	switch s.State {
	case session.Exited:
		if s.ExitCode == 0 {
			return journal.JobSucceeded
		}
		return journal.JobFailed
	case session.TimedOut:
		return journal.JobTimeout
	case session.Cancelled:
		return journal.JobCancelled
	case session.Lost, session.Missing:
		return journal.JobLost
	}
	return journal.JobRunning
}

// read asks the node how the job is.
func (h *Handle) read(ctx context.Context) (session.Status, error) {
	h.mu.Lock()
	known := h.status
	h.mu.Unlock()
	if over(known) {
		return known, nil
	}
	status, err := session.Read(ctx, h.node.runner, h.id)
	if isBroken(err) {
		status, err = session.Read(ctx, h.node.runner, h.id) // on a connection of its own
	}
	if err != nil {
		return status, h.node.lost("read job "+h.id, err)
	}
	return status, h.settle(ctx, status)
}

// settle keeps a status; a final one goes into the journal.
func (h *Handle) settle(ctx context.Context, status session.Status) error {
	h.mu.Lock()
	h.status = status
	h.mu.Unlock()
	if !over(status) {
		return nil
	}
	return h.node.engine.journal.SetJob(context.WithoutCancel(ctx), h.id, func(j *journal.Job) error {
		if j.State.Final() {
			return nil
		}
		j.State, j.Signal, j.Reason, j.Ended = jobState(status), status.Signal, status.Reason, time.Now()
		if status.State != session.Lost && status.State != session.Missing {
			code := exitCode(status)
			j.ExitCode = &code
		}
		return nil
	})
}

// Status is the job's state in one word: running, succeeded, failed, timeout, cancelled or lost.
func (h *Handle) Status(ctx context.Context) (string, error) {
	if h.past != nil {
		return string(h.past.State), nil
	}
	if err := h.check(ctx); err != nil {
		return "", err
	}
	status, err := h.read(ctx)
	if err != nil { // whoever attends to the job may just be releasing the machine
		if job, readErr := h.node.engine.journal.Job(ctx, h.id); readErr == nil && job.State.Final() {
			return string(job.State), nil
		}
	}
	return string(jobState(status)), err
}

// Cancel stops the job: TERM, a grace, KILL. It returns when the job has ended; one that had ended
// before stays as it was.
func (h *Handle) Cancel(ctx context.Context) error { return h.cancel(ctx, "cancelled by "+who()) }

func (h *Handle) cancel(ctx context.Context, reason string) error {
	if err := h.check(ctx); err != nil {
		return err
	}
	var status session.Status
	err := h.node.mend(ctx, "cancel", func() (err error) { // one that has ended stays as it is
		status, err = session.Cancel(ctx, h.node.runner, h.id, reason)
		return err
	})
	if err != nil {
		// Whoever attends to the job may have seen its end first and released the machine.
		if rec, readErr := h.node.engine.journal.Job(ctx, h.id); readErr == nil && rec.State.Final() {
			return nil
		}
		return err
	}
	return h.settle(ctx, status)
}

// Download copies a file or folder of the job's working folder here, as cp would.
func (h *Handle) Download(ctx context.Context, remote, local string, missingOK bool) (Transfer, error) {
	if err := h.check(ctx); err != nil {
		return Transfer{}, err
	}
	r, err := h.node.download(ctx, "download", h.dir, ResultSpec{Remote: remote, Local: local, Optional: missingOK})
	return transferOf(r), err
}

// Terminate ends the job's machine now, whatever runs on it.
func (h *Handle) Terminate(ctx context.Context) error { return h.node.Terminate(ctx) }

// check refuses the use of a handle whose scope ended.
func (h *Handle) check(context.Context) error {
	err := h.node.check()
	var f *fault.Error
	if errors.As(err, &f) {
		return &fault.Error{
			Kind: fault.Scope, Op: "handle", Target: h.id, Err: f.Err,
			Hint: "use it inside its scope; afterwards attach_job(\"" + h.id + "\") gives a new one while the machine exists",
		}
	}
	return err
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func (h *Handle) String() string { return fmt.Sprintf("job %s on %s", h.id, h.node.ID()) }

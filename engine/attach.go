package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
)

// Attach returns the handle of a job of the journal: by id, by a prefix that no other has, or
// "@last". Where the job has ended and its machine is gone, the handle knows how it ended, and nothing else.
func (e *Engine) Attach(ctx context.Context, jobID string) (*Handle, error) {
	h, job, err := e.attach(ctx, jobID)
	if err == nil || !job.State.Final() || job.NodeID == "" || job.RemoteLog == "" {
		return h, err
	}
	rec, readErr := e.journal.Node(ctx, job.NodeID)
	if readErr != nil || rec.State != journal.NodeGone {
		return nil, errors.Join(err, readErr)
	}
	node := &Node{engine: e, rec: rec, ended: "the machine is gone since " + rec.Ended.Local().Format("2006-01-02 15:04") + because(rec.Note)}
	return &Handle{node: node, id: job.ID, session: job.SessionName, log: job.RemoteLog, dir: job.WorkingDir, past: &job}, nil
}

func (e *Engine) attach(ctx context.Context, jobID string) (*Handle, journal.Job, error) {
	job, err := e.journal.Job(ctx, jobID)
	if err != nil {
		return nil, job, err
	}
	if !job.State.Final() && job.State != journal.JobRunning {
		return nil, job, &fault.Error{Kind: fault.Conflict, Op: "attach", Target: job.ID, Err: fmt.Errorf("it does not run yet: it is %s", job.State), Hint: "try again in a moment"}
	}
	if job.NodeID == "" || job.RemoteLog == "" {
		return nil, job, &fault.Error{
			Kind: fault.NotFound, Op: "attach", Target: job.ID, Err: fmt.Errorf("it never ran: it is %s%s", job.State, because(job.Reason)),
			Hint: "bifrost ps -a lists what ran",
		}
	}
	n, err := e.OpenNode(ctx, job.NodeID)
	if err != nil {
		return nil, job, err
	}
	n.workspace = job.WorkingDir
	h := &Handle{node: n, id: job.ID, session: job.SessionName, tmux: job.SessionName != "", log: job.RemoteLog, dir: job.WorkingDir}
	return h, job, nil
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

// OpenNode returns a node of the journal for access: by its own id or by that of a job on it.
// Nothing is dialled yet, and nothing is released when the caller is done.
func (e *Engine) OpenNode(ctx context.Context, id string) (*Node, error) {
	rec, err := e.node(ctx, id)
	if err != nil {
		return nil, err
	}
	if rec.State == journal.NodeGone {
		return nil, &fault.Error{
			Kind: fault.NotFound, Op: "open", Target: rec.ID, Err: fmt.Errorf("the machine is gone since %s%s", rec.Ended.Local().Format("2006-01-02 15:04"), because(rec.Note)),
			Hint: "logs and results that were fetched are still here: bifrost logs JOB, bifrost ps -a",
		}
	}
	if rec.State == journal.NodeIntent {
		return nil, &fault.Error{Kind: fault.NotFound, Op: "open", Target: rec.ID, Err: errors.New("it is not known to exist"), Hint: "bifrost reap settles it"}
	}
	client, err := e.client(rec)
	if err != nil {
		return nil, err
	}
	return &Node{engine: e, rec: rec, runner: client}, nil
}

// node finds a node by its id, its machine's name, or a job on it.
func (e *Engine) node(ctx context.Context, id string) (journal.Node, error) {
	if strings.Contains(id, ":") {
		return e.journal.Node(ctx, id)
	}
	job, err := e.journal.Job(ctx, id)
	if err != nil {
		return journal.Node{}, err
	}
	if job.NodeID == "" {
		return journal.Node{}, &fault.Error{Kind: fault.NotFound, Op: "find node of", Target: job.ID, Err: errors.New("the job never had one"), Hint: "bifrost ps lists nodes"}
	}
	return e.journal.Node(ctx, job.NodeID)
}

// Follow is what bifrost attach does: it writes the log from where this machine stopped showing it,
// and when the job has ended does what remains, results and teardown, unless another process
// attends to them; then it waits for that one.
func (e *Engine) Follow(ctx context.Context, jobID string, w io.Writer) (Result, error) {
	job, err := e.journal.Job(ctx, jobID)
	if err != nil {
		return Result{}, err
	}
	shown := e.counted(job.ID, w, job.Printed)
	if job.State.Final() {
		if err := e.shownCopy(job, shown); err != nil {
			return Result{}, err
		}
	}
	if over, err := e.over(ctx, job); err != nil || over {
		return e.resultOf(ctx, job.ID, err)
	}
	h, job, err := e.attach(ctx, job.ID)
	if err != nil {
		return Result{}, err
	}
	local, err := h.copy()
	if err != nil {
		return Result{}, err
	}
	defer local.Close()
	if err := local.WriteTo(shown, shown.count); err != nil {
		return Result{}, err
	}
	_, err = h.follow(ctx, local, shown)
	e.warn(shown.save())
	if isLost(err) && e.machineDead(ctx, h.node.record()) != "" {
		err = errors.Join(err, e.bury(ctx, h, err))
	}
	if err != nil {
		return e.resultOf(ctx, job.ID, err)
	}
	return e.finishOrWait(ctx, job, h)
}

// over reports whether nothing remains to be done for a job.
func (e *Engine) over(ctx context.Context, job journal.Job) (bool, error) {
	if !job.State.Final() {
		return false, nil
	}
	if job.NodeID == "" {
		return true, nil
	}
	node, err := e.journal.Node(ctx, job.NodeID)
	if err != nil {
		return false, err
	}
	switch {
	case node.State == journal.NodeGone:
		return true, nil
	case !node.HoldUntil.IsZero(): // its results were tried; sync tries them again
		return true, nil
	}
	return !releasable(node) && (job.ResultsDone || len(job.Results) == 0), nil
}

// finishOrWait concludes a job that has ended: here, or by watching whoever attends to its run.
func (e *Engine) finishOrWait(ctx context.Context, job journal.Job, h *Handle) (Result, error) {
	if job.RunID == e.runID {
		return e.finish(ctx, job.ID, h)
	}
	for {
		if over, err := e.over(ctx, job); err != nil || over {
			return e.resultOf(ctx, job.ID, err)
		}
		lock, err := e.journal.LockRun(job.RunID)
		if err == nil {
			defer lock.Release()
			job, err := e.journal.Job(ctx, job.ID) // as the previous owner left it
			if err != nil {
				return Result{}, err
			}
			if over, err := e.over(ctx, job); err != nil || over {
				return e.resultOf(ctx, job.ID, err)
			}
			return e.finish(context.WithoutCancel(ctx), job.ID, h)
		}
		if fault.KindOf(err) != fault.Conflict {
			return Result{}, err
		}
		if err := sleep(ctx, e.cfg.Timing.Guard); err != nil {
			return e.resultOf(context.WithoutCancel(ctx), job.ID, err)
		}
		if job, err = e.journal.Job(ctx, job.ID); err != nil {
			return Result{}, err
		}
	}
}

// resultOf is what the journal knows of a job.
func (e *Engine) resultOf(ctx context.Context, id string, cause error) (Result, error) {
	job, err := e.journal.Job(ctx, id)
	if err != nil {
		return Result{}, errors.Join(cause, err)
	}
	res := Result{JobID: job.ID, NodeID: job.NodeID, Status: string(job.State), Signal: job.Signal, Reason: job.Reason, LogPath: job.LocalLog, Machine: "none"}
	if job.ExitCode != nil {
		res.ExitCode = *job.ExitCode
	}
	if !job.Started.IsZero() {
		end := job.Ended
		if end.IsZero() {
			end = time.Now()
		}
		res.Duration = end.Sub(job.Started)
	}
	for _, r := range job.Results {
		f := Fetched{Remote: r.Remote, Local: r.Local}
		if !job.ResultsDone {
			f.Err = errors.New("not fetched")
		}
		res.Results = append(res.Results, f)
	}
	if job.NodeID == "" {
		return res, cause
	}
	node, err := e.journal.Node(ctx, job.NodeID)
	if err != nil {
		return res, errors.Join(cause, err)
	}
	res.Price = node.PricePerHour
	res.Cost = Cost(node)
	res.Machine, res.Costs, res.HeldUntil = machineWords(node), node.State != journal.NodeGone && node.PricePerHour > 0, node.HoldUntil
	return res, cause
}

func machineWords(n journal.Node) string {
	switch {
	case n.Provider == providerSSH:
		return "left as it was (ssh)"
	case n.State == journal.NodeGone:
		return "terminated and confirmed"
	case n.State == journal.NodeReleasing:
		return "RELEASING, not confirmed yet"
	case n.State == journal.NodeKept || n.Keep:
		return "kept"
	case !n.HoldUntil.IsZero():
		return "held until " + n.HoldUntil.Local().Format("15:04")
	}
	return "in use"
}

// Cancel stops a job wherever it runs.
func (e *Engine) Cancel(ctx context.Context, jobID string) error {
	h, job, err := e.attach(ctx, jobID)
	if err != nil {
		return err
	}
	if job.State.Final() {
		return &fault.Error{Kind: fault.Conflict, Op: "cancel", Target: job.ID, Err: fmt.Errorf("it has ended already: %s", job.State)}
	}
	return h.Cancel(ctx)
}

// Terminate ends a rented machine, named by its own id or by that of a job on it, and confirms it.
// Jobs that ran there are over. It is tried for as long as Timing.Release; then the guardian and settling
// go on with it.
func (e *Engine) Terminate(ctx context.Context, id string) error {
	rec, err := e.node(ctx, id)
	if err != nil {
		return err
	}
	n := &Node{engine: e, rec: rec}
	if rec.State == journal.NodeIntent {
		return e.settleIntent(ctx, rec)
	}
	if rec.State == journal.NodeGone {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timing.Release)
	defer cancel()
	return n.terminate(ctx, "terminated by "+who())
}

// Jobs lists jobs, newest first: those that are not over, or all.
func (e *Engine) Jobs(ctx context.Context, all bool) ([]journal.Job, error) {
	return e.journal.Jobs(ctx, journal.JobFilter{All: all})
}

// Nodes lists machines, newest first: those that may exist, or all.
func (e *Engine) Nodes(ctx context.Context, all bool) ([]journal.Node, error) {
	return e.journal.Nodes(ctx, all)
}

// Job finds a job as Attach does, without touching its node.
func (e *Engine) Job(ctx context.Context, id string) (journal.Job, error) {
	return e.journal.Job(ctx, id)
}

// Node finds a node by its id or by that of a job on it, without touching it.
func (e *Engine) Node(ctx context.Context, id string) (journal.Node, error) { return e.node(ctx, id) }

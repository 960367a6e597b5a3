package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/session"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// startGuardian starts the process that carries this run to its end if this process dies. It runs
// in a session of its own and waits for the run's lock, which the system gives it when this
// process is gone, however that came about.
func (e *Engine) startGuardian() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.guarded || len(e.cfg.Guardian) == 0 {
		return nil
	}
	if err := e.spawnGuardian(e.runID); err != nil {
		return err
	}
	e.guarded = true
	return nil
}

func (e *Engine) spawnGuardian(runID string) error {
	if len(e.cfg.Guardian) == 0 {
		return nil
	}
	dir := filepath.Join(e.cfg.StateDir, "guardians")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("start guardian: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(dir, runID+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start guardian: %w", err)
	}
	defer log.Close()
	argv := append(append([]string{}, e.cfg.Guardian...), runID)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = e.cfg.StateDir // the folder that it started in may go away
	cmd.Env = e.cfg.GuardianEnv
	cmd.SysProcAttr = ownSession()
	if err := cmd.Start(); err != nil {
		return &fault.Error{
			Kind: fault.Internal, Op: "start guardian", Target: argv[0], Err: err,
			Hint: "nothing was rented: without a guardian a killed process could leave a machine running",
		}
	}
	// Not waited for: it outlives this process. While this one lives it must be reaped.
	go cmd.Wait() //nolint:errcheck // its end is its own affair
	return nil
}

// Guard waits until nobody attends to the run, then brings it to its end: jobs that must be
// finished are followed, their results fetched and their machines released; a machine that nobody
// needs goes at once. It is the body of the guardian process and does nothing else.
func (e *Engine) Guard(ctx context.Context, runID string) error {
	lock, err := e.takeOver(ctx, runID)
	if err != nil {
		return err
	}
	defer lock.Release()
	var errs []error
	jobs, err := e.journal.Jobs(ctx, journal.JobFilter{RunID: runID, All: true})
	if err != nil {
		return err
	}
	for _, job := range jobs {
		errs = append(errs, e.guardJob(ctx, job))
	}
	nodes, err := e.runNodes(ctx, runID)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	errs = append(errs, e.each(e.askable(nodes), func(n journal.Node) error { return e.guardNode(ctx, n) })...)
	return errors.Join(errs...)
}

// takeOver waits for the lock of a run, and ends meanwhile what is over its time.
func (e *Engine) takeOver(ctx context.Context, runID string) (*journal.RunLock, error) {
	watch := e.newClocks()
	for looked := time.Now(); ; {
		free, err := e.journal.TryRun(runID)
		if err != nil {
			return nil, err
		}
		if free {
			lock, err := e.journal.LockRun(runID)
			if err == nil || fault.KindOf(err) != fault.Conflict {
				return lock, err
			}
		}
		if time.Since(looked) >= e.cfg.Timing.Watch {
			e.warn(watch.overdue(ctx, runID))
			looked = time.Now()
		}
		if err := sleep(ctx, e.cfg.Timing.Guard); err != nil {
			return nil, err
		}
	}
}

// guardJob finishes a job whose process is gone. One that had not started is over.
func (e *Engine) guardJob(ctx context.Context, job journal.Job) error {
	switch {
	case job.State != journal.JobRunning && !job.State.Final():
		err := e.stopBegun(ctx, job)
		e.closeJob(ctx, job.ID, journal.JobCancelled, processGone)
		return err
	case !job.Finish, job.NodeID == "", job.State.Final() && job.ResultsDone:
		return nil
	}
	node, err := e.journal.Node(ctx, job.NodeID)
	if err != nil || node.State == journal.NodeGone || !node.HoldUntil.IsZero() || len(e.askable([]journal.Node{node})) == 0 {
		return err
	}
	h, _, err := e.attach(ctx, job.ID)
	if err != nil {
		return err
	}
	limited := ctx
	if left, ok := e.newClocks().left(node, []journal.Job{job}); ok {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeoutCause(ctx, left, errOverTime)
		defer cancel()
	}
	for wait := time.Second; ; wait = min(2*wait, 5*time.Minute) {
		_, err := h.end(limited, nil)
		if err == nil {
			break
		}
		if errors.Is(context.Cause(limited), errOverTime) && releasable(node) {
			e.closeJob(ctx, job.ID, journal.JobTimeout, errOverTime.Error())
			return e.terminate(ctx, node, overTime)
		}
		if isLost(err) && e.machineDead(ctx, node) != "" {
			return errors.Join(err, e.bury(ctx, h, err))
		}
		if !isLost(err) {
			e.closeJob(ctx, job.ID, journal.JobLost, err.Error())
			return err
		}
		if err := sleep(limited, wait); err != nil && ctx.Err() != nil {
			return err
		}
	}
	_, err = e.finish(ctx, job.ID, h)
	return err
}

var errOverTime = errors.New("it did not end at its time limit, nor did its machine")

const processGone = "the bifrost process that prepared it is gone"

// stopBegun ends what a job that never came to run has begun on a machine that stays: a bootstrap
// step, or the job itself where its start was the last that the process did.
func (e *Engine) stopBegun(ctx context.Context, job journal.Job) error {
	if job.NodeID == "" {
		return nil
	}
	rec, err := e.journal.Node(ctx, job.NodeID)
	if err != nil || releasable(rec) || rec.State == journal.NodeGone {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, cancelTimeout)
	defer cancel()
	n, err := e.open(ctx, rec)
	if err != nil {
		return err
	}
	dir := session.Dir(job.ID)
	var begun strings.Builder
	err = n.runner.Run(ctx, ssh.Command{
		Script: "for d in " + dir + " " + dir + "-bootstrap-*; do [ ! -d \"$d\" ] || printf '%s\\n' \"${d##*/}\"; done",
		Stdout: &begun,
	})
	for _, id := range strings.Fields(begun.String()) {
		_, cancelErr := session.Cancel(ctx, n.runner, id, processGone)
		err = errors.Join(err, cancelErr)
	}
	return err
}

// guardNode releases a machine that no job of its run needs any more, at once or when its hold is
// over.
func (e *Engine) guardNode(ctx context.Context, node journal.Node) error {
	node, err := e.journal.Node(ctx, node.ID) // guardJob may have ended or held it
	if err != nil || !releasable(node) {
		return err
	}
	if node.State == journal.NodeIntent {
		return e.settleIntent(ctx, node)
	}
	if node, err = e.whileNeeded(ctx, node); err != nil || !releasable(node) {
		return err
	}
	return e.terminate(ctx, node, "nobody needs it any more")
}

// whileNeeded waits while a machine is held, or used by a job that lives on its own until its hard limit.
// A job without one keeps its machine: the node that is returned is then not releasable.
func (e *Engine) whileNeeded(ctx context.Context, node journal.Node) (journal.Node, error) {
	watch := e.newClocks()
	began, until := time.Now(), node.HoldUntil
	hold := max(until.Sub(e.now()), 0)
	for node.State != journal.NodeReleasing { // then somebody wants it gone, held or not
		jobs, err := e.journal.Jobs(ctx, journal.JobFilter{NodeID: node.ID})
		if err != nil {
			return node, err
		}
		left, limited := hold-time.Since(began), true
		if livesOn(jobs) {
			if left, limited = watch.left(node, jobs); !limited {
				node.Keep = true
				return node, nil
			}
		}
		if left <= 0 {
			return node, nil
		}
		if err := sleep(ctx, min(left, e.cfg.Timing.Watch)); err != nil {
			return node, err
		}
		if node, err = e.journal.Node(ctx, node.ID); err != nil || !releasable(node) {
			return node, err
		}
		if !node.HoldUntil.Equal(until) {
			began, until = time.Now(), node.HoldUntil
			hold = max(until.Sub(e.now()), 0)
		}
	}
	return node, nil
}

// livesOn reports whether a job that was started to live on its own is among these.
func livesOn(jobs []journal.Job) bool {
	return slices.ContainsFunc(jobs, func(j journal.Job) bool { return j.State == journal.JobRunning && !j.Finish })
}

// releasable reports whether bifrost may end the machine on its own. One whose end somebody has asked for
// may have been kept before.
func releasable(n journal.Node) bool {
	switch n.State {
	case journal.NodeGone, journal.NodeKept:
		return false
	case journal.NodeReleasing:
		return n.Provider != providerSSH
	}
	return n.Provider != providerSSH && !n.Keep
}

// inUse reports whether a job that was started to live on its own runs on the node.
func (e *Engine) inUse(ctx context.Context, node journal.Node) (bool, error) {
	jobs, err := e.journal.Jobs(ctx, journal.JobFilter{NodeID: node.ID})
	if err != nil {
		return false, err
	}
	return livesOn(jobs), nil
}

func (e *Engine) runNodes(ctx context.Context, runID string) ([]journal.Node, error) {
	nodes, err := e.journal.Nodes(ctx, false)
	if err != nil {
		return nil, err
	}
	var own []journal.Node
	for _, n := range nodes {
		if n.RunID == runID {
			own = append(own, n)
		}
	}
	return own, nil
}

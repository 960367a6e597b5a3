package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/gpu"
)

// conclude decides what becomes of the machine at the end of a job, and does it: kept, held for
// its results, or released. It says so in res.
func (n *Node) conclude(ctx context.Context, policy Failure, succeeded, complete bool, res *Result) error {
	rec := n.record()
	hold := policy.Hold
	if !complete {
		hold = max(hold, n.engine.cfg.Timing.Hold)
	}
	switch {
	case rec.Provider == providerSSH:
		n.end("the job's scope ended")
		res.Machine = "left as it was (ssh)"
		return nil
	case rec.Keep:
		res.Machine, res.Costs = "kept", rec.PricePerHour > 0
		return n.keep(ctx, "keep_alive")
	case !succeeded && policy.Keep:
		res.Machine, res.Costs = "kept (on_failure)", rec.PricePerHour > 0
		return n.keep(ctx, "on_failure = keep")
	case (!complete || !succeeded && hold > 0) && n.engine.machineDead(ctx, rec) == "":
		res.HeldUntil, res.Costs = n.engine.now().Add(hold), rec.PricePerHour > 0
		res.Machine = "held until " + res.HeldUntil.Format("15:04")
		return n.hold(ctx, res.HeldUntil)
	}
	ctx, cancel := context.WithTimeout(ctx, n.engine.cfg.Timing.Release)
	defer cancel()
	if err := n.terminate(ctx, "the job's scope ended"); err != nil {
		res.Machine, res.Costs = "STILL RUNNING", rec.PricePerHour > 0
		return err
	}
	res.Machine = "terminated and confirmed"
	return nil
}

// keep leaves the machine as it is, on purpose.
func (n *Node) keep(ctx context.Context, why string) error {
	n.end("the job's scope ended; the machine was kept")
	n.mu.Lock()
	n.rec.Keep = true
	n.mu.Unlock()
	n.disarm(ctx)
	return n.engine.journal.SetNode(ctx, n.ID(), func(rec *journal.Node) error {
		if rec.State == journal.NodeReleasing || rec.State == journal.NodeGone {
			return nil // somebody has ended it meanwhile
		}
		rec.State, rec.Keep, rec.Note = journal.NodeKept, true, why
		return nil
	})
}

// hold leaves the machine until a moment; the guardian releases it then.
func (n *Node) hold(ctx context.Context, until time.Time) error {
	n.end("the job's scope ended; the machine is held until " + until.Format("15:04"))
	n.arm(ctx, until.Sub(n.engine.now())+n.engine.cfg.Timing.Grace)
	err := n.engine.journal.SetNode(ctx, n.ID(), func(rec *journal.Node) error {
		rec.HoldUntil, rec.Note = until, "held for its results"
		return nil
	})
	return errors.Join(err, n.engine.startGuardian())
}

// release ends the scope of a node that Acquire or WithNode returned.
func (n *Node) release(ctx context.Context, why string) error {
	n.mu.Lock()
	rec, ended := n.rec, n.ended
	n.mu.Unlock()
	switch {
	case ended != "":
		return nil
	case rec.Provider == providerSSH:
		n.end(why)
		return nil
	case rec.Keep:
		return n.keep(ctx, "keep_alive")
	}
	return n.terminate(ctx, why)
}

// terminate ends the machine and reads back that it is gone. Until that was read twice the journal
// says releasing, and settle goes on with it.
func (n *Node) terminate(ctx context.Context, why string) error {
	rec := n.record()
	if rec.Provider == providerSSH {
		return invalid("terminate", rec.ID, errors.New("bifrost did not rent this machine and never ends it"), "")
	}
	n.end(why)
	defer n.engine.forget(rec.ID)
	return n.engine.terminate(ctx, rec, why)
}

func (e *Engine) terminate(ctx context.Context, rec journal.Node, why string) (err error) {
	end := e.cfg.Report.Step("release", rec.ID)
	defer func() { end("gone, confirmed", err) }()
	p, err := e.provider(rec.Provider)
	if err != nil {
		return &fault.Error{
			Kind: fault.Unreleased, Op: "release", Target: rec.ID, Err: err,
			Hint: fmt.Sprintf("it may still cost $%.2f per hour: bifrost terminate %s ends it once the key is there, or do it at the provider's console", rec.PricePerHour, rec.ID),
		}
	}
	_, id, _ := strings.Cut(rec.ID, ":")
	seen, unseen := e.confirmOurs(ctx, p, rec)
	if unseen != nil && fault.KindOf(unseen) != fault.Unreleased {
		return unseen
	}
	gone := false
	err = e.journal.SetNode(context.WithoutCancel(ctx), rec.ID, func(n *journal.Node) error {
		if n.State == journal.NodeGone {
			gone = true
			return nil
		}
		if n.State != journal.NodeReleasing { // the first reason is the one to know
			n.State, n.Note = journal.NodeReleasing, why
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !gone {
		if unseen != nil {
			return unseen
		}
		if err := e.terminateConfirmed(ctx, p, id, seen || rec.Host != ""); err != nil {
			return unreleased(rec, err)
		}
	}
	err = e.recordGone(context.WithoutCancel(ctx), rec.ID, "")
	return errors.Join(err, e.closeJobsOf(ctx, rec.ID, why))
}

// recordGone records that a machine does not exist, unless that is recorded. With "" the note stays, which
// says why it was ended.
func (e *Engine) recordGone(ctx context.Context, id, note string) error {
	return e.journal.SetNode(ctx, id, func(n *journal.Node) error {
		if n.State != journal.NodeGone {
			n.State, n.Ended, n.Note = journal.NodeGone, e.now(), cmp.Or(note, n.Note)
		}
		return nil
	})
}

// unreleased is the error of a machine that nobody knows to be gone.
func unreleased(rec journal.Node, err error) error {
	return &fault.Error{
		Kind: fault.Unreleased, Op: "release", Target: rec.ID, Err: err,
		Hint: fmt.Sprintf("it may still cost $%.2f per hour; bifrost tries on with every command, bifrost terminate %s tries now", rec.PricePerHour, rec.ID),
	}
}

// each does something with several machines at once and returns what each ended with.
func (e *Engine) each(nodes []journal.Node, do func(journal.Node) error) []error {
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = do(n) })
	}
	wg.Wait()
	return errs
}

// closeJobsOf records the end of the jobs that were still open on a machine that is gone.
func (e *Engine) closeJobsOf(ctx context.Context, nodeID, why string) error {
	jobs, err := e.journal.Jobs(context.WithoutCancel(ctx), journal.JobFilter{NodeID: nodeID})
	for _, job := range jobs {
		e.closeJob(ctx, job.ID, journal.JobCancelled, "its machine is gone: "+why)
	}
	return err
}

// confirmOurs reads the machine back before it is deleted: an id alone authorises nothing. It
// reports whether the provider shows the machine. With another key than it was rented with nothing but that
// will do: the error is of kind unreleased then.
func (e *Engine) confirmOurs(ctx context.Context, p gpu.Provider, rec journal.Node) (bool, error) {
	inst, err := e.readBack(ctx, p, rec)
	switch {
	case fault.KindOf(err) == fault.Unreleased:
		return false, err
	case err != nil:
		return false, nil // it cannot be read now; the terminate call is tried all the same
	}
	if rec.Name != "" && inst.Name != rec.Name {
		return false, &fault.Error{
			Kind: fault.Conflict, Op: "release", Target: rec.ID, Err: fmt.Errorf("the provider calls it %q, the journal %q: it is not touched", inst.Name, rec.Name),
			Hint: "look at the provider's console and end it by hand if it is yours",
		}
	}
	return true, nil
}

// terminateConfirmed repeats the terminate call until the machine was read back as gone twice. No
// refusal ends it, one for the rate of calls least of all: a machine that lives on costs. seen says that
// the provider has shown the machine before: one that it never showed may come yet, so its absence counts
// only after a while.
func (e *Engine) terminateConfirmed(ctx context.Context, p gpu.Provider, id string, seen bool) error {
	began := time.Now()
	pause := e.confirmPause(p.Name())
	gone, reads := 0, 0
	var refused error                // by the last terminate call
	said := false                    // that the account may not, which people can mend
	call := e.cfg.Timing.ReleasePoll // until the next terminate call
	for due := time.Now(); ; {
		if (gone == 0 || !seen) && !time.Now().Before(due) {
			refused = e.asked(ctx, func(ctx context.Context) error { return p.Terminate(ctx, id) })
			if isKind(refused, gpu.Auth, gpu.Forbidden) && !said {
				said = true
				e.warn(fmt.Errorf("%s:%s costs on: %w; trying again", p.Name(), id, refused))
			}
			due = time.Now().Add(call)
			call = min(2*call, 15*e.cfg.Timing.ReleasePoll)
		}
		inst, err := e.get(ctx, p, id)
		switch {
		case isGone(inst, err):
			gone++
			if gone >= 2 && (seen || err == nil || time.Since(began) >= e.cfg.Timing.Visible) {
				return nil
			}
			reads = 0
		default:
			gone, seen = 0, seen || err == nil
		}
		if sleep(ctx, pause<<min(reads, 2)) != nil {
			return errors.Join(errors.New("not confirmed as gone"), refused, err)
		}
		reads++
	}
}

// warn emits a warning for an error that must not stop what goes on.
func (e *Engine) warn(err error) {
	if err != nil {
		e.cfg.Report.Emit(report.Event{Kind: report.Warning, Text: err.Error()})
	}
}

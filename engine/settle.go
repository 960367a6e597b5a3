package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/gpu"
)

// Settle looks after what dead processes left: machines and jobs of runs that nobody attends to get
// a guardian, or, where there is none to start, are brought to their end here. Every command calls
// it in the background; it is quick and silent when there is nothing.
func (e *Engine) Settle(ctx context.Context) error {
	runs, err := e.orphans(ctx)
	var errs []error
	for _, runID := range runs {
		if len(e.cfg.Guardian) > 0 {
			errs = append(errs, e.spawnGuardian(runID))
		} else {
			errs = append(errs, e.Guard(ctx, runID))
		}
	}
	return errors.Join(append(errs, err)...)
}

// orphans lists the runs that something is left of and that nobody attends to.
func (e *Engine) orphans(ctx context.Context) ([]string, error) {
	nodes, err := e.journal.Nodes(ctx, false)
	if err != nil {
		return nil, err
	}
	jobs, err := e.journal.Jobs(ctx, journal.JobFilter{})
	if err != nil {
		return nil, err
	}
	var candidates []string
	for _, n := range nodes {
		if !releasable(n) {
			continue
		}
		if used, err := e.inUse(ctx, n); err != nil {
			return nil, err
		} else if !used {
			candidates = append(candidates, n.RunID)
		}
	}
	for _, j := range jobs {
		if j.Finish || j.State != journal.JobRunning {
			candidates = append(candidates, j.RunID)
		}
	}
	var runs []string
	seen := map[string]bool{e.runID: true}
	for _, id := range candidates {
		if seen[id] {
			continue
		}
		seen[id] = true
		free, err := e.journal.TryRun(id)
		if err != nil {
			return nil, err
		}
		if free {
			runs = append(runs, id)
		}
	}
	return runs, nil
}

// A Reaped is a machine that Reap ended, or would end.
type Reaped struct {
	Node journal.Node
	Why  string
	Err  error
}

// Reap ends every machine that nobody needs and nobody attends to, and waits for it. With dryRun
// it only lists them. Beside those of the journal it finds machines at the providers that carry
// bifrost's label and that the journal calls gone or does not know; the latter are only listed.
func (e *Engine) Reap(ctx context.Context, dryRun bool) ([]Reaped, error) {
	nodes, err := e.journal.Nodes(ctx, true)
	if err != nil {
		return nil, err
	}
	var out []Reaped
	known := map[string]journal.Node{}
	for _, n := range nodes {
		known[n.Name] = n
		if !releasable(n) || n.RunID == e.runID {
			continue
		}
		free, err := e.journal.TryRun(n.RunID)
		if err != nil {
			return out, err
		}
		used, err := e.inUse(ctx, n)
		if err != nil {
			return out, err
		}
		if !free || used || e.now().Before(n.HoldUntil) {
			continue
		}
		r := Reaped{Node: n, Why: "the process that rented it is gone"}
		if n.State == journal.NodeReleasing {
			r.Why = "its termination was not confirmed"
		}
		if !dryRun {
			r.Err = e.reap(ctx, n)
		}
		out = append(out, r)
	}
	for _, p := range e.cfg.Providers {
		insts, err := p.List(ctx)
		if err != nil {
			e.warn(providerFault("list", p.Name(), err))
			continue
		}
		for _, inst := range insts {
			n, ours := known[inst.Name]
			if !strings.HasPrefix(inst.Name, "bifrost-") || inst.State == gpu.Terminated || ours && n.State != journal.NodeGone {
				continue
			}
			r := Reaped{Node: journal.Node{ID: p.Name() + ":" + inst.ID, Name: inst.Name, Provider: p.Name(), PricePerHour: inst.PricePerHour}}
			r.Why = "not in this journal: another user or machine may have rented it, so it is not touched"
			if ours {
				r.Why = "the journal says that it is gone, but it is there"
				if !dryRun {
					r.Err = e.terminateConfirmed(ctx, p, inst.ID, true)
				}
			}
			out = append(out, r)
		}
	}
	return out, nil
}

func (e *Engine) reap(ctx context.Context, n journal.Node) error {
	if n.State == journal.NodeIntent {
		return e.settleIntent(ctx, n)
	}
	return e.terminate(ctx, n, "reaped")
}

// settleIntent resolves an intent whose create call has no clear answer: the machine of its name
// is ended, and an intent for which there is none in all of Timing.Adopt is closed. How old the intent is
// by the clock says nothing: clocks are set.
func (e *Engine) settleIntent(ctx context.Context, n journal.Node) error {
	p, err := e.provider(n.Provider)
	if err != nil {
		return err
	}
	inst, err := e.look(ctx, p, n)
	switch {
	case errors.Is(err, errNotShown):
		return e.journal.SetNode(ctx, n.ID, func(rec *journal.Node) error {
			rec.State, rec.Ended, rec.Note = journal.NodeGone, e.now(), "no machine of this name exists"
			return nil
		})
	case fault.KindOf(err) == fault.Conflict: // there were several, and none is left
		return nil
	case fault.KindOf(err) == fault.Unreleased:
		return err
	case err != nil:
		return &fault.Error{
			Kind: fault.Unreleased, Op: "settle", Target: n.Name, Err: fmt.Errorf("nobody knows whether it exists: %w", err),
			Hint: "bifrost reap looks again",
		}
	}
	n.ID = n.Provider + ":" + inst.ID
	n.State = journal.NodeCreated
	describe(&n, inst)
	if err := e.journal.NodeCreated(ctx, n.Name, n); err != nil {
		return err
	}
	return e.terminate(ctx, n, "its create call had no answer")
}

// machineDead says in words why nothing runs on a rented machine any more: it does not exist, or its
// provider calls it failed. "" means that it may live. Absence must be read twice: jobs are given up for it.
func (e *Engine) machineDead(ctx context.Context, n journal.Node) string {
	p, err := e.provider(n.Provider)
	if err != nil {
		return "" // ssh, or a provider that cannot be asked
	}
	_, id, _ := strings.Cut(n.ID, ":")
	inst, err := e.get(ctx, p, id)
	if isGone(inst, err) {
		if sleep(ctx, e.confirmPause(p.Name())) != nil {
			return ""
		}
		inst, err = e.get(ctx, p, id)
	}
	told := ""
	if err == nil && inst.Message != "" {
		told = ": " + inst.Message
	}
	switch {
	case isGone(inst, err):
		return "the machine does not exist any more" + told
	case err == nil && inst.State == gpu.Failed:
		return "the machine has died" + told
	}
	return ""
}

package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/gpu"
)

// Settle looks after what dead processes left: machines and jobs of runs that nobody attends to get
// a guardian, or, where there is none to start, are brought to their end here. Every command calls
// it in the background; it is quick and silent when there is nothing. Machines of providers that cannot
// be asked are told of once.
func (e *Engine) Settle(ctx context.Context) error {
	runs, err := e.orphans(ctx)
	errs := make([]error, len(runs))
	var wg sync.WaitGroup
	for i, runID := range runs {
		if len(e.cfg.Guardian) > 0 {
			errs[i] = e.spawnGuardian(runID)
		} else {
			wg.Go(func() { errs[i] = e.Guard(ctx, runID) })
		}
	}
	wg.Wait()
	return errors.Join(append(errs, err)...)
}

// askable drops the machines of providers that cannot be asked, and says once what they cost.
func (e *Engine) askable(nodes []journal.Node) []journal.Node {
	var can []journal.Node
	count, cost := map[string]int{}, map[string]float64{}
	for _, n := range nodes {
		if _, absent := e.cfg.Absent[n.Provider]; !absent || n.State == journal.NodeGone {
			can = append(can, n)
			continue
		}
		count[n.Provider]++
		cost[n.Provider] += n.PricePerHour
	}
	if len(count) > 0 {
		e.unasked.Do(func() {
			for _, name := range slices.Sorted(maps.Keys(count)) {
				e.cfg.Report.Emit(report.Event{Kind: report.Warning, Text: fmt.Sprintf(
					"%s: %s of it cannot be checked or ended and may cost $%.2f per hour: %s",
					name, machines(count[name]), cost[name], e.cfg.Absent[name])})
			}
		})
	}
	return can
}

func machines(n int) string {
	if n == 1 {
		return "1 machine"
	}
	return fmt.Sprintf("%d machines", n)
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
	on := map[string][]journal.Job{} // by the machine's id
	for _, j := range jobs {
		on[j.NodeID] = append(on[j.NodeID], j)
	}
	var candidates []string
	beyond := map[string]bool{} // ids of machines that nobody can reach from here
	for _, n := range nodes {
		beyond[n.ID] = true
	}
	for _, n := range e.askable(nodes) {
		delete(beyond, n.ID)
		if !releasable(n) {
			continue
		}
		// A job that lives on its own is left alone; but one with a limit gets somebody who watches that.
		if n.State == journal.NodeReleasing || !livesOn(on[n.ID]) || len(e.cfg.Guardian) > 0 && !hardLimit(n, on[n.ID]).IsZero() {
			candidates = append(candidates, n.RunID)
		}
	}
	for _, j := range jobs {
		if (j.Finish || j.State != journal.JobRunning) && !beyond[j.NodeID] {
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
	var mine []journal.Node
	known := map[string]journal.Node{}
	for _, n := range e.askable(nodes) {
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
		if !free || n.State != journal.NodeReleasing && (used || e.now().Before(n.HoldUntil)) {
			continue
		}
		r := Reaped{Node: n, Why: "the process that rented it is gone"}
		if n.State == journal.NodeReleasing {
			r.Why = "its termination was not confirmed"
		}
		mine, out = append(mine, n), append(out, r)
	}
	if !dryRun {
		for i, err := range e.each(mine, func(n journal.Node) error { return e.reap(ctx, n) }) {
			out[i].Err = err
		}
	}
	lists, err := e.listAll(ctx)
	if err != nil {
		return out, err
	}
	ended := map[string]bool{}
	for _, n := range mine {
		ended[n.Name] = true // what the lists may still show of them was read back as gone, or is among the errors
	}
	for _, p := range e.cfg.Providers {
		for _, inst := range lists[p.Name()] {
			n, ours := known[inst.Name]
			if !strings.HasPrefix(inst.Name, "bifrost-") || ours && n.State != journal.NodeGone || ended[inst.Name] {
				continue
			}
			r := Reaped{Node: journal.Node{ID: p.Name() + ":" + inst.ID, Name: inst.Name, Provider: p.Name(), PricePerHour: inst.PricePerHour}}
			r.Why = "not in this journal: another user or machine may have rented it, so it is not touched"
			if ours {
				r.Why = "the journal says that it is gone, but it is there"
				if !dryRun {
					r.Err = e.endRisen(ctx, p, r.Node, inst.ID)
				}
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// endRisen ends a machine that the journal took for gone.
func (e *Engine) endRisen(ctx context.Context, p gpu.Provider, n journal.Node, id string) error {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timing.Release)
	defer cancel()
	if err := e.terminateConfirmed(ctx, p, id, true); err != nil {
		return unreleased(n, err)
	}
	return nil
}

// reap ends one machine, in bounded time.
func (e *Engine) reap(ctx context.Context, n journal.Node) error {
	if n.State == journal.NodeIntent {
		return e.settleIntent(ctx, n)
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timing.Release)
	defer cancel()
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
	case errors.Is(err, errNotShown) && otherKey(p, n):
		return elsewhere(n)
	case errors.Is(err, errNotShown):
		return e.recordGone(ctx, n.ID, "no machine of this name exists")
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
	n = created(n, inst)
	n.Account = accountOf(p)
	if err := e.journal.NodeCreated(ctx, n.Name, n); err != nil {
		return err
	}
	return e.terminate(ctx, n, "its create call had no answer")
}

// machineDead says in words why nothing runs on a rented machine any more: it does not exist, or its
// provider calls it failed. "" means that it may live. Absence must be read twice: jobs are given up for it.
// With another key than it was rented with it means nothing.
func (e *Engine) machineDead(ctx context.Context, n journal.Node) string {
	p, err := e.provider(n.Provider)
	if err != nil {
		return "" // ssh, or a provider that cannot be asked
	}
	inst, err := e.readBack(ctx, p, n)
	if isGone(inst, err) {
		if sleep(ctx, e.confirmPause(p.Name())) != nil {
			return ""
		}
		inst, err = e.readBack(ctx, p, n)
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

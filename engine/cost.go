package engine

import (
	"context"
	"slices"
	"time"

	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/gpu"
)

// Cost is what a machine has cost since it was created, in USD, by the price that its provider told.
func Cost(n journal.Node) float64 { return CostBetween(n, time.Time{}, time.Now()) }

// CostBetween is what a machine has cost in a time, in USD: for the part of its life that lies in it. One
// that was never created has cost nothing.
func CostBetween(n journal.Node, from, to time.Time) float64 {
	if n.Created.IsZero() || n.State == journal.NodeIntent || n.ID == journal.IntentID(n.Name) {
		return 0
	}
	if !n.Ended.IsZero() && n.Ended.Before(to) {
		to = n.Ended
	}
	if n.Created.After(from) {
		from = n.Created
	}
	return max(to.Sub(from).Hours(), 0) * n.PricePerHour
}

// An Expense is what one machine has cost in a time.
type Expense struct {
	Node journal.Node
	Jobs []journal.Job // that were on it, newest first
	USD  float64
}

// Expenses are those of all machines that bifrost has rented and that lived since then, newest first, by the
// journal alone. The zero time is the beginning.
func (e *Engine) Expenses(ctx context.Context, since time.Time) ([]Expense, error) {
	nodes, err := e.journal.Nodes(ctx, true)
	if err != nil {
		return nil, err
	}
	jobs, err := e.journal.Jobs(ctx, journal.JobFilter{All: true})
	if err != nil {
		return nil, err
	}
	on := map[string][]journal.Job{}
	for _, j := range jobs {
		on[j.NodeID] = append(on[j.NodeID], j)
	}
	now := e.now()
	var all []Expense
	for _, n := range nodes {
		gone := n.State == journal.NodeGone
		if n.Provider == providerSSH || gone && (n.Ended.Before(since) || n.ID == journal.IntentID(n.Name)) {
			continue
		}
		all = append(all, Expense{Node: n, Jobs: on[n.ID], USD: CostBetween(n, since, now)})
	}
	return all, nil
}

// Strangers are the machines of the providers' accounts that the journal does not know, those of each
// provider together. They are not touched. A provider that fails is a warning.
func (e *Engine) Strangers(ctx context.Context) ([]gpu.Instance, error) {
	nodes, err := e.journal.Nodes(ctx, true)
	if err != nil {
		return nil, err
	}
	lists, err := e.listAll(ctx)
	if err != nil {
		return nil, err
	}
	var strangers []gpu.Instance
	for _, p := range e.cfg.Providers {
		for _, inst := range lists[p.Name()] {
			if !slices.ContainsFunc(nodes, func(n journal.Node) bool {
				return n.ID == inst.Provider+":"+inst.ID || n.Name != "" && n.Name == inst.Name
			}) {
				strangers = append(strangers, inst)
			}
		}
	}
	return strangers, nil
}

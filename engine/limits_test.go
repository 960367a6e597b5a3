package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/gpu"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	dear := gpu.Offer{Provider: "runpod", GPUType: "A100 80GB SXM", GPUCount: 2, PricePerGPU: 3.5, PriceTotal: 7}
	cheap := gpu.Offer{Provider: "vast", GPUType: "A100 80GB SXM", GPUCount: 2, PricePerGPU: 1, PriceTotal: 2}
	for _, test := range []struct {
		name    string
		limits  engine.Limits
		job     bool
		timeout time.Duration
		maxCost float64
		want    string // the providers that are left, or else the error
	}{
		{name: "none", want: "runpod vast", job: true},
		{name: "price", limits: engine.Limits{Price: 3}, want: "vast"},
		{name: "price, exactly", limits: engine.Limits{Price: 3.5}, want: "runpod vast"},
		{name: "price of all", limits: engine.Limits{Price: 0.5}, want: "rent runpod 2x A100 80GB SXM at $7.00/h: $3.50 per GPU and hour (2 of them: $7.00 per hour); the limit is $0.50 per GPU and hour"},
		{name: "cost", limits: engine.Limits{Cost: 5}, job: true, timeout: 2 * time.Hour, want: "vast"},
		{name: "cost, exactly", limits: engine.Limits{Cost: 14}, job: true, timeout: 2 * time.Hour, want: "runpod vast"},
		{name: "cost of all", limits: engine.Limits{Cost: 3}, job: true, timeout: 2 * time.Hour, want: "rent runpod 2x A100 80GB SXM at $7.00/h: the job could cost $14.00: 2h0m0s (its timeout) at $7.00 per hour; the limit is $3.00 for one job"},
		{name: "no timeout", limits: engine.Limits{Cost: 3}, job: true, want: "rent runpod 2x A100 80GB SXM at $7.00/h: the job has no time limit, and at $7.00 per hour it could cost anything; the limit is $3.00 for one job"},
		{name: "the script's own limit is lower", limits: engine.Limits{Cost: 3}, job: true, timeout: 9 * time.Hour, maxCost: 2, want: "runpod vast"},
		{name: "the script's own limit is higher", limits: engine.Limits{Cost: 3}, job: true, timeout: time.Minute, maxCost: 4, want: "rent runpod 2x A100 80GB SXM at $7.00/h: max_cost is $4.00; the limit is $3.00 for one job"},
		{name: "a machine without a job", limits: engine.Limits{Cost: 3}, want: "runpod vast"},
	} {
		kept, err := test.limits.Within([]gpu.Offer{dear, cheap}, test.job, test.timeout, test.maxCost)
		var names []string
		for _, o := range kept {
			names = append(names, o.Provider)
		}
		got := strings.Join(names, " ")
		if err != nil {
			got = err.Error()
			if fault.KindOf(err) != fault.Budget || fault.HintOf(err) == "" {
				t.Errorf("%s: got kind %s, hint %q, want a budget that can be raised", test.name, fault.KindOf(err), fault.HintOf(err))
			}
		}
		if got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.name, got, test.want)
		}
	}
}

// The engine keeps to the limits before it creates anything, and holds a machine to the lower cost.
func TestLimitsAreKept(t *testing.T) {
	t.Parallel()
	eng, _ := open(t, withPrices(7, 4), func(c *engine.Config) { c.MaxCostPerHour, c.Limits = 0, engine.Limits{Price: 3, Cost: 2} })
	if _, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: onLocal()}); fault.KindOf(err) != fault.Budget {
		t.Errorf("above the price: got %v, want a refusal", err)
	}
	job := engine.Job{Provision: onLocal(), Name: "job", Command: engine.Argv("true"), Timeout: time.Hour}
	eng, _ = open(t, withPrices(7, 4), func(c *engine.Config) { c.MaxCostPerHour, c.Limits = 0, engine.Limits{Cost: 3} })
	if _, err := eng.Run(t.Context(), job, engine.RunOptions{}); fault.KindOf(err) != fault.Budget || !strings.Contains(err.Error(), "could cost $4.00: 1h0m0s (its timeout) at $4.00 per hour; the limit is $3.00") {
		t.Errorf("a job that could cost more: got %v, want a refusal", err)
	}
	if nodes, err := eng.Nodes(t.Context(), true); err != nil || len(nodes) != 0 {
		t.Errorf("got %+v, %v, want nothing rented", nodes, err)
	}
	n, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: onLocal(), MaxCost: 100})
	if fault.KindOf(err) != fault.Budget {
		t.Errorf("max_cost above the limit: got %v, %v, want a refusal", n, err)
	}
	n, err = eng.Acquire(t.Context(), engine.NodeSpec{Provision: onLocal()})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := eng.Node(t.Context(), n.ID())
	if left := rec.Deadline.Sub(rec.Created); err != nil || left.Round(time.Minute) != 45*time.Minute {
		t.Errorf("got a deadline after %s, %v, want 45 min for $3 at $4 per hour", left, err)
	}
}

func TestCostBetween(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	n := journal.Node{ID: "vast:1", Name: "bifrost-a", State: journal.NodeGone, PricePerHour: 2, Created: noon, Ended: noon.Add(3 * time.Hour)}
	with := func(change func(*journal.Node)) journal.Node {
		c := n
		change(&c)
		return c
	}
	for _, test := range []struct {
		name     string
		node     journal.Node
		from, to time.Duration // from noon
		want     float64
	}{
		{"all of its life", n, -time.Hour, 9 * time.Hour, 6},
		{"the end of it", n, 2 * time.Hour, 9 * time.Hour, 2},
		{"the middle of it", n, time.Hour, 90 * time.Minute, 1},
		{"before it", n, -2 * time.Hour, -time.Hour, 0},
		{"after it", n, 4 * time.Hour, 5 * time.Hour, 0},
		{"it lives on", with(func(n *journal.Node) { n.State, n.Ended = journal.NodeReady, time.Time{} }), 0, 5 * time.Hour, 10},
		{"an intent", with(func(n *journal.Node) { n.State = journal.NodeIntent }), 0, 5 * time.Hour, 0},
		{"it was never created", with(func(n *journal.Node) { n.ID = journal.IntentID(n.Name) }), 0, 5 * time.Hour, 0},
		{"the clock went back", with(func(n *journal.Node) { n.Ended = noon.Add(-time.Hour) }), -9 * time.Hour, 5 * time.Hour, 0},
	} {
		if got := engine.CostBetween(test.node, noon.Add(test.from), noon.Add(test.to)); got != test.want {
			t.Errorf("%s: got $%v, want $%v", test.name, got, test.want)
		}
	}
}

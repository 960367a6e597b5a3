package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/cmd/bifrost/internal/screen"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/gpu"
)

func newCost(a *app) *cobra.Command {
	var since string
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:     "cost [--since TIME] [--all]",
		Short:   "What was spent, on what, and what is still costing",
		GroupID: groupWatch,
		Long: `Adds up what the machines that bifrost rented have cost: their price per hour times the part of their
lives that lies in that time, by this machine's clock and journal. A provider's bill counts by rules of
its own. TIME is how far back, as 30d, 12h or 2w, or a day, as 2026-11-01.

--all also asks the providers and shows what their accounts have beside that. Those machines are not
bifrost's, or another computer's bifrost rented them: they are never touched.

--json prints {"version": 1, "since", "spent", "per_hour", "providers": [{name, machines, spent, per_hour}],
"nodes": [{id, provider, jobs, state, gpu_type, gpu_count, price_per_hour, spent, created, ended}],
"others": [{id, name, state, gpu_type, gpu_count, price_per_hour, created}]}. Money is USD; per_hour is what is
still costing; others is there with --all.`,
		Example: `  bifrost cost
  bifrost cost --since 2026-11-01 --json
  bifrost cost --all`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, ok := parseSince(since, time.Now())
			if !ok {
				return usage(cmd, "write 30d, 12h or 2w, or a day as 2026-11-01", "--since %q is no time", since)
			}
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			eng, err := a.engine()
			if err != nil {
				return err
			}
			bill, err := readBill(ctx, eng, from, all)
			if err != nil {
				return quietInterrupt(ctx, err)
			}
			if asJSON {
				return writeJSON(a.screen.Stdout(), bill.json(all))
			}
			return bill.write(a.screen.Stdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&since, "since", "30d", "what was spent since `TIME`")
	flags.BoolVar(&all, "all", false, "show machines at the providers that bifrost did not rent, too")
	flags.BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// parseSince is the moment that 30d, 12h or 2w before now is, or the beginning of a day.
func parseSince(text string, now time.Time) (time.Time, bool) {
	if day, err := time.ParseInLocation(time.DateOnly, text, now.Location()); err == nil {
		return day, !day.After(now)
	}
	unit, digits := time.Duration(0), ""
	for suffix, d := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, ok := strings.CutSuffix(text, suffix); ok {
			unit, digits = d, number
		}
	}
	if unit > 0 {
		n, err := strconv.ParseFloat(digits, 64)
		ago := n * float64(unit)
		return now.Add(-time.Duration(ago)), err == nil && n > 0 && ago < float64(100*365*24*time.Hour)
	}
	ago, err := time.ParseDuration(text)
	return now.Add(-ago), err == nil && ago > 0
}

// A bill is what cost shows.
type bill struct {
	now       time.Time
	since     time.Time
	expenses  []engine.Expense
	providers []providerBill // the dearest first
	total     providerBill
	others    []gpu.Instance
}

// A providerBill is the sum of one provider's machines.
type providerBill struct {
	Name     string  `json:"name"`
	Machines int     `json:"machines"`
	Spent    float64 `json:"spent"`
	PerHour  float64 `json:"per_hour"` // of those that are not gone
}

func (b *providerBill) add(x engine.Expense) {
	b.Machines++
	b.Spent += x.USD
	if x.Node.State != journal.NodeGone && x.Node.State != journal.NodeIntent {
		b.PerHour += x.Node.PricePerHour
	}
}

func readBill(ctx context.Context, eng *engine.Engine, since time.Time, all bool) (bill, error) {
	b := bill{now: time.Now(), since: since, total: providerBill{Name: "total"}}
	var err error
	if b.expenses, err = eng.Expenses(ctx, since); err != nil {
		return bill{}, err
	}
	sums := map[string]*providerBill{}
	for _, x := range b.expenses {
		sum := sums[x.Node.Provider]
		if sum == nil {
			sum = &providerBill{Name: x.Node.Provider}
			sums[x.Node.Provider] = sum
		}
		sum.add(x)
		b.total.add(x)
	}
	for _, sum := range sums {
		b.providers = append(b.providers, *sum)
	}
	slices.SortFunc(b.providers, func(x, y providerBill) int {
		return cmp.Or(cmp.Compare(y.Spent, x.Spent), strings.Compare(x.Name, y.Name))
	})
	if all {
		b.others, err = eng.Strangers(ctx)
	}
	return b, err
}

// write prints a table of machines, one of providers, and one of what is not bifrost's.
func (b bill) write(w io.Writer) error {
	nodes := screen.NewTable("node", "job", "gpus", "state", ">hours", ">$/hour", ">spent")
	for _, x := range b.expenses {
		hours := ""
		if x.Node.PricePerHour > 0 {
			hours = fmt.Sprintf("%.1f", x.USD/x.Node.PricePerHour)
		}
		nodes.Row(x.Node.ID, strings.Join(jobIDs(x.Jobs), ","), gpus(x.Node), nodeState(x.Node), hours, screen.Money(x.Node.PricePerHour), screen.Money(x.USD))
	}
	sums := screen.NewTable("provider", ">machines", ">spent", ">still $/hour")
	for _, s := range append(slices.Clone(b.providers), b.total) {
		sums.Row(s.Name, strconv.Itoa(s.Machines), screen.Money(s.Spent), screen.Money(s.PerHour))
	}
	others := screen.NewTable("not bifrost's", "name", "state", "gpus", ">age", ">$/hour")
	for _, inst := range b.others {
		age, what := "", ""
		if !inst.Created.IsZero() {
			age = screen.Duration(b.now.Sub(inst.Created))
		}
		if inst.GPUCount > 0 {
			what = fmt.Sprintf("%dx %s", inst.GPUCount, inst.GPUType)
		}
		others.Row(inst.Provider+":"+inst.ID, inst.Name, string(inst.State), what, age, screen.Money(inst.PricePerHour))
	}
	gap := ""
	for _, t := range []*screen.Table{nodes, sums, others} {
		if t.Len() == 0 {
			continue
		}
		if _, err := io.WriteString(w, gap); err != nil {
			return err
		}
		if err := t.Write(w); err != nil {
			return err
		}
		gap = "\n"
	}
	return nil
}

func jobIDs(jobs []journal.Job) []string {
	ids := []string{}
	for _, j := range jobs {
		ids = append(ids, j.ID)
	}
	return ids
}

// The shapes of cost --json, version 1. Fields may be added; none changes its meaning.
type (
	jsonBill struct {
		Version   int            `json:"version"`
		Since     *time.Time     `json:"since"`
		Spent     float64        `json:"spent"`
		PerHour   float64        `json:"per_hour"`
		Providers []providerBill `json:"providers"`
		Nodes     []jsonExpense  `json:"nodes"`
		Others    []jsonStranger `json:"others,omitzero"`
	}
	jsonExpense struct {
		ID           string     `json:"id"`
		Provider     string     `json:"provider"`
		Jobs         []string   `json:"jobs"`
		State        string     `json:"state"`
		GPUType      string     `json:"gpu_type,omitempty"`
		GPUCount     int        `json:"gpu_count,omitempty"`
		PricePerHour float64    `json:"price_per_hour"`
		Spent        float64    `json:"spent"`
		Created      *time.Time `json:"created,omitempty"`
		Ended        *time.Time `json:"ended,omitempty"`
	}
	jsonStranger struct {
		ID           string     `json:"id"`
		Name         string     `json:"name,omitempty"`
		State        string     `json:"state"`
		GPUType      string     `json:"gpu_type,omitempty"`
		GPUCount     int        `json:"gpu_count,omitempty"`
		PricePerHour float64    `json:"price_per_hour"`
		Created      *time.Time `json:"created,omitempty"`
	}
)

func (b bill) json(all bool) jsonBill {
	doc := jsonBill{Version: 1, Since: moment(b.since), Spent: b.total.Spent, PerHour: b.total.PerHour, Providers: append([]providerBill{}, b.providers...), Nodes: []jsonExpense{}}
	for _, x := range b.expenses {
		n := x.Node
		doc.Nodes = append(doc.Nodes, jsonExpense{
			ID: n.ID, Provider: n.Provider, Jobs: jobIDs(x.Jobs), State: string(n.State), GPUType: n.GPUType, GPUCount: n.GPUCount,
			PricePerHour: n.PricePerHour, Spent: x.USD, Created: moment(n.Created), Ended: moment(n.Ended),
		})
	}
	if all {
		doc.Others = []jsonStranger{}
	}
	for _, inst := range b.others {
		doc.Others = append(doc.Others, jsonStranger{
			ID: inst.Provider + ":" + inst.ID, Name: inst.Name, State: string(inst.State), GPUType: inst.GPUType, GPUCount: inst.GPUCount,
			PricePerHour: inst.PricePerHour, Created: moment(inst.Created),
		})
	}
	return doc
}

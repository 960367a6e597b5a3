package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// A candidate is what a machine that boots is held against.
type candidate struct {
	spec NodeSpec
	req  gpu.CreateRequest
	told gpu.Instance // what the answer to the create call said

	price float64 // USD per hour for which it has been found worth its money
}

// boot waits until a created machine is ready: an address, a login, a command that ran, and the GPUs that
// were paid for. The error says why it is of no use; it is not ended here.
func (e *Engine) boot(ctx context.Context, p gpu.Provider, rec journal.Node, c *candidate) (*Node, error) {
	limit := e.bootLimit(rec.Provider, rec.GPUCount)
	tooLate := func(err error) error {
		return &fault.Error{Kind: fault.Timeout, Op: "boot", Target: rec.ID, Err: err, Hint: "try again: another machine may do"}
	}
	late := tooLate(fmt.Errorf("not ready within %s", limit))
	ctx, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	n, why, err := e.reach(ctx, p, rec, c)
	if err == nil {
		rec = n.rec
		if err = e.checkGPUs(ctx, n, c.req.Offer); err == nil {
			err = e.ready(ctx, n)
		}
	}
	if err != nil && errors.Is(context.Cause(ctx), late) {
		if why != nil && !errors.Is(why, late) { // what was asked last may have ended for the same reason
			return nil, tooLate(fmt.Errorf("not ready within %s: %w", limit, why))
		}
		return nil, late
	}
	return n, err
}

// reach polls a machine until a command has run there. why is what the last attempt ended with.
func (e *Engine) reach(ctx context.Context, p gpu.Provider, rec journal.Node, c *candidate) (_ *Node, why, err error) {
	_, id, _ := strings.Cut(rec.ID, ":")
	created := time.Now()
	preparer, unprepared := p.(gpu.Preparer)
	if err := e.worth(ctx, &rec, c.told, c); err != nil {
		return nil, nil, err
	}
	looked := rec.Host != ""
	for wait := e.cfg.Timing.BootPoll; ; wait = min(2*wait, 20*e.cfg.Timing.BootPoll) {
		if !looked {
			if err := sleep(ctx, wait); err != nil {
				return nil, why, err
			}
			inst, err := e.get(ctx, p, id)
			switch {
			case err == nil:
				if err := e.worth(ctx, &rec, inst, c); err != nil {
					return nil, nil, err
				}
				why = starting(inst)
			case isKind(err, gpu.NotFound) && time.Since(created) < e.cfg.Timing.Visible:
				why = err // its answers may come from a copy that does not have it yet
			case isKind(err, gpu.NotFound):
				return nil, nil, &fault.Error{Kind: fault.NoCapacity, Op: "boot", Target: rec.ID, Err: fmt.Errorf("the machine is gone: %w", err)}
			case isKind(err, gpu.Auth):
				return nil, nil, providerFault("get", rec.ID, err)
			default:
				why = err
			}
		}
		looked = false
		if unprepared {
			switch err := e.asked(ctx, func(ctx context.Context) error { return preparer.Prepare(ctx, id, c.req) }); {
			case err == nil:
				unprepared = false
			case isKind(err, gpu.Auth, gpu.Forbidden, gpu.Funds, gpu.Quota, gpu.Validation):
				return nil, nil, providerFault("prepare", rec.ID, err)
			default:
				why = err
			}
		}
		if unprepared || rec.Host == "" {
			continue
		}
		// One attempt at a time, and a look at the machine between two: its address may have changed.
		attempt, cancel := context.WithTimeout(ctx, 60*e.cfg.Timing.BootPoll)
		n, err := e.open(attempt, rec)
		cancel()
		if err == nil {
			return n, nil, nil
		}
		e.forget(rec.ID)
		if ctx.Err() != nil {
			return nil, why, context.Cause(ctx)
		}
		if !errors.Is(err, context.DeadlineExceeded) || why == nil {
			why = err
		}
	}
}

// starting says why a machine is not ready yet, in the provider's words.
func starting(inst gpu.Instance) error {
	if inst.Message == "" {
		return fmt.Errorf("the machine is %s", inst.State)
	}
	return fmt.Errorf("the machine is %s: %s", inst.State, inst.Message)
}

// worth holds what the provider tells of a machine against what was asked for, and takes it into the
// record. A machine that cannot be used, or that costs more than was agreed to, is an error.
func (e *Engine) worth(ctx context.Context, rec *journal.Node, inst gpu.Instance, c *candidate) error {
	switch inst.State {
	case gpu.Failed, gpu.Stopped, gpu.Terminated:
		return &fault.Error{Kind: fault.NoCapacity, Op: "boot", Target: rec.ID, Err: starting(inst)}
	}
	if inst.Spot && !c.req.Query.Spot {
		return &fault.Error{
			Kind: fault.NoCapacity, Op: "rent", Target: rec.ID,
			Err: errors.New("the provider made it one that it may take back (spot), which was not asked for"), Hint: "spot = True allows it",
		}
	}
	if err := tooDear(rec.ID, inst.PricePerHour, c.req); err != nil {
		return err
	}
	describe(rec, inst)
	if rec.PricePerHour == c.price {
		return nil
	}
	rec.Deadline = deadline(*rec, c.spec.MaxCost)
	known := c.price
	c.price = rec.PricePerHour
	if rec.PricePerHour > known {
		e.renting.Lock()
		defer e.renting.Unlock()
		if err := e.overPerHour(ctx, *rec); err != nil {
			return err
		}
	}
	return e.journal.SetNode(ctx, rec.ID, func(n *journal.Node) error {
		n.PricePerHour, n.Deadline = rec.PricePerHour, rec.Deadline
		return nil
	})
}

// priceDrift is how much more than its offer a machine may cost: prices are rounded, and a disk may be
// among them.
const priceDrift = 1.05

// tooDear refuses a machine whose own price, in USD per hour, is above what its offer said or above the
// query's cap. 0 is not told.
func tooDear(id string, price float64, req gpu.CreateRequest) error {
	offered := req.Offer.PriceTotal
	limit, what := 0.0, ""
	if offered > 0 {
		limit, what = offered*priceDrift, fmt.Sprintf("the offer said $%s", gpu.Dollars(offered))
	}
	if q := req.Query; q.MaxPrice > 0 {
		count := max(q.Count, 1)
		if top := q.MaxPrice * float64(count); limit == 0 || top < limit {
			limit, what = top, fmt.Sprintf("max_price allows $%s for each of %d GPUs", gpu.Dollars(q.MaxPrice), count)
		}
	}
	if limit == 0 || price <= limit+1e-6 {
		return nil
	}
	return &fault.Error{
		Kind: fault.Budget, Op: "rent", Target: id, Err: fmt.Errorf("the machine costs $%s per hour, %s", gpu.Dollars(price), what),
		Hint: "bifrost offers shows what there is now; raise max_price to accept more",
	}
}

// checkGPUs compares what nvidia-smi shows with what was paid for. On a machine that has just booted the
// driver may not be ready.
func (e *Engine) checkGPUs(ctx context.Context, n *Node, offer gpu.Offer) error {
	rec := n.record()
	paid := offer.GPUCount
	if offer.StandsIn {
		paid = rec.GPUCount
	}
	if paid == 0 {
		return nil
	}
	began := time.Now()
	for wait := e.cfg.Timing.BootPoll; ; wait = min(2*wait, 20*e.cfg.Timing.BootPoll) {
		gpus, err := n.GPUs(ctx)
		if err == nil {
			if err = wrongGPUs(gpus, paid, offer); err == nil {
				return nil
			}
			return &fault.Error{Kind: fault.NoCapacity, Op: "boot", Target: rec.ID, Err: err, Hint: "try again: another machine may do"}
		}
		if time.Since(began) > e.cfg.Timing.Driver || sleep(ctx, wait) != nil {
			return err
		}
	}
}

// wrongGPUs says in which way the GPUs of a machine are other than those that were paid for.
func wrongGPUs(gpus []GPU, paid int, offer gpu.Offer) error {
	if len(gpus) < paid {
		return fmt.Errorf("nvidia-smi shows %d GPUs, %d were paid for", len(gpus), paid)
	}
	if offer.StandsIn {
		return nil
	}
	model := model().FindString(strings.ToUpper(offer.GPUType))
	for _, g := range gpus {
		vram := float64(g.MemoryTotalMB) / 1024
		switch {
		case model != "" && g.Name != "" && !gpu.MatchesType(model, g.Name):
			return fmt.Errorf("nvidia-smi shows %s, paid for was %s", g.Name, offer.GPUType)
		case vram > 0 && vram < offer.VRAMGB*vramShown:
			return fmt.Errorf("nvidia-smi shows %s with %.0f GB, paid for were %g GB", g.Name, vram, offer.VRAMGB)
		}
	}
	return nil
}

// model finds the word of a GPU's name that tells one chip from another: "H100", "4090", "A6000". The
// others (vendor, memory, form) are spelled in too many ways to be compared.
var model = lazyregexp.New(`\b[A-Z]{0,3}\d{2,4}[A-Z]?\b`)

// vramShown is how much of the memory that is sold nvidia-smi shows at least: some is kept for error
// correction, and GB are counted in two ways.
const vramShown = 0.85

// ready records that a machine can be worked on, unless somebody has begun to end it meanwhile.
func (e *Engine) ready(ctx context.Context, n *Node) error {
	client, err := e.client(n.rec)
	if err != nil {
		return err
	}
	n.rec.State, n.rec.HostKey = journal.NodeReady, client.HostKeySeen()
	return e.journal.SetNode(context.WithoutCancel(ctx), n.rec.ID, func(have *journal.Node) error {
		if have.State != journal.NodeCreated && have.State != journal.NodeReady {
			return &fault.Error{Kind: fault.Conflict, Op: "boot", Target: have.ID, Err: fmt.Errorf("it was released while it booted%s", because(have.Note))}
		}
		*have = n.rec
		return nil
	})
}

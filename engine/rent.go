package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/gpu"
)

// rent creates one machine and waits until it is ready. The journal knows of it before the provider
// does, and a machine that does not become ready is released before rent returns.
func (e *Engine) rent(ctx context.Context, spec NodeSpec, query gpu.Query, offer gpu.Offer) (*Node, error) {
	p, err := e.provider(offer.Provider)
	if err != nil {
		return nil, err
	}
	_, public, err := e.nodeKey()
	if err != nil {
		return nil, err
	}
	label := spec.job
	if label == "" {
		if label, err = e.journal.NewJobID(ctx, cmp.Or(spec.Name, "node")); err != nil {
			return nil, err
		}
	}
	name := "bifrost-" + label + "-" + strings.ReplaceAll(e.now().UTC().Format("20060102t150405.000"), ".", "")
	offerJSON, err := json.Marshal(offer)
	if err != nil {
		return nil, err
	}
	rec := journal.Node{
		ID: journal.IntentID(name), Name: name, Provider: offer.Provider, RunID: e.runID, State: journal.NodeIntent,
		GPUType: offer.GPUType, GPUCount: offer.GPUCount, PricePerHour: offer.PriceTotal, Offer: string(offerJSON), Created: e.now(),
		Keep: spec.KeepAlive != nil && *spec.KeepAlive,
	}
	if spec.MaxCost > 0 && offer.PriceTotal > 0 {
		rec.Deadline = e.now().Add(affordable(spec.MaxCost, offer.PriceTotal))
	}
	if err := e.intend(ctx, rec); err != nil {
		return nil, err
	}
	inst, err := e.create(ctx, p, gpu.CreateRequest{Name: name, Offer: offer, Query: query, AuthorizedKey: public})
	if err != nil {
		return nil, e.abandon(ctx, rec, err)
	}
	rec.ID = offer.Provider + ":" + inst.ID
	rec.State = journal.NodeCreated
	describe(&rec, inst)
	// The id is recorded even if the user has just pressed Ctrl-C: the machine exists.
	if err := e.journal.NodeCreated(context.WithoutCancel(ctx), name, rec); err != nil {
		return nil, err
	}
	n, err := e.boot(ctx, p, rec)
	if err != nil {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.cfg.Timing.Release)
		defer cancel()
		gone := &Node{engine: e, rec: rec}
		return nil, errors.Join(err, gone.terminate(cleanup, "it did not become ready"))
	}
	return n, nil
}

// intend records that a machine is about to be created, unless the run would cost too much per hour with
// it. Two that are rented at once see each other.
func (e *Engine) intend(ctx context.Context, rec journal.Node) error {
	limit := e.cfg.MaxCostPerHour
	if limit <= 0 {
		return e.journal.PutIntent(ctx, rec)
	}
	e.renting.Lock()
	defer e.renting.Unlock()
	nodes, err := e.journal.Nodes(ctx, false)
	if err != nil {
		return err
	}
	cost, machines := 0.0, 0
	for _, n := range nodes {
		if n.RunID == e.runID && n.Provider != providerSSH {
			cost += n.PricePerHour
			machines++
		}
	}
	if cost+rec.PricePerHour > limit+1e-9 { // sums of prices are not exact
		return &fault.Error{
			Kind: fault.Budget, Op: "rent", Target: fmt.Sprintf("%dx %s from %s", rec.GPUCount, rec.GPUType, rec.Provider),
			Err: fmt.Errorf(
				"the machines of this run would cost $%.2f per hour: $%.2f for the %d there are and $%.2f for this one; the limit is $%.2f",
				cost+rec.PricePerHour, cost, machines, rec.PricePerHour, limit),
			Hint: "raise --max-cost-per-hour, or max_cost_per_hour in bifrost.toml; or end another machine first",
		}
	}
	return e.journal.PutIntent(ctx, rec)
}

// affordable is how long a machine of that price may run for that much money.
func affordable(usd, perHour float64) time.Duration {
	return time.Duration(usd / perHour * float64(time.Hour))
}

// create sends the create call once. An answer that leaves open whether the machine exists is
// resolved by looking for its name.
func (e *Engine) create(ctx context.Context, p gpu.Provider, req gpu.CreateRequest) (gpu.Instance, error) {
	inst, err := p.Create(ctx, req)
	for {
		var refusal *gpu.Error
		if !errors.As(err, &refusal) || refusal.Kind != gpu.RateLimited {
			break
		}
		if err := sleep(ctx, max(refusal.After, time.Second)); err != nil {
			return gpu.Instance{}, refusal
		}
		inst, err = p.Create(ctx, req)
	}
	if err == nil && inst.ID != "" {
		return inst, nil
	}
	var refusal *gpu.Error
	if errors.As(err, &refusal) && refusal.Kind != gpu.Transient {
		return gpu.Instance{}, err
	}
	if err == nil {
		err = errors.New("the answer named no id")
	}
	found, lookErr := e.adopt(context.WithoutCancel(ctx), p, req.Name)
	if lookErr != nil {
		return gpu.Instance{}, &ambiguousError{err: errors.Join(err, lookErr)}
	}
	return found, nil
}

// An ambiguousError says that a machine may exist which nobody could find: its intent stays open.
type ambiguousError struct{ err error }

func (e *ambiguousError) Error() string {
	return "nobody knows whether it was created: " + e.err.Error()
}
func (e *ambiguousError) Unwrap() error { return e.err }

// adopt looks for the machine of that name until it is found or Timing.Adopt has passed.
func (e *Engine) adopt(ctx context.Context, p gpu.Provider, name string) (gpu.Instance, error) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timing.Adopt)
	defer cancel()
	for wait := e.cfg.Timing.AdoptPoll; ; wait = min(2*wait, 20*e.cfg.Timing.AdoptPoll) {
		all, err := p.List(ctx)
		var matches []gpu.Instance
		for _, inst := range all {
			if inst.Name == name && inst.State != gpu.Terminated {
				matches = append(matches, inst)
			}
		}
		if err == nil && len(matches) == 1 {
			return matches[0], nil
		}
		if sleepErr := sleep(ctx, wait); sleepErr != nil {
			return gpu.Instance{}, errors.Join(fmt.Errorf("%d machines named %s at %s", len(matches), name, p.Name()), err)
		}
	}
}

// abandon closes the intent of a create that was refused. An ambiguous one stays open for settle.
func (e *Engine) abandon(ctx context.Context, rec journal.Node, cause error) error {
	ctx = context.WithoutCancel(ctx)
	var ambiguous *ambiguousError
	if errors.As(cause, &ambiguous) {
		err := providerFault("create", rec.Name, cause)
		return &fault.Error{Kind: fault.Unreleased, Op: "create", Target: rec.Name, Err: err, Hint: "bifrost reap looks for it again and removes it"}
	}
	err := e.journal.SetNode(ctx, rec.ID, func(n *journal.Node) error {
		n.State, n.Ended, n.Note = journal.NodeGone, e.now(), cause.Error()
		return nil
	})
	return errors.Join(providerFault("create", rec.Name, cause), err)
}

// boot waits until a created machine is ready: an address, a login, a command that ran, and as many
// GPUs as were paid for.
func (e *Engine) boot(ctx context.Context, p gpu.Provider, rec journal.Node) (*Node, error) {
	limit := e.bootLimit(rec.Provider, rec.GPUCount)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, &fault.Error{
		Kind: fault.Timeout, Op: "boot", Target: rec.ID, Err: fmt.Errorf("not ready within %s", limit), Hint: "try again: another machine may do",
	})
	defer cancel()
	_, id, _ := strings.Cut(rec.ID, ":")
	for wait := e.cfg.Timing.BootPoll; rec.Host == ""; wait = min(2*wait, 20*e.cfg.Timing.BootPoll) {
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
		inst, err := p.Get(ctx, id)
		if err != nil {
			return nil, providerFault("get", rec.ID, err)
		}
		if inst.State == gpu.Failed || inst.State == gpu.Terminated {
			return nil, &fault.Error{Kind: fault.NoCapacity, Op: "boot", Target: rec.ID, Err: fmt.Errorf("the machine is %s", inst.State)}
		}
		describe(&rec, inst)
	}
	n, err := e.open(ctx, rec)
	if err != nil {
		return nil, err
	}
	if rec.GPUCount > 0 {
		gpus, err := n.GPUs(ctx)
		if err != nil {
			return nil, err
		}
		if len(gpus) < rec.GPUCount {
			return nil, &fault.Error{
				Kind: fault.NoCapacity, Op: "boot", Target: rec.ID,
				Err: fmt.Errorf("nvidia-smi shows %d GPUs, %d were paid for", len(gpus), rec.GPUCount),
			}
		}
	}
	client, err := e.client(rec)
	if err != nil {
		return nil, err
	}
	rec.State, rec.HostKey = journal.NodeReady, client.HostKeySeen()
	n.rec = rec
	return n, e.journal.SetNode(context.WithoutCancel(ctx), rec.ID, func(have *journal.Node) error {
		*have = rec
		return nil
	})
}

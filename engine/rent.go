package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/gpu"
)

// rent creates one machine and waits until it is ready. The journal knows of it before the provider
// does, and a machine that does not become ready is released before rent returns. An error that is a
// *setback leaves nothing behind: another offer may do.
func (e *Engine) rent(ctx context.Context, spec NodeSpec, query gpu.Query, offer gpu.Offer) (*Node, error) {
	p, err := e.provider(offer.Provider)
	if err != nil {
		return nil, err
	}
	if err := fits(spec.MaxCost, offer); err != nil {
		return nil, &setback{err: err}
	}
	_, public, err := e.nodeKey()
	if err != nil {
		return nil, err
	}
	req := gpu.CreateRequest{Offer: offer, Query: query, AuthorizedKey: public}
	if registrar, ok := p.(gpu.KeyRegistrar); ok {
		err := e.asked(ctx, func(ctx context.Context) (err error) {
			req.KeyRef, err = registrar.RegisterKey(ctx, public)
			return err
		})
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil { // every machine of this provider needs it
			return nil, &setback{err: providerFault("register the ssh key at", offer.Provider, err), whole: true}
		}
	}
	label := spec.job
	if label == "" {
		if label, err = e.journal.NewJobID(ctx, cmp.Or(spec.Name, "node")); err != nil {
			return nil, err
		}
	}
	req.Name = machineName(label, strings.ReplaceAll(e.now().UTC().Format("20060102t150405.000"), ".", ""))
	offerJSON, err := json.Marshal(offer)
	if err != nil {
		return nil, err
	}
	rec := journal.Node{
		ID: journal.IntentID(req.Name), Name: req.Name, Provider: offer.Provider, RunID: e.runID, State: journal.NodeIntent,
		GPUType: offer.GPUType, GPUCount: offer.GPUCount, PricePerHour: offer.PriceTotal, Offer: string(offerJSON), Created: e.now(),
		Keep: spec.KeepAlive != nil && *spec.KeepAlive, Volume: volumeOf(p, query), Switch: switchOf(p), Account: accountOf(p),
	}
	if rec.Keep && rec.Switch == "" {
		rec.Switch = journal.SwitchOff
	}
	rec.Deadline = deadline(rec, spec.MaxCost)
	if err := e.intend(ctx, rec); err != nil {
		return nil, err
	}
	inst, err := e.create(ctx, p, rec, req)
	if err != nil {
		return nil, e.abandon(ctx, rec, err)
	}
	rec = created(rec, inst)
	// The id is recorded even if the user has just pressed Ctrl-C: the machine exists.
	if err := e.journal.NodeCreated(context.WithoutCancel(ctx), req.Name, rec); err != nil {
		return nil, e.unrecorded(ctx, p, rec, inst.ID, err)
	}
	n, err := e.boot(ctx, p, rec, &candidate{spec: spec, req: req, told: inst, price: offer.PriceTotal})
	if err == nil {
		n.unvouch = n.vouch(ctx)
		return n, nil
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.cfg.Timing.Release)
	defer cancel()
	gone := &Node{engine: e, rec: rec}
	if releaseErr := gone.terminate(cleanup, firstLine(err.Error())); releaseErr != nil {
		return nil, errors.Join(err, releaseErr)
	}
	if ctx.Err() != nil {
		return nil, err
	}
	return nil, &setback{err: err, booted: true}
}

// created is the record of an intent's machine once it has an id.
func created(intent journal.Node, inst gpu.Instance) journal.Node {
	intent.ID, intent.State = intent.Provider+":"+inst.ID, journal.NodeCreated
	describe(&intent, inst)
	return intent
}

// machineName is what a machine is called at its provider.
func machineName(label, stamp string) string { return "bifrost-" + label + "-" + stamp }

// minUse is the least that a machine is good for: it has to boot before a job can run.
const minUse = 10 * time.Minute

// fits refuses an offer of which max_cost buys too little to be of use.
func fits(maxCost float64, o gpu.Offer) error {
	if maxCost <= 0 || o.PriceTotal <= 0 {
		return nil
	}
	buys := affordable(maxCost, o.PriceTotal)
	if buys >= minUse {
		return nil
	}
	return &fault.Error{
		Kind: fault.Budget, Op: "rent", Target: describeCandidate(o),
		Err: fmt.Errorf("max_cost $%s buys %s at $%s per hour, and a machine may need %s before a job begins",
			gpu.Dollars(maxCost), buys.Round(time.Second), gpu.Dollars(o.PriceTotal), minUse),
		Hint: fmt.Sprintf("raise max_cost to $%s or more, or ask for a cheaper machine", gpu.Dollars(cents(o.PriceTotal*minUse.Hours()))),
	}
}

// cents is an amount rounded up to whole cents.
func cents(usd float64) float64 { return float64(int64(usd*100+0.999999)) / 100 }

// deadline is when a machine has cost so much; zero without a limit or a price.
func deadline(rec journal.Node, maxCost float64) time.Time {
	if maxCost <= 0 || rec.PricePerHour <= 0 {
		return time.Time{}
	}
	return rec.Created.Add(affordable(maxCost, rec.PricePerHour))
}

// affordable is how long a machine of that price may run for that much money.
func affordable(usd, perHour float64) time.Duration {
	return time.Duration(usd / perHour * float64(time.Hour))
}

// intend records that a machine is about to be created, unless the run would cost too much per hour with
// it. Two that are rented at once see each other.
func (e *Engine) intend(ctx context.Context, rec journal.Node) error {
	e.renting.Lock()
	defer e.renting.Unlock()
	if err := e.overPerHour(ctx, rec); err != nil {
		return err
	}
	return e.journal.PutIntent(ctx, rec)
}

// overPerHour refuses a machine with which those of this run would cost too much per hour.
func (e *Engine) overPerHour(ctx context.Context, rec journal.Node) error {
	limit := e.cfg.MaxCostPerHour
	if limit <= 0 {
		return nil
	}
	nodes, err := e.journal.Nodes(ctx, false)
	if err != nil {
		return err
	}
	cost, machines := 0.0, 0
	for _, n := range nodes {
		if n.RunID == e.runID && n.Provider != providerSSH && n.ID != rec.ID {
			cost += n.PricePerHour
			machines++
		}
	}
	if cost+rec.PricePerHour <= limit+1e-9 { // sums of prices are not exact
		return nil
	}
	return &setback{err: &fault.Error{
		Kind: fault.Budget, Op: "rent", Target: fmt.Sprintf("%dx %s from %s", rec.GPUCount, rec.GPUType, rec.Provider),
		Err: fmt.Errorf(
			"the machines of this run would cost $%.2f per hour: $%.2f for the %d there are and $%.2f for this one; the limit is $%.2f",
			cost+rec.PricePerHour, cost, machines, rec.PricePerHour, limit),
		Hint: "raise --max-cost-per-hour, or max_cost_per_hour in bifrost.toml; or end another machine first",
	}}
}

// create sends the create call once; only a refusal for its rate, which says that nothing happened, sends
// it again. An answer that leaves open whether the machine exists is resolved by looking for its name.
func (e *Engine) create(ctx context.Context, p gpu.Provider, rec journal.Node, req gpu.CreateRequest) (gpu.Instance, error) {
	inst, err := p.Create(ctx, req)
	for last := time.Now().Add(e.cfg.Timing.Refused); isKind(err, gpu.RateLimited); {
		var refusal *gpu.Error
		errors.As(err, &refusal)
		pause := max(refusal.After, e.cfg.Timing.AdoptPoll)
		if time.Now().Add(pause).After(last) || sleep(ctx, pause) != nil {
			return gpu.Instance{}, err
		}
		inst, err = p.Create(ctx, req)
	}
	var refusal *gpu.Error
	switch {
	case err == nil && inst.ID != "":
		return inst, nil
	case errors.As(err, &refusal) && refusal.Kind != gpu.Transient, neverSent(err):
		return gpu.Instance{}, err
	case err == nil:
		err = errors.New("the answer named no id")
	}
	found, lookErr := e.look(context.WithoutCancel(ctx), p, rec)
	switch {
	case fault.KindOf(lookErr) == fault.Conflict, fault.KindOf(lookErr) == fault.Unreleased:
		return gpu.Instance{}, lookErr
	case lookErr != nil:
		return gpu.Instance{}, &ambiguousError{err: errors.Join(err, lookErr)}
	}
	return found, nil
}

// neverSent reports whether a request did not leave this machine: there was no connection to send it on.
func neverSent(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial"
}

// An ambiguousError says that a machine may exist which nobody could find: its intent stays open.
type ambiguousError struct{ err error }

func (e *ambiguousError) Error() string {
	return "nobody knows whether it was created: " + e.err.Error()
}
func (e *ambiguousError) Unwrap() error { return e.err }

// errNotShown is the end of a look for a machine that the provider does not show.
var errNotShown = errors.New("the provider shows no machine of this name")

// look looks for the machine of an intent for as long as Timing.Adopt, on a clock that nobody sets. The
// error of a provider that answered and never showed one is errNotShown. Where there are several, all of
// them are recorded and ended, and the error names them.
func (e *Engine) look(ctx context.Context, p gpu.Provider, rec journal.Node) (gpu.Instance, error) {
	began := time.Now()
	for wait := e.cfg.Timing.AdoptPoll; ; wait = min(2*wait, 20*e.cfg.Timing.AdoptPoll) {
		all, err := e.list(ctx, p)
		var found []gpu.Instance
		for _, inst := range all {
			if inst.Name == rec.Name && inst.State != gpu.Terminated {
				found = append(found, inst)
			}
		}
		left := e.cfg.Timing.Adopt - time.Since(began)
		switch {
		case err == nil && len(found) == 1:
			return found[0], nil
		case err == nil && len(found) > 1:
			return gpu.Instance{}, e.endAll(ctx, rec, found)
		case err == nil && left <= 0:
			return gpu.Instance{}, errNotShown
		case left <= 0:
			return gpu.Instance{}, err
		}
		if sleepErr := sleep(ctx, min(wait, left)); sleepErr != nil {
			return gpu.Instance{}, errors.Join(sleepErr, err)
		}
	}
}

// endAll records the machines that one create call has made, and then ends them: whichever is meant, one
// too many costs.
func (e *Engine) endAll(ctx context.Context, rec journal.Node, found []gpu.Instance) error {
	var ids []string
	var nodes []journal.Node
	for i, inst := range found {
		n := created(rec, inst)
		n.Keep = false
		record := func() error { return e.journal.PutNode(ctx, n) }
		if i == 0 {
			record = func() error { return e.journal.NodeCreated(ctx, rec.Name, n) }
		}
		if err := record(); err != nil {
			return err
		}
		ids, nodes = append(ids, n.ID), append(nodes, n)
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timing.Release)
	defer cancel()
	errs := e.each(nodes, func(n journal.Node) error {
		return e.terminate(ctx, n, "one create call made several machines")
	})
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("one create call made %d machines: %s: %w", len(ids), strings.Join(ids, ", "), err)
	}
	return &fault.Error{
		Kind: fault.Conflict, Op: "create", Target: rec.Name, Err: fmt.Errorf("one call made %d machines, %s: all of them were ended", len(ids), strings.Join(ids, ", ")),
		Hint: "run it again; if it happens again, see whether something between this machine and the provider sends requests twice",
	}
}

// unrecorded ends a machine whose id could not be recorded. Its intent is in the journal, so that the next
// command finds by the name what could not be ended here.
func (e *Engine) unrecorded(ctx context.Context, p gpu.Provider, rec journal.Node, id string, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.cfg.Timing.Release)
	defer cancel()
	if err := e.terminateConfirmed(ctx, p, id, false); err != nil {
		return errors.Join(cause, unreleased(rec, err))
	}
	return cause
}

// abandon closes the intent of a create that was refused. An ambiguous one stays open for settle.
func (e *Engine) abandon(ctx context.Context, rec journal.Node, cause error) error {
	interrupted := ctx.Err() != nil
	ctx = context.WithoutCancel(ctx)
	var ambiguous *ambiguousError
	if errors.As(cause, &ambiguous) {
		err := &fault.Error{
			Kind: fault.Unreleased, Op: "create", Target: rec.Name, Err: providerFault("create at", rec.Provider, cause),
			Hint: "bifrost reap looks for it again and removes it",
		}
		if interrupted {
			return err
		}
		return &setback{err: err, whole: true}
	}
	var said *fault.Error
	if errors.As(cause, &said) { // several machines: each has a record of its own
		return cause
	}
	err := e.recordGone(ctx, rec.ID, firstLine(cause.Error()))
	refused := providerFault("create", rec.Name, cause)
	if err != nil || interrupted {
		return errors.Join(refused, err)
	}
	return &setback{err: refused, whole: isKind(cause, gpu.Auth, gpu.Funds, gpu.Quota, gpu.RateLimited) || neverSent(cause)}
}

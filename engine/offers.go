package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/gpu"
)

// Offers are what providers would rent out now, held against a query.
type Offers struct {
	Kept   []gpu.Offer // those that fit, best first
	Missed []gpu.Miss  // those that nearly do, nearest first; only where an explanation was asked for
}

// Offers asks the providers of the query at once and ranks what they answer; with explain also what
// the query refuses. None is no error. A provider that fails, or does not answer within Timing.Search, is a
// warning, unless all do: then their errors are returned.
func (e *Engine) Offers(ctx context.Context, query gpu.Query, explain bool) (Offers, error) {
	providers, err := e.providersOf(query)
	if err != nil {
		return Offers{}, err
	}
	query.Near = explain
	answers := make([][]gpu.Offer, len(providers))
	errs := make([]error, len(providers))
	var wg sync.WaitGroup
	for i, p := range providers {
		wg.Go(func() {
			limit := e.cfg.Timing.Search
			ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit))
			defer cancel()
			if answers[i], errs[i] = p.Offers(ctx, query); errs[i] != nil {
				if cause := context.Cause(ctx); cause != nil && !errors.Is(errs[i], cause) {
					errs[i] = cause // else the error says what was in the way all the time, too
				}
				errs[i] = providerFault("offers", p.Name(), errs[i])
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return Offers{}, context.Cause(ctx)
	}
	if !slices.Contains(errs, nil) {
		return Offers{}, errors.Join(errs...)
	}
	for _, err := range errs {
		e.warn(err)
	}
	var found Offers
	found.Kept, found.Missed, err = gpu.Rank(slices.Concat(answers...), query)
	if !explain {
		found.Missed = nil
	}
	return found, err
}

// providersOf lists those that a query asks: the ones that it names, else all but this machine.
func (e *Engine) providersOf(query gpu.Query) ([]gpu.Provider, error) {
	var all []gpu.Provider
	if query.Providers == nil {
		for _, p := range e.cfg.Providers {
			if p.Name() != "local" { // this machine is used only when it is named
				all = append(all, p)
			}
		}
	}
	for _, name := range query.Providers {
		p, err := e.provider(name)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		return nil, &fault.Error{
			Kind: fault.NoCapacity, Op: "provision", Target: describeQuery(query), Err: errors.New("there is no provider to rent from" + e.missing()),
			Hint: `set a provider's key, in the environment or in .env; or use a machine of your own with ssh = "user@host", or this one with gpu_query(providers = "local")`,
		}
	}
	return all, nil
}

// candidates are the offers that a query can be met with, at least one. The error of none says what
// came nearest.
func (e *Engine) candidates(ctx context.Context, query gpu.Query) ([]gpu.Offer, error) {
	found, err := e.Offers(ctx, query, false)
	if err != nil || len(found.Kept) > 0 {
		return found.Kept, err
	}
	if found, err = e.Offers(ctx, query, true); err != nil {
		return nil, err
	}
	if len(found.Kept) > 0 {
		return found.Kept, nil // it has come this moment
	}
	return nil, NoOffer(query, found.Missed)
}

// NoOffer is the error of a query that no offer fits: what came nearest, and how that would pass.
func NoOffer(query gpu.Query, missed []gpu.Miss) error {
	text := "no offer for " + describeQuery(query)
	for _, m := range missed[:min(3, len(missed))] {
		text += fmt.Sprintf("\nnearest: %s; %s", describeMiss(m.Offer), m.Refused)
	}
	return &fault.Error{Kind: fault.NoCapacity, Err: errors.New(text), Hint: wayOut(missed)}
}

// wayOut says what to change of a query that nothing fits: for each filter that alone refuses
// something, what would let the nearest pass.
func wayOut(missed []gpu.Miss) string {
	var ways []string
	seen := map[string]bool{}
	for _, m := range missed {
		filter, rest, _ := strings.Cut(m.Refused, ": ")
		if strings.Contains(rest, "; ") || seen[filter] {
			continue
		}
		seen[filter] = true
		ways = append(ways, relaxed(filter, m.Offer))
	}
	if len(ways) == 0 {
		return "ask for less, or for another type"
	}
	return strings.Join(ways[:min(3, len(ways))], ", or ")
}

// relaxed is how a query's filter lets an offer pass.
func relaxed(filter string, o gpu.Offer) string {
	switch filter {
	case "max_price":
		return "raise max_price to " + gpu.Dollars(o.PricePerGPU)
	case "count":
		return fmt.Sprintf("count = %d", o.GPUCount)
	case "min_vram_gb":
		return fmt.Sprintf("min_vram_gb = %g", o.VRAMGB)
	case "cloud_type":
		return fmt.Sprintf("cloud_type = %q", o.CloudType)
	case "min_cuda":
		return fmt.Sprintf("min_cuda = %q", o.CUDA)
	case "spot":
		return "spot = " + map[bool]string{true: "True", false: "False"}[o.Spot]
	case "type":
		return fmt.Sprintf("type = %q", o.GPUType)
	}
	return "change " + filter // regions, where
}

func describeMiss(o gpu.Offer) string {
	parts := []string{o.Provider}
	if o.CloudType != "" {
		parts = append(parts, o.CloudType)
	}
	return fmt.Sprintf("%dx %s at $%s (%s)", o.GPUCount, cmp.Or(o.GPUType, "GPU"), gpu.Dollars(o.PricePerGPU), strings.Join(parts, ", "))
}

// missing says for each provider that cannot be asked what is missing: ": A is not set, B is not set".
func (e *Engine) missing() string {
	if len(e.cfg.Absent) == 0 {
		return ""
	}
	var why []string
	for _, name := range slices.Sorted(maps.Keys(e.cfg.Absent)) {
		why = append(why, e.cfg.Absent[name])
	}
	return ": " + strings.Join(why, ", ")
}

func (e *Engine) provider(name string) (gpu.Provider, error) {
	var known []string
	for _, p := range e.cfg.Providers {
		if p.Name() == name {
			return p, nil
		}
		known = append(known, p.Name())
	}
	if why, ok := e.cfg.Absent[name]; ok {
		return nil, &fault.Error{Kind: fault.Auth, Op: "provider", Target: name, Err: errors.New(why), Hint: "set it in the environment or in .env"}
	}
	known = slices.AppendSeq(known, maps.Keys(e.cfg.Absent))
	slices.Sort(known)
	return nil, invalid("provider", name, errors.New("unknown to this version"), "it knows: "+strings.Join(known, ", "))
}

// providerFault turns a provider's refusal into the error that users see.
func providerFault(op, target string, err error) error {
	err = saidOnce{err, op, target}
	var refusal *gpu.Error
	if !errors.As(err, &refusal) {
		return &fault.Error{Kind: fault.Unreachable, Op: op, Target: target, Err: err}
	}
	kind := map[gpu.Kind]fault.Kind{
		gpu.Auth: fault.Auth, gpu.Forbidden: fault.Auth, gpu.Funds: fault.Funds, gpu.Quota: fault.NoCapacity, gpu.NoCapacity: fault.NoCapacity,
		gpu.Validation: fault.Invalid, gpu.NotFound: fault.NotFound, gpu.Conflict: fault.Conflict,
	}[refusal.Kind]
	if kind == "" {
		kind = fault.Unreachable
	}
	return &fault.Error{Kind: kind, Op: op, Target: target, Err: err}
}

// saidOnce is an error beside the operation and the provider, with which clients begin their texts too.
type saidOnce struct {
	error
	op, provider string
}

func (s saidOnce) Error() string {
	return strings.TrimPrefix(s.error.Error(), s.provider+" "+s.op+": ")
}
func (s saidOnce) Unwrap() error { return s.error }

func describeQuery(q gpu.Query) string {
	name := q.Type
	if name == "" {
		name = "GPU"
	}
	text := fmt.Sprintf("%dx %s", max(q.Count, 1), name)
	if q.MinVRAM > 0 {
		text += fmt.Sprintf(" (>= %g GB)", q.MinVRAM)
	}
	if q.MaxPrice > 0 {
		text += fmt.Sprintf(" at <= $%s per GPU and hour", gpu.Dollars(q.MaxPrice))
	}
	if len(q.Providers) > 0 {
		text += " on " + strings.Join(q.Providers, ", ")
	}
	return text
}

func describeOffer(o gpu.Offer) string {
	if o.GPUCount == 0 {
		return fmt.Sprintf("(no GPU, $%.2f/h)", o.PriceTotal)
	}
	return fmt.Sprintf("(%dx %s, $%.2f/h)", o.GPUCount, o.GPUType, o.PriceTotal)
}

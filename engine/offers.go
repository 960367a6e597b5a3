package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/gpu"
)

// offers asks every provider of the query and ranks what they answer.
func (e *Engine) offers(ctx context.Context, query gpu.Query) ([]gpu.Offer, error) {
	names := query.Providers
	if names == nil {
		for _, p := range e.cfg.Providers {
			if p.Name() != "local" { // this machine is used only when it is named
				names = append(names, p.Name())
			}
		}
	}
	if len(names) == 0 {
		return nil, &fault.Error{
			Kind: fault.NoCapacity, Op: "provision", Target: describeQuery(query), Err: errors.New("there is no provider to rent from"),
			Hint: `use a machine of your own with ssh = "user@host", or this one with gpu_query(providers = "local"); renting in clouds comes with a later version`,
		}
	}
	var all []gpu.Offer
	for _, name := range names {
		p, err := e.provider(name)
		if err != nil {
			return nil, err
		}
		offers, err := p.Offers(ctx, query)
		if err != nil {
			return nil, providerFault("offers", name, err)
		}
		all = append(all, offers...)
	}
	return rank(all, query)
}

// rank drops what the query's own filter refuses and orders the rest: by its sort, else by the
// order of its providers, else by price.
func rank(offers []gpu.Offer, query gpu.Query) ([]gpu.Offer, error) {
	type ranked struct {
		gpu.Offer
		key float64
	}
	var kept []ranked
	for _, o := range offers {
		if query.MaxPrice > 0 && o.PricePerGPU > query.MaxPrice {
			continue
		}
		if query.Where != nil {
			ok, err := query.Where(o)
			if err != nil {
				return nil, fmt.Errorf("where: %w", err)
			}
			if !ok {
				continue
			}
		}
		r := ranked{Offer: o, key: o.PricePerGPU}
		switch {
		case query.Sort != nil:
			key, err := query.Sort(o)
			if err != nil {
				return nil, fmt.Errorf("sort: %w", err)
			}
			r.key = key
		case len(query.Providers) > 1:
			r.key = float64(slices.Index(query.Providers, o.Provider))
		}
		kept = append(kept, r)
	}
	if len(kept) == 0 {
		return nil, &fault.Error{
			Kind: fault.NoCapacity, Op: "provision", Target: describeQuery(query), Err: errors.New("no offer matches"),
			Hint: "ask for less, or for another type",
		}
	}
	sort.SliceStable(kept, func(i, k int) bool {
		if kept[i].key != kept[k].key {
			return kept[i].key < kept[k].key
		}
		return kept[i].PricePerGPU < kept[k].PricePerGPU
	})
	out := make([]gpu.Offer, len(kept))
	for i, r := range kept {
		out[i] = r.Offer
	}
	return out, nil
}

func (e *Engine) provider(name string) (gpu.Provider, error) {
	var known []string
	for _, p := range e.cfg.Providers {
		if p.Name() == name {
			return p, nil
		}
		known = append(known, p.Name())
	}
	return nil, invalid("provider", name, errors.New("unknown to this version"), "it knows: "+strings.Join(known, ", "))
}

// providerFault turns a provider's refusal into the error that users see.
func providerFault(op, target string, err error) error {
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

func describeQuery(q gpu.Query) string {
	name := q.Type
	if name == "" {
		name = "GPU"
	}
	text := fmt.Sprintf("%dx %s", max(q.Count, 1), name)
	if q.MaxPrice > 0 {
		text += fmt.Sprintf(" at <= $%.2f per GPU and hour", q.MaxPrice)
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

package fake

import (
	"cmp"
	"context"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/gpu"
)

// Offers implements builtins.Market.
func (w *World) Offers(ctx context.Context, query gpu.Query, explain bool) (engine.Offers, error) {
	if err := ended(ctx); err != nil {
		return engine.Offers{}, err
	}
	kept, missed, err := w.rank(query)
	if !explain {
		missed = nil
	}
	return engine.Offers{Kept: kept, Missed: missed}, err
}

// rank holds what is for sale against a query. It calls back into the script.
func (w *World) rank(query gpu.Query) ([]gpu.Offer, []gpu.Miss, error) {
	w.mu.Lock()
	offers := w.offers
	w.mu.Unlock()
	if offers == nil {
		offers = []gpu.Offer{fitting(query)}
	}
	named := offers[:0:0]
	for _, o := range offers {
		ok := query.Providers == nil
		for _, p := range query.Providers {
			ok = ok || p == o.Provider
		}
		if ok {
			named = append(named, o)
		}
	}
	return gpu.Rank(named, query)
}

func (w *World) best(query gpu.Query) (gpu.Offer, error) {
	kept, missed, err := w.rank(query)
	switch {
	case err != nil:
		return gpu.Offer{}, err
	case len(kept) == 0:
		return gpu.Offer{}, engine.NoOffer(query, missed)
	}
	return kept[0], nil
}

// ListNodes implements builtins.Market.
func (w *World) ListNodes(ctx context.Context) ([]builtins.Node, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []builtins.Node
	for _, m := range w.machines {
		if m.state != terminated {
			all = append(all, &node{machine: m})
		}
	}
	return all, nil
}

// FindNode implements builtins.Market. A name is that of a machine or of a job on it.
func (w *World) FindNode(ctx context.Context, name string) (builtins.Node, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.machines {
		if m.state == terminated {
			continue
		}
		if m.id == name || m.name == name {
			return &node{machine: m}, nil
		}
		for _, j := range m.jobs {
			if j.id == name || j.name == name {
				return &node{machine: m}, nil
			}
		}
	}
	return nil, nil
}

// fitting is an offer that fits a query, for tests to which offers do not matter.
func fitting(q gpu.Query) gpu.Offer {
	o := gpu.Offer{
		Provider: "fake", GPUType: q.Type, GPUCount: q.Count, VRAMGB: max(q.MinVRAM, 80), PricePerGPU: 1, CloudType: cmp.Or(q.CloudType, "secure"), Spot: q.Spot, CUDA: q.MinCUDA,
	}
	if len(q.Providers) > 0 {
		o.Provider = q.Providers[0]
	}
	if len(q.Regions) > 0 {
		o.Region = q.Regions[0]
	}
	if q.MaxPrice > 0 && q.MaxPrice < o.PricePerGPU {
		o.PricePerGPU = q.MaxPrice
	}
	o.PriceTotal = o.PricePerGPU * float64(o.GPUCount)
	return o
}

package engine_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/local"
)

// A market is a provider with offers and moods of its own, whose machines are local nodes.
type market struct {
	name   string
	offers []gpu.Offer
	// These stand in for its answers, where they are set; n counts the calls from 0.
	create    func(n int, req gpu.CreateRequest, rent func() (gpu.Instance, error)) (gpu.Instance, error)
	get       func(n int, inst gpu.Instance, err error) (gpu.Instance, error)
	list      func(ctx context.Context, n int, all []gpu.Instance) ([]gpu.Instance, error)
	terminate func(n int, end func() error) error
	offer     func(ctx context.Context) error

	below gpu.Provider

	mu    sync.Mutex
	own   map[string]gpu.Instance // that were ever rented here
	calls map[string]int
}

// at makes a market whose machines live in a state folder.
func (m *market) at(state string) *market {
	m.below = local.New(local.Config{StateDir: filepath.Join(state, m.name)})
	m.own, m.calls = map[string]gpu.Instance{}, map[string]int{}
	for i := range m.offers {
		m.offers[i].Provider, m.offers[i].ID = m.name, fmt.Sprint(i)
		if m.offers[i].PricePerGPU == 0 {
			m.offers[i].PricePerGPU = m.offers[i].PriceTotal
		}
	}
	return m
}

// quick are the waits of tests.
var quick = engine.Timing{
	AdoptPoll: time.Millisecond, Adopt: 50 * time.Millisecond, BootPoll: 5 * time.Millisecond, Confirm: time.Millisecond, ReleasePoll: time.Millisecond,
	Visible: 30 * time.Millisecond, Refused: 100 * time.Millisecond, Release: 20 * time.Second,
}

// trading makes an engine rent on markets, without a guardian.
func trading(timing engine.Timing, markets ...*market) func(*engine.Config) {
	return func(c *engine.Config) {
		c.Guardian, c.Providers, c.Timing = nil, nil, timing
		for _, m := range markets {
			c.Providers = append(c.Providers, m.at(c.StateDir))
		}
	}
}

func (m *market) count(call string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls[call]++
	return m.calls[call] - 1
}

// called is how often a call was made.
func (m *market) called(call string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls[call]
}

// left are the machines that cost money.
func (m *market) left(t *testing.T) []string {
	t.Helper()
	all, err := m.below.List(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, inst := range all {
		ids = append(ids, inst.ID)
	}
	return ids
}

func (m *market) Name() string { return m.name }

func (m *market) Offers(ctx context.Context, _ gpu.Query) ([]gpu.Offer, error) {
	if m.offer != nil {
		if err := m.offer(ctx); err != nil {
			return nil, err
		}
	}
	return slices.Clone(m.offers), nil
}

// as is an instance of the node beneath as this market tells of it.
func (m *market) as(inst gpu.Instance) gpu.Instance {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.own[inst.ID]
	inst.Provider, inst.PricePerHour, inst.GPUType = m.name, known.PricePerHour, known.GPUType
	return inst
}

func (m *market) Create(ctx context.Context, req gpu.CreateRequest) (gpu.Instance, error) {
	rent := func() (gpu.Instance, error) {
		inst, err := m.below.Create(ctx, req)
		if err != nil {
			return inst, err
		}
		m.mu.Lock()
		m.own[inst.ID] = gpu.Instance{PricePerHour: req.Offer.PriceTotal, GPUType: req.Offer.GPUType}
		m.mu.Unlock()
		return m.as(inst), nil
	}
	n := m.count("create")
	if m.create == nil {
		return rent()
	}
	return m.create(n, req, rent)
}

func (m *market) Get(ctx context.Context, id string) (gpu.Instance, error) {
	inst, err := m.below.Get(ctx, id)
	if err == nil {
		inst = m.as(inst)
	}
	n := m.count("get")
	if m.get == nil {
		return inst, err
	}
	return m.get(n, inst, err)
}

func (m *market) List(ctx context.Context) ([]gpu.Instance, error) {
	all, err := m.below.List(ctx)
	for i := range all {
		all[i] = m.as(all[i])
	}
	n := m.count("list")
	if m.list == nil || err != nil {
		return all, err
	}
	return m.list(ctx, n, all)
}

func (m *market) Terminate(ctx context.Context, id string) error {
	end := func() error { return m.below.Terminate(ctx, id) }
	n := m.count("terminate")
	if m.terminate == nil {
		return end()
	}
	return m.terminate(n, end)
}

// refusing refuses every create with an error of this kind.
func refusing(name string, kind gpu.Kind, message string) func(int, gpu.CreateRequest, func() (gpu.Instance, error)) (gpu.Instance, error) {
	return func(int, gpu.CreateRequest, func() (gpu.Instance, error)) (gpu.Instance, error) {
		return gpu.Instance{}, &gpu.Error{Provider: name, Op: "create", Kind: kind, Message: message}
	}
}

// priced are offers at these prices.
func priced(prices ...float64) []gpu.Offer {
	var all []gpu.Offer
	for _, p := range prices {
		all = append(all, gpu.Offer{GPUType: "H100 80GB SXM", PriceTotal: p, StandsIn: true})
	}
	return all
}

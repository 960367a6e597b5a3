package engine_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/gpu"
)

// TestCandidates walks the offers of a dear provider "a" with two and of "b" with one, in this order.
func TestCandidates(t *testing.T) {
	t.Parallel()
	type rent = func() (gpu.Instance, error)
	firstOnly := func(bad gpu.Instance, err error) func(int, gpu.CreateRequest, rent) (gpu.Instance, error) {
		return func(n int, _ gpu.CreateRequest, r rent) (gpu.Instance, error) {
			if n == 0 {
				return bad, err
			}
			return r()
		}
	}
	refuse := func(kind gpu.Kind) error {
		return &gpu.Error{Provider: "a", Op: "create", Kind: kind, Message: "says " + string(kind)}
	}
	dearer := func(by float64) func(int, gpu.CreateRequest, rent) (gpu.Instance, error) {
		return func(n int, _ gpu.CreateRequest, r rent) (gpu.Instance, error) {
			inst, err := r()
			if n == 0 {
				inst.PricePerHour *= by
			}
			return inst, err
		}
	}
	tests := []struct {
		name     string
		a, b     market
		timing   func(*engine.Timing)
		query    gpu.Query
		maxCost  float64
		perHour  float64
		from     string // the provider of the machine, "" where there is none
		createsA int
		kind     fault.Kind
		words    []string // of the error, or of what was reported
	}{
		{name: "the first", from: "a", createsA: 1},
		{name: "no capacity", a: market{create: firstOnly(gpu.Instance{}, refuse(gpu.NoCapacity))}, from: "a", createsA: 2, words: []string{"a at $2.00/h: says no_capacity; trying the next"}},
		{name: "forbidden", a: market{create: firstOnly(gpu.Instance{}, refuse(gpu.Forbidden))}, from: "a", createsA: 2, words: []string{"says forbidden; trying"}},
		{name: "validation", a: market{create: firstOnly(gpu.Instance{}, refuse(gpu.Validation))}, from: "a", createsA: 2, words: []string{"says validation; trying"}},
		{name: "auth", a: market{create: refusing("a", gpu.Auth, "bad key")}, from: "b", createsA: 1, words: []string{"bad key; no more offers of a are tried"}},
		{name: "funds", a: market{create: refusing("a", gpu.Funds, "empty")}, from: "b", createsA: 1, words: []string{"empty; no more offers of a"}},
		{name: "quota", a: market{create: refusing("a", gpu.Quota, "enough")}, from: "b", createsA: 1, words: []string{"enough; no more offers of a"}},
		{name: "rate", a: market{create: refusing("a", gpu.RateLimited, "slower")}, from: "b", createsA: -1, words: []string{"slower; no more offers of a"}},
		{
			name: "no connection", a: market{create: firstOnly(gpu.Instance{}, &net.OpError{Op: "dial", Err: errors.New("refused")})},
			from: "b", createsA: 1, words: []string{"dial: refused; no more offers of a"},
		},
		{
			name: "all refuse for the same reason", a: market{create: refusing("a", gpu.Validation, "no such image")}, b: market{create: refusing("b", gpu.Validation, "no such image")},
			createsA: 2, kind: fault.Invalid, words: []string{"a at $2.00/h: no such image", "b at $4.00/h: no such image"},
		},
		{
			name: "all keys are wrong", a: market{create: refusing("a", gpu.Auth, "bad key")}, b: market{create: refusing("b", gpu.Auth, "bad key too")},
			createsA: 1, kind: fault.Auth, words: []string{"bad key", "bad key too"},
		},
		{
			name: "several reasons", a: market{create: refusing("a", gpu.NoCapacity, "none left")}, b: market{create: refusing("b", gpu.Funds, "empty")},
			createsA: 2, kind: fault.NoCapacity, words: []string{"a at $2.00/h: none left", "a at $3.00/h: none left", "b at $4.00/h: empty"},
		},
		{name: "dearer than the offer", a: market{create: dearer(1.2)}, from: "a", createsA: 2, words: []string{"costs $2.40 per hour, the offer said $2.00; trying"}},
		{name: "a little dearer", a: market{create: dearer(1.04)}, from: "a", createsA: 1},
		{name: "cheaper", a: market{create: dearer(0.5)}, from: "a", createsA: 1},
		{
			name: "above the cap", a: market{create: dearer(1.04)}, query: gpu.Query{MaxPrice: 2.05}, createsA: 1, kind: fault.Budget,
			words: []string{"the machine costs $2.08 per hour, max_price allows $2.05 for each of 1 GPUs"},
		},
		{
			name: "the dearer machine is above what the run may cost", a: market{create: dearer(1.04)}, perHour: 2.05, createsA: 1, kind: fault.Budget,
			words: []string{"the limit is $2.05"},
		},
		{
			name: "the price comes later", a: market{
				create: func(_ int, _ gpu.CreateRequest, r rent) (gpu.Instance, error) {
					inst, err := r()
					inst.Host, inst.Port, inst.PricePerHour = "", 0, 0
					return inst, err
				},
				get: func(n int, inst gpu.Instance, err error) (gpu.Instance, error) {
					if n < 2 {
						inst.PricePerHour, inst.Host = 0, ""
					} else {
						inst.PricePerHour = 9
					}
					return inst, err
				},
			}, from: "b", createsA: 2, words: []string{"costs $9.00 per hour, the offer said $2.00"},
		},
		{
			name: "spot that was not asked for", a: market{create: func(n int, _ gpu.CreateRequest, r rent) (gpu.Instance, error) {
				inst, err := r()
				inst.Spot = n == 0
				return inst, err
			}}, from: "a", createsA: 2, words: []string{"(spot), which was not asked for; trying"},
		},
		{
			name: "fails instead of booting", a: market{
				create: func(_ int, _ gpu.CreateRequest, r rent) (gpu.Instance, error) {
					inst, err := r()
					inst.Host = ""
					return inst, err
				},
				get: func(n int, inst gpu.Instance, err error) (gpu.Instance, error) {
					if n == 0 {
						inst.State, inst.Message = gpu.Failed, "OCI runtime create failed"
					}
					return inst, err
				},
			}, from: "a", createsA: 2, words: []string{"the machine is failed: OCI runtime create failed; trying the next"},
		},
		{
			name: "never ready", a: market{
				create: func(_ int, _ gpu.CreateRequest, r rent) (gpu.Instance, error) {
					inst, err := r()
					inst.Host, inst.State = "", gpu.Starting
					return inst, err
				},
				get: func(_ int, inst gpu.Instance, err error) (gpu.Instance, error) {
					inst.Host, inst.State, inst.Message = "", gpu.Starting, "pulling"
					return inst, err
				},
			}, timing: func(t *engine.Timing) { t.Boot = 100 * time.Millisecond }, from: "", createsA: 2, kind: fault.NoCapacity,
			b:     market{create: refusing("b", gpu.NoCapacity, "none left")},
			words: []string{"not ready within 100ms: the machine is starting: pulling", "none left"},
		},
		{
			name: "not shown at first", a: market{
				create: func(_ int, _ gpu.CreateRequest, r rent) (gpu.Instance, error) {
					inst, err := r()
					inst.Host = ""
					return inst, err
				},
				get: func(n int, inst gpu.Instance, err error) (gpu.Instance, error) {
					if n < 3 {
						return gpu.Instance{}, &gpu.Error{Provider: "a", Op: "get", Kind: gpu.NotFound, Message: "no such machine"}
					}
					return inst, err
				},
			}, timing: func(t *engine.Timing) { t.Visible = 10 * time.Second }, from: "a", createsA: 1,
		},
		{
			name: "max_cost buys too little of the first", maxCost: 0.4, from: "a", createsA: 1,
			a: market{offers: priced(3, 2)}, query: gpu.Query{Sort: func(o gpu.Offer) (float64, error) { return -o.PriceTotal, nil }},
			words: []string{"max_cost $0.40 buys 8m0s at $3.00 per hour, and a machine may need 10m0s before a job begins"},
			b:     market{offers: priced(4)},
		},
		{
			name: "max_cost buys too little of all", maxCost: 0.2, createsA: 0, kind: fault.Budget,
			a: market{offers: priced(1.5, 3)}, b: market{offers: priced(4)},
			words: []string{"max_cost $0.20 buys", "raise max_cost to $0.25 or more"},
		},
		{
			name: "nobody has volumes", query: gpu.Query{VolumeDiskGB: 50}, createsA: 0, kind: fault.Invalid,
			words: []string{"volume_disk_gb 50: none of the providers that can be asked has volumes", "runpod has volumes"},
		},
		{
			name: "the one that was named has no volumes", query: gpu.Query{VolumeDiskGB: 50, Providers: []string{"b"}}, createsA: 0, kind: fault.Invalid,
			words: []string{"b has no volumes"},
		},
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, b := &tt.a, &tt.b
			a.name, b.name = "a", "b"
			if a.offers == nil {
				a.offers = priced(2, 3)
			}
			if b.offers == nil {
				b.offers = priced(4)
			}
			timing := quick
			if tt.timing != nil {
				tt.timing(&timing)
			}
			eng, seen := open(t, trading(timing, a, b), func(c *engine.Config) { c.MaxCostPerHour = tt.perHour })
			n, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: &tt.query, MaxCost: tt.maxCost})
			text := seen.text()
			switch {
			case tt.from != "":
				if err != nil {
					t.Fatal(err)
				}
				if n.Provider() != tt.from {
					t.Errorf("rented from %s, want %s", n.Provider(), tt.from)
				}
			case err == nil || fault.KindOf(err) != tt.kind:
				t.Errorf("got %v (%s), want kind %s", err, fault.KindOf(err), tt.kind)
			default:
				text = err.Error() + "\n" + fault.HintOf(err)
			}
			for _, w := range tt.words {
				if !strings.Contains(text, w) {
					t.Errorf("nothing says %q:\n%s", w, text)
				}
			}
			if got := a.called("create"); got != tt.createsA && !(tt.createsA < 0 && got > 1) {
				t.Errorf("a was asked to create %d times, want %d", got, tt.createsA)
			}
			if n != nil {
				rec, err := eng.Node(t.Context(), n.ID())
				if err != nil || rec.PricePerHour != n.PricePerHour() {
					t.Errorf("the journal has %+v, %v, the node $%v", rec, err, n.PricePerHour())
				}
				if err := n.Terminate(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if left := append(a.left(t), b.left(t)...); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			nodes, err := eng.Nodes(t.Context(), true)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range nodes {
				if n.State != journal.NodeGone {
					t.Errorf("journal: %+v", n)
				}
			}
		})
	}
}

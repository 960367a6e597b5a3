package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/gpu"
)

// A dear provider rents out the machines of another for money.
type dear struct {
	gpu.Provider
	prices []float64 // USD per hour, of one offer each

	mu     sync.Mutex
	rented map[string]float64
}

func withPrices(prices ...float64) func(*engine.Config) {
	return func(c *engine.Config) {
		c.Providers = []gpu.Provider{&dear{Provider: c.Providers[0], prices: prices, rented: map[string]float64{}}}
		c.MaxCostPerHour = 5
	}
}

func (d *dear) Offers(ctx context.Context, q gpu.Query) ([]gpu.Offer, error) {
	offers, err := d.Provider.Offers(ctx, q)
	if err != nil {
		return nil, err
	}
	var all []gpu.Offer
	for _, price := range d.prices {
		offer := offers[0]
		offer.PricePerGPU, offer.PriceTotal = price, price
		all = append(all, offer)
	}
	return all, nil
}

func (d *dear) Create(ctx context.Context, r gpu.CreateRequest) (gpu.Instance, error) {
	inst, err := d.Provider.Create(ctx, r)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rented[inst.ID] = r.Offer.PriceTotal
	inst.PricePerHour = r.Offer.PriceTotal
	return inst, err
}

func (d *dear) Get(ctx context.Context, id string) (gpu.Instance, error) {
	inst, err := d.Provider.Get(ctx, id)
	d.mu.Lock()
	defer d.mu.Unlock()
	inst.PricePerHour = d.rented[id]
	return inst, err
}

func TestMaxCostPerHour(t *testing.T) {
	t.Parallel()
	eng, _ := open(t, withPrices(3))
	first, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: onLocal()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = eng.Acquire(t.Context(), engine.NodeSpec{Provision: onLocal()})
	const want = "the machines of this run would cost $6.00 per hour: $3.00 for the 1 there are and $3.00 for this one; the limit is $5.00"
	if fault.KindOf(err) != fault.Budget || !strings.Contains(err.Error(), want) || !strings.Contains(fault.HintOf(err), "--max-cost-per-hour") {
		t.Errorf("the second: got %v, want a refusal: %s", err, want)
	}
	if err := first.Terminate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: onLocal()}); err != nil {
		t.Errorf("after the first was released: %v", err)
	}
}

// Of two that are rented at once, one is too many.
func TestMaxCostPerHourAtOnce(t *testing.T) {
	t.Parallel()
	eng, _ := open(t, withPrices(3))
	errs := make([]error, 2)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() { _, errs[i] = eng.Acquire(t.Context(), engine.NodeSpec{Provision: onLocal()}) })
	}
	group.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || fault.KindOf(errors.Join(errs...)) != fault.Budget {
		t.Errorf("got %v, want one machine and one refusal", errs)
	}
}

// A dear offer is passed over for one that the run can afford.
func TestMaxCostPerHourTakesTheNext(t *testing.T) {
	t.Parallel()
	eng, _ := open(t, withPrices(7, 4))
	query := onLocal()
	query.Sort = func(o gpu.Offer) (float64, error) { return -o.PricePerGPU, nil }
	n, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: query})
	if err != nil || n.PricePerHour() != 4 {
		t.Errorf("got %v, %v, want the machine for $4", n, err)
	}
}

// What must stay here stays, and what must not be written is not.
func TestWithholdAndProtect(t *testing.T) {
	t.Parallel()
	guarded := func(path string) string {
		if strings.Contains(path, "guarded") {
			return "the test says so"
		}
		return ""
	}
	eng, seen := open(t, func(c *engine.Config) { c.Withhold, c.Protect = guarded, guarded })
	source := tree(t, map[string]string{"a": "a", "guarded": "b", "sub/guarded.txt": "c"})
	n, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: onLocal()})
	if err != nil {
		t.Fatal(err)
	}
	workspace, err := n.Push(t.Context(), "~/w", source, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Upload(t.Context(), source, "~/up"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{workspace, "~/up"} {
		x, err := n.Exec(t.Context(), engine.Exec{Command: engine.Shell("find " + dir + " -type f -name '[ag]*'")})
		if err != nil || strings.Contains(x.Stdout, "guarded") || !strings.Contains(x.Stdout, "/a\n") {
			t.Errorf("%s has %q, %v, want a alone", dir, x.Stdout, err)
		}
	}
	for _, want := range []string{"guarded: not pushed: the test says so", "guarded.txt is not uploaded: the test says so"} {
		if !strings.Contains(seen.text(), want) {
			t.Errorf("nothing says %q", want)
		}
	}

	if _, err := n.Exec(t.Context(), engine.Exec{Command: engine.Shell("mkdir -p r/guarded/hooks && echo x >r/guarded/hooks/y && echo z >r/z")}); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	_, err = n.Download(t.Context(), "r/", out+"/", false)
	if err == nil || !strings.Contains(err.Error(), "guarded: it is not written here: the test says so") {
		t.Errorf("download: got %v, want it to name what was not written", err)
	}
	_, err = n.Download(t.Context(), "r/z", filepath.Join(out, "guarded"), false)
	if err == nil {
		t.Error("a file was downloaded to a protected name")
	}
	left, err := os.ReadDir(out)
	if err != nil || len(left) != 1 || left[0].Name() != "z" {
		t.Errorf("written: %v, %v, want z alone", left, err)
	}
}

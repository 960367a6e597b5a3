package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest"
	"github.com/bifrost-run/bifrost/gpu/local"
)

// A shop is a provider that offers and lists what a test says, and rents nothing out.
type shop struct {
	gpu.Provider // the zero value: whatever else is called is a defect
	name         string
	offers       []gpu.Offer
	machines     []gpu.Instance
	err          error
}

func (s *shop) Name() string { return s.name }

func (s *shop) Offers(context.Context, gpu.Query) ([]gpu.Offer, error) { return s.offers, s.err }

func (s *shop) List(context.Context) ([]gpu.Instance, error) { return s.machines, s.err }

// openWith opens an engine with these providers beside the local one.
func openWith(t *testing.T, shops ...gpu.Provider) (*engine.Engine, *events) {
	t.Helper()
	return open(t, func(c *engine.Config) { c.Providers = append(c.Providers, shops...) })
}

var (
	runpod = &shop{name: "runpod", offers: []gpu.Offer{
		{Provider: "runpod", GPUType: "A100 80GB SXM", VRAMGB: 80, GPUCount: 2, PricePerGPU: 3.5, PriceTotal: 7, CloudType: "secure"},
		{Provider: "runpod", GPUType: "H100 80GB SXM", VRAMGB: 80, GPUCount: 2, PricePerGPU: 2.9, PriceTotal: 5.8, CloudType: "secure"},
	}}
	vast = &shop{name: "vast", offers: []gpu.Offer{
		{Provider: "vast", GPUType: "A100 80GB SXM", VRAMGB: 80, GPUCount: 2, PricePerGPU: 3.29, PriceTotal: 6.58, CloudType: "community"},
	}}
	broken = &shop{name: "lambda", err: errors.New("connection refused")}
)

func TestOffers(t *testing.T) {
	t.Parallel()
	eng, seen := openWith(t, runpod, vast, broken)
	found, err := eng.Offers(t.Context(), gpu.Query{Type: "A100", Count: 2}, false)
	if err != nil || len(found.Kept) != 2 || found.Kept[0].Provider != "vast" || found.Missed != nil {
		t.Errorf("offers: %+v, %v", found, err)
	}
	if !strings.Contains(seen.text(), "offers lambda: connection refused") {
		t.Errorf("a provider that fails was not reported: %s", seen.text())
	}
	found, err = eng.Offers(t.Context(), gpu.Query{Type: "A100", Count: 2, CloudType: "secure"}, true)
	if err != nil || len(found.Kept) != 1 || len(found.Missed) != 2 || found.Missed[0].Refused != "cloud_type: community, asked for secure" {
		t.Errorf("explained: %+v, %v", found, err)
	}
	if found, err := eng.Offers(t.Context(), gpu.Query{Type: "T4"}, false); err != nil || len(found.Kept) != 0 {
		t.Errorf("nothing fits: %+v, %v", found, err)
	}
	if _, err := eng.Offers(t.Context(), gpu.Query{Providers: []string{"lambda"}}, false); fault.KindOf(err) != fault.Unreachable {
		t.Errorf("the only provider fails: %v", err)
	}
	if _, err := eng.Offers(t.Context(), gpu.Query{Providers: []string{"azure"}}, false); fault.KindOf(err) != fault.Invalid {
		t.Errorf("an unknown provider: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := eng.Offers(cancelled, gpu.Query{}, false); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A silent is a provider that never answers.
type silent struct{ shop }

func (s *silent) Offers(ctx context.Context, _ gpu.Query) ([]gpu.Offer, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestOffersOfOthersBesideOneThatHangs(t *testing.T) {
	t.Parallel()
	hanging := &silent{shop{name: "prime"}}
	eng, seen := open(t, func(c *engine.Config) {
		c.Providers = append(c.Providers, hanging, vast)
		c.Timing.Search = 20 * time.Millisecond
	})
	found, err := eng.Offers(t.Context(), gpu.Query{Type: "A100", Count: 2}, false)
	if err != nil || len(found.Kept) != 1 || found.Kept[0].Provider != "vast" {
		t.Errorf("got %+v, %v, want the offer of the other", found, err)
	}
	if !strings.Contains(seen.text(), "offers prime: no answer within 20ms") {
		t.Errorf("the one that hangs was not reported: %s", seen.text())
	}
}

func TestProvidersWithoutKeys(t *testing.T) {
	t.Parallel()
	eng, _ := open(t, func(c *engine.Config) {
		c.Absent = map[string]string{"runpod": "RUNPOD_API_KEY is not set", "vast": "VAST_API_KEY is not set"}
	})
	for _, test := range []struct {
		providers []string
		kind      fault.Kind
		want      string
	}{
		{nil, fault.NoCapacity, "provision 1x A100: there is no provider to rent from: RUNPOD_API_KEY is not set, VAST_API_KEY is not set"},
		{[]string{"vast"}, fault.Auth, "provider vast: VAST_API_KEY is not set"},
		{[]string{"azure"}, fault.Invalid, "provider azure: unknown to this version"},
	} {
		_, err := eng.Offers(t.Context(), gpu.Query{Type: "A100", Providers: test.providers}, false)
		if err == nil || fault.KindOf(err) != test.kind || err.Error() != test.want {
			t.Errorf("providers %q: got %v (%s), want %s (%s)", test.providers, err, fault.KindOf(err), test.want, test.kind)
		}
		if hint := fault.HintOf(err); test.kind == fault.Invalid && hint != "it knows: local, runpod, vast" {
			t.Errorf("providers %q: got hint %q", test.providers, hint)
		}
	}
}

func TestNoCapacitySaysWhatIsNearest(t *testing.T) {
	t.Parallel()
	eng, _ := openWith(t, runpod, vast)
	for _, test := range []struct {
		name       string
		query      gpu.Query
		want, hint string
	}{
		{
			"too cheap",
			gpu.Query{Type: "A100", Count: 2, MinVRAM: 80, MaxPrice: 3},
			"no offer for 2x A100 (>= 80 GB) at <= $3.00 per GPU and hour\n" +
				"nearest: 2x A100 80GB SXM at $3.29 (vast, community); max_price: $3.29 per GPU and hour, at most $3.00 was asked for\n" +
				"nearest: 2x A100 80GB SXM at $3.50 (runpod, secure); max_price: $3.50 per GPU and hour, at most $3.00 was asked for\n" +
				"nearest: 2x H100 80GB SXM at $2.90 (runpod, secure); type: H100 80GB SXM, asked for A100",
			`raise max_price to 3.29, or type = "H100 80GB SXM"`,
		},
		{
			"another cloud",
			gpu.Query{Type: "A100", Count: 2, CloudType: "community", MaxPrice: 3},
			"no offer for 2x A100 at <= $3.00 per GPU and hour\n" +
				"nearest: 2x A100 80GB SXM at $3.29 (vast, community); max_price: $3.29 per GPU and hour, at most $3.00 was asked for\n" +
				"nearest: 2x A100 80GB SXM at $3.50 (runpod, secure); max_price: $3.50 per GPU and hour, at most $3.00 was asked for; cloud_type: secure, asked for community\n" +
				"nearest: 2x H100 80GB SXM at $2.90 (runpod, secure); type: H100 80GB SXM, asked for A100; cloud_type: secure, asked for community",
			"raise max_price to 3.29",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: &test.query})
			if fault.KindOf(err) != fault.NoCapacity || err.Error() != test.want || fault.HintOf(err) != test.hint {
				t.Errorf("got %v\nhint %s\nwant %s\nhint %s", err, fault.HintOf(err), test.want, test.hint)
			}
		})
	}
	empty, _ := openWith(t, &shop{name: "runpod"})
	if _, err := empty.Acquire(t.Context(), engine.NodeSpec{Provision: &gpu.Query{}}); err == nil || err.Error() != "no offer for 1x GPU" || fault.HintOf(err) != "ask for less, or for another type" {
		t.Errorf("a provider with nothing: %v", err)
	}
}

func TestListNodes(t *testing.T) {
	t.Parallel()
	foreign := &shop{name: "runpod", machines: []gpu.Instance{
		{Provider: "runpod", ID: "x", Name: "alice", State: gpu.Running, Host: "127.0.0.1", Port: 1, User: "root", GPUType: "A100", GPUCount: 2, Created: time.Unix(100, 0)},
		{Provider: "runpod", ID: "y", Name: "alice", State: gpu.Running, Created: time.Unix(50, 0)},
		{Provider: "runpod", ID: "z", Name: "old", State: gpu.Terminated},
	}}
	eng, seen := openWith(t, foreign, broken)
	err := eng.WithNode(t.Context(), engine.NodeSpec{Provision: onLocal(), Name: "mine"}, func(ctx context.Context, n *engine.Node) error {
		nodes, err := eng.ListNodes(ctx)
		if err != nil {
			return err
		}
		var ids []string
		for _, n := range nodes {
			ids = append(ids, n.ID())
		}
		if got, want := strings.Join(ids, " "), n.ID()+" runpod:x runpod:y"; got != want {
			t.Errorf("nodes %q, want %q", got, want)
		}
		if r, err := nodes[0].Exec(ctx, engine.Exec{Command: engine.Shell("echo here")}); err != nil || r.Stdout != "here\n" {
			t.Errorf("a listed node: %+v, %v", r, err)
		}
		if _, err := nodes[2].Exec(ctx, engine.Exec{Command: engine.Shell("true")}); fault.KindOf(err) != fault.Unreachable {
			t.Errorf("a machine without an address: %v", err)
		}
		h, err := n.Submit(ctx, engine.Submit{Command: engine.Shell("true")})
		if err != nil {
			return err
		}
		for _, name := range []string{n.ID(), h.JobID(), "runpod:x"} {
			want := n.ID()
			if strings.Contains(name, "runpod") {
				want = name
			}
			if found, err := eng.FindNode(ctx, name); err != nil || found == nil || found.ID() != want {
				t.Errorf("find %s: %v, %v", name, found, err)
			}
		}
		for _, name := range []string{"runpod:z", "runpod:nobody", "nobody", "ssh:root@nowhere:22"} {
			if found, err := eng.FindNode(ctx, name); err != nil || found != nil {
				t.Errorf("find %s: %v, %v, want nothing", name, found, err)
			}
		}
		if _, err := eng.FindNode(ctx, "alice"); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "runpod:x, runpod:y") {
			t.Errorf("two of one name: %v", err)
		}
		if _, err := eng.FindNode(ctx, ""); fault.KindOf(err) != fault.Invalid {
			t.Errorf("no name: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(seen.text(), "list lambda: connection refused") {
		t.Errorf("a provider that fails was not reported: %s", seen.text())
	}
	if nodes, err := eng.ListNodes(t.Context()); err != nil || len(nodes) != 2 {
		t.Errorf("after its end: %v, %v", nodes, err)
	}
}

// TestEndOfAForeignMachine ends a machine of the account that this journal has never seen.
func TestEndOfAForeignMachine(t *testing.T) {
	t.Parallel()
	state := stateDir(t)
	provider := local.New(local.Config{StateDir: state})
	req, _ := gputest.NewRequest(t, provider)
	inst := gputest.Create(t, provider, req)
	eng, _ := openAt(t, state)
	n, err := eng.FindNode(t.Context(), req.Name)
	if err != nil || n == nil || n.ID() != "local:"+inst.ID {
		t.Fatalf("find %s: %v, %v", req.Name, n, err)
	}
	if err := errors.Join(n.Keep(t.Context()), n.Terminate(t.Context())); err != nil {
		t.Fatal(err)
	}
	if n, err := eng.FindNode(t.Context(), "local:"+inst.ID); err != nil || n != nil {
		t.Errorf("after its end: %v, %v, want nothing", n, err)
	}
}

package engine_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest/clients"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
	"github.com/bifrost-run/bifrost/gpu/prime"
)

// TestPrimeJob is a whole job on a machine of Prime, on a bad day: the listing is empty at first, the cheapest
// offer has nothing left, a maximum price is asked for, the answer to the create call is lost, the machine
// shows late, and its end takes time.
func TestPrimeJob(t *testing.T) {
	t.Parallel()
	h100 := func(id, upstream string, price float64) cloud.Offer {
		return cloud.Offer{
			ID: id, GPU: "H100_80GB", Model: "NVIDIA H100 80GB HBM3", VRAMGB: 80, Count: 2, Price: price, Region: "eu_north", Stock: 2,
			More: map[string]any{"socket": "SXM5", "provider": upstream, "dataCenter": "FIN-01"},
		}
	}
	none := h100("2H100.80S", "datacrunch", 4)
	none.Phantom = true
	acct := cloud.New(t, prime.Name, cloud.Options{
		Offers: []cloud.Offer{none, h100("h100-2x", "nebius", 5)},
		Machine: cloud.Behaviour{
			Pending: 20 * time.Millisecond, Starting: 20 * time.Millisecond, Hidden: 60 * time.Millisecond, Ending: 50 * time.Millisecond,
		},
		Quirks: []cloud.Quirk{cloud.PrimeBlink, cloud.PrimeWantsMaxPrice, cloud.PrimeLate, cloud.PrimeForms},
	})
	// Two calls for what has nothing left, and one without a maximum price come before it.
	acct.Fault(cloud.Fault{Op: "create", Kind: cloud.CutAfter, Skip: 3, Times: 1})
	state := t.TempDir()
	eng, seen := openAt(t, state, func(c *engine.Config) {
		c.Guardian, c.Timing = nil, quick
		c.Timing.Adopt, c.Timing.Visible = 10*time.Second, 10*time.Second
		c.Providers = []gpu.Provider{clients.New(prime.Name, acct.URL, acct.Key)}
	})
	source := tree(t, map[string]string{"train.sh": "nvidia-smi -L | cut -d'(' -f1; mkdir results; echo 0.25 > results/loss"})
	var out bytes.Buffer
	res, err := eng.Run(t.Context(), engine.Job{
		Provision: &gpu.Query{Type: "H100 SXM", Count: 2, MaxPrice: 3}, Source: source, Command: engine.Shell("sh train.sh"), Timeout: time.Minute,
		Results: []engine.ResultSpec{{Remote: "results/", Local: "got"}},
	}, engine.RunOptions{Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "GPU 0: NVIDIA H100 80GB HBM3 \nGPU 1: NVIDIA H100 80GB HBM3 \n"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
	if res.Machine != "terminated and confirmed" || res.Price != 5 {
		t.Errorf("got %+v, want it gone, at 5 USD per hour", res)
	}
	if rented := acct.Rented(); len(rented) != 1 || len(acct.Calls("create")) != 4 {
		t.Errorf("rented %+v with %d calls, want one machine with 4", rented, len(acct.Calls("create")))
	}
	if loss, err := os.ReadFile(filepath.Join(state, "got", "loss")); err != nil || string(loss) != "0.25\n" {
		t.Errorf("results: %q, %v", loss, err)
	}
	if strings.Contains(seen.text(), acct.Key) {
		t.Error("the key was reported")
	}
}

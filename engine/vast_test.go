package engine_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
	vastapi "github.com/bifrost-run/bifrost/gpu/vast"
)

// vastAsk is an offer of one RTX 4090.
func vastAsk(id string, price float64) cloud.Offer {
	return cloud.Offer{
		ID: id, GPU: "RTX 4090", Model: "NVIDIA GeForce RTX 4090", VRAMGB: 24, Count: 1, Price: price, Region: "Texas, US", VCPU: 16, MemoryGB: 63,
		CUDA: "12.8", Stock: 1,
	}
}

// TestVastJob is a whole job on a bad day: the cheapest offer cannot start, the machine of the next stops
// instead of running, the answer to the third create is lost, the key is refused while the contract is young,
// and the first calls to end a machine come too early.
func TestVastJob(t *testing.T) {
	t.Parallel()
	phantom := vastAsk("11", 0.30)
	phantom.Phantom = true
	acct, eng, state := onCloud(t, vastapi.Name, cloud.Options{
		Offers: []cloud.Offer{vastAsk("13", 0.36), vastAsk("12", 0.33), phantom}, Quirks: []cloud.Quirk{cloud.VastNulls, cloud.VastYoung400},
		Machine: cloud.Behaviour{Pending: 20 * time.Millisecond, Starting: 20 * time.Millisecond},
		Each:    func(n int, b *cloud.Behaviour) { b.Stops = n == 0 },
	})
	acct.Fault(cloud.Fault{Op: "create", Kind: cloud.CutAfter, Skip: 2, Times: 1})
	acct.Fault(cloud.Fault{Op: "terminate", Kind: cloud.TooMany, Times: 2})
	source := tree(t, map[string]string{"train.sh": "nvidia-smi -L | cut -d'(' -f1; mkdir results; echo 0.1 > results/loss.txt"})
	var out bytes.Buffer
	res, err := eng.Run(t.Context(), engine.Job{
		Provision: &gpu.Query{Type: "RTX4090", MinCUDA: "12.4", Providers: []string{"vast"}}, Source: source,
		Command: engine.Shell("sh train.sh"), Timeout: time.Minute, Results: []engine.ResultSpec{{Remote: "results/", Local: "got"}},
	}, engine.RunOptions{Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "GPU 0: NVIDIA GeForce RTX 4090 \n"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
	if price := 0.36 + 50*0.15/720; res.Machine != "terminated and confirmed" || res.Price < price-1e-6 || res.Price > price+1e-6 {
		t.Errorf("got %+v, want it gone, at %g USD per hour with its disk", res, price)
	}
	rented := acct.Rented()
	if len(rented) != 2 || len(acct.Calls("create")) != 3 {
		t.Fatalf("rented %+v with %d calls, want two machines with 3", rented, len(acct.Calls("create")))
	}
	if loss, err := os.ReadFile(filepath.Join(state, "got", "loss.txt")); err != nil || strings.TrimSpace(string(loss)) != "0.1" {
		t.Errorf("results: %q, %v", loss, err)
	}
	noSecret(t, state, acct.Key, rented[0].Env["CONTAINER_API_KEY"], rented[1].Env["CONTAINER_API_KEY"])
}

// TestVastUseless: what Vast gives instead of the machine that was asked for is ended at once, and said.
func TestVastUseless(t *testing.T) {
	t.Parallel()
	tests := []struct {
		quirk cloud.Quirk
		want  string
	}{
		{cloud.VastKeepsContract, "could not start"},
		{cloud.VastKeepsContract400, "could not start"},
		{cloud.VastTurnsBid, "take back"},
	}
	for _, tt := range tests {
		t.Run(string(tt.quirk), func(t *testing.T) {
			t.Parallel()
			acct, eng, _ := onCloud(t, vastapi.Name, cloud.Options{Offers: []cloud.Offer{vastAsk("11", 0.3), vastAsk("12", 0.4)}, Quirks: []cloud.Quirk{tt.quirk}})
			_, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: &gpu.Query{Type: "RTX 4090"}})
			if fault.KindOf(err) != fault.NoCapacity || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want kind %s and %q", err, fault.NoCapacity, tt.want)
			}
			if rented, left := acct.Rented(), acct.Machines(); len(rented) != 2 || len(left) != 0 {
				t.Errorf("got %d rented and %+v left, want both candidates tried and none left", len(rented), left)
			}
		})
	}
}

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
	runpodapi "github.com/bifrost-run/bifrost/gpu/runpod"
)

// TestRunpodJob is a whole job: the cheapest offer has nothing left, the next machine takes a moment for its
// public port, and in the end nothing costs anything.
func TestRunpodJob(t *testing.T) {
	t.Parallel()
	offers := []cloud.Offer{
		{ID: "NVIDIA GeForce RTX 4090", GPU: "RTX 4090", VRAMGB: 24, Count: 4, Price: 0.34, CUDA: "12.8", Stock: 3, Community: true, Phantom: true},
		{ID: "NVIDIA GeForce RTX 4090", GPU: "RTX 4090", Model: "NVIDIA GeForce RTX 4090", VRAMGB: 24, Count: 8, Price: 0.69, Region: "US-KS-2", CUDA: "12.8", Stock: 3},
	}
	acct, eng, state := onCloud(t, runpodapi.Name, cloud.Options{Offers: offers, Quirks: []cloud.Quirk{cloud.RunpodLatePort, cloud.RunpodFreeAtFirst}})
	source := tree(t, map[string]string{"train.sh": "nvidia-smi -L | cut -d'(' -f1; mkdir results; echo $RUNPOD_POD_ID > results/id.txt"})
	var out bytes.Buffer
	res, err := eng.Run(t.Context(), engine.Job{
		Provision: &gpu.Query{Type: "RTX4090", Count: 2, MinCUDA: "12.0", VolumeDiskGB: 20, Providers: []string{"runpod"}}, Source: source,
		Command: engine.Shell("sh train.sh"), Timeout: time.Minute, Results: []engine.ResultSpec{{Remote: "results/", Local: "got"}},
	}, engine.RunOptions{Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "GPU 0: NVIDIA GeForce RTX 4090 \nGPU 1: NVIDIA GeForce RTX 4090 \n"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
	if res.Machine != "terminated and confirmed" || res.Price != 2*0.69 {
		t.Errorf("got %+v, want it gone, at 1.38 USD per hour", res)
	}
	rented := acct.Rented()
	if len(rented) != 1 || len(acct.Machines()) != 0 || len(acct.Calls("create")) != 2 {
		t.Fatalf("rented %+v with %d calls, want one machine with 2", rented, len(acct.Calls("create")))
	}
	body, _ := rented[0].Request.(cloud.RunpodRequest)
	if v := body.Mounts.Persistent; v == nil || v.Size != 20 || v.Path != "/workspace" {
		t.Errorf("mounts %+v, want a volume of 20 GB", body.Mounts)
	}
	if id, err := os.ReadFile(filepath.Join(state, "got", "id.txt")); err != nil || strings.TrimSpace(string(id)) != rented[0].ID {
		t.Errorf("results: %q, %v, want %s", id, err, rented[0].ID)
	}
	noSecret(t, state, acct.Key, rented[0].Env["RUNPOD_API_KEY"])
}

// TestRunpodRefused: what the account is refused stops the search, with the provider's words.
func TestRunpodRefused(t *testing.T) {
	t.Parallel()
	for kind, want := range map[cloud.Kind]struct {
		kind fault.Kind
		text string
	}{
		cloud.BadKey:  {fault.Auth, "missing bearer token"},
		cloud.NoFunds: {fault.Funds, "insufficient balance"},
	} {
		acct, eng, state := onCloud(t, runpodapi.Name, cloud.Options{})
		acct.Fault(cloud.Fault{Op: "create", Kind: kind})
		_, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: &gpu.Query{Type: "4090"}})
		if fault.KindOf(err) != want.kind || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: got %v, want kind %s and %q", kind, err, want.kind, want.text)
		}
		if n := len(acct.Calls("create")); n != 1 {
			t.Errorf("%s: %d calls of create, want 1: no other candidate can succeed", kind, n)
		}
		noSecret(t, state, acct.Key)
	}
}

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
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
	"github.com/bifrost-run/bifrost/gpu/lambda"
)

// TestLambdaJob is a whole job at a Lambda on a bad day: the cheaper offer is listed and has nothing, the
// answer to the launch is lost, the address comes late, and the first call to end the machine is refused.
func TestLambdaJob(t *testing.T) {
	t.Parallel()
	cloud.NeedPort22(t)
	a10 := cloud.Offer{
		ID: "gpu_1x_a10", GPU: "A10 (24 GB PCIe)", Model: "NVIDIA A10", VRAMGB: 24, Count: 1, Price: 0.75, Region: "us-west-1", Stock: 2, Phantom: true,
	}
	a100 := cloud.Offer{
		ID: "gpu_1x_a100_sxm4", GPU: "A100 (40 GB SXM4)", Model: "NVIDIA A100-SXM4-40GB", VRAMGB: 40, Count: 1, Price: 1.29, Region: "us-east-1", Stock: 1,
	}
	acct, eng, state := onCloud(t, lambda.Name, cloud.Options{
		Offers: []cloud.Offer{a100, a10}, Quirks: []cloud.Quirk{cloud.LambdaLateIP, cloud.LambdaBusy},
		Machine: cloud.Behaviour{Starting: 20 * time.Millisecond},
	})
	acct.Fault(cloud.Fault{Op: "create", Kind: cloud.CutAfter, Skip: 1, Times: 1})
	source := tree(t, map[string]string{"train.sh": "nvidia-smi --query-gpu=name --format=csv,noheader; mkdir results; echo 0.1 > results/loss.txt"})
	var out bytes.Buffer
	res, err := eng.Run(t.Context(), engine.Job{
		Provision: &gpu.Query{MinVRAM: 20, Providers: []string{"lambda"}}, Source: source,
		Command: engine.Shell("sh train.sh"), Timeout: time.Minute, Results: []engine.ResultSpec{{Remote: "results/", Local: "got"}},
	}, engine.RunOptions{Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "NVIDIA A100-SXM4-40GB\n"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
	if res.Machine != "terminated and confirmed" || res.Price != 1.29 {
		t.Errorf("got %+v, want it gone, at 1.29 USD per hour", res)
	}
	if rented := acct.Rented(); len(rented) != 1 || len(acct.Calls("create")) != 2 || len(acct.Calls("terminate")) != 2 {
		t.Errorf("rented %+v with %d calls, ended with %d, want one machine with 2, and 2", rented, len(acct.Calls("create")), len(acct.Calls("terminate")))
	}
	if loss, err := os.ReadFile(filepath.Join(state, "got", "loss.txt")); err != nil || strings.TrimSpace(string(loss)) != "0.1" {
		t.Errorf("results: %q, %v", loss, err)
	}
	noSecret(t, state, acct.Key)
}

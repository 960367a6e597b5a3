package plan

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// A shop sells three machines.
type shop struct{}

func (shop) Offers(_ context.Context, q gpu.Query, _ bool) (engine.Offers, error) {
	offer := func(provider string, price float64) gpu.Offer {
		return gpu.Offer{Provider: provider, GPUType: "A100 80GB", VRAMGB: 80, GPUCount: 1, PricePerGPU: price, PriceTotal: price, CloudType: "secure"}
	}
	kept, missed, err := gpu.Rank([]gpu.Offer{offer("vast", 2), offer("runpod", 1.5), offer("prime", 3)}, q)
	return engine.Offers{Kept: kept, Missed: missed}, err
}

func (shop) Files(context.Context, string) ([]File, error) {
	return []File{{"train.py", 2000}, {"data/a.bin", 5 << 20}, {"empty", 0}}, nil
}

// play plans a script and returns its steps and what ends it.
func play(t *testing.T, script string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "x.star")
	if err := os.WriteFile(file, []byte(script+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	e := New(shop{}, func(s Step) {
		b.WriteString(strings.TrimRight(s.Op+" "+s.Text+"\n  "+strings.Join(s.Details, "\n  "), " \n") + "\n")
	})
	lib := builtins.New(e, builtins.Options{WorkDir: dir, Clock: e, Dry: func(what string) { e.Say(Step{Op: "local", Text: what}) }})
	host := &starlark.Host{Predeclared: lib.Predeclared(), Gate: policy.NewGate(policy.Typed()), Describe: builtins.Describe}
	_, err = host.Exec(t.Context(), file, nil)
	var stopped *StopError
	switch {
	case errors.As(err, &stopped):
		b.WriteString("stops " + stopped.Question + "\n")
	case err != nil:
		b.WriteString(err.Error() + "\n")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("the plan left %v in the folder (%v)", left, err)
	}
	return strings.ReplaceAll(b.String(), dir, "DIR")
}

func TestPlan(t *testing.T) {
	t.Parallel()
	const full = `
def prepare(node):
    node.write_file("config.json", "{}")
    if node.exists("x"):
        fail("the plan cannot know that")

job = remote_job(
    provision = gpu_query(type = "A100", max_price = 2.5), command = "python train.py", working_dir = "src", env = {"A": "secret value", "B": None},
    bootstrap = ["uv sync", "uv run x"], timeout = "2h", results = {"out/": "./out/", "log": optional("log")}, on_failure = "hold 15m", prepare = PREPARE,
)
`
	steps := `rent 1x A100 80GB at $1.50 per hour (runpod, secure)
  else 1x A100 80GB at $2.00 per hour (vast, secure)
  $1.50 per hour; $3.00 when the job runs into its timeout of 2h0m0s
push DIR to ~/.bifrost/workspace: 3 files, 5.0 MiB
  data/a.bin, 5.0 MiB
  train.py, 2.0 KiB
`
	rest := `bootstrap uv sync
bootstrap uv run x
start python train.py
  in src
  with A
  timeout 2h0m0s
results out/ to DIR/./out/
results log to DIR/log, if it is there
release the machine is terminated; on anything but success it is held for 15m0s
`
	noPrepare := strings.ReplaceAll(full, "PREPARE", "None")
	for _, test := range []struct{ name, script, want string }{
		{"without a body", noPrepare + "print(with_job(job).ok)\n", steps + rest},
		{
			"a prepare that asks", strings.ReplaceAll(full, "PREPARE", "prepare") + "with_job(job)\n",
			steps + "write_file config.json, 2 bytes\n" + rest + "stops node.exists(\"x\"): the machine has the file, or has not\n",
		},
		{
			"a body that asks", noPrepare + "def body(h):\n    for line in h.logs():\n        print(line)\n    h.download(\"a\", \"b\")\nwith_job(job, body)\n",
			steps + rest + "stops handle.logs(): the job writes its log\n",
		},
		{"attempt does not go on", noPrepare + "with_job(job, lambda h: attempt(h.wait))\nfail(\"not reached\")\n", steps + rest + "stops handle.wait(): how the job ends, its run shows\n"},
		{
			"one's own machine", `with_job(remote_job(ssh = "root@gpu:22", command = ["ls", "-l"], timeout = None))`,
			"connect root@gpu:22\npush DIR to ~/.bifrost/workspace: 3 files, 5.0 MiB\n  data/a.bin, 5.0 MiB\n  train.py, 2.0 KiB\nstart ls -l\n  no timeout\nrelease the machine stays as it was\n",
		},
		{
			"kept, with a budget", `acquire_node(provision = gpu_query(), keep_alive = True, max_cost = 3)`,
			"rent 1x A100 80GB at $1.50 per hour (runpod, secure)\n  else 1x A100 80GB at $2.00 per hour (vast, secure)\n  else 1x A100 80GB at $3.00 per hour (prime, secure)\n" +
				"  $1.50 per hour; at most $3.00, the max_cost, which is reached after 2h0m0s\n",
		},
		{"with_node", `with_node(lambda n: n.gpus(), node_id = "runpod:a", keep_alive = True, results = {"a": "./"})`, "connect runpod:a\nresults a to DIR/./\nrelease the machine is kept\nstops node.gpus(): how the GPUs are used, the machine knows\n"},
		{
			"nothing to rent", `acquire_node(provision = gpu_query(max_price = 1))`,
			"DIR/x.star:1: no_capacity: no offer for 1x A100 at <= $1.00 per GPU and hour\nnearest: 1x A100 80GB at $1.50 (runpod, secure); max_price: $1.50 per GPU and hour, at most $1.00 was asked for\n" +
				"nearest: 1x A100 80GB at $2.00 (vast, secure); max_price: $2.00 per GPU and hour, at most $1.00 was asked for\nnearest: 1x A100 80GB at $3.00 (prime, secure); max_price: $3.00 per GPU and hour, at most $1.00 was asked for\n",
		},
		{"files of this machine", `Path("out/a").mkdir(parents = True)` + "\n" + `Path("x").write_text("text")`, "local make the folder DIR/out\nlocal make the folder DIR/out/a\nlocal write DIR/x\n"},
		{"time passes at once", "time.sleep(3600)\npoll(lambda: False, every = 60, timeout = 600)\n", "DIR/x.star:2: timeout: poll lambda: nothing true after 10m0s\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, play(t, test.script)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestStops calls everything whose answer only a real machine has.
func TestStops(t *testing.T) {
	t.Parallel()
	for _, call := range []string{
		`node.exec("x")`, `[l for l in node.exec_stream("x")]`, `node.gpus()`, `node.exists("x")`, `node.read_file("x")`, `node.glob("*")`, `node.expand_path("x")`, `node.home`,
		`node.serve("x", port = 1)`, `node.forward(1)`, `handle.wait()`, `handle.status()`, `[l for l in handle.logs()]`,
		`attach_job("x")`, `list_nodes()`, `find_node("x")`,
	} {
		got := play(t, "node = acquire_node(ssh = \"gpu\")\nhandle = node.submit(\"x\")\n"+call+"\nfail(\"it went on\")\n")
		if !strings.Contains(got, "stops ") || strings.Contains(got, "it went on") {
			t.Errorf("%s: got\n%s\nwant the plan to stop", call, got)
		}
	}
	got := play(t, "node = acquire_node(ssh = \"gpu\")\nnode.upload(\"a\", \"b\")\nnode.download(\"a\", \"b\")\nnode.wait_for_gpus([0])\nnode.forward(1, 2)\nnode.keep()\nh = node.submit(\"x\")\nh.cancel()\nh.download(\"a\", \"b\")\nh.terminate()\n")
	for _, op := range []string{"upload", "download", "wait_for_gpus", "forward", "keep", "submit", "cancel", "terminate"} {
		if !strings.Contains(got, "\n"+op+" ") {
			t.Errorf("no step %s in\n%s", op, got)
		}
	}
}

package examples_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
)

// rents gives a user an account whose machines have the stand-ins. At the end of the test no machine may be
// left at it.
func (u *user) rents(provider string, offers ...cloud.Offer) *cloud.Account {
	u.t.Helper()
	bin := u.t.TempDir()
	install(u.t, bin)
	acct := cloud.New(u.t, provider, cloud.Options{Offers: offers, Daemon: []string{bifrost, "local-node"}, Path: bin})
	name := strings.ToUpper(provider)
	u.env = append(u.env, name+"_API_KEY="+acct.Key, "BIFROST_"+name+"_URL="+acct.URL)
	return acct
}

// costs checks how many machines of an account cost money.
func (u *user) costs(acct *cloud.Account, want int) {
	u.t.Helper()
	if got := acct.Machines(); len(got) != want {
		u.t.Errorf("%d machines cost money, want %d: %+v", len(got), want, got)
	}
}

// eventually waits until ok, for what the guardian does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after three minutes: not yet: %s", what)
		}
	}
}

// eightH100 is a machine for all of speedrun.star's GPUs.
var eightH100 = cloud.Offer{
	ID: "NVIDIA H100 80GB HBM3", GPU: "H100 SXM", Model: "NVIDIA H100 80GB HBM3", VRAMGB: 80, Count: 8, Price: 2.99,
	Region: "US-TX-3", CUDA: "12.9", Stock: 10,
}

func TestSpeedrun(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	acct := u.rents("runpod", eightH100)

	u.project("examples/speedrun/run.sh", `[ "$*" = "--script single-file.py --gpu-count 8" ] || exit 5
echo "step 1 on $(nvidia-smi -L | grep -c H100) GPUs"
echo step 2
[ ! -e fails ] || exit 7
`)
	stdout, stderr := u.must("exec", "speedrun.star")
	for _, want := range []string{
		"No price given: at most $15.00 per GPU and hour for H100\n", "GPT-2 speedrun: single-file.py on 8 x H100\n",
		"\n  uv sync --extra dev-speedrun\nstep 1 on 8 GPUs\nstep 2\n2 lines, done\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("stdout has no %q", want)
		}
	}
	if !strings.Contains(stderr, "terminated and confirmed") || strings.Contains(stdout+stderr, acct.Key) {
		t.Errorf("stderr %s", stderr)
	}
	u.costs(acct, 0)

	// Nothing at that price: why, and the code of a script that found nothing.
	stdout, _, code := u.run("exec", "speedrun.star", "--max-price-per-gpu", "2", "--gpu-count", "4")
	if code != 1 || !strings.Contains(stdout, "$2.99 per GPU, $11.96 in total, up to 8 GPUs\n    max_price: ") || !strings.Contains(stdout, "\n  --gpu-count 2\n") {
		t.Errorf("nothing found: exit code %d", code)
	}

	// A machine that stays is used again by its id, after a job that failed too.
	u.project("fails", "")
	stdout, _, code = u.run("exec", "speedrun.star", "--no-terminate")
	kept := regexp.MustCompile(`2 lines, failed with exit code 7\n(runpod:(\S+)) is kept`).FindStringSubmatch(stdout)
	if code != 1 || kept == nil {
		t.Fatalf("kept: exit code %d", code)
	}
	u.costs(acct, 1)
	if err := os.Remove(filepath.Join(u.dir, "fails")); err != nil {
		t.Fatal(err)
	}
	if _, _, code := u.run("exec", "speedrun.star", "--use-existing", "none-of-mine"); code != 1 {
		t.Errorf("a machine that is not there: exit code %d", code)
	}
	if stdout, _ := u.must("exec", "speedrun.star", "--use-existing", kept[2]); !strings.Contains(stdout, "2 lines, done\n"+kept[1]+" is kept") {
		t.Errorf("stdout %q", stdout)
	}
	u.must("terminate", kept[1])
	u.costs(acct, 0)
}

// TestSpeedrunDetached leaves the job to the guardian, which ends the machine after the job and not before.
func TestSpeedrunDetached(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	acct := u.rents("runpod", eightH100)
	u.project("examples/speedrun/run.sh", "echo begun; until [ -e go ]; do sleep 0.05; done; echo ended\n")
	stdout, _ := u.must("exec", "speedrun.star", "--detached")
	said := regexp.MustCompile(`Job (\S+) runs in session (\S+)\nFollow it: bifrost attach (\S+)\n`).FindStringSubmatch(stdout)
	if said == nil || said[1] != said[3] {
		t.Fatalf("stdout %q", stdout)
	}
	u.costs(acct, 1)
	u.must("ssh", said[1], "tmux -L bifrost has-session -t "+said[2]+" && touch .bifrost/workspaces/speedrun/go")
	if stdout, _ := u.must("attach", said[1]); stdout != "begun\nended\n" {
		t.Errorf("attach printed %q", stdout)
	}
	eventually(t, "the machine is gone", func() bool { return len(acct.Machines()) == 0 })
}

// TestSweepDetached leaves a sweep to the guardian and comes back to it.
func TestSweepDetached(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	bin := t.TempDir()
	install(t, bin)
	u.env = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
	u.change("outlier_features.star", "type = deployment.gpu_filter,", "type = deployment.gpu_filter,\n        providers = \"local\",")
	for _, size := range []string{"1b", "2b"} {
		u.project("tiny/"+size+".star", `load("../outlier_features/config.star", "Config", "Deployment", "Model")
config = Config(Model("acme/tiny-`+size+`"), deployment = Deployment(gpu_count = 2, min_cpu_ram = 0, analysis_timeout = 900))
`)
	}
	u.project("dev/outlier-features/run_full_analysis.py", `until [ -e '`+u.dir+`/go' ]; do sleep 0.05; done
mkdir -p results && grep -o 'acme/tiny-..' "$1" >results/final_analysis_results.json
`)
	sweep := []string{"exec", "--allow-env=HF_TOKEN", "sweep.star", "tiny", "--status"}
	status := func(want string) bool {
		t.Helper()
		stdout, _ := u.must(sweep...)
		return regexp.MustCompile(`^1b +outlier-analysis-\S+  ` + want + `\n2b +outlier-analysis-\S+  ` + want + `\n$`).MatchString(stdout)
	}

	u.must("exec", "-d", "--allow-env=HF_TOKEN", "sweep.star", "tiny", "--stagger", "0")
	for _, log := range []string{"sweep_logs/1b.log", "sweep_logs/2b.log"} {
		if _, err := os.Stat(filepath.Join(u.dir, log)); err != nil {
			t.Error(err)
		}
	}
	if !status("running") {
		t.Error("the jobs of the sweep do not run")
	}
	u.project("go", "")
	eventually(t, "both have succeeded", func() bool { return status("succeeded") })
	eventually(t, "the results are here and the machines gone", func() bool {
		left, err := filepath.Glob(filepath.Join(u.home, localNodes))
		return err == nil && len(left) == 0
	})
	if !status("succeeded") {
		t.Error("a sweep whose machines are gone is forgotten")
	}
	for _, size := range []string{"1b", "2b"} {
		u.got(u.only("remote_results/acme-tiny-"+size+"_*/final_analysis_results.json"), "acme/tiny-"+size)
	}
	u.nothingCosts()
}

func TestRL(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	acct := u.rents("vast",
		cloud.Offer{
			ID: "1", GPU: "A100 SXM4", Model: "NVIDIA A100-SXM4-80GB", VRAMGB: 80, Count: 2, Price: 1.2, Region: "Quebec, CA", VCPU: 32, MemoryGB: 256, CUDA: "12.6", Stock: 9,
		},
		cloud.Offer{
			ID: "2", GPU: "A100 SXM4", Model: "NVIDIA A100-SXM4-80GB", VRAMGB: 80, Count: 2, Price: 2.4, Region: "Iowa, US", VCPU: 32, MemoryGB: 256, CUDA: "12.8", Stock: 9,
		},
	)

	// The program of one script says what it got, fails, and leaves its results; that of the other one is
	// shown by a monitor.
	const results = `cd "results/rl/$ROLLOUTS_RUN_NAME"; echo '{}' >rollouts.jsonl; echo ready >sglang.log`
	u.project("rollouts/examples/rl/reverse_text/train.py", results+"\necho \"trained with ${ROLLOUTS_JSON_LOGS:-text} logs\"\nexit 3\n")
	u.project("rollouts/examples/rl/math/train.py", results+"\necho '{\"step\": 7, \"reward\": 0.25}'; echo \"$ROLLOUTS_JSON_LOGS\"\n")

	stdout, stderr, code := u.run("exec", "rl_reverse_text.star")
	if code != 3 || stdout != "trained with text logs\n" || !strings.Contains(stderr, "failed with exit code 3") {
		t.Errorf("exit code %d, stdout %q", code, stdout)
	}
	for _, want := range []string{"uv python install 3.12", "uv sync --python 3.12", "uv pip install torch transformers datasets accelerate sglang[all] curl_cffi"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr says nothing of %q", want)
		}
	}
	here := u.only("results/rl/run_*")
	u.got(filepath.Join(here, "training.log"), "trained with text logs")
	u.got(filepath.Join(here, "rollouts.jsonl"), "{}")
	u.got(filepath.Join(here, "sglang.log"), "ready")
	u.costs(acct, 0)
	if rented := acct.Rented(); len(rented) != 1 || rented[0].Offer.ID != "2" {
		t.Errorf("rented %+v, want the one whose CUDA is new enough", rented)
	}

	if err := os.RemoveAll(filepath.Join(u.dir, "results")); err != nil {
		t.Fatal(err)
	}
	if stdout, _ := u.must("exec", "rl_math.star"); stdout != "step    7  reward  0.250\n" {
		t.Errorf("stdout %q", stdout)
	}
	u.got(filepath.Join(u.only("results/rl/run_*"), "training.log"), "{\"step\": 7, \"reward\": 0.25}\ntrue")
	u.costs(acct, 0)
}

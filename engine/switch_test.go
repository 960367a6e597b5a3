package engine_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest/clients"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
	runpodapi "github.com/bifrost-run/bifrost/gpu/runpod"
)

// switching opens an engine without a guardian on an account whose machines have a key of their own.
func switching(t *testing.T, timing engine.Timing, opts cloud.Options) (*cloud.Account, *engine.Engine) {
	t.Helper()
	acct := cloud.New(t, runpodapi.Name, opts)
	eng, _ := open(t, func(cfg *engine.Config) {
		cfg.Providers = []gpu.Provider{clients.New(runpodapi.Name, acct.URL, acct.Key)}
		timing.BootPoll, timing.ReleasePoll, timing.Confirm = 10*time.Millisecond, 10*time.Millisecond, 10*time.Millisecond
		cfg.Timing, cfg.Guardian = timing, nil
	})
	return acct, eng
}

// armedFor is how long an armed machine of the journal has.
func armedFor(t *testing.T, eng *engine.Engine, id string) time.Duration {
	t.Helper()
	rec, err := eng.Node(t.Context(), id)
	if err != nil || rec.Switch != journal.SwitchArmed {
		t.Errorf("switch %q until %v, %v, want it armed", rec.Switch, rec.SwitchUntil, err)
	}
	return time.Until(rec.SwitchUntil).Round(10 * time.Minute)
}

// The switch is armed once the machine is ready, for as long as nobody may vouch for it; with a job for as
// long as that may take.
func TestSwitchIsArmed(t *testing.T) {
	t.Parallel()
	_, eng := switching(t, engine.Timing{}, cloud.Options{})
	n, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: &gpu.Query{}})
	if err != nil {
		t.Fatal(err)
	}
	if got := armedFor(t, eng, n.ID()); got != 30*time.Minute {
		t.Errorf("without a job: %s, want 30m", got)
	}
	h, err := n.Submit(t.Context(), engine.Submit{Command: engine.Shell("sleep 1000"), Timeout: 2 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if got := armedFor(t, eng, n.ID()); got != 150*time.Minute {
		t.Errorf("with a job of 2 h: %s, want those and half an hour", got)
	}
	if err := h.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Submit(t.Context(), engine.Submit{Command: engine.Shell("sleep 1000")}); err != nil {
		t.Fatal(err)
	}
	if rec, err := eng.Node(t.Context(), n.ID()); err != nil || rec.Switch != journal.SwitchOff || !rec.SwitchUntil.IsZero() {
		t.Errorf("with a job without a limit: %q until %v, %v, want it off", rec.Switch, rec.SwitchUntil, err)
	}
}

// A machine that is held ends itself when nobody comes for it.
func TestSwitchEndsTheMachine(t *testing.T) {
	t.Parallel()
	acct, eng := switching(t, engine.Timing{Grace: time.Second, NoJob: 2 * time.Second}, cloud.Options{})
	res, err := eng.Run(t.Context(), engine.Job{
		Provision: &gpu.Query{}, Command: engine.Shell("exit 3"), Timeout: time.Minute, OnFailure: engine.Failure{Hold: time.Second},
	}, engine.RunOptions{})
	if err != nil || res.HeldUntil.IsZero() {
		t.Fatalf("got %+v, %v, want it held", res, err)
	}
	enginetest.Until(t, "the machine to end itself", func() bool { return len(acct.Machines()) == 0 })
	if n := len(acct.Calls("terminate")); n != 1 {
		t.Errorf("%d calls to terminate, want the machine's own", n)
	}
}

// A machine that is kept on purpose does not end itself: neither one that was armed before, nor one that
// is kept from the beginning.
func TestSwitchOfKeptMachines(t *testing.T) {
	t.Parallel()
	acct, eng := switching(t, engine.Timing{}, cloud.Options{Leave: true})
	n, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: &gpu.Query{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if token, err := n.ReadFile(t.Context(), "~/.bifrost/switch/token"); err != nil || string(token) != "off\n" {
		t.Errorf("token %q, %v, want it off", token, err)
	}
	yes := true
	other, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: &gpu.Query{}, KeepAlive: &yes})
	if err != nil {
		t.Fatal(err)
	}
	if there, err := other.Exists(t.Context(), "~/.bifrost/switch"); err != nil || there {
		t.Errorf("a kept machine has a switch: %v", err)
	}
	for _, id := range []string{n.ID(), other.ID()} {
		if rec, err := eng.Node(t.Context(), id); err != nil || rec.Switch != journal.SwitchOff {
			t.Errorf("%s: switch %q, %v, want it off", id, rec.Switch, err)
		}
	}
	if got := len(acct.Machines()); got != 2 {
		t.Errorf("%d machines, want 2", got)
	}
}

// With a volume the Hugging Face cache is on it, unless the job says where.
func TestVolumeCache(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		disk int
		env  []engine.Var
		want string
	}{
		{20, nil, "/workspace/huggingface\n"},
		{20, []engine.Var{{Name: "HF_HOME", Value: "/mine"}}, "/mine\n"},
		{0, nil, "none\n"},
	} {
		_, eng := switching(t, engine.Timing{}, cloud.Options{})
		var out bytes.Buffer
		_, err := eng.Run(t.Context(), engine.Job{
			Provision: &gpu.Query{VolumeDiskGB: tt.disk}, Env: tt.env, Command: engine.Shell("echo ${HF_HOME:-none}"),
		}, engine.RunOptions{Stdout: &out})
		if err != nil || out.String() != tt.want {
			t.Errorf("%d GB, %v: got %q, %v, want %q", tt.disk, tt.env, out.String(), err, tt.want)
		}
	}
}

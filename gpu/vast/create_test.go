package vast_test

import (
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
	"github.com/bifrost-run/bifrost/gpu/vast"
)

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEZkp9vN2Jz6EJd1fMKCwxEt0mLG9B0pV7vA4pzKZbPl"

// TestCreateAsks checks the body of a create call, field by field: one too many rents another kind of machine.
func TestCreateAsks(t *testing.T) {
	t.Parallel()
	usual := map[string]any{
		"image": "vastai/base-image:@vastai-automatic-tag", "label": "bifrost-train-7f3k", "disk": 50.0, "runtype": "ssh_direct",
		"cancel_unavail": true, "target_state": "running",
	}
	tests := []struct {
		name  string
		query gpu.Query
		want  map[string]any
	}{
		{"on-demand", gpu.Query{}, nil}, // above all without a price
		{"spot", gpu.Query{Spot: true}, map[string]any{"price": 0.1701}},
		{"image and disk", gpu.Query{Image: "pytorch/pytorch:2.7", ContainerDiskGB: 120}, map[string]any{"image": "pytorch/pytorch:2.7", "disk": 120.0}},
		{"ports", gpu.Query{Ports: []int{8080, 8888}}, map[string]any{"env": map[string]any{"-p 8080:8080": "1", "-p 8888:8888": "1"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			acct, p := account(t, cloud.Options{Leave: true, Offers: []cloud.Offer{
				{ID: "5", GPU: "RTX 4090", VRAMGB: 24, Count: 1, Price: 0.34, Region: "Texas, US", CUDA: "12.8", Stock: 1, More: map[string]any{"min_bid": 0.17001}},
			}})
			offers, err := p.Offers(t.Context(), tt.query)
			if err != nil || len(offers) != 1 {
				t.Fatalf("got %v, %v, want one offer", offers, err)
			}
			req := request()
			req.Offer, req.Query = offers[0], tt.query
			inst, err := p.Create(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			calls := acct.Calls("create")
			if len(calls) != 1 || calls[0].Method != "PUT" || calls[0].Path != "/api/v0/asks/5/" {
				t.Fatalf("got %+v, want one call for the offer", calls)
			}
			var got map[string]any
			if err := json.Unmarshal([]byte(calls[0].Body), &got); err != nil {
				t.Fatal(err)
			}
			if script, _ := got["onstart"].(string); !strings.Contains(script, publicKey) {
				t.Errorf("onstart: got %q, want the key in it", script)
			}
			delete(got, "onstart")
			want := map[string]any{}
			for _, fields := range []map[string]any{usual, tt.want} {
				for name, v := range fields {
					want[name] = v
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the body (-want +got)\n%s", diff)
			}
			if inst.Provider != vast.Name || inst.ID == "" || inst.Name != req.Name || inst.State != gpu.Starting || inst.Spot != tt.query.Spot || inst.PricePerHour != offers[0].PriceTotal {
				t.Errorf("got %+v", inst)
			}
			back, err := p.Get(t.Context(), inst.ID)
			if err != nil || back.Spot != tt.query.Spot || back.PricePerHour < offers[0].PriceTotal-1e-9 || back.PricePerHour > offers[0].PriceTotal+1e-3 {
				t.Errorf("Get: got %+v, %v, want spot %t and the price of the offer, %g", back, err, tt.query.Spot, offers[0].PriceTotal)
			}
			// The machine's own key is in the answer: nothing of it may remain.
			env := acct.Machines()[0].Env["CONTAINER_API_KEY"]
			if env == "" || strings.Contains(fmt.Sprintf("%+v %+v %+v", inst, back, p), env) {
				t.Errorf("the machine's key %q is in %+v", env, inst)
			}
		})
	}
}

func TestCreateRefusesBadRequests(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*gpu.CreateRequest)
		want   string
	}{
		{"no name", func(r *gpu.CreateRequest) { r.Name = "" }, "name"},
		{"a long name", func(r *gpu.CreateRequest) { r.Name = strings.Repeat("a", 257) }, "257 bytes"},
		{"no key", func(r *gpu.CreateRequest) { r.AuthorizedKey = "" }, "the key that may log in"},
		{"a long key", func(r *gpu.CreateRequest) { r.AuthorizedKey = longKey(t) }, "too long"},
		{"another provider's offer", func(r *gpu.CreateRequest) { r.Offer.Native = []byte(`{"gpu":"x"}`) }, `offer "123"`},
		{"no offer", func(r *gpu.CreateRequest) { r.Offer.Native = nil }, `offer "123"`},
		{"a volume", func(r *gpu.CreateRequest) { r.Query.VolumeDiskGB = 10 }, "volume_disk_gb"},
		{"spot without a bid", func(r *gpu.CreateRequest) { r.Offer.Spot = true }, "bid of 0"},
		{"a bid that is no spot", func(r *gpu.CreateRequest) { r.Offer.Native = []byte(`{"ask":123,"bid":0.2}`) }, "bid of 0.2"},
		{"a port", func(r *gpu.CreateRequest) { r.Query.Ports = []int{0} }, "no port 0"},
		{"ports", func(r *gpu.CreateRequest) { r.Query.Ports = make([]int, 64) }, "64 ports"},
	}
	for _, tt := range tests {
		p, calls := answering(t, 200, `{"success":true,"new_contract":7}`)
		req := request()
		tt.change(&req)
		_, err := p.Create(t.Context(), req)
		var got *gpu.Error
		if !errors.As(err, &got) || got.Kind != gpu.Validation || !strings.Contains(got.Message, tt.want) {
			t.Errorf("%s: got %v, want a validation that says %q", tt.name, err, tt.want)
		}
		if calls.Load() != 0 {
			t.Errorf("%s: a call was made", tt.name)
		}
	}
}

// longKey is a public key that is too long for a start script, which has it twice. Nobody has its other half.
func longKey(t *testing.T) string {
	t.Helper()
	n := new(big.Int).SetBit(big.NewInt(1), 8*1900, 1)
	key, err := ssh.NewPublicKey(&rsa.PublicKey{N: n, E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(key))
}

// TestCreateFailedWithContract checks that a contract that exists although its create call failed is told to the
// caller, under its id and as one that is of no use, so that it is ended as any other machine is.
func TestCreateFailedWithContract(t *testing.T) {
	t.Parallel()
	for _, quirk := range []cloud.Quirk{cloud.VastKeepsContract, cloud.VastKeepsContract400} {
		t.Run(string(quirk), func(t *testing.T) {
			t.Parallel()
			acct, p := account(t, cloud.Options{Quirks: []cloud.Quirk{quirk}})
			req, _ := gputest.NewRequest(t, p)
			inst := gputest.Create(t, p, req)
			if inst.State != gpu.Failed || inst.Name != req.Name || !strings.Contains(inst.Message, "could not start") {
				t.Errorf("got %+v, want a failed instance and why", inst)
			}
			back, err := p.Get(t.Context(), inst.ID)
			if err != nil || back.State != gpu.Failed {
				t.Errorf("Get: got %+v, %v, want it failed", back, err)
			}
			if got := acct.Machines(); len(got) != 1 || got[0].ID != inst.ID {
				t.Errorf("got machines %+v, want the contract", got)
			}
		})
	}
	for body, want := range map[string]gpu.State{
		`{"success":false,"new_contract":7,"msg":"no"}`: gpu.Failed,
		`{"success":true,"new_contract":"7"}`:           gpu.Starting,
		`{"new_contract":7}`:                            gpu.Starting,
	} {
		p, _ := answering(t, 200, body)
		if inst, err := p.Create(t.Context(), request()); err != nil || inst.ID != "7" || inst.State != want {
			t.Errorf("%s: got %+v, %v, want 7, %s", body, inst, err, want)
		}
	}
}

// TestCreateAmbiguous checks the answers after which nobody knows whether there is a machine: no refusal, or a
// Transient one, and one call.
func TestCreateAmbiguous(t *testing.T) {
	t.Parallel()
	for _, kind := range []cloud.Kind{
		cloud.CutBefore, cloud.CutAfter, cloud.TimeoutBefore, cloud.TimeoutAfter, cloud.ErrorBefore, cloud.ErrorAfter, cloud.BodyCut, cloud.Garbage,
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			acct, p := account(t, cloud.Options{Leave: true})
			req, _ := gputest.NewRequest(t, p)
			acct.Fault(cloud.Fault{Op: "create", Kind: kind, Times: 1})
			inst, err := p.Create(t.Context(), req)
			var refused *gpu.Error
			if err == nil || errors.As(err, &refused) && refused.Kind != gpu.Transient {
				t.Errorf("got %+v, %v, want an error that leaves it open", inst, err)
			}
			if n := len(acct.Calls("create")); n != 1 {
				t.Errorf("got %d create calls, want 1", n)
			}
			all, err := p.List(t.Context())
			if err != nil || len(all) != len(acct.Machines()) || len(all) == 1 && all[0].Name != req.Name {
				t.Errorf("List: got %+v, %v, want what is there: %+v", all, err, acct.Machines())
			}
		})
	}
	for _, body := range []string{``, `{}`, `{"success":true}`, `{"success":true,"new_contract":null}`, `[]`, `"7"`} {
		p, calls := answering(t, 200, body)
		inst, err := p.Create(t.Context(), request())
		var refused *gpu.Error
		if err == nil || errors.As(err, &refused) || calls.Load() != 1 {
			t.Errorf("%q: got %+v, %v after %d calls, want an error that leaves it open, after one", body, inst, err, calls.Load())
		}
	}
}

// TestOneMachine checks that a create call that came too early is sent again, and rents once.
func TestOneMachine(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{Quirks: []cloud.Quirk{cloud.VastPlain429}})
	req, _ := gputest.NewRequest(t, p)
	acct.Fault(cloud.Fault{Op: "create", Kind: cloud.TooMany, Times: 2})
	gputest.Create(t, p, req)
	if calls, machines := len(acct.Calls("create")), len(acct.Machines()); calls != 3 || machines != 1 {
		t.Errorf("got %d calls and %d machines, want 3 and 1", calls, machines)
	}
}

// TestNoCapacity checks the two ways in which an offer that is listed cannot be had, and that nothing is left
// of the attempt.
func TestNoCapacity(t *testing.T) {
	t.Parallel()
	gone := cloud.Offer{ID: "5", GPU: "RTX 4090", VRAMGB: 24, Count: 1, Price: 0.34, Region: "Texas, US", Stock: 1}
	phantom := gone
	phantom.Phantom = true
	tests := []struct {
		name       string
		opts       cloud.Options
		take       bool // somebody else takes the offer after the search
		wantStatus int
	}{
		{"taken", cloud.Options{Offers: []cloud.Offer{gone}}, true, 404},
		{"taken, 410", cloud.Options{Offers: []cloud.Offer{gone}, Quirks: []cloud.Quirk{cloud.VastGone410}}, true, 410},
		{"cannot start now", cloud.Options{Offers: []cloud.Offer{phantom}}, false, 410},
	}
	for _, tt := range tests {
		acct, p := account(t, tt.opts)
		req, _ := gputest.NewRequest(t, p)
		if tt.take {
			acct.Change("5", func(o *cloud.Offer) { o.Stock = 0 })
		}
		_, err := p.Create(t.Context(), req)
		var got *gpu.Error
		if !errors.As(err, &got) || got.Kind != gpu.NoCapacity || got.Status != tt.wantStatus {
			t.Errorf("%s: got %v, want no capacity, status %d", tt.name, err, tt.wantStatus)
		}
	}
}

// TestBidReadBack checks that a machine that others may outbid shows as one, whatever was asked for.
func TestBidReadBack(t *testing.T) {
	t.Parallel()
	_, p := account(t, cloud.Options{Quirks: []cloud.Quirk{cloud.VastTurnsBid}})
	req, _ := gputest.NewRequest(t, p)
	inst := gputest.Create(t, p, req)
	all, listErr := p.List(t.Context())
	back, err := p.Get(t.Context(), inst.ID)
	if err != nil || listErr != nil || len(all) != 1 || req.Offer.Spot || !back.Spot || !all[0].Spot {
		t.Errorf("got %+v, %v and %+v, %v, want spot", back, err, all, listErr)
	}
}

func TestPrepare(t *testing.T) {
	t.Parallel()
	for _, quirks := range [][]cloud.Quirk{nil, {cloud.VastYoung400}} {
		acct, p := account(t, cloud.Options{Machine: cloud.Behaviour{Pending: time.Hour}, Quirks: quirks})
		req, _ := gputest.NewRequest(t, p)
		inst, err := p.Create(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		var young *gpu.Error
		if err := p.Prepare(t.Context(), inst.ID, req); !errors.As(err, &young) || !slices.Contains([]gpu.Kind{gpu.NotFound, gpu.Conflict}, young.Kind) {
			t.Errorf("a young contract: got %v, want one that may be repeated", err)
		}
		acct.Advance(time.Hour)
		for range 2 {
			if err := p.Prepare(t.Context(), inst.ID, req); err != nil {
				t.Error(err)
			}
		}
		if got := acct.Machines()[0].Key; !strings.HasPrefix(req.AuthorizedKey, got) || got == "" {
			t.Errorf("got key %q, want %q", got, req.AuthorizedKey)
		}
		if err := p.Terminate(t.Context(), inst.ID); err != nil {
			t.Error(err)
		}
	}
	tests := []struct {
		status int
		body   string
		want   gpu.Kind // "" is success
	}{
		{400, `{"success":false,"error":"invalid_args","msg":"key already attached"}`, ""},
		{400, `{"success":false,"error":"invalid_args","msg":"duplicate"}`, ""},
		{400, `{"success":false,"error":"invalid_args","msg":"not now"}`, gpu.Conflict},
		{404, `{"success":false,"error":"auth_error","msg":"Invalid user key"}`, gpu.Auth},
		{200, `{"success":true}`, ""},
	}
	for _, tt := range tests {
		p, _ := answering(t, tt.status, tt.body)
		err := p.Prepare(t.Context(), "7", request())
		var got *gpu.Error
		if errors.As(err, &got); (err == nil) != (tt.want == "") || got != nil && got.Kind != tt.want {
			t.Errorf("%d %s: got %v, want %q", tt.status, tt.body, err, tt.want)
		}
	}
}

// TestOnstart runs the start script twice, as a machine that is started again does.
func TestOnstart(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{})
	req, _ := gputest.NewRequest(t, p)
	req.AuthorizedKey = request().AuthorizedKey
	gputest.Create(t, p, req)
	var body struct{ Onstart string }
	if err := json.Unmarshal([]byte(acct.Calls("create")[0].Body), &body); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	system := filepath.Join(home, "environment")
	for range 2 {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", strings.ReplaceAll(body.Onstart, "/etc/environment", system))
		cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "HF_HOME=/data", "CONTAINER_API_KEY=secret-5f", "CUDA_VERSION=12.8"}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(home, ".no_auto_tmux")); err != nil {
		t.Error(err)
	}
	keys, err := os.ReadFile(filepath.Join(home, ".ssh", "authorized_keys"))
	if got := strings.TrimSpace(string(keys)); err != nil || got != publicKey {
		t.Errorf("authorized_keys: got %q, %v, want the key once", got, err)
	}
	env, err := os.ReadFile(system)
	text := string(env)
	if err != nil || strings.Count(text, "HF_HOME=/data\n") != 1 || strings.Count(text, "CUDA_VERSION=12.8\n") != 1 || strings.Contains(text, "secret") || strings.Contains(text, "\nHOME=") {
		t.Errorf("environment: got %q, %v, want the image's once, without the machine's key", text, err)
	}
}

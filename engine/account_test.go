package engine_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest/clients"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
	runpodapi "github.com/bifrost-run/bifrost/gpu/runpod"
)

// rentedBefore rents a machine and records it as a process that has died since would have; an open intent has
// no id yet.
func rentedBefore(t *testing.T, j *journal.Journal, p gpu.Provider, name, account string, open bool) (id string) {
	t.Helper()
	offers, err := p.Offers(t.Context(), gpu.Query{Count: 1})
	if err != nil || len(offers) == 0 {
		t.Fatalf("%d offers, %v", len(offers), err)
	}
	req := gpu.CreateRequest{Name: name, Offer: offers[0], AuthorizedKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJpZnJvc3QgYmlmcm9zdCBiaWZyb3N0IGJpZnJvc3Qh"}
	if r, ok := p.(gpu.KeyRegistrar); ok {
		if req.KeyRef, err = r.RegisterKey(t.Context(), req.AuthorizedKey); err != nil {
			t.Fatal(err)
		}
	}
	rec := journal.Node{Name: name, Provider: p.Name(), RunID: "of-the-dead", PricePerHour: 2, Account: account}
	if err := j.PutIntent(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	inst, err := p.Create(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if open {
		return journal.IntentID(name)
	}
	rec.ID = p.Name() + ":" + inst.ID
	if err := j.NodeCreated(t.Context(), name, rec); err != nil {
		t.Fatal(err)
	}
	return rec.ID
}

// TestAnotherKey: what a key does not show is gone only if it is the key that the machine was rented with.
func TestAnotherKey(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		rotated bool // the new key is of the same account
		old     bool // the journal does not know the key that it was rented with
		open    bool // the create call had no answer
		there   bool // the machine is left, and known to be
	}{
		{"of another account", false, false, false, true},
		{"of another account, an open intent", false, false, true, true},
		{"a new one of the same account", true, false, false, false},
		{"a new one of the same account, an open intent", true, false, true, false},
		{"unknown by an older version", true, true, false, false},
	}
	for _, provider := range clients.Names() {
		for _, tt := range tests {
			t.Run(provider+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				state := t.TempDir()
				j, err := journal.Open(t.Context(), filepath.Join(state, "journal.db"))
				if err != nil {
					t.Fatal(err)
				}
				defer j.Close()
				acct, other := cloud.New(t, provider, cloud.Options{}), cloud.New(t, provider, cloud.Options{})
				before, oldKey := clients.New(provider, acct.URL, acct.Key), acct.Key
				account := before.(gpu.Accounts).Account()
				if tt.old {
					account = ""
				}
				id := rentedBefore(t, j, before, "bifrost-train-7f3k-1", account, tt.open)
				after := clients.New(provider, other.URL, other.Key)
				if tt.rotated {
					after = clients.New(provider, acct.URL, acct.Rotate())
				}
				with := func(p gpu.Provider) *engine.Engine {
					eng, _ := openAt(t, state, func(c *engine.Config) {
						c.Guardian, c.Timing, c.Providers = nil, quick, []gpu.Provider{p}
					})
					return eng
				}
				eng := with(after)
				for _, what := range []string{"settle", "terminate"} {
					var err error
					if what == "settle" {
						err = eng.Settle(t.Context())
					} else {
						err = eng.Terminate(t.Context(), id)
					}
					if !tt.there {
						if what == "settle" && err != nil {
							t.Errorf("%s: %v", what, err)
						}
						continue
					}
					for _, want := range []string{"the key of " + provider + " is not the one that it was rented with", "--forget " + id} {
						if text := fmt.Sprint(err) + fault.HintOf(err); fault.KindOf(err) != fault.Unreleased || !strings.Contains(text, want) {
							t.Errorf("%s: got %s: %s, want %s: %q", what, fault.KindOf(err), text, fault.Unreleased, want)
						}
					}
				}
				open, err := j.Nodes(t.Context(), false)
				if err != nil || (len(open) == 1) != tt.there || (len(acct.Machines()) == 1) != tt.there {
					t.Errorf("open in the journal %+v, %v; there %+v; want it there: %v", open, err, acct.Machines(), tt.there)
				}
				if calls := other.Calls("terminate"); len(calls) > 0 {
					t.Errorf("the other account was asked to end it: %+v", calls)
				}
				if tt.there {
					listed, err := eng.ListNodes(t.Context())
					if err != nil || len(listed) != 1 != tt.open {
						t.Errorf("listed: %+v, %v", listed, err)
					}
					if err := with(before).Terminate(t.Context(), id); err != nil || len(acct.Machines()) > 0 {
						t.Errorf("with the first key again: %v, left %+v", err, acct.Machines())
					}
				}
				all, err := j.Nodes(t.Context(), true)
				if err != nil || len(all) != 1 || all[0].State != journal.NodeGone {
					t.Fatalf("got %+v, %v, want one that is gone", all, err)
				}
				if want := after.(gpu.Accounts).Account(); tt.rotated && !tt.old && all[0].Account != want {
					t.Errorf("account %q, want %q, that of the new key", all[0].Account, want)
				}
				noSecret(t, state, oldKey, acct.Key, other.Key)
			})
		}
	}
}

// TestForget: what no key shows can be recorded as gone, what its provider lists cannot.
func TestForget(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	j, err := journal.Open(t.Context(), filepath.Join(state, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	acct, other := cloud.New(t, runpodapi.Name, cloud.Options{Leave: true}), cloud.New(t, runpodapi.Name, cloud.Options{})
	p := clients.New(runpodapi.Name, acct.URL, acct.Key)
	id := rentedBefore(t, j, p, "bifrost-train-7f3k-1", p.(gpu.Accounts).Account(), false)
	for _, tt := range []struct {
		p    gpu.Provider
		gone bool
	}{{p, false}, {clients.New(runpodapi.Name, other.URL, other.Key), true}} {
		eng, _ := openAt(t, state, func(c *engine.Config) {
			c.Guardian, c.Timing, c.Providers = nil, quick, []gpu.Provider{tt.p}
		})
		if err := eng.Forget(t.Context(), id); tt.gone && err != nil || !tt.gone && fault.KindOf(err) != fault.Conflict {
			t.Errorf("got %v, want it done: %v", err, tt.gone)
		}
		rec, err := j.Node(t.Context(), id)
		if err != nil || (rec.State == journal.NodeGone) != tt.gone {
			t.Errorf("it is %s, %v, want it gone: %v", rec.State, err, tt.gone)
		}
	}
}

// TestRentalName: a machine's name is one that all providers take, however long that of the job is.
func TestRentalName(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	var names []string
	m := &market{name: "a", offers: priced(2)}
	m.create = func(_ int, req gpu.CreateRequest, _ renting) (gpu.Instance, error) {
		names = append(names, req.Name)
		return gpu.Instance{}, &gpu.Error{Provider: "a", Op: "create", Kind: gpu.Validation, Message: "no"}
	}
	eng, _ := openAt(t, state, trading(quick, m))
	long := strings.Repeat("Fine-tune Größe_7 ", 30)
	for range 2 {
		_, _ = eng.Acquire(t.Context(), engine.NodeSpec{Name: long, Provision: &gpu.Query{}}) // it is refused
		_, _ = eng.Run(t.Context(), engine.Job{Name: long, Command: engine.Shell("true"), Provision: &gpu.Query{}}, engine.RunOptions{})
	}
	seen := map[string]bool{}
	for _, name := range names {
		if seen[name] || len(name) > 60 || !regexp.MustCompile(`^bifrost-fine-tune-[a-z0-9-]+$`).MatchString(name) {
			t.Errorf("%q (%d bytes) is not a new name of at most 60 letters, digits and dashes", name, len(name))
		}
		seen[name] = true
	}
	if len(names) != 4 {
		t.Errorf("%d names, want 4: %q", len(names), names)
	}
}

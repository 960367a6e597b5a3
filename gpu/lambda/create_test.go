package lambda

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
)

func TestCreateSends(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, image string
		want        any // the image
	}{
		{"default", "", nil},
		{"family", "gpu-base-24-04", map[string]any{"family": "gpu-base-24-04"}},
		{"id", "43336648-096d-4cba-9aa2-f9bb7727639d", map[string]any{"id": "43336648-096d-4cba-9aa2-f9bb7727639d"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			acct, p := account(t, cloud.Options{})
			req, _ := gputest.NewRequest(t, p)
			req.Query.Image = tt.image
			before := time.Now().Truncate(time.Second)
			inst := gputest.Create(t, p, req)
			calls := acct.Calls("create")
			var got map[string]any
			if len(calls) != 1 || json.Unmarshal([]byte(calls[0].Body), &got) != nil {
				t.Fatalf("got calls %+v, want one with a body", calls)
			}
			tags := got["tags"].([]any)
			created, err := time.Parse(time.RFC3339, tags[0].(map[string]any)["value"].(string))
			if err != nil || created.Before(before) || created.After(time.Now()) {
				t.Errorf("got created %v, %v, want now", created, err)
			}
			want := map[string]any{ // no quantity: Lambda refuses that
				"region_name": "us-east-3", "instance_type_name": "gpu_1x_gh200", "ssh_key_names": []any{req.KeyRef}, "name": req.Name,
				"tags": []any{map[string]any{"key": "bifrost-created", "value": created.Format(time.RFC3339)}},
			}
			if tt.want != nil {
				want["image"] = tt.want
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if inst.State != gpu.Starting || inst.PricePerHour != 1.49 || inst.GPUCount != 1 || inst.Host != "" {
				t.Errorf("got %+v, want what the offer says, and no address yet", inst)
			}
			read, err := p.Get(t.Context(), inst.ID)
			if err != nil || !read.Created.Equal(created) || read.User != "ubuntu" || net.ParseIP(read.Host) == nil || read.Port != 22 {
				t.Errorf("got %+v, %v, want the time of its tag, and ubuntu at port 22", read, err)
			}
		})
	}
}

func TestCreateRefusedHere(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{})
	good, _ := gputest.NewRequest(t, p)
	tests := map[string]func(*gpu.CreateRequest){
		"no name":       func(r *gpu.CreateRequest) { r.Name = "" },
		"long name":     func(r *gpu.CreateRequest) { r.Name = strings.Repeat("a", 65) },
		"odd name":      func(r *gpu.CreateRequest) { r.Name = "a b" },
		"no key":        func(r *gpu.CreateRequest) { r.AuthorizedKey = "" },
		"unknown key":   func(r *gpu.CreateRequest) { r.KeyRef = "" },
		"volume":        func(r *gpu.CreateRequest) { r.Query.VolumeDiskGB = 1 },
		"ports":         func(r *gpu.CreateRequest) { r.Query.Ports = []int{80} },
		"spot":          func(r *gpu.CreateRequest) { r.Query.Spot = true },
		"docker image":  func(r *gpu.CreateRequest) { r.Query.Image = "ubuntu:24.04" },
		"another offer": func(r *gpu.CreateRequest) { r.Offer.Native = json.RawMessage(`{"askID":1}`) },
		"no offer":      func(r *gpu.CreateRequest) { r.Offer = gpu.Offer{} },
	}
	for name, change := range tests {
		req := good
		change(&req)
		if _, err := p.Create(t.Context(), req); kindOf(err) != gpu.Validation {
			t.Errorf("%s: got %v, want kind validation", name, err)
		}
	}
	if calls := acct.Calls("create"); len(calls) != 0 {
		t.Errorf("got calls %+v, want none", calls)
	}
}

func TestCreateRefusedThere(t *testing.T) {
	t.Parallel()
	phantom := cloud.Offer{ID: "gpu_1x_a10", GPU: "A10 (24 GB PCIe)", VRAMGB: 24, Count: 1, Price: 0.75, Region: "us-west-1", Stock: 1, Phantom: true}
	acct, p := account(t, cloud.Options{Offers: []cloud.Offer{phantom}})
	req, _ := gputest.NewRequest(t, p)
	if _, err := p.Create(t.Context(), req); kindOf(err) != gpu.NoCapacity { // listed, and not there
		t.Errorf("phantom: got %v, want no capacity", err)
	}
	acct.Change("gpu_1x_a10", func(o *cloud.Offer) { o.Phantom = false })
	unknown := req
	unknown.KeyRef = "nobody"
	if _, err := p.Create(t.Context(), unknown); kindOf(err) != gpu.Validation {
		t.Errorf("unknown key: got %v, want validation", err)
	}
	elsewhere := req
	elsewhere.Offer.Native = json.RawMessage(`{"type":"gpu_1x_a10","region":"mars"}`)
	if _, err := p.Create(t.Context(), elsewhere); kindOf(err) != gpu.Validation {
		t.Errorf("unknown region: got %v, want validation", err)
	}
}

// TestCreateFaults checks that a launch is sent once, whatever becomes of it, and that its error tells
// whether a machine may exist.
func TestCreateFaults(t *testing.T) {
	t.Parallel()
	want := map[cloud.Kind]gpu.Kind{ // "" is no refusal
		cloud.ErrorBefore: gpu.Transient, cloud.ErrorAfter: gpu.Transient, cloud.BadKey: gpu.Auth, cloud.NoFunds: gpu.Funds,
		cloud.Forbidden: gpu.Forbidden, cloud.NotFound: gpu.Validation, cloud.Conflict: gpu.Conflict,
	}
	for _, kind := range cloud.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			acct, p := account(t, cloud.Options{Leave: true})
			req, _ := gputest.NewRequest(t, p)
			acct.Fault(cloud.Fault{Op: "create", Kind: kind, Times: 1})
			inst, err := p.Create(t.Context(), req)
			sent := len(acct.Calls("create"))
			if kind == cloud.TooMany || kind == cloud.TooManyAfter {
				if err != nil || inst.ID == "" || sent != 2 {
					t.Errorf("got %+v, %v after %d calls, want the machine of the second", inst, err, sent)
				}
				return
			}
			if err == nil || kindOf(err) != want[kind] || sent != 1 {
				t.Errorf("got %v after %d calls, want kind %q after 1", err, sent, want[kind])
			}
			if text := err.Error(); !strings.HasPrefix(text, "lambda create: ") || strings.Contains(text, acct.Key) {
				t.Errorf("got %q", text)
			}
			all, err := p.List(t.Context())
			if err != nil && kind == cloud.Refused { // nobody listens for a moment
				return
			}
			if err != nil || len(all) != len(acct.Machines()) || len(all) == 1 && all[0].Name != req.Name {
				t.Errorf("got %+v, %v, want the machine that was made after all: %v", all, err, acct.Machines())
			}
		})
	}
}

func TestCreateAnswers(t *testing.T) {
	t.Parallel()
	_, p := account(t, cloud.Options{})
	req, _ := gputest.NewRequest(t, p)
	for _, body := range []string{`{}`, `{"data":null}`, `{"data":{"instance_ids":null}}`, `{"data":{"instance_ids":[]}}`, `{"data":{"instance_ids":[""]}}`, `{"data":{"instance_ids":["a","b"]}}`} {
		_, err := fixed(t, 200, body).Create(t.Context(), req)
		if err == nil || kindOf(err) != "" {
			t.Errorf("%s: got %v, want that nobody knows", body, err)
		}
	}
}

func TestRegisterKey(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{})
	req, _ := gputest.NewRequest(t, p) // registers it, twice
	if calls := acct.Calls("register"); len(calls) != 1 || !strings.HasPrefix(req.KeyRef, "bifrost-") || len(req.KeyRef) != len("bifrost-")+8 {
		t.Errorf("got %q after %d calls, want a name of the fingerprint, after one", req.KeyRef, len(calls))
	}
	// It is the same key with another comment, or with options.
	ref, err := p.RegisterKey(t.Context(), req.AuthorizedKey+" somebody@laptop\n")
	if err != nil || ref != req.KeyRef || len(acct.Calls("register")) != 1 {
		t.Errorf("got %q, %v, want %q again", ref, err, req.KeyRef)
	}
	// Another account knows the key under a name of its own, and other keys.
	_, p = account(t, cloud.Options{})
	stranger, _ := gputest.NewRequest(t, p)
	err = p.addKey(t.Context(), "my laptop", parse(t, req.AuthorizedKey))
	if err != nil {
		t.Fatal(err)
	}
	if ref, err := p.RegisterKey(t.Context(), req.AuthorizedKey); err != nil || ref != "my laptop" {
		t.Errorf("got %q, %v, want the name that it has there", ref, err)
	}
	if _, err := p.RegisterKey(t.Context(), "no key"); kindOf(err) != gpu.Validation {
		t.Errorf("got %v, want kind validation", err)
	}
	// The short name is another key's.
	_, p = account(t, cloud.Options{})
	if err := p.addKey(t.Context(), req.KeyRef, parse(t, stranger.AuthorizedKey)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		ref, err := p.RegisterKey(t.Context(), req.AuthorizedKey)
		if err != nil || ref == req.KeyRef || !strings.HasPrefix(ref, req.KeyRef) {
			t.Errorf("got %q, %v, want a longer name than %q", ref, err, req.KeyRef)
		}
	}
}

func TestRegisterKeyFaults(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"keys", "register"} {
		for _, kind := range cloud.Kinds() {
			if kind == cloud.TooManyAfter {
				continue // as TooMany, and a second longer
			}
			t.Run(op+" "+string(kind), func(t *testing.T) {
				t.Parallel()
				acct, p := account(t, cloud.Options{})
				acct.Fault(cloud.Fault{Op: op, Kind: kind, Times: 1})
				line := newKey(t)
				var ref string
				err := errors.New("not tried")
				for range 100 { // nobody listens for a moment after a refused connection
					if ref, err = p.RegisterKey(t.Context(), line); err == nil {
						break
					}
				}
				if err != nil || ref == "" {
					t.Fatalf("got %q, %v, want a name in the end", ref, err)
				}
				if again, err := p.RegisterKey(t.Context(), line); err != nil || again != ref {
					t.Errorf("got %q, %v, want %q again", again, err, ref)
				}
				if got := keys(t, p); got != 1 {
					t.Errorf("the account has %d keys, want one", got)
				}
			})
		}
	}
}

// newKey is a key in authorized_keys form.
func newKey(t *testing.T) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(key))
}

func parse(t *testing.T, line string) ssh.PublicKey {
	t.Helper()
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// keys is how many keys an account knows.
func keys(t *testing.T, p *Provider) int {
	t.Helper()
	var answer struct{ Data []accountKey }
	if err := p.api.Do(t.Context(), httpapi.Call{Op: "keys", Method: "GET", Path: "/api/v1/ssh-keys", Into: &answer, Repeat: true}); err != nil {
		t.Fatal(err)
	}
	return len(answer.Data)
}

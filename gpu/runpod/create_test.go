package runpod_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
)

// TestCreateBody is what is sent, whole: the server refuses any field too many.
func TestCreateBody(t *testing.T) {
	t.Parallel()
	req := request()
	key := strings.TrimSpace(req.AuthorizedKey)
	base := func(change func(map[string]any)) map[string]any {
		body := map[string]any{
			"name": req.Name, "cloud": "SECURE", "image": "runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404", "disk": 50.0,
			"gpu":   map[string]any{"id": "NVIDIA  H100 80GB HBM3", "count": 2.0, "minCudaVersion": "12.8"}, // the id as it was listed
			"ports": []any{"22/tcp"}, "env": map[string]any{"PUBLIC_KEY": key, "SSH_PUBLIC_KEY": key}, "startSsh": true,
		}
		change(body)
		return body
	}
	for name, test := range map[string]struct {
		query  gpu.Query
		native string
		want   func(map[string]any)
	}{
		"plain":     {gpu.Query{}, "", func(map[string]any) {}},
		"disk":      {gpu.Query{ContainerDiskGB: 200}, "", func(b map[string]any) { b["disk"] = 200.0 }},
		"old CUDA":  {gpu.Query{MinCUDA: "12.0"}, "", func(map[string]any) {}},
		"new CUDA":  {gpu.Query{MinCUDA: "12.11"}, "", func(b map[string]any) { b["gpu"].(map[string]any)["minCudaVersion"] = "12.11" }},
		"bare CUDA": {gpu.Query{MinCUDA: "13"}, "", func(b map[string]any) { b["gpu"].(map[string]any)["minCudaVersion"] = "13.0" }},
		"own image": {gpu.Query{Image: "me/train@sha256:abc"}, "", func(b map[string]any) {
			b["image"] = "me/train@sha256:abc"
			delete(b["gpu"].(map[string]any), "minCudaVersion")
		}},
		"ports": {gpu.Query{Ports: []int{8888, 22, 6006, 8888}}, "", func(b map[string]any) { b["ports"] = []any{"22/tcp", "8888/tcp", "6006/tcp"} }},
		"volume": {gpu.Query{VolumeDiskGB: 20}, "", func(b map[string]any) {
			b["mounts"] = map[string]any{"persistent": map[string]any{"size": 20.0, "path": "/workspace"}}
		}},
		"region": {gpu.Query{}, `{"GPU": "NVIDIA  H100 80GB HBM3", "Cloud": "COMMUNITY", "DataCenters": ["US-TX-3"]}`, func(b map[string]any) {
			b["cloud"], b["dataCenterIds"] = "COMMUNITY", []any{"US-TX-3"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := serve(t, answer{201, `{"id": "abc", "name": "` + req.Name + `", "status": "PROVISIONING", "cost": 0}`, ""})
			req := request()
			req.Query = test.query
			if test.native != "" {
				req.Offer.Native = json.RawMessage(test.native)
			}
			inst, err := p.Create(t.Context(), req)
			if err != nil || inst.ID != "abc" || inst.Name != req.Name || inst.State != gpu.Starting || inst.PricePerHour != 5.98 {
				t.Fatalf("got %+v, %v", inst, err)
			}
			var got map[string]any
			if err := json.Unmarshal([]byte(s.bodies[0]), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(base(test.want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestCreateRefusesFirst: what cannot work is refused before anything is sent.
func TestCreateRefusesFirst(t *testing.T) {
	t.Parallel()
	s, p := serve(t, answer{500, "", ""})
	for name, test := range map[string]struct {
		change func(*gpu.CreateRequest)
		text   string
	}{
		"no name":      {func(r *gpu.CreateRequest) { r.Name = "" }, "needs a name"},
		"no key":       {func(r *gpu.CreateRequest) { r.AuthorizedKey = "secret" }, "public key"},
		"small volume": {func(r *gpu.CreateRequest) { r.Query.VolumeDiskGB = 5 }, "volume_disk_gb is 5; RunPod's volumes have 10 GB or more"},
		"no native":    {func(r *gpu.CreateRequest) { r.Offer.Native = nil }, `offer "NVIDIA H100 80GB HBM3/SECURE/2" is none of RunPod's`},
	} {
		req := request()
		test.change(&req)
		_, err := p.Create(t.Context(), req)
		if kindOf(err) != gpu.Validation || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: got %v, want a validation error with %q", name, err, test.text)
		}
	}
	if got := s.requests(); len(got) > 0 {
		t.Errorf("sent %q", got)
	}
}

// TestStartSSH: the field is on its way out. Who refuses it gets the same request once more without it.
func TestStartSSH(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{Quirks: []cloud.Quirk{cloud.RunpodNoStartSSH}})
	req, _ := gputest.NewRequest(t, p)
	gputest.Create(t, p, req)
	if n := len(acct.Calls("create")); n != 2 || len(acct.Machines()) != 1 {
		t.Errorf("%d calls of create and %d machines, want 2 and 1", n, len(acct.Machines()))
	}
	s, p := serve(t, answer{422, `{"detail": "Request validation failed.", "errors": ["$: additional properties 'startSsh' not allowed"]}`, ""})
	if _, err := p.Create(t.Context(), req); kindOf(err) != gpu.Validation || len(s.requests()) != 2 {
		t.Errorf("got %v after %d calls, want a refusal after 2", err, len(s.requests()))
	}
}

// TestCandidates: a listing is no promise. Each candidate's refusal says whether there is a point in the next.
func TestCandidates(t *testing.T) {
	t.Parallel()
	offers := market()
	offers[0].Phantom, offers[1].Phantom = true, true
	offers[3].More = map[string]any{cloud.RunpodNotOpen: true}
	acct, p := account(t, cloud.Options{Offers: offers})
	q := gpu.Query{Type: "H100"}
	found, err := p.Offers(t.Context(), q)
	if err != nil || len(found) != 2 {
		t.Fatalf("got %v, %v, want 2 offers", found, err)
	}
	req := request()
	for _, test := range []struct {
		cloudType string
		want      gpu.Kind
	}{{"secure", gpu.NoCapacity}, {"community", gpu.Forbidden}} {
		for _, o := range found {
			if o.CloudType == test.cloudType {
				req.Offer, req.Query = o, q
			}
		}
		if _, err := p.Create(t.Context(), req); kindOf(err) != test.want {
			t.Errorf("%s: got %v, want kind %s", test.cloudType, err, test.want)
		}
	}
	if n := len(acct.Calls("create")); n != 2 {
		t.Errorf("%d calls of create, want 2: no refusal is repeated", n)
	}
}

// TestAmbiguousCreate: after each of these the machine may exist, nobody asks for a second one, and its name
// finds it.
func TestAmbiguousCreate(t *testing.T) {
	t.Parallel()
	for kind, exists := range map[cloud.Kind]bool{
		cloud.CutBefore: false, cloud.CutAfter: true, cloud.TimeoutBefore: false, cloud.TimeoutAfter: true, cloud.ErrorBefore: false,
		cloud.ErrorAfter: true, cloud.BodyCut: true, cloud.Garbage: true, cloud.Refused: false,
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			acct, p := account(t, cloud.Options{Leave: true})
			req, _ := gputest.NewRequest(t, p)
			acct.Fault(cloud.Fault{Op: "create", Kind: kind, Times: 1})
			_, err := p.Create(t.Context(), req)
			if k := kindOf(err); err == nil || k != "" && k != gpu.Transient {
				t.Errorf("got %v, want an error that leaves it open", err)
			}
			if n := len(acct.Calls("create")); n != 1 {
				t.Errorf("%d calls of create, want 1", n)
			}
			all, err := p.List(t.Context())
			if err != nil || (len(all) == 1) != exists || exists && all[0].Name != req.Name {
				t.Errorf("listed %+v, %v; want it there: %v", all, err, exists)
			}
		})
	}
}

// TestPrice: what a machine costs is what it says itself, not what was listed; less than nothing is known
// until it has been placed.
func TestPrice(t *testing.T) {
	t.Parallel()
	_, p := account(t, cloud.Options{Machine: cloud.Behaviour{Dear: 1.5}})
	req, _ := gputest.NewRequest(t, p)
	inst := gputest.Create(t, p, req)
	if want := req.Offer.PriceTotal + 1.5; inst.PricePerHour != want {
		t.Errorf("got %g USD per hour, want %g", inst.PricePerHour, want)
	}
	_, p = account(t, cloud.Options{Quirks: []cloud.Quirk{cloud.RunpodFreeAtFirst}, Machine: cloud.Behaviour{Pending: 1 << 40}})
	req, _ = gputest.NewRequest(t, p)
	inst = gputest.Create(t, p, req)
	if inst.PricePerHour != req.Offer.PriceTotal {
		t.Errorf("got %g USD per hour, want the offer's %g", inst.PricePerHour, req.Offer.PriceTotal)
	}
	if inst, err := p.Get(t.Context(), inst.ID); err != nil || inst.PricePerHour != 0 {
		t.Errorf("got %+v, %v, want a price that is not told", inst, err)
	}
}

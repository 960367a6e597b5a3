package prime

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
)

// one is an account that has one offer only.
func one(change func(*cloud.Offer), quirks ...cloud.Quirk) cloud.Options {
	o := cloud.Offer{
		ID: "NVIDIA A100 80GB PCIe", GPU: "A100_80GB", Model: "NVIDIA A100 80GB PCIe", VRAMGB: 80, Count: 2, Price: 3, Region: "united_states", Stock: 5,
		More: map[string]any{"socket": "PCIe", "provider": "runpod", "dataCenter": "US-KS-2", "country": "US"},
	}
	if change != nil {
		change(&o)
	}
	return cloud.Options{Offers: []cloud.Offer{o}, Quirks: quirks, Leave: true}
}

func TestCreateBody(t *testing.T) {
	t.Parallel()
	acct, p := account(t, one(nil))
	req, _ := gputest.NewRequest(t, p)
	req.Query.ContainerDiskGB = 495
	inst, err := p.Create(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if inst.Name != req.Name || inst.GPUType != "A100 80GB PCIe" || inst.GPUCount != 2 || inst.PricePerHour != 3+380*0.00014 {
		t.Errorf("got %+v", inst)
	}
	calls := acct.Calls("create")
	if len(calls) != 1 {
		t.Fatalf("got %d calls, want 1", len(calls))
	}
	var got any
	if err := json.Unmarshal([]byte(calls[0].Body), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"provider": map[string]any{"type": "runpod"},
		"pod": map[string]any{
			"name": req.Name, "cloudId": "NVIDIA A100 80GB PCIe", "gpuType": "A100_80GB", "socket": "PCIe", "gpuCount": 2.0, "diskSize": 500.0,
			"image": "ubuntu_22_cuda_12", "dataCenterId": "US-KS-2", "country": "US", "security": "secure_cloud", "sshKeyId": req.KeyRef,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What is null in the listing is left out, and an image of the query's own is sent.
func TestCreateBodyOfUnknown(t *testing.T) {
	t.Parallel()
	acct, p := account(t, one(func(o *cloud.Offer) { o.More = map[string]any{"country": nil} }))
	req, _ := gputest.NewRequest(t, p)
	req.Query.Image = "cuda_12_4_pytorch_2_4"
	if _, err := p.Create(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	body := acct.Calls("create")[0].Body
	for _, field := range []string{"dataCenterId", "country", "diskSize", "maxPrice", "envVars"} {
		if strings.Contains(body, field) {
			t.Errorf("%s has the field %s", body, field)
		}
	}
	if !strings.Contains(body, `"image":"cuda_12_4_pytorch_2_4"`) {
		t.Errorf("%s has another image", body)
	}
}

func TestMaxPrice(t *testing.T) {
	t.Parallel()
	variable := func(o *cloud.Offer) {
		o.More["prices"] = map[string]any{"onDemand": 3.0, "communityPrice": nil, "isVariable": true, "currency": "USD"}
	}
	for _, tt := range []struct {
		name  string
		opts  cloud.Options
		query gpu.Query
		risen float64   // to which the price rises after the listing
		sent  []float64 // maxPrice of each call, 0 where it has none
		kind  gpu.Kind
	}{
		{"fixed", one(nil), gpu.Query{}, 0, []float64{0}, ""},
		{"variable", one(variable), gpu.Query{}, 0, []float64{3.15}, ""},
		{"variable, limited", one(variable), gpu.Query{MaxPrice: 1.55}, 0, []float64{3.1}, ""},
		{"missed", one(nil, cloud.PrimeWantsMaxPrice), gpu.Query{}, 0, []float64{0, 3.15}, ""},
		{"risen", one(variable), gpu.Query{}, 4, []float64{3.15}, gpu.NoCapacity},
		{"missed, risen", one(nil, cloud.PrimeWantsMaxPrice), gpu.Query{}, 4, []float64{0, 3.15}, gpu.NoCapacity},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			acct, p := account(t, tt.opts)
			req, _ := gputest.NewRequest(t, p)
			req.Query = tt.query
			if tt.risen > 0 {
				acct.Change(tt.opts.Offers[0].ID, func(o *cloud.Offer) { o.Price = tt.risen })
			}
			_, err := p.Create(t.Context(), req)
			var refused *gpu.Error
			if (err != nil) != (tt.kind != "") || errors.As(err, &refused) && refused.Kind != tt.kind {
				t.Errorf("got %v, want %q", err, tt.kind)
			}
			var sent []float64
			for _, call := range acct.Calls("create") {
				var body struct{ Pod struct{ MaxPrice float64 } }
				if err := json.Unmarshal([]byte(call.Body), &body); err != nil {
					t.Fatal(err)
				}
				sent = append(sent, body.Pod.MaxPrice)
			}
			if diff := cmp.Diff(tt.sent, sent); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCreateRefusesBeforeItAsks(t *testing.T) {
	t.Parallel()
	acct, p := account(t, one(nil))
	good, _ := gputest.NewRequest(t, p)
	for name, spoil := range map[string]func(*gpu.CreateRequest){
		"no name":           func(r *gpu.CreateRequest) { r.Name = "" },
		"a name of digits":  func(r *gpu.CreateRequest) { r.Name = "2026-11" },
		"a name with dots":  func(r *gpu.CreateRequest) { r.Name = "bifrost.x" },
		"no key":            func(r *gpu.CreateRequest) { r.AuthorizedKey = "ssh-ed25519" },
		"no registered key": func(r *gpu.CreateRequest) { r.KeyRef = "" },
		"a volume":          func(r *gpu.CreateRequest) { r.Query.VolumeDiskGB = 10 },
		"ports":             func(r *gpu.CreateRequest) { r.Query.Ports = []int{80} },
		"a docker image":    func(r *gpu.CreateRequest) { r.Query.Image = "pytorch/pytorch" },
		"a template":        func(r *gpu.CreateRequest) { r.Query.Image = "custom_template" },
		"too much disk":     func(r *gpu.CreateRequest) { r.Query.ContainerDiskGB = 4000 },
		"another's offer":   func(r *gpu.CreateRequest) { r.Offer.Native = nil },
	} {
		req := good
		spoil(&req)
		_, err := p.Create(t.Context(), req)
		var refused *gpu.Error
		if !errors.As(err, &refused) || refused.Kind != gpu.Validation {
			t.Errorf("%s: got %v, want a refusal of kind validation", name, err)
		}
	}
	if got := acct.Calls("create"); len(got) > 0 {
		t.Errorf("asked %d times", len(got))
	}
}

// Stock that runs out between the listing and the request.
func TestCreateWithoutStock(t *testing.T) {
	t.Parallel()
	acct, p := account(t, one(func(o *cloud.Offer) { o.Phantom = true }))
	req, _ := gputest.NewRequest(t, p)
	_, err := p.Create(t.Context(), req)
	var refused *gpu.Error
	if !errors.As(err, &refused) || refused.Kind != gpu.NoCapacity || len(acct.Rented()) > 0 {
		t.Errorf("got %v, want no_capacity", err)
	}
}

// Each way in which the request can go wrong: whether the answer is definite, how often it was sent, and
// that the machine is found by its name where there is one.
func TestCreateFaults(t *testing.T) {
	t.Parallel()
	const ambiguous = gpu.Kind("ambiguous")
	for _, tt := range []struct {
		fault    cloud.Kind
		kind     gpu.Kind // "" is none
		calls    int
		machines int
	}{
		{cloud.Refused, ambiguous, 1, 0},
		{cloud.CutBefore, ambiguous, 1, 0},
		{cloud.CutAfter, ambiguous, 1, 1},
		{cloud.TimeoutBefore, ambiguous, 1, 0},
		{cloud.TimeoutAfter, ambiguous, 1, 1},
		{cloud.ErrorBefore, gpu.Transient, 1, 0},
		{cloud.ErrorAfter, gpu.Transient, 1, 1},
		{cloud.BodyCut, ambiguous, 1, 1},
		{cloud.Garbage, ambiguous, 1, 1},
		{cloud.TooMany, "", 2, 1},
		{cloud.BadKey, gpu.Auth, 1, 0},
		{cloud.NoFunds, gpu.Funds, 1, 0},
		{cloud.Forbidden, gpu.Forbidden, 1, 0},
		{cloud.NotFound, gpu.NoCapacity, 1, 0},
		{cloud.Conflict, gpu.Conflict, 1, 0},
	} {
		t.Run(string(tt.fault), func(t *testing.T) {
			t.Parallel()
			acct, p := account(t, cloud.Options{Leave: true})
			req, _ := gputest.NewRequest(t, p)
			acct.Fault(cloud.Fault{Op: "create", Kind: tt.fault, Times: 1})
			_, err := p.Create(t.Context(), req)
			var refused *gpu.Error
			got := gpu.Kind("")
			switch {
			case errors.As(err, &refused):
				got = refused.Kind
			case err != nil:
				got = ambiguous
			}
			if got != tt.kind {
				t.Errorf("got %v, want %q", err, tt.kind)
			}
			if got := len(acct.Calls("create")); got != tt.calls {
				t.Errorf("sent %d times, want %d", got, tt.calls)
			}
			if got := len(acct.Machines()); got != tt.machines {
				t.Errorf("there are %d machines, want %d", got, tt.machines)
			}
			if tt.fault == cloud.Refused {
				return // the server is down for a moment
			}
			all, err := p.List(t.Context())
			if err != nil || len(all) != tt.machines || tt.machines > 0 && all[0].Name != req.Name {
				t.Errorf("List: got %+v, %v, want %d", all, err, tt.machines)
			}
		})
	}
}

func TestRedirect(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		http.Redirect(w, r, strings.TrimSuffix(r.URL.Path, "/"), http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	p := New(Config{Key: "a-key-of-tests", URL: server.URL, Unpaced: true})
	_, err := p.create(t.Context(), createBody{})
	var refused *gpu.Error
	if !errors.As(err, &refused) || refused.Kind != gpu.Validation || refused.Status != http.StatusTemporaryRedirect || calls.Load() != 1 {
		t.Errorf("got %v after %d calls, want one that is not followed", err, calls.Load())
	}
}

func TestRefusal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		op      string
		status  int
		body    string
		kind    gpu.Kind
		message string // "" is the body
	}{
		{"list", 401, `{"detail": "Invalid token"}`, gpu.Auth, "Invalid token"},
		{"list", 403, `{"detail": "Not authenticated"}`, gpu.Auth, "Not authenticated"},
		{"list", 403, `{"detail": "Missing permission: instances"}`, gpu.Forbidden, "Missing permission: instances"},
		{"create", 403, `{"detail": "Your balance is too low"}`, gpu.Funds, "Your balance is too low"},
		{"create", 403, `{"detail": "Not available to this account"}`, gpu.Forbidden, "Not available to this account"},
		{"create", 402, `{"detail": "Out of stock, or of money"}`, gpu.Funds, "Out of stock, or of money"},
		{"get", 404, `{"detail": "Pod not found"}`, gpu.NotFound, "Pod not found"},
		{"terminate", 404, ``, gpu.NotFound, "not found"},
		{"create", 404, `{"detail": "Cloud id not found"}`, gpu.NoCapacity, "Cloud id not found"},
		{"list", 429, `{"message": "Slow down"}`, gpu.RateLimited, "Slow down"},

		{"create", 422, `{"errors": [{"param": "pod.diskSize", "details": "too small"}, {"param": "", "details": "no such image"}]}`, gpu.Validation, "pod.diskSize: too small; no such image"},
		{"create", 422, `{"detail": [{"loc": ["body", "pod", "gpuCount"], "msg": "field required", "type": "missing"}, {"loc": ["body", "disks", 0], "msg": "bad"}]}`, gpu.Validation, "pod.gpuCount: field required; disks.0: bad"},
		{"create", 422, `{"detail": ["one", "two", null, 3]}`, gpu.Validation, "one; two"},
		{"create", 422, `{"detail": {"message": "sorry", "code": 7}}`, gpu.Validation, "sorry"},
		{"create", 422, `{"detail": {"code": 7}}`, gpu.Validation, `{"code": 7}`},
		{"create", 400, `{"detail": "Missing field: max_price not specified"}`, gpu.Validation, "Missing field: max_price not specified"},
		{"create", 400, `{"message": "m", "error": "e"}`, gpu.Validation, "m"},
		{"create", 400, `{"error": "e", "detail": null, "errors": []}`, gpu.Validation, "e"},

		{"create", 400, `{"detail": "Insufficient funds"}`, gpu.Funds, "Insufficient funds"},
		{"create", 400, `{"detail": "Insufficient wallet balance; H100 not available"}`, gpu.Funds, "Insufficient wallet balance; H100 not available"},
		{"create", 400, `{"detail": "Add credits to go on"}`, gpu.Funds, "Add credits to go on"},
		{"create", 400, `{"detail": "Invalid credentials of the provider"}`, gpu.Validation, "Invalid credentials of the provider"},
		{"create", 400, `{"detail": "Insufficient capacity"}`, gpu.NoCapacity, "Insufficient capacity"},
		{"create", 400, `{"error": "No GPUs available"}`, gpu.NoCapacity, "No GPUs available"},
		{"create", 400, `{"message": "The instance is currently unavailable"}`, gpu.NoCapacity, "The instance is currently unavailable"},
		{"create", 409, `{"detail": "Out of stock"}`, gpu.NoCapacity, "Out of stock"},
		{"create", 409, `{"detail": "The name is taken"}`, gpu.Conflict, "The name is taken"},
		{"create", 400, `GPU is out of stock`, gpu.NoCapacity, ""},
		{"create", 400, `{"detail": "Quota exceeded: not available"}`, gpu.Quota, "Quota exceeded: not available"},
		{"create", 400, `{"detail": "Pod limit exceeded"}`, gpu.Quota, "Pod limit exceeded"},
		{"register", 400, `{"detail": "Not available"}`, gpu.Validation, "Not available"},

		// A server that fails may have acted before.
		{"create", 500, `{"detail": "No capacity"}`, gpu.Transient, "No capacity"},
		{"create", 503, `{"detail": "Service temporarily unavailable"}`, gpu.Transient, "Service temporarily unavailable"},
		{"create", 502, `<html>Bad gateway</html>`, gpu.Transient, ""},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			fmt.Fprint(w, tt.body)
		}))
		p := New(Config{Key: "a-key-of-tests", URL: server.URL, Unpaced: true})
		err := p.api.Do(t.Context(), httpapi.Call{Op: tt.op, Method: "POST", Path: "/"})
		server.Close()
		var refused *gpu.Error
		if !errors.As(err, &refused) {
			t.Errorf("%s %d %s: got %v", tt.op, tt.status, tt.body, err)
			continue
		}
		message := tt.message
		if message == "" {
			message = tt.body
		}
		if refused.Kind != tt.kind || refused.Message != message {
			t.Errorf("%s %d %s: got %s, %q; want %s, %q", tt.op, tt.status, tt.body, refused.Kind, refused.Message, tt.kind, message)
		}
	}
}

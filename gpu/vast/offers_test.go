package vast_test

import (
	"encoding/json"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
	"github.com/bifrost-run/bifrost/gpu/vast"
)

// TestSearch checks what is asked of Vast for a query: the usual conditions, and those that are the query's.
func TestSearch(t *testing.T) {
	t.Parallel()
	eq := func(v any) map[string]any { return map[string]any{"eq": v} }
	gte := func(v any) map[string]any { return map[string]any{"gte": v} }
	usual := map[string]any{
		"verified": eq(true), "external": eq(false), "rentable": eq(true), "rented": eq(false), "reliability2": gte(0.95),
		"inet_down": gte(200.0), "inet_up": gte(100.0), "direct_port_count": gte(1.0), "disk_space": gte(50.0), "allocated_storage": 50.0,
		"limit": 200.0, "order": []any{[]any{"dph_total", "asc"}, []any{"id", "asc"}}, "num_gpus": eq(1.0), "cpu_arch": eq("amd64"),
	}
	in := func(v ...any) map[string]any { return map[string]any{"in": v} }
	tests := []struct {
		name  string
		query gpu.Query
		want  map[string]any // beside or in place of the usual
		not   []string       // of the usual
	}{
		{"anything", gpu.Query{}, nil, nil},
		{"one type", gpu.Query{Type: "RTX4090"}, map[string]any{"gpu_name": in("RTX 4090")}, nil},
		{"one type in several forms", gpu.Query{Type: "H100"}, map[string]any{"gpu_name": in("H100 NVL", "H100 PCIE", "H100 SXM")}, nil},
		{"one form", gpu.Query{Type: "H100 SXM5"}, map[string]any{"gpu_name": in("H100 SXM")}, nil},
		{"a size that the names do not tell", gpu.Query{Type: "A100 80GB"}, map[string]any{"gpu_name": in("A100 PCIE", "A100 SXM4")}, nil},
		{"no other type", gpu.Query{Type: "H200"}, map[string]any{"gpu_name": in("H200", "H200 NVL")}, nil},
		{"a model's own name", gpu.Query{Type: "A6000"}, map[string]any{"gpu_name": in("RTX A6000")}, nil},
		{"a type whose name is not certain", gpu.Query{Type: "RTX PRO 6000"}, map[string]any{"gpu_ram": gte(math.Floor(0.9 * 1024 * 96))}, nil},
		{"an open type", gpu.Query{Type: "RTX*"}, nil, nil},
		{"an arm machine", gpu.Query{Type: "GH200"}, map[string]any{"gpu_ram": gte(math.Floor(0.9 * 1024 * 96)), "cpu_arch": eq("arm64")}, nil},
		{"unknown", gpu.Query{Type: "TPU"}, nil, nil},
		{"GPUs", gpu.Query{Count: 8}, map[string]any{"num_gpus": eq(8.0)}, nil},
		{"memory", gpu.Query{MinVRAM: 40}, map[string]any{"gpu_ram": gte(36864.0)}, nil},
		{"secure", gpu.Query{CloudType: "secure"}, map[string]any{"datacenter": eq(true)}, nil},
		{"community", gpu.Query{CloudType: "community"}, nil, nil},
		{"CUDA", gpu.Query{MinCUDA: "12.4"}, map[string]any{"cuda_max_good": gte(12.4)}, nil},
		{"countries", gpu.Query{Regions: []string{"us", "SE"}}, map[string]any{"geolocation": in("US", "SE")}, nil},
		{"other regions", gpu.Query{Regions: []string{"US", "Texas"}}, nil, nil},
		{"spot", gpu.Query{Spot: true}, map[string]any{"type": "bid"}, nil},
		{"disk", gpu.Query{ContainerDiskGB: 200}, map[string]any{"disk_space": gte(200.0), "allocated_storage": 200.0}, nil},
		{"less than the least disk", gpu.Query{ContainerDiskGB: 1}, map[string]any{"disk_space": gte(8.0), "allocated_storage": 8.0}, nil},
		{"ports", gpu.Query{Ports: []int{8080, 8888}}, map[string]any{"direct_port_count": gte(3.0)}, nil},
		{"anything near", gpu.Query{Near: true, Count: 4, MinVRAM: 80, MinCUDA: "12.4", CloudType: "secure", Regions: []string{"US"}}, nil, []string{"num_gpus"}},
		{"a type, near", gpu.Query{Near: true, Type: "RTX 4090", Count: 4}, map[string]any{"gpu_name": in("RTX 4090")}, []string{"num_gpus"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			acct, p := account(t, cloud.Options{})
			if _, err := p.Offers(t.Context(), tt.query); err != nil {
				t.Fatal(err)
			}
			want := map[string]any{}
			for name, v := range usual {
				if !slices.Contains(tt.not, name) {
					want[name] = v
				}
			}
			for name, v := range tt.want {
				want[name] = v
			}
			var got map[string]any
			if err := json.Unmarshal([]byte(acct.Calls("offers")[0].Body), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the search (-want +got)\n%s", diff)
			}
		})
	}
}

// askOf is a listed ask with some fields as given.
func askOf(fields map[string]any) map[string]any {
	a := map[string]any{
		"id": 12345678, "host_id": 77, "gpu_name": "RTX 4090", "num_gpus": 2, "gpu_ram": 24564, "gpu_frac": 0.25, "cpu_cores": 128,
		"cpu_cores_effective": 32.0, "cpu_ram": 515000, "cpu_arch": "amd64", "cuda_max_good": 12.8, "storage_cost": 0.144, "dph_base": 0.6,
		"dph_total": 9.9, "min_bid": 0.4, "is_bid": false, "hosting_type": 1, "geolocation": "Texas, US",
	}
	for name, v := range fields {
		a[name] = v
	}
	return a
}

func TestOffer(t *testing.T) {
	t.Parallel()
	// 50 GB at 0.144 USD per GB and month are 0.01 USD per hour.
	usual := gpu.Offer{
		Provider: vast.Name, ID: "12345678", GPUType: "RTX 4090 24GB", VRAMGB: 24, GPUCount: 2, PricePerGPU: 0.305, PriceTotal: 0.61,
		CloudType: "secure", Region: "US", CUDA: "12.8", VCPU: 32, MemoryGB: 126, Stock: "available", Arch: "amd64", Upstream: "host 77",
		Native: []byte(`{"ask":12345678}`),
	}
	changed := func(change func(*gpu.Offer)) *gpu.Offer {
		o := usual
		change(&o)
		return &o
	}
	tests := []struct {
		name   string
		query  gpu.Query
		fields map[string]any
		want   *gpu.Offer // nil is none
	}{
		{"plain", gpu.Query{}, nil, &usual},
		{"more disk", gpu.Query{ContainerDiskGB: 500}, nil, changed(func(o *gpu.Offer) { o.PriceTotal, o.PricePerGPU = 0.7, 0.35 })},
		{"spot", gpu.Query{Spot: true}, map[string]any{"is_bid": true}, changed(func(o *gpu.Offer) {
			o.ID, o.Spot, o.PriceTotal, o.PricePerGPU, o.Native = "12345678-bid", true, 0.41, 0.205, []byte(`{"ask":12345678,"bid":0.4}`)
		})},
		{"a bid among what is none", gpu.Query{}, map[string]any{"is_bid": true}, nil},
		{"community", gpu.Query{}, map[string]any{"hosting_type": 0}, changed(func(o *gpu.Offer) { o.CloudType = "community" })},
		{"datacenter", gpu.Query{}, map[string]any{"hosting_type": 0, "datacenter": true}, changed(func(o *gpu.Offer) { o.CloudType = "secure" })},
		{"nobody says what it is", gpu.Query{}, map[string]any{"hosting_type": nil}, changed(func(o *gpu.Offer) { o.CloudType = "" })},
		{"searched as secure", gpu.Query{CloudType: "secure"}, map[string]any{"hosting_type": nil}, &usual},
		{"no cores", gpu.Query{}, map[string]any{"cpu_cores": nil}, &usual}, // the share of the machine is a quarter too
		{"no share", gpu.Query{}, map[string]any{"cpu_cores": nil, "gpu_frac": nil}, changed(func(o *gpu.Offer) { o.MemoryGB = 0 })},
		{"nulls", gpu.Query{}, map[string]any{
			"cpu_cores": nil, "cpu_cores_effective": nil, "cpu_ram": nil, "cuda_max_good": nil, "geolocation": nil, "host_id": nil, "storage_cost": nil,
			"cpu_arch": nil, "gpu_frac": nil, "is_bid": nil, "min_bid": nil,
		}, changed(func(o *gpu.Offer) {
			o.VCPU, o.MemoryGB, o.CUDA, o.Region, o.Upstream, o.Arch, o.PriceTotal, o.PricePerGPU = 0, 0, "", "", "", "", 0.6, 0.3
		})},
		{"numbers as text", gpu.Query{}, map[string]any{"dph_base": "0.6", "num_gpus": "2"}, &usual},
		{"a part of a card", gpu.Query{}, map[string]any{"gpu_name": "H100 SXM", "gpu_ram": 40960}, nil},
		{"a part of a card of two sizes", gpu.Query{}, map[string]any{"gpu_name": "A100 SXM4", "gpu_ram": 20480}, nil},
		{"the smaller of two sizes", gpu.Query{}, map[string]any{"gpu_name": "A100 SXM4", "gpu_ram": 40960}, changed(func(o *gpu.Offer) { o.GPUType, o.VRAMGB = "A100 40GB SXM", 40 })},
		{"the larger of two sizes", gpu.Query{}, map[string]any{"gpu_name": "A100 PCIE", "gpu_ram": 81920}, changed(func(o *gpu.Offer) { o.GPUType, o.VRAMGB = "A100 80GB PCIe", 80 })},
		{"a card that is not known", gpu.Query{}, map[string]any{"gpu_name": "RTX 9999", "gpu_ram": 65536}, changed(func(o *gpu.Offer) { o.GPUType, o.VRAMGB = "RTX 9999 64GB", 64 })},
		{"no price", gpu.Query{}, map[string]any{"dph_base": nil}, nil},
		{"no least bid", gpu.Query{Spot: true}, map[string]any{"min_bid": nil, "is_bid": true}, nil},
		{"no id", gpu.Query{}, map[string]any{"id": nil}, nil},
		{"no GPU", gpu.Query{}, map[string]any{"num_gpus": 0}, nil},
		{"a price that is none", gpu.Query{}, map[string]any{"dph_base": -1}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			body, err := json.Marshal(map[string]any{"offers": []any{askOf(tt.fields), "no offer", askOf(map[string]any{"id": nil})}, "new": 1})
			if err != nil {
				t.Fatal(err)
			}
			p, _ := answering(t, 200, string(body))
			got, err := p.Offers(t.Context(), tt.query)
			if err != nil {
				t.Fatal(err)
			}
			var want []gpu.Offer
			if tt.want != nil {
				want = []gpu.Offer{*tt.want}
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-9), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestOffersAnswers(t *testing.T) {
	t.Parallel()
	alone, err := json.Marshal(map[string]any{"offers": askOf(nil)})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, body string
		want       int // -1 is an error
	}{
		{"an object for a list", string(alone), 1},
		{"none", `{"offers":[]}`, 0},
		{"null", `{"offers":null}`, 0},
		{"nothing", `{}`, -1},
		{"failed", `{"success":false,"error":"invalid_request","msg":"no"}`, -1},
	}
	for _, tt := range tests {
		p, _ := answering(t, 200, tt.body)
		got, err := p.Offers(t.Context(), gpu.Query{})
		if (err != nil) != (tt.want < 0) || err == nil && len(got) != tt.want {
			t.Errorf("%s: got %d offers, %v, want %d", tt.name, len(got), err, tt.want)
		}
	}
}

// TestOffersNear checks that what a query refuses is listed for explanations: of its type where there is any,
// as on-demand and as spot, and never the hosts that are no good.
func TestOffersNear(t *testing.T) {
	t.Parallel()
	bad := func(id, field string, v any) cloud.Offer {
		return cloud.Offer{ID: id, GPU: "RTX 4090", VRAMGB: 24, Count: 1, Price: 0.1, Region: "Utah, US", Stock: 1, More: map[string]any{field: v}}
	}
	offers := []cloud.Offer{
		{ID: "1", GPU: "RTX 4090", VRAMGB: 24, Count: 1, Price: 0.4, Region: "Texas, US", CUDA: "12.8", Stock: 1},
		{ID: "2", GPU: "RTX 4090", VRAMGB: 24, Count: 2, Price: 0.8, Region: "Sweden, SE", CUDA: "12.8", Stock: 1},
		{ID: "3", GPU: "H100 SXM", VRAMGB: 80, Count: 1, Price: 2.1, Region: "Iowa, US", CUDA: "12.8", Stock: 1},
		{ID: "4", GPU: "RTX 4090", VRAMGB: 24, Count: 1, Price: 0.1, Region: "Iowa, US", Stock: 0},
		bad("5", "verification", "unverified"), bad("6", "reliability2", 0.9), bad("7", "external", true), bad("8", "direct_port_count", 0),
		bad("9", "inet_down", 90.0), bad("10", "rented", true), bad("11", "disk_space", 20.0),
	}
	tests := []struct {
		query gpu.Query
		want  []string
	}{
		{gpu.Query{Type: "RTX 4090"}, []string{"1"}},
		{gpu.Query{Type: "RTX 4090", Spot: true}, []string{"1-bid"}},
		{gpu.Query{Type: "RTX 4090", Count: 2}, []string{"2"}},
		{gpu.Query{Type: "RTX 4090", Regions: []string{"SE"}}, nil},
		{gpu.Query{Type: "B200"}, nil},
		{gpu.Query{}, []string{"1", "3"}},
		{gpu.Query{Type: "RTX 4090", Near: true}, []string{"1", "2", "1-bid", "2-bid"}},
		{gpu.Query{Type: "B200", Near: true}, []string{"1", "2", "3", "1-bid", "2-bid", "3-bid"}},
	}
	for _, tt := range tests {
		acct, p := account(t, cloud.Options{Offers: offers})
		got, err := p.Offers(t.Context(), tt.query)
		var ids []string
		for _, o := range got {
			ids = append(ids, o.ID)
		}
		if err != nil || !slices.Equal(ids, tt.want) {
			t.Errorf("%+v: got %q, %v, want %q, cheapest first", tt.query, ids, err, tt.want)
		}
		if n := len(acct.Calls("offers")); n > 3 {
			t.Errorf("%+v: got %d searches, want 3 at most", tt.query, n)
		}
	}
}

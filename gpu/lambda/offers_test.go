package lambda

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
)

func TestOffers(t *testing.T) {
	t.Parallel()
	_, p := account(t, cloud.Options{})
	got, err := p.Offers(t.Context(), gpu.Query{})
	if err != nil {
		t.Fatal(err)
	}
	h100 := gpu.Offer{
		Provider: "lambda", ID: "gpu_1x_h100_pcie@us-west-3", GPUType: "H100 80GB PCIe", VRAMGB: 80, GPUCount: 1, PricePerGPU: 2.49, PriceTotal: 2.49,
		CloudType: "secure", Region: "us-west-3", VCPU: 26, MemoryGB: 200, Stock: "available", Arch: "amd64",
		Native: json.RawMessage(`{"type":"gpu_1x_h100_pcie","region":"us-west-3"}`),
	}
	east := h100
	east.ID, east.Region, east.Native = "gpu_1x_h100_pcie@us-east-1", "us-east-1", json.RawMessage(`{"type":"gpu_1x_h100_pcie","region":"us-east-1"}`)
	want := []gpu.Offer{ // neither the type that no region has, nor the one without GPUs
		{
			Provider: "lambda", ID: "gpu_1x_gh200@us-east-3", GPUType: "GH200 96GB", VRAMGB: 96, GPUCount: 1, PricePerGPU: 1.49, PriceTotal: 1.49,
			CloudType: "secure", Region: "us-east-3", VCPU: 64, MemoryGB: 432, Stock: "available", Arch: "arm64",
			Native: json.RawMessage(`{"type":"gpu_1x_gh200","region":"us-east-3"}`),
		},
		h100, east,
		{
			Provider: "lambda", ID: "gpu_8x_h100_sxm5gdr@us-west-1", GPUType: "H100 80GB SXM", VRAMGB: 80, GPUCount: 8, PricePerGPU: 2.99, PriceTotal: 23.92,
			CloudType: "secure", Region: "us-west-1", VCPU: 208, MemoryGB: 1800, Stock: "available", Arch: "amd64",
			Native: json.RawMessage(`{"type":"gpu_8x_h100_sxm5gdr","region":"us-west-1"}`),
		},
	}
	near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })
	if diff := cmp.Diff(want, got, near); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTypesOfMachines(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, described, gpuDescribed string
		gpus                          int
		want                          string // "" is no offer
		wantVRAM                      float64
		wantArch                      string
	}{
		{"gpu_8x_h100_sxm5gdr", "8x H100 (80 GB SXM5)", "H100 (80 GB SXM5)", 8, "H100 80GB SXM", 80, "amd64"},
		{"gpu_8x_a100", "8x A100 (40 GB SXM4)", "", 8, "A100 40GB SXM", 40, "amd64"},
		{"gpu_8x_a100", "", "", 8, "A100 40GB SXM", 40, "amd64"},
		{"gpu_1x_a100", "1x A100 (40 GB PCIe)", "A100 (40 GB PCIe)", 1, "A100 40GB PCIe", 40, "amd64"},
		{"gpu_8x_a100_80gb_sxm4", "8x A100 (80 GB SXM4)", "A100 (80 GB SXM4)", 8, "A100 80GB SXM", 80, "amd64"},
		{"gpu_1x_gh200", "1x GH200 (96 GB)", "GH200 (96 GB)", 1, "GH200 96GB", 96, "arm64"},
		{"gpu_1x_gh200", "", "", 1, "GH200 96GB", 96, "arm64"},
		{"gpu_4x_gb200", "4x GB200 (186 GB)", "GB200 (186 GB)", 4, "GB200 186GB", 186, "arm64"},
		{"gpu_8x_b200_sxm6", "8x B200 (180 GB SXM6)", "B200 (180 GB SXM6)", 8, "B200 180GB SXM", 180, "amd64"},
		{"gpu_1x_rtx6000", "1x RTX 6000 (24 GB)", "RTX 6000 (24 GB)", 1, "Quadro RTX 6000 24GB", 24, "amd64"},
		{"gpu_1x_a6000", "1x A6000 (48 GB)", "A6000 (48 GB)", 1, "RTX A6000 48GB", 48, "amd64"},
		{"gpu_1x_a10", "1x A10 (24 GB PCIe)", "A10 (24 GB PCIe)", 1, "A10 24GB", 24, "amd64"},
		{"gpu_8x_v100", "8x Tesla V100 (16 GB)", "Tesla V100 (16 GB)", 8, "V100 16GB", 16, "amd64"},
		{"gpu_1x_x900", "1x a wonder", "a wonder", 1, "a wonder", 0, "amd64"}, // unknown is kept
		{"cpu_4x_general", "4x CPU", "N/A", 0, "", 0, ""},
	}
	for _, tt := range tests {
		m := machineType{Name: tt.name, Description: tt.described, GPUDescription: tt.gpuDescribed, CentsPerHour: 100}
		m.Specs.GPUs = tt.gpus
		got, ok := m.offer("us-west-1")
		if got.GPUType != tt.want || got.VRAMGB != tt.wantVRAM || got.Arch != tt.wantArch || ok != (tt.want != "") {
			t.Errorf("%s %q: got %q, %g GB, %s, want %q, %g GB, %s", tt.name, tt.gpuDescribed, got.GPUType, got.VRAMGB, got.Arch, tt.want, tt.wantVRAM, tt.wantArch)
		}
	}
}

func TestOffersOfQueries(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{})
	tests := []struct {
		name      string
		query     gpu.Query
		want      int // offers
		wantCalls int
	}{
		{"spot", gpu.Query{Spot: true}, 0, 0},
		{"spot, explained", gpu.Query{Spot: true, Near: true}, 4, 1},
		{"community", gpu.Query{CloudType: "community"}, 0, 0},
		{"community, explained", gpu.Query{CloudType: "community", Near: true}, 4, 1},
		{"secure", gpu.Query{CloudType: "secure"}, 4, 1},
		{"disk", gpu.Query{ContainerDiskGB: 1000}, 4, 1},
		{"larger disk than there is", gpu.Query{ContainerDiskGB: 1100}, 0, 1},
		{"image", gpu.Query{Image: "lambda-stack-24-04"}, 4, 1},
	}
	for _, tt := range tests {
		before := len(acct.Calls("offers"))
		got, err := p.Offers(t.Context(), tt.query)
		if calls := len(acct.Calls("offers")) - before; err != nil || len(got) != tt.want || calls != tt.wantCalls {
			t.Errorf("%s: got %d offers with %d calls, %v, want %d with %d", tt.name, len(got), calls, err, tt.want, tt.wantCalls)
		}
	}
	for name, q := range map[string]gpu.Query{
		"volume": {VolumeDiskGB: 10}, "ports": {Ports: []int{8080}}, "docker": {Image: "pytorch/pytorch:latest"},
	} {
		_, err := p.Offers(t.Context(), q)
		if kindOf(err) != gpu.Validation {
			t.Errorf("%s: got %v, want a refusal that says what Lambda has not", name, err)
		}
	}
	// Near misses show what a query refused.
	offers, _ := p.Offers(t.Context(), gpu.Query{Spot: true, Near: true})
	if kept, missed, err := gpu.Rank(offers, gpu.Query{Spot: true, Count: 1}); err != nil || len(kept) > 0 || len(missed) != 4 {
		t.Errorf("got %v, %v, %v, want only misses", kept, missed, err)
	}
}

// TestStrangeListings checks that nothing that Lambda may add or leave out breaks a listing, and that an
// answer without one is no empty listing.
func TestStrangeListings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		want       []string // ids
		wantErr    bool
	}{
		{"nulls and more", `{"data":{
			"gpu_1x_a10":{"instance_type":{"name":null,"description":null,"gpu_description":null,"price_cents_per_hour":75,"new":{},"specs":{"vcpus":null,"gpus":1}},
				"regions_with_capacity_available":[{"name":"r","extra":1},{"name":null}]},
			"gpu_2x_a10":{"instance_type":{"specs":{"gpus":2}},"regions_with_capacity_available":[{"name":"r"}]},
			"gpu_3x_a10":{"instance_type":null,"regions_with_capacity_available":null},
			"gpu_4x_a10":null},"more":[]}`, []string{"gpu_1x_a10@r"}, false}, // a machine without a price is no offer
		{"nothing for rent", `{"data":{}}`, nil, false},
		{"no data", `{}`, nil, true},
		{"null", `{"data":null}`, nil, true},
		{"list", `{"data":[]}`, nil, true},
		{"page", `<html>`, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := fixed(t, http.StatusOK, tt.body)
			offers, err := p.Offers(t.Context(), gpu.Query{})
			var got []string
			for _, o := range offers {
				got = append(got, o.ID)
			}
			if !slices.Equal(got, tt.want) || (err != nil) != tt.wantErr {
				t.Errorf("got %v, %v, want %v, an error: %v", got, err, tt.want, tt.wantErr)
			}
		})
	}
}

// fixed is a client for a server that answers everything alike.
func fixed(t *testing.T, status int, body string) *Provider {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(srv.Close)
	return New(Config{Key: "key", URL: srv.URL, Unpaced: true})
}

// kindOf is the kind of a refusal; "" is another error, or none.
func kindOf(err error) gpu.Kind {
	var refused *gpu.Error
	if errors.As(err, &refused) {
		return refused.Kind
	}
	return ""
}

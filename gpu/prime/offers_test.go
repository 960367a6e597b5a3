package prime

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
)

// A line of the listing as Prime has it, and what others are made of.
const line = `{"cloudId": "NVIDIA A100 80GB PCIe", "gpuType": "A100_80GB", "socket": "PCIe", "provider": "runpod",
	"region": "united_states", "dataCenter": "US-KS-2", "country": "US", "gpuCount": 1, "gpuMemory": 80,
	"disk": {"minCount": 120, "defaultCount": 120, "maxCount": 3000, "pricePerUnit": 0.00014, "step": 10, "defaultIncludedInPrice": false,
		"additionalInfo": "40 GB are the system's"},
	"sharedDisk": {"defaultCount": null}, "vcpu": {"minCount": null, "defaultCount": 14, "maxCount": null}, "memory": {"defaultCount": 125},
	"internetSpeed": null, "interconnect": null, "interconnectType": null, "provisioningTime": null, "stockStatus": "Low",
	"security": "secure_cloud", "prices": {"onDemand": 1.6568, "communityPrice": null, "isVariable": false, "currency": "USD"},
	"images": ["ubuntu_22_cuda_12", "cuda_12_4_pytorch_2_4"], "isSpot": null, "prepaidTime": null, "aNewField": {"x": [1]}}`

// lineWith is the line with other fields, given as JSON.
func lineWith(t *testing.T, fields string) item {
	t.Helper()
	var it item
	merged := map[string]json.RawMessage{}
	for _, text := range []string{line, "{" + fields + "}"} {
		if err := json.Unmarshal([]byte(text), &merged); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	data, err := json.Marshal(merged)
	if err == nil {
		err = json.Unmarshal(data, &it)
	}
	if err != nil {
		t.Fatal(err)
	}
	return it
}

func TestOffer(t *testing.T) {
	t.Parallel()
	a100 := gpu.Offer{
		Provider: "prime", ID: "runpod/A100_80GB/PCIe/1/US-KS-2/secure_cloud/NVIDIA A100 80GB PCIe", GPUType: "A100 80GB PCIe", VRAMGB: 80, GPUCount: 1,
		PricePerGPU: 1.6568, PriceTotal: 1.6568, CloudType: "secure", Region: "united_states", VCPU: 14, MemoryGB: 125, Stock: "Low", Arch: "amd64", Upstream: "runpod",
	}
	with := func(change func(*gpu.Offer)) *gpu.Offer {
		o := a100
		change(&o)
		return &o
	}
	for _, tt := range []struct {
		name   string
		fields string
		query  gpu.Query
		want   *gpu.Offer // nil is none
	}{
		{"as it is", "", gpu.Query{}, &a100},
		{"a price is that of all GPUs", `"gpuCount": 8, "gpuType": "H100_80GB", "socket": "SXM5", "prices": {"onDemand": 31.92, "currency": "USD"}`, gpu.Query{}, with(func(o *gpu.Offer) {
			o.ID = "runpod/H100_80GB/SXM5/8/US-KS-2/secure_cloud/NVIDIA A100 80GB PCIe"
			o.GPUType, o.GPUCount, o.PriceTotal, o.PricePerGPU = "H100 80GB SXM", 8, 31.92, 3.99
		})},
		{"community", `"security": "community_cloud", "prices": {"onDemand": 9, "communityPrice": 1.1, "isVariable": true, "currency": "USD"}`, gpu.Query{}, with(func(o *gpu.Offer) {
			o.ID = "runpod/A100_80GB/PCIe/1/US-KS-2/community_cloud/NVIDIA A100 80GB PCIe"
			o.CloudType, o.PriceTotal, o.PricePerGPU = "community", 1.1, 1.1
		})},
		{"spot", `"isSpot": true`, gpu.Query{}, with(func(o *gpu.Offer) { o.ID, o.Spot = o.ID+"/spot", true })},
		{"no region", `"region": null`, gpu.Query{}, with(func(o *gpu.Offer) { o.Region = "US" })},
		{"nothing told", `"region": null, "country": null, "dataCenter": null, "vcpu": {}, "memory": null, "disk": null, "stockStatus": null`, gpu.Query{}, with(func(o *gpu.Offer) {
			o.ID = "runpod/A100_80GB/PCIe/1//secure_cloud/NVIDIA A100 80GB PCIe"
			o.Region, o.VCPU, o.MemoryGB, o.Stock = "", 0, 0, ""
		})},
		{"the default disk is in the price", "", gpu.Query{ContainerDiskGB: 100}, &a100},
		{"more disk costs more", "", gpu.Query{ContainerDiskGB: 495}, with(func(o *gpu.Offer) { o.PriceTotal, o.PricePerGPU = 1.71, 1.71 })}, // 380 GB more
		{"too much disk", "", gpu.Query{ContainerDiskGB: 3001}, nil},
		{"disk of unknown size", `"disk": {}`, gpu.Query{ContainerDiskGB: 10}, nil},
		{"disk of one size", `"disk": {"defaultCount": 512}`, gpu.Query{ContainerDiskGB: 512}, &a100},
		{"an image of its own", "", gpu.Query{Image: "cuda_12_4_pytorch_2_4"}, &a100},
		{"another image", "", gpu.Query{Image: "cuda_12_6_pytorch_2_7"}, nil},
		{"no system among the images", `"images": ["axolotl", "custom_template"]`, gpu.Query{}, nil},
		{"euros", `"prices": {"onDemand": 1, "currency": "EUR"}`, gpu.Query{}, nil},
		{"no currency", `"prices": {"onDemand": 1}`, gpu.Query{}, nil},
		{"no price", `"prices": {"onDemand": null, "communityPrice": null, "currency": "USD"}`, gpu.Query{}, nil},
		{"paid in advance", `"prepaidTime": 24`, gpu.Query{}, nil},
		{"out of stock", `"stockStatus": "Unavailable"`, gpu.Query{}, nil},
		{"no GPU", `"gpuType": "CPU_NODE"`, gpu.Query{}, nil},
		{"no GPUs", `"gpuCount": null`, gpu.Query{}, nil},
		{"nothing to name it by", `"cloudId": null`, gpu.Query{}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			it := lineWith(t, tt.fields)
			offer, ok := it.offer(tt.query)
			if ok = ok && it.sold(); ok != (tt.want != nil) {
				t.Fatalf("got %v, %+v, want %+v", ok, offer, tt.want)
			}
			if tt.want == nil {
				return
			}
			if diff := cmp.Diff(*tt.want, offer, cmpopts.IgnoreFields(gpu.Offer{}, "Native"), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fields string
		name   string
		vram   float64
		arch   string
	}{
		{`"gpuType": "RTX_PRO_6000B_96GB", "gpuCount": 2, "gpuMemory": 192`, "RTX PRO 6000 96GB", 96, "amd64"}, // of both
		{`"gpuType": "H100_80GB", "socket": "SXM5", "gpuCount": 8, "gpuMemory": 80`, "H100 80GB SXM", 80, "amd64"},
		{`"gpuType": "H200_141GB", "socket": "SXM5", "gpuMemory": null`, "H200 141GB SXM", 141, "amd64"},
		{`"gpuType": "B300_262GB", "socket": "SXM6", "gpuCount": 8, "gpuMemory": 2096`, "B300 288GB SXM", 288, "amd64"},
		{`"gpuType": "GB200", "socket": "SXM6", "gpuCount": 4, "gpuMemory": 768`, "GB200 186GB", 186, "arm64"},
		{`"gpuType": "GB200", "socket": "SXM6", "gpuCount": 4, "gpuMemory": 192`, "GB200 186GB", 186, "arm64"},
		{`"gpuType": "GH200_480GB", "socket": "SXM5", "gpuMemory": 96`, "GH200 96GB", 96, "arm64"}, // 480 with the CPU's
		{`"gpuType": "A6000_48GB"`, "RTX A6000 48GB", 48, "amd64"},
		{`"gpuType": "RTX4090_24GB"`, "RTX 4090 24GB", 24, "amd64"},
		{`"gpuType": "V100_16GB", "socket": "SXM2"`, "V100 16GB", 16, "amd64"},
	} {
		offer, ok := lineWith(t, tt.fields).offer(gpu.Query{})
		if !ok || offer.VRAMGB != tt.vram || offer.Arch != tt.arch || offer.GPUType != tt.name {
			t.Errorf("%s: got %q, %g GB, %s; want %q, %g GB, %s", tt.fields, offer.GPUType, offer.VRAMGB, offer.Arch, tt.name, tt.vram, tt.arch)
		}
	}
}

func TestListing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		opts   cloud.Options
		offers int
		pages  int // asked for
		kind   gpu.Kind
	}{
		{"one page", cloud.Options{}, 5, 1, ""},
		{"several pages", cloud.Options{Page: 2}, 5, 3, ""},
		{"empty at first", cloud.Options{Quirks: []cloud.Quirk{cloud.PrimeBlink}}, 5, 3, ""},
		{"empty against the summary", cloud.Options{Quirks: []cloud.Quirk{cloud.PrimeBlank}}, 0, 1 + emptyTries, gpu.Transient},
		{"empty", cloud.Options{Offers: []cloud.Offer{}}, 0, 1 + emptyTries, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			acct, p := account(t, tt.opts)
			offers, err := p.Offers(t.Context(), gpu.Query{Type: "H100", Count: 8, Regions: []string{"eu_north"}})
			var refused *gpu.Error
			if len(offers) != tt.offers || (err != nil) != (tt.kind != "") || errors.As(err, &refused) && refused.Kind != tt.kind {
				t.Errorf("got %d offers, %v; want %d, %q", len(offers), err, tt.offers, tt.kind)
			}
			calls := acct.Calls("offers")
			if len(calls) != tt.pages {
				t.Errorf("got %d calls, want %d", len(calls), tt.pages)
			}
			if want := "page=1&page_size=100"; calls[0].Query != want {
				t.Errorf("asked for %q, want %q: a filter makes an empty answer say nothing", calls[0].Query, want)
			}
		})
	}
}

// The listing changes while it is read: a line comes twice, there are fewer than were told, and one is such
// as nobody knows.
func TestListingMoves(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch page := r.URL.Query().Get("page"); page {
		case "1":
			fmt.Fprintf(w, `{"items": [%s, {"gpuCount": {"of": "another kind"}}], "totalCount": 5}`, line)
		case "2":
			fmt.Fprintf(w, `{"items": [%s, %s], "totalCount": 5}`, line, strings.ReplaceAll(line, "US-KS-2", "US-TX-3"))
		default:
			fmt.Fprint(w, `{"items": [], "totalCount": 4}`)
		}
	}))
	defer server.Close()
	offers, err := New(Config{Key: "a-key-of-tests", URL: server.URL, Unpaced: true}).Offers(t.Context(), gpu.Query{})
	if err != nil || len(offers) != 2 {
		t.Errorf("got %+v, %v, want the two that there are", offers, err)
	}
}

func TestOffersEndWithContext(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"items": []}`) }))
	defer server.Close()
	p := New(Config{Key: "a-key-of-tests", URL: server.URL, Unpaced: true})
	p.breath = time.Hour
	why := errors.New("enough")
	ctx, cancel := contextEndingWith(t, why)
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := p.Offers(ctx, gpu.Query{}); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
}

func TestUnsupported(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{})
	for _, tt := range []struct {
		query gpu.Query
		words string
	}{
		{gpu.Query{VolumeDiskGB: 100}, "volume"},
		{gpu.Query{Ports: []int{8000}}, "ports"},
		{gpu.Query{Image: "custom_template"}, "template"},
		{gpu.Query{Image: "pytorch/pytorch:2.4"}, `"pytorch/pytorch:2.4"; Prime starts only its own: cuda_12_4_pytorch_2_4, ubuntu_22_cuda_12`},
	} {
		_, err := p.Offers(t.Context(), tt.query)
		var refused *gpu.Error
		if !errors.As(err, &refused) || refused.Kind != gpu.Validation || !strings.Contains(refused.Message, tt.words) {
			t.Errorf("%+v: got %v, want words on %s", tt.query, err, tt.words)
		}
	}
	if got := len(acct.Calls("create")); got > 0 {
		t.Errorf("%d calls of create", got)
	}
}

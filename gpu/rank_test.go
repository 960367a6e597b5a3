package gpu_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/gpu"
)

// market is what three providers offer.
var market = []gpu.Offer{
	{Provider: "runpod", ID: "a", GPUType: "A100 80GB SXM", VRAMGB: 80, GPUCount: 2, PricePerGPU: 2.5, CloudType: "secure", CUDA: "12.8", Region: "EU-1"},
	{Provider: "vast", ID: "b", GPUType: "A100 40GB PCIe", VRAMGB: 40, GPUCount: 2, PricePerGPU: 1.2, CloudType: "community", CUDA: "11.8", Region: "US"},
	{Provider: "vast", ID: "c", GPUType: "A100 80GB SXM", VRAMGB: 80, GPUCount: 8, PricePerGPU: 1.9, CloudType: "secure"},
	{Provider: "lambda", ID: "d", GPUType: "H100 80GB SXM", VRAMGB: 80, GPUCount: 2, PricePerGPU: 1.8, CloudType: "secure"},
	{Provider: "runpod", ID: "e", GPUType: "A100 80GB SXM", VRAMGB: 80, GPUCount: 2, PricePerGPU: 1.1, CloudType: "secure", Spot: true},
	{Provider: "local", ID: "f", GPUCount: 0, StandsIn: true},
}

func TestRank(t *testing.T) {
	t.Parallel()
	cheap := func(o gpu.Offer) (bool, error) { return o.PricePerGPU < 2, nil }
	a100 := gpu.Query{Type: "A100", Count: 2}
	with := func(change func(*gpu.Query)) gpu.Query {
		q := a100
		change(&q)
		return q
	}
	for _, test := range []struct {
		name   string
		query  gpu.Query
		kept   string
		missed []string // in front of "type", which comes last
	}{
		{"cheapest first", gpu.Query{Count: 2}, "f b d a", []string{
			"e spot: the provider may take it back: yes, asked for no", "c count: 8 on the machine, asked for 2",
		}},
		{"type", a100, "f b a", []string{
			"e spot: the provider may take it back: yes, asked for no", "c count: 8 on the machine, asked for 2",
			"d type: H100 80GB SXM, asked for A100",
		}},
		{"price", with(func(q *gpu.Query) { q.MaxPrice = 2 }), "f b", []string{
			"e spot: the provider may take it back: yes, asked for no", "c count: 8 on the machine, asked for 2",
			"a max_price: $2.50 per GPU and hour, at most $2.00 was asked for", "d type: H100 80GB SXM, asked for A100",
		}},
		{"memory and cloud", with(func(q *gpu.Query) { q.MinVRAM, q.CloudType = 80, "secure" }), "f a", []string{
			"e spot: the provider may take it back: yes, asked for no", "c count: 8 on the machine, asked for 2",
			"b min_vram_gb: 40 GB, asked for 80; cloud_type: community, asked for secure", "d type: H100 80GB SXM, asked for A100",
		}},
		{"cuda: unknown passes", with(func(q *gpu.Query) { q.MinCUDA, q.Spot = "12.0", true }), "f e", []string{
			"a spot: the provider may take it back: no, asked for yes",
			"b min_cuda: 11.8, asked for 12.0; spot: the provider may take it back: no, asked for yes",
			"c count: 8 on the machine, asked for 2; spot: the provider may take it back: no, asked for yes",
			"d type: H100 80GB SXM, asked for A100; spot: the provider may take it back: no, asked for yes",
		}},
		{"regions", with(func(q *gpu.Query) { q.Regions = []string{"eu-1", "EU-2"} }), "f a", []string{
			"e spot: the provider may take it back: yes, asked for no", "b regions: US, asked for eu-1 or EU-2", "c count: 8 on the machine, asked for 2",
			"d type: H100 80GB SXM, asked for A100",
		}},
		{"where", with(func(q *gpu.Query) { q.Where = cheap }), "f b", []string{
			"e spot: the provider may take it back: yes, asked for no", "c count: 8 on the machine, asked for 2",
			"a where: the query's own function refuses it", "d type: H100 80GB SXM, asked for A100",
		}},
		{"providers in order", gpu.Query{Type: "A100", Count: 2, Providers: []string{"runpod", "vast", "local"}}, "a b f", []string{
			"e spot: the provider may take it back: yes, asked for no", "c count: 8 on the machine, asked for 2",
			"d type: H100 80GB SXM, asked for A100",
		}},
		{"sort", with(func(q *gpu.Query) { q.Sort = func(o gpu.Offer) (float64, error) { return -o.VRAMGB, nil } }), "a b f", []string{
			"e spot: the provider may take it back: yes, asked for no", "c count: 8 on the machine, asked for 2",
			"d type: H100 80GB SXM, asked for A100",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			kept, missed, err := gpu.Rank(market, test.query)
			if err != nil {
				t.Fatal(err)
			}
			var ids string
			for i, o := range kept {
				if i > 0 {
					ids += " "
				}
				ids += o.ID
			}
			var why []string
			for _, m := range missed {
				why = append(why, m.ID+" "+m.Refused)
			}
			if ids != test.kept {
				t.Errorf("kept %q, want %q", ids, test.kept)
			}
			if diff := cmp.Diff(test.missed, why); diff != "" {
				t.Errorf("missed, -want +got:\n%s", diff)
			}
		})
	}
}

func TestRankErrors(t *testing.T) {
	t.Parallel()
	want := errors.New("no such field")
	for name, q := range map[string]gpu.Query{
		"where": {Where: func(gpu.Offer) (bool, error) { return false, want }},
		"sort":  {Sort: func(gpu.Offer) (float64, error) { return 0, want }},
	} {
		_, _, err := gpu.Rank(market, q)
		if !errors.Is(err, want) || err.Error() != name+": "+want.Error() {
			t.Errorf("%s: %v, want its own error", name, err)
		}
	}
	if kept, missed, err := gpu.Rank(nil, gpu.Query{}); kept != nil || missed != nil || err != nil {
		t.Errorf("nothing offered: %v, %v, %v", kept, missed, err)
	}
}

func ExampleRank() {
	_, missed, err := gpu.Rank([]gpu.Offer{{Provider: "vast", GPUType: "A100 80GB SXM", GPUCount: 2, PricePerGPU: 3.29}}, gpu.Query{Type: "A100", Count: 2, MaxPrice: 3})
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(missed[0].Refused)
	// Output: max_price: $3.29 per GPU and hour, at most $3.00 was asked for
}

func TestRankOtherMakers(t *testing.T) {
	t.Parallel()
	offers := []gpu.Offer{{GPUType: "MI300X 192GB", GPUCount: 1}, {GPUType: "A2 16GB", GPUCount: 1}}
	kept, missed, err := gpu.Rank(offers, gpu.Query{MinCUDA: "12.0"})
	if err != nil || len(kept) != 1 || kept[0].GPUType != "A2 16GB" || missed[0].Refused != "min_cuda: a MI300X 192GB has none, asked for 12.0" {
		t.Errorf("Rank = %v, %v, %v", kept, missed, err)
	}
	if kept, _, _ = gpu.Rank(offers, gpu.Query{}); len(kept) != 2 {
		t.Errorf("without min_cuda: %v", kept)
	}
}

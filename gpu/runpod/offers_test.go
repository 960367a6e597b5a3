package runpod_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
)

// market is a catalogue with what the contract warns of.
func market() []cloud.Offer {
	return []cloud.Offer{
		{ID: "NVIDIA H100 80GB HBM3", GPU: "H100 SXM", VRAMGB: 80, Count: 8, Price: 2.99, Region: "US-TX-3", CUDA: "12.9", Stock: 1},
		{ID: "NVIDIA H100 80GB HBM3", GPU: "H100 SXM", VRAMGB: 80, Count: 8, Price: 2.99, Region: "EU-FR-1", CUDA: "12.11", Stock: 9, More: map[string]any{cloud.RunpodCountry: "FR"}},
		{ID: "NVIDIA H100 80GB HBM3", GPU: "H100 SXM", VRAMGB: 80, Count: 8, Price: 2.99, Region: "EU-NL-1", CUDA: "12.9", More: map[string]any{cloud.RunpodCountry: "NL"}},
		{ID: "NVIDIA H100 80GB HBM3", GPU: "H100 SXM", VRAMGB: 80, Count: 2, Price: 2.69, CUDA: "12.8", Stock: 2, Community: true},
		// The same GPU once more, with two spaces.
		{ID: "NVIDIA  H100 80GB HBM3", GPU: "H100 SXM", VRAMGB: 80, Count: 8, Price: 3.99, Region: "US-TX-3", CUDA: "12.9", Stock: 1},
		{ID: "NVIDIA GeForce RTX 4090", GPU: "RTX 4090", VRAMGB: 24, Count: 8, Price: 0.69, Region: "US-KS-2", CUDA: "12.4", Stock: 5},
		{ID: "NVIDIA H200 NVL", GPU: "H200 NVL", VRAMGB: 143, Count: 8, Price: 3.2, Region: "US-KS-2", CUDA: "12.8", Stock: 5},
		{ID: "NVIDIA RTX PRO 6000 Blackwell Server Edition", GPU: "RTX PRO 6000", VRAMGB: 96, Count: 8, Price: 1.8, Region: "US-KS-2", CUDA: "12.8", Stock: 5},
		{ID: "NVIDIA RTX PRO 6000 Blackwell Server Edition MIG 1g.24gb", GPU: "RTX PRO 6000 MIG 1g.24GB", VRAMGB: 24, Count: 1, Price: 0.5, Region: "US-KS-2", CUDA: "12.8", Stock: 5},
		{ID: "AMD Instinct MI300X OAM", GPU: "MI300X", VRAMGB: 192, Count: 8, Price: 0.1, Region: "EU-RO-1", Stock: 5, More: map[string]any{cloud.RunpodManufacturer: "AMD"}},
		{ID: "NVIDIA A40", GPU: "A40", VRAMGB: 48, Count: 8, Price: 0.4, Region: "CA-MTL-1", CUDA: "12.8"}, // no stock
	}
}

// line is an offer in one line: type, count, cloud, price per GPU and in total, region, CUDA, stock, most.
func line(o gpu.Offer) string {
	return fmt.Sprintf("%dx %s %g %s %g/%g %s %s %s %d", o.GPUCount, o.GPUType, o.VRAMGB, o.CloudType, o.PricePerGPU, o.PriceTotal, o.Region, o.CUDA, o.Stock, o.MaxCount)
}

func TestOffers(t *testing.T) {
	t.Parallel()
	const (
		h100    = "1x H100 80GB SXM 80 secure 2.99/2.99  12.11 HIGH 8"
		h100TX  = "1x H100 80GB SXM 80 secure 2.99/2.99 US-TX-3 12.11 LOW 8"
		h100US  = "1x H100 80GB SXM 80 secure 2.99/2.99 US 12.9 LOW 8"
		h100FR  = "1x H100 80GB SXM 80 secure 2.99/2.99 FR 12.11 HIGH 8"
		h100Com = "1x H100 80GB SXM 80 community 2.69/2.69  12.8 MEDIUM 2"
		h200    = "1x H200 141GB NVL 141 secure 3.2/3.2 US-KS-2 12.8 HIGH 8"
		pro     = "1x RTX PRO 6000 96GB 96 secure 1.8/1.8 US-KS-2 12.8 HIGH 8"
		mig     = "1x RTX PRO 6000 MIG 24GB 24 secure 0.5/0.5 US-KS-2 12.8 HIGH 1"
	)
	for name, test := range map[string]struct {
		query gpu.Query
		want  []string
		calls int
	}{
		"H100":                 {gpu.Query{Type: "H100"}, []string{h100, h100Com}, 2},
		"secure":               {gpu.Query{Type: "H100 SXM", CloudType: "secure"}, []string{h100}, 1},
		"community":            {gpu.Query{Type: "H100", CloudType: "community"}, []string{h100Com}, 1},
		"four":                 {gpu.Query{Type: "H100", Count: 4}, []string{"4x H100 80GB SXM 80 secure 2.99/11.96  12.11 HIGH 8"}, 2},
		"sixteen":              {gpu.Query{Type: "H100", Count: 16}, nil, 2},
		"full card, no slice":  {gpu.Query{Type: "RTX PRO 6000"}, []string{pro}, 2},
		"slice":                {gpu.Query{Type: "RTX PRO 6000 MIG"}, []string{mig}, 2},
		"no H100 is an H200":   {gpu.Query{Type: "H200"}, []string{h200}, 2},
		"image's CUDA":         {gpu.Query{Type: "4090"}, nil, 2}, // RunPod's own needs 12.8
		"own image, any CUDA":  {gpu.Query{Type: "4090", Image: "a/b:1"}, []string{"1x RTX 4090 24GB 24 secure 0.69/0.69 US-KS-2 12.4 HIGH 8"}, 2},
		"own image, CUDA":      {gpu.Query{Type: "4090", Image: "a/b:1", MinCUDA: "12.5"}, nil, 2},
		"CUDA":                 {gpu.Query{Type: "H100", MinCUDA: "12.10"}, []string{"1x H100 80GB SXM 80 secure 2.99/2.99 EU-FR-1 12.11 HIGH 8"}, 2},
		"CUDA of one part":     {gpu.Query{Type: "H100", MinCUDA: "13"}, nil, 2},
		"country":              {gpu.Query{Type: "H100", Regions: []string{"us"}}, []string{h100US}, 2},
		"countries":            {gpu.Query{Type: "H100", Regions: []string{"US", "FR", "NL"}}, []string{h100US, h100FR}, 6},
		"data centre":          {gpu.Query{Type: "H100", Regions: []string{"us-tx-3"}}, []string{h100TX}, 2},
		"one without stock":    {gpu.Query{Type: "H100", Regions: []string{"EU-NL-1"}}, nil, 2},
		"country and centre":   {gpu.Query{Type: "H100", Regions: []string{"FR", "US-TX-3"}}, []string{h100FR, h100TX}, 4},
		"spot":                 {gpu.Query{Type: "H100", Spot: true}, nil, 0},
		"AMD":                  {gpu.Query{Type: "MI300X", Image: "rocm/pytorch"}, nil, 2},
		"no stock":             {gpu.Query{Type: "A40"}, nil, 2},
		"the cheapest is none": {gpu.Query{MinVRAM: 100}, []string{h100, h100Com, h200, pro, mig}, 2}, // Rank does the rest
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			acct, p := account(t, cloud.Options{Offers: market()})
			offers, err := p.Offers(t.Context(), test.query)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(acct.Calls("offers")); n != test.calls {
				t.Errorf("%d calls, want %d", n, test.calls)
			}
			var got []string
			for _, o := range offers {
				got = append(got, line(o))
			}
			slices.Sort(got)
			want := slices.Sorted(slices.Values(test.want))
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// TestNear: what a query misses is told with the filter that refuses it.
func TestNear(t *testing.T) {
	t.Parallel()
	_, p := account(t, cloud.Options{Offers: market()})
	for _, test := range []struct {
		query gpu.Query
		want  string // of the nearest: its line, then why
	}{
		{gpu.Query{Type: "H100", CloudType: "community", Count: 4}, "2x H100 80GB SXM 80 community 2.69/5.38    2: count: 2 on the machine, asked for 4"},
		{gpu.Query{Type: "H100", MinCUDA: "13.0", CloudType: "secure"}, "1x H100 80GB SXM 80 secure 2.99/2.99  12.11 HIGH 8: min_cuda: 12.11, asked for 13.0"},
		{gpu.Query{Type: "H100", Regions: []string{"NL"}, CloudType: "secure"}, "1x H100 80GB SXM 80 secure 2.99/2.99 US-TX-3 12.11 LOW 8: regions: US-TX-3, asked for NL"},
		{gpu.Query{Type: "H100", Regions: []string{"FR"}, MaxPrice: 1, CloudType: "secure"}, "1x H100 80GB SXM 80 secure 2.99/2.99 FR 12.11 HIGH 8: max_price: $2.99 per GPU and hour, at most $1.00 was asked for"},
		{gpu.Query{Type: "H100", Spot: true, CloudType: "secure"}, "1x H100 80GB SXM 80 secure 2.99/2.99  12.11 HIGH 8: spot: the provider may take it back: no, asked for yes"},
		{gpu.Query{Type: "H200", CloudType: "community"}, "1x H200 141GB NVL 141 secure 3.2/3.2 US-KS-2 12.8 HIGH 8: cloud_type: secure, asked for community"},
	} {
		test.query.Near = true
		offers, err := p.Offers(t.Context(), test.query)
		if err != nil {
			t.Fatal(err)
		}
		kept, missed, err := gpu.Rank(offers, test.query)
		if err != nil || len(kept) > 0 || len(missed) == 0 {
			t.Errorf("%+v: kept %v, missed %d, %v", test.query, kept, len(missed), err)
			continue
		}
		if got := line(missed[0].Offer) + ": " + missed[0].Refused; got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}

// TestCatalogueOdd: nulls, missing and new fields, prices and words that nobody knows.
func TestCatalogueOdd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		entry string
		want  []string
	}{
		"nulls": {
			`"memory": null, "maxCount": null, "availability": null, "dataCenters": null, "cudaVersions": null, "price": {"secure": 1, "community": null}, "secure": null`,
			[]string{"1x L40S 48GB 48 secure 1/1    0"},
		},
		"little":         {`"price": {"secure": 1}`, []string{"1x L40S 48GB 48 secure 1/1    0"}},
		"new":            {`"price": {"secure": 1, "spot": {"a": 1}}, "weight": [1], "availability": "PLENTY"`, []string{"1x L40S 48GB 48 secure 1/1   PLENTY 0"}},
		"no price":       {`"price": null, "availability": "HIGH"`, nil},
		"price 0":        {`"price": {"secure": 0, "community": 0}, "availability": "HIGH"`, nil},
		"not there":      {`"price": {"secure": 1, "community": 0.5}, "secure": false, "community": true`, []string{"1x L40S 48GB 48 community 0.5/0.5    0"}},
		"no stock":       {`"price": {"secure": 1}, "availability": "None"`, nil},
		"full versions":  {`"price": {"secure": 1}, "cudaVersions": [{"version": "13.0", "available": false}, {"version": "12.9", "available": true}, {"version": "odd", "available": true}]`, []string{"1x L40S 48GB 48 secure 1/1  12.9  0"}},
		"empty id":       {`"id": " ", "price": {"secure": 1}`, nil},
		"one centre":     {`"price": {"secure": 1}, "dataCenters": [{"id": "A-1", "availability": "NONE"}, {"id": "B-1", "availability": "LOW"}, null]`, []string{"1x L40S 48GB 48 secure 1/1 B-1   0"}},
		"several models": {`"price": {"secure": 1}}, {"id": "NVIDIA L4", "price": {"secure": 0.4}`, []string{"1x L40S 48GB 48 secure 1/1    0", "1x L4 24GB 24 secure 0.4/0.4    0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, p := serve(t, answer{200, `{"gpus": [{"id": "NVIDIA L40S", ` + test.entry + `}], "more": 1}`, ""})
			offers, err := p.Offers(t.Context(), gpu.Query{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, o := range offers {
				got = append(got, line(o))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestOffersBothClouds: what one of the two clouds refuses is an error, not half of the market.
func TestOffersBothClouds(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{})
	acct.Fault(cloud.Fault{Op: "offers", Kind: cloud.Forbidden, Times: 1})
	if offers, err := p.Offers(t.Context(), gpu.Query{}); kindOf(err) != gpu.Forbidden {
		t.Errorf("got %d offers, %v, want the refusal", len(offers), err)
	}
	if offers, err := p.Offers(t.Context(), gpu.Query{}); err != nil || len(offers) != 3 {
		t.Errorf("got %v, %v, want 3", offers, err)
	}
}

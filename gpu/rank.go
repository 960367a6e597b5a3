package gpu

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// A Miss is an offer that a query refuses, and why.
type Miss struct {
	Offer
	Refused string // the query's filters that refuse it, each with what was asked and what there is

	filters int  // how many refuse it
	other   bool // another type of GPU
}

// Rank applies a query to offers, from whatever providers. Kept are those that fit, best first: by
// the query's own Sort, else by the order of its providers, else by price. Missed are the others,
// nearest first: those of another type last, the fewest refusing filters first, then the cheapest.
// Where is asked about offers that nothing else refuses. What an offer does not tell refuses it not:
// it is checked on the machine. The errors are those of Where and Sort.
func Rank(offers []Offer, q Query) (kept []Offer, missed []Miss, err error) {
	keys := map[int]float64{} // by index into offers
	var fit []int
	for i, o := range offers {
		m := q.refuse(o)
		if m.filters == 0 && q.Where != nil {
			ok, err := q.Where(o)
			if err != nil {
				return nil, nil, fmt.Errorf("where: %w", err)
			}
			if !ok {
				m.filters, m.Refused = 1, "where: the query's own function refuses it"
			}
		}
		if m.filters > 0 {
			missed = append(missed, m)
			continue
		}
		if keys[i], err = q.key(o); err != nil {
			return nil, nil, fmt.Errorf("sort: %w", err)
		}
		fit = append(fit, i)
	}
	slices.SortStableFunc(fit, func(i, k int) int {
		return cmp.Or(cmp.Compare(keys[i], keys[k]), cmp.Compare(offers[i].PricePerGPU, offers[k].PricePerGPU))
	})
	for _, i := range fit {
		kept = append(kept, offers[i])
	}
	slices.SortStableFunc(missed, func(a, b Miss) int {
		if a.other != b.other {
			if a.other {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(a.filters, b.filters), cmp.Compare(a.PricePerGPU, b.PricePerGPU))
	})
	return kept, missed, nil
}

// notNvidia are the canonical names of GPUs on which no CUDA runs, whatever their provider tells of it.
var notNvidia = lazyregexp.New(`(?i)^(MI\d|RX|Radeon|Gaudi)`)

// key is what an offer is ordered by, lowest first.
func (q Query) key(o Offer) (float64, error) {
	switch {
	case q.Sort != nil:
		return q.Sort(o)
	case len(q.Providers) > 1:
		return float64(slices.Index(q.Providers, o.Provider)), nil
	}
	return o.PricePerGPU, nil
}

// refuse lists the filters, Where aside, that refuse an offer.
func (q Query) refuse(o Offer) Miss {
	m := Miss{Offer: o}
	var why []string
	refused := func(filter, format string, args ...any) {
		why = append(why, filter+": "+fmt.Sprintf(format, args...))
	}
	if q.MaxPrice > 0 && o.PricePerGPU > q.MaxPrice {
		refused("max_price", "$%s per GPU and hour, at most $%s was asked for", Dollars(o.PricePerGPU), Dollars(q.MaxPrice))
	}
	if !o.StandsIn {
		if m.other = !MatchesType(q.Type, o.GPUType); m.other {
			refused("type", "%s, asked for %s", cmp.Or(o.GPUType, "no GPU"), q.Type)
		}
		if want := max(q.Count, 1); o.GPUCount != want {
			refused("count", "%d on the machine, asked for %d", o.GPUCount, want)
		}
		if o.VRAMGB > 0 && o.VRAMGB < q.MinVRAM {
			refused("min_vram_gb", "%g GB, asked for %g", o.VRAMGB, q.MinVRAM)
		}
		if q.CloudType != "" && o.CloudType != "" && o.CloudType != q.CloudType {
			refused("cloud_type", "%s, asked for %s", o.CloudType, q.CloudType)
		}
		switch {
		case q.MinCUDA != "" && notNvidia().MatchString(o.GPUType):
			refused("min_cuda", "a %s has none, asked for %s", o.GPUType, q.MinCUDA)
		case olderCUDA(o.CUDA, q.MinCUDA):
			refused("min_cuda", "%s, asked for %s", o.CUDA, q.MinCUDA)
		}
		if len(q.Regions) > 0 && o.Region != "" && !slices.ContainsFunc(q.Regions, func(r string) bool { return strings.EqualFold(r, o.Region) }) {
			refused("regions", "%s, asked for %s", o.Region, strings.Join(q.Regions, " or "))
		}
		if q.Spot != o.Spot {
			refused("spot", "the provider may take it back: %s, asked for %s", word(o.Spot), word(q.Spot))
		}
	}
	m.filters, m.Refused = len(why), strings.Join(why, "; ")
	return m
}

// Dollars is an amount with two digits behind the point, or as many as it has where they are more.
func Dollars(usd float64) string {
	if cents := usd * 100; math.Abs(cents-math.Round(cents)) < 1e-6 {
		return fmt.Sprintf("%.2f", usd)
	}
	return fmt.Sprintf("%.4g", usd)
}

func word(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// olderCUDA reports whether have is a version before want. One that is not told is not.
func olderCUDA(have, want string) bool {
	_, told := parseCUDA(have)
	return told && NewerCUDA(want, have)
}

// NewerCUDA reports whether one version of CUDA is after another, part by part: 12.11 is after 12.2. What is
// no version, "" for one, is before all.
func NewerCUDA(a, b string) bool {
	x, ok := parseCUDA(a)
	y, told := parseCUDA(b)
	return ok && (!told || slices.Compare(x[:], y[:]) > 0)
}

func parseCUDA(version string) (parts [2]int, ok bool) {
	n, _ := fmt.Sscanf(version, "%d.%d", &parts[0], &parts[1])
	return parts, n > 0
}

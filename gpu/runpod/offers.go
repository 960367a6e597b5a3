package runpod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// The clouds as the API spells them, by what a query and an offer call them.
var clouds = map[string]string{"secure": "SECURE", "community": "COMMUNITY"}

// A gpuType is an entry of the catalogue. Its price is that of one GPU in USD per hour, its availability
// that of as many GPUs on one machine as were asked for.
type gpuType struct {
	ID           string // with the spaces that it has, which may be two in a row
	Manufacturer string
	Memory       float64 // GB of one GPU
	Secure       *bool
	Community    *bool
	Price        byCloud[float64]
	MaxCount     byCloud[int] // on the largest machine there is, not in stock
	Availability string       // NONE, LOW, MEDIUM, HIGH
	DataCenters  []dataCenter // where it can be placed
	CUDAVersions []struct {
		Version   string
		Available bool
	}
}

type byCloud[T any] struct{ Secure, Community T }

func (b byCloud[T]) of(cloud string) T {
	if cloud == "community" {
		return b.Community
	}
	return b.Secure
}

type dataCenter struct{ ID, Availability string }

// native is what Create needs of an offer.
type native struct {
	GPU         string   // as the catalogue spells it
	Cloud       string   // SECURE or COMMUNITY
	DataCenters []string `json:",omitempty"` // nil leaves it to RunPod
}

// A search is one reading of the catalogue.
type search struct {
	cloud   string // secure or community
	country string // two letters, upper case; "" is everywhere
}

var countryCode = lazyregexp.New(`^[A-Za-z]{2}$`)

// Offers implements gpu.Provider. There is an offer for each GPU and cloud; where the query has regions, one
// for each region that has the GPU. A region is a country's two letters (US) or the id of a data centre
// (US-TX-3). GPUs of AMD are left out: machines are checked with nvidia-smi, which they have not. The price
// is that of the GPUs; disk costs some cents a day more.
func (p *Provider) Offers(ctx context.Context, q gpu.Query) ([]gpu.Offer, error) {
	if q.Spot && !q.Near {
		return nil, nil
	}
	searches := searchesFor(q)
	found := make([][]gpuType, len(searches))
	errs := make([]error, len(searches))
	var wg sync.WaitGroup
	for i, s := range searches {
		wg.Go(func() { found[i], errs[i] = p.catalogue(ctx, q, s) })
	}
	wg.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return nil, errs[i]
	}
	l := listing{query: q, seen: map[string]bool{}, asked: map[string]bool{}}
	for i, s := range searches {
		for _, t := range found[i] {
			l.add(t, s)
		}
	}
	return l.offers, nil
}

// searchesFor are the readings that a query needs. Those for countries come first: then a data centre
// of one of them is known when all are listed as near misses.
func searchesFor(q gpu.Query) []search {
	var countries []string
	everywhere := len(q.Regions) == 0 || q.Near
	for _, r := range q.Regions {
		switch {
		case !countryCode().MatchString(r):
			everywhere = true
		case !slices.Contains(countries, strings.ToUpper(r)):
			countries = append(countries, strings.ToUpper(r))
		}
	}
	if everywhere {
		countries = append(countries, "")
	}
	var all []search
	for _, country := range countries {
		for _, cloud := range []string{"secure", "community"} {
			if q.CloudType == "" || q.CloudType == cloud || q.Near {
				all = append(all, search{cloud: cloud, country: country})
			}
		}
	}
	return all
}

func (p *Provider) catalogue(ctx context.Context, q gpu.Query, s search) ([]gpuType, error) {
	params := url.Values{
		"include": {"AVAILABILITY"}, "product": {"POD"}, "cloud": {clouds[s.cloud]}, "count": {strconv.Itoa(max(q.Count, 1))},
	}
	if s.country != "" {
		params.Set("countryCodes", s.country)
	}
	floor := q
	if q.Near {
		floor.MinCUDA = ""
	}
	if v := minCUDA(floor); v != "" {
		params.Set("minCudaVersion", v)
	}
	var answer struct{ GPUs *[]gpuType }
	err := p.api.Do(ctx, httpapi.Call{
		Op: "offers", Method: http.MethodGet, Path: "/v2/catalog/gpus", Query: params, Into: &answer, Limit: p.limit, Repeat: true,
	})
	switch {
	case err != nil:
		return nil, err
	case answer.GPUs == nil:
		return nil, errors.New("runpod offers: the answer has no gpus")
	}
	return *answer.GPUs, nil
}

// A listing makes offers of entries.
type listing struct {
	query  gpu.Query
	offers []gpu.Offer
	seen   map[string]bool // ids of offers
	asked  map[string]bool // ids of data centres in the countries of the query
}

// add adds the offers of one entry of a search.
func (l *listing) add(t gpuType, s search) {
	q := l.query
	count, most := max(q.Count, 1), t.MaxCount.of(s.cloud)
	stock := t.Availability
	if most > 0 && most < count {
		if !q.Near {
			return
		}
		count, stock = most, "" // what the answer says of stock is about the count that was asked for
	}
	name, vram := gpu.Canonical(t.ID, t.Memory, "")
	price := t.Price.of(s.cloud)
	there := byCloud[*bool]{t.Secure, t.Community}.of(s.cloud)
	switch {
	case strings.TrimSpace(t.ID) == "", strings.EqualFold(t.Manufacturer, "AMD"), there != nil && !*there, price <= 0, none(stock):
		return
	case !q.Near && !gpu.MatchesType(q.Type, name):
		return
	}
	o := gpu.Offer{
		Provider: Name, GPUType: name, VRAMGB: vram, GPUCount: count, PricePerGPU: price, PriceTotal: price * float64(count),
		CloudType: s.cloud, CUDA: newest(t), Stock: stock, MaxCount: most, Arch: "amd64",
	}
	var placed []dataCenter
	for _, dc := range t.DataCenters {
		if dc.ID != "" && !none(dc.Availability) {
			placed = append(placed, dc)
		}
	}
	switch {
	case s.country != "":
		var ids []string
		for _, dc := range placed {
			ids = append(ids, dc.ID)
			l.asked[dc.ID] = true
		}
		if len(ids) > 0 {
			o.Region = s.country
			l.put(o, t, ids)
		}
	case len(q.Regions) > 0:
		for _, dc := range placed {
			wanted := slices.ContainsFunc(q.Regions, func(r string) bool { return strings.EqualFold(r, dc.ID) })
			if wanted || q.Near && !l.asked[dc.ID] {
				o.Region = dc.ID
				if stock != "" {
					o.Stock = dc.Availability
				}
				l.put(o, t, []string{dc.ID})
			}
		}
	default:
		if len(placed) == 1 {
			o.Region = placed[0].ID
		}
		l.put(o, t, nil)
	}
}

// put adds an offer under an id, unless it is there already: the catalogue has had one GPU twice, its id
// once with two spaces in a row.
func (l *listing) put(o gpu.Offer, t gpuType, dataCenters []string) {
	o.ID = fmt.Sprintf("%s/%s/%d", collapse(t.ID), clouds[o.CloudType], o.GPUCount)
	if len(dataCenters) > 0 {
		o.ID += "/" + o.Region
	}
	if l.seen[o.ID] {
		return
	}
	l.seen[o.ID] = true
	o.Native, _ = json.Marshal(native{GPU: t.ID, Cloud: clouds[o.CloudType], DataCenters: dataCenters}) // strings only
	l.offers = append(l.offers, o)
}

func none(availability string) bool { return strings.EqualFold(availability, "NONE") }

func collapse(text string) string { return strings.Join(strings.Fields(text), " ") }

// newest is the newest CUDA version that a machine with free GPUs has; "" when unknown.
func newest(t gpuType) string {
	best := ""
	for _, v := range t.CUDAVersions {
		if v.Available && gpu.NewerCUDA(v.Version, best) {
			best = v.Version
		}
	}
	return best
}

package cloud

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func runpodCountry(o Offer) string {
	if c, _ := o.More[RunpodCountry].(string); c != "" {
		return c
	}
	return "US"
}

var (
	runpodVersion = regexp.MustCompile(`^\d+\.\d+$`)
	runpodMajor   = regexp.MustCompile(`^\d+(\.\d+)?$`)
)

func (p *runpod) catalogue(r *request) reply {
	q := r.URL.Query()
	count, countries, wrong := runpodQuery(q)
	if wrong != nil {
		return *wrong
	}
	entries := []map[string]any{}
	var ids []string
	for _, o := range p.Account.offers {
		if !slices.Contains(ids, o.ID) {
			ids = append(ids, o.ID)
		}
	}
	for _, id := range ids {
		var all, fit []Offer
		for _, o := range p.Account.offers {
			if o.ID != id {
				continue
			}
			all = append(all, o)
			if o.Community == (q.Get("cloud") == "COMMUNITY") && (countries == nil || slices.Contains(countries, runpodCountry(o))) &&
				o.Count >= count && !runpodOlder(o.CUDA, q.Get("minCudaVersion")) {
				fit = append(fit, o)
			}
		}
		entry := runpodEntry(all)
		if q.Get("include") != "" {
			runpodAvailability(entry, fit)
			if countries != nil && entry["dataCenters"] == nil {
				continue
			}
		}
		entries = append(entries, entry)
	}
	return reply{body: map[string]any{"gpus": entries}}
}

// runpodQuery reads the parameters of the catalogue; wrong is the refusal of what cannot be asked.
func runpodQuery(q url.Values) (count int, countries []string, wrong *reply) {
	bad := func(detail string) *reply { r := runpodProblem(http.StatusBadRequest, detail); return &r }
	if q.Get("include") == "" {
		for _, name := range []string{"product", "count", "cloud", "countryCodes", "cudaVersions", "minCudaVersion"} {
			if q.Has(name) {
				return 0, nil, bad(name + " requires include=AVAILABILITY")
			}
		}
	} else if q.Get("product") == "" {
		return 0, nil, bad("include=AVAILABILITY requires product")
	}
	if q.Has("cudaVersions") && q.Has("minCudaVersion") {
		return 0, nil, bad("cudaVersions and minCudaVersion are mutually exclusive")
	}
	if v := q.Get("minCudaVersion"); v != "" && !runpodMajor.MatchString(v) {
		r := runpodInvalid("minCudaVersion: " + v + " does not match")
		return 0, nil, &r
	}
	count = 1
	if text := q.Get("count"); text != "" {
		count, _ = strconv.Atoi(text)
	}
	if text := q.Get("countryCodes"); text != "" {
		countries = strings.Split(text, ",")
	}
	return count, countries, nil
}

// runpodEntry is what the catalogue says of a GPU without its availability.
func runpodEntry(all []Offer) map[string]any {
	maker, _ := all[0].More[RunpodManufacturer].(string)
	if maker == "" {
		maker = "NVIDIA"
	}
	price, most := map[string]float64{"secure": 0, "community": 0}, map[string]int{"secure": 0, "community": 0}
	for _, o := range all {
		cloud := "secure"
		if o.Community {
			cloud = "community"
		}
		price[cloud], most[cloud] = o.Price, max(most[cloud], o.Count)
	}
	return map[string]any{
		"id": all[0].ID, "name": all[0].GPU, "pool": nil, "manufacturer": maker, "memory": all[0].VRAMGB,
		"secure": most["secure"] > 0, "community": most["community"] > 0, "price": price, "maxCount": most,
	}
}

// runpodAvailability adds what a search with these offers says of stock.
func runpodAvailability(entry map[string]any, fit []Offer) {
	stock := 0
	var centers, versions []map[string]any
	for _, o := range fit {
		stock += o.Stock
		if o.Region != "" {
			centers = append(centers, map[string]any{"id": o.Region, "name": o.Region, "availability": runpodLevel(o.Stock)})
		}
		if o.CUDA != "" {
			versions = append(versions, map[string]any{"version": o.CUDA, "available": o.Stock > 0})
		}
	}
	entry["availability"] = runpodLevel(stock)
	if stock > 0 && centers != nil {
		entry["dataCenters"] = centers
	}
	if versions != nil {
		entry["cudaVersions"] = versions
	}
}

func runpodLevel(stock int) string {
	switch {
	case stock <= 0:
		return "NONE"
	case stock == 1:
		return "LOW"
	case stock < 5:
		return "MEDIUM"
	}
	return "HIGH"
}

// runpodOlder compares CUDA versions as numbers. A host that reports none is older than any.
func runpodOlder(have, least string) bool {
	if least == "" {
		return false
	}
	var h, l [2]int
	_, _ = fmt.Sscanf(have, "%d.%d", &h[0], &h[1]) // zero where it is less
	_, _ = fmt.Sscanf(least, "%d.%d", &l[0], &l[1])
	return slices.Compare(h[:], l[:]) < 0
}

package vast

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
)

const (
	// defaultDiskGB is the disk of a machine whose query names none. Vast's own default of 8 GB holds hardly
	// an image; these cost about a cent per hour.
	defaultDiskGB = 50
	minDiskGB     = 8

	hoursPerMonth = 720 // in which Vast's storage prices are

	// maxOffers is asked for. Some accounts are reported to get 64 at most, whatever they ask for.
	maxOffers = 200
)

// diskGB is the disk of a query's machine: it is part of the price, and fixed for the machine's life.
func diskGB(q gpu.Query) int { return max(cmp.Or(q.ContainerDiskGB, defaultDiskGB), minDiskGB) }

// Offers implements gpu.Provider. The search is narrowed at Vast as far as its filters go, cheapest first:
// what it would list beyond its own bound nobody can see. Machines of hosts that Vast has not verified, that
// are unreliable, slow to reach or take no connections are never listed, nor are parts of cards.
func (p *Provider) Offers(ctx context.Context, q gpu.Query) ([]gpu.Offer, error) {
	if !q.Near {
		return p.search(ctx, narrowed(q), q, q.Spot)
	}
	var all []gpu.Offer
	typed := true // of the type, as long as there is any
	for _, spot := range []bool{false, true} {
		f := widened(q)
		if typed {
			f.ofType(q.Type)
		}
		found, err := p.search(ctx, f, q, spot)
		if err == nil && len(found) == 0 && typed && q.Type != "" && !spot {
			typed = false
			found, err = p.search(ctx, widened(q), q, spot)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// A filter is what a search asks for, by field.
type filter map[string]any

func is(op string, value any) map[string]any { return map[string]any{op: value} }

// widened is a filter that leaves out what a query asks for, but for what a machine must have to be of any
// use.
func widened(q gpu.Query) filter {
	return filter{
		"verified": is("eq", true), "external": is("eq", false), "rentable": is("eq", true), "rented": is("eq", false),
		"reliability2": is("gte", 0.95), "inet_down": is("gte", 200), "inet_up": is("gte", 100),
		"direct_port_count": is("gte", 1+len(q.Ports)), "disk_space": is("gte", diskGB(q)),
		"cpu_arch": is("eq", archOf(q.Type)), "allocated_storage": diskGB(q), "limit": maxOffers,
		// Two keys: the description wants two of them, where it means two parts of each.
		"order": [][2]string{{"dph_total", "asc"}, {"id", "asc"}},
	}
}

// ofType narrows a filter to a type, by the names that Vast has for it or else by the memory that it comes
// with.
func (f filter) ofType(typ string) {
	if names := namesOf(typ); len(names) > 0 {
		f["gpu_name"] = is("in", names)
	} else if _, gb := gpu.Canonical(typ, 0, ""); gb > 0 {
		f["gpu_ram"] = is("gte", leastMB(gb))
	}
}

// leastMB is what a GPU of so many GB shows at least: drivers and makers count differently.
func leastMB(gb float64) float64 { return math.Floor(0.9 * 1024 * gb) }

// archOf is the architecture of the CPU that a type comes with. Whoever names none gets what images are made
// for.
func archOf(typ string) string {
	if name, _ := gpu.Canonical(typ, 0, ""); strings.HasPrefix(name, "GH200") || strings.HasPrefix(name, "GB") {
		return "arm64"
	}
	return "amd64"
}

// narrowed is a filter with all that Vast can judge of a query.
func narrowed(q gpu.Query) filter {
	f := widened(q)
	f["num_gpus"] = is("eq", max(q.Count, 1))
	if q.MinVRAM > 0 {
		f["gpu_ram"] = is("gte", leastMB(q.MinVRAM))
	}
	f.ofType(q.Type)
	if q.CloudType == "secure" {
		f["datacenter"] = is("eq", true)
	}
	var cuda float64
	if _, err := fmt.Sscanf(q.MinCUDA, "%g", &cuda); err == nil {
		f["cuda_max_good"] = is("gte", cuda)
	}
	if len(q.Regions) > 0 && !slices.ContainsFunc(q.Regions, func(r string) bool { return len(r) != 2 }) {
		var countries []string
		for _, r := range q.Regions {
			countries = append(countries, strings.ToUpper(r))
		}
		f["geolocation"] = is("in", countries)
	}
	return f
}

// An ask is an offer as Vast lists it. Prices are those of the whole machine per hour.
type ask struct {
	ID           num      `json:"id"`
	HostID       num      `json:"host_id"`
	GPUName      string   `json:"gpu_name"`
	NumGPUs      num      `json:"num_gpus"`
	GPURAM       num      `json:"gpu_ram"` // MB per GPU
	GPUFrac      num      `json:"gpu_frac"`
	CPUCores     num      `json:"cpu_cores"`           // of the whole machine
	CPUEffective num      `json:"cpu_cores_effective"` // of this part of it
	CPURAM       num      `json:"cpu_ram"`             // MB of the whole machine
	CPUArch      string   `json:"cpu_arch"`
	CUDA         num      `json:"cuda_max_good"`
	Storage      num      `json:"storage_cost"` // USD per GB and month
	DPHBase      num      `json:"dph_base"`     // without storage
	MinBid       num      `json:"min_bid"`      // without storage
	IsBid        *bool    `json:"is_bid"`
	Hosting      *float64 `json:"hosting_type"` // 1 and more is a data center
	Datacenter   *bool    `json:"datacenter"`
	Geolocation  string   `json:"geolocation"` // "Texas, US"
}

// A native is what Create needs of an offer.
type native struct {
	Ask int64   `json:"ask"`
	Bid float64 `json:"bid,omitempty"` // USD per hour for the machine, without storage; 0 for on-demand
}

func (p *Provider) search(ctx context.Context, f filter, q gpu.Query, spot bool) ([]gpu.Offer, error) {
	if spot {
		f["type"] = "bid" // the default is on-demand, for which the sources differ in the spelling
	}
	var answer struct {
		Offers json.RawMessage `json:"offers"`
	}
	err := p.api.Do(ctx, httpapi.Call{
		Op: "offers", Method: "POST", Path: "/api/v0/bundles/", Body: f, Into: &answer, Limit: p.limits.search, Repeat: true,
	})
	if err != nil {
		return nil, err
	}
	listed, err := list(answer.Offers)
	if err != nil {
		return nil, fmt.Errorf("%s offers: the answer lists none: %w", Name, err)
	}
	var offers []gpu.Offer
	for _, raw := range listed {
		var a ask
		if json.Unmarshal(raw, &a) != nil || a.ID.id() == "" || a.NumGPUs < 1 {
			continue // nobody could rent it
		}
		if o, ok := a.offer(q, spot); ok {
			offers = append(offers, o)
		}
	}
	return offers, nil
}

// list reads what should be a list; one entry may stand alone, and null is an empty one.
func list(raw json.RawMessage) (entries []json.RawMessage, err error) {
	if len(raw) > 0 && raw[0] == '{' {
		return []json.RawMessage{raw}, nil
	}
	err = json.Unmarshal(raw, &entries)
	return entries, err
}

// offer is what an ask is for a query. It is none where the price is not told, where the GPU is a part of
// a card, and where Vast lists a bid among what is not.
func (a ask) offer(q gpu.Query, spot bool) (gpu.Offer, bool) {
	base, kind := a.DPHBase, ""
	if spot {
		base, kind = a.MinBid, "-bid"
	}
	gb := float64(a.GPURAM) / 1024
	if base <= 0 || isPart(a.GPUName, gb) || !spot && a.IsBid != nil && *a.IsBid {
		return gpu.Offer{}, false
	}
	total := float64(base) + float64(diskGB(q))*float64(a.Storage)/hoursPerMonth
	n := native{Ask: int64(a.ID)}
	if spot {
		n.Bid = float64(base)
	}
	raw, err := json.Marshal(n)
	if err != nil {
		return gpu.Offer{}, false
	}
	o := gpu.Offer{
		Provider: Name, ID: a.ID.id() + kind, GPUCount: int(a.NumGPUs), PricePerGPU: total / float64(a.NumGPUs), PriceTotal: total,
		CloudType: a.cloudType(), Spot: spot, Region: region(a.Geolocation), VCPU: int(math.Round(float64(a.CPUEffective))),
		MemoryGB: a.memoryGB(), Stock: "available", Arch: a.CPUArch, Native: raw,
	}
	if o.CloudType == "" && q.CloudType == "secure" && !q.Near {
		o.CloudType = "secure" // the search has seen to it
	}
	o.GPUType, o.VRAMGB = gpu.Canonical(a.GPUName, gb, "")
	if a.CUDA > 0 {
		o.CUDA = fmt.Sprintf("%.1f", float64(a.CUDA))
	}
	if host := a.HostID.id(); host != "" {
		o.Upstream = "host " + host
	}
	return o, true
}

// cloudType is "secure" for a machine in a data center. "" means that Vast does not say.
func (a ask) cloudType() string {
	var secure bool
	switch {
	case a.Datacenter != nil:
		secure = *a.Datacenter
	case a.Hosting != nil:
		secure = *a.Hosting >= 1
	default:
		return ""
	}
	if secure {
		return "secure"
	}
	return "community"
}

// memoryGB is the share of the machine's memory that comes with the offer; 0 where Vast does not tell the
// share.
func (a ask) memoryGB() float64 {
	share := float64(a.GPUFrac)
	if a.CPUCores > 0 && a.CPUEffective > 0 {
		share = float64(a.CPUEffective / a.CPUCores)
	}
	return math.Round(float64(a.CPURAM) / 1024 * min(share, 1))
}

// region is the country of "Texas, US", which is what a query can ask for.
func region(location string) string {
	return strings.TrimSpace(location[strings.LastIndex(location, ",")+1:])
}

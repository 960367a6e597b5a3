package cloud

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// vastMaxOffers is how many offers a search lists, as one client of Vast reports it.
const vastMaxOffers = 64

// search lists the asks that pass a filter. What a filter leaves out has the defaults of the description.
func (p *vast) search(r *request) reply {
	filter := map[string]any{
		"verified": vastBody{"eq": true}, "rentable": vastBody{"eq": true}, "rented": vastBody{"eq": false}, "cpu_arch": vastBody{"eq": "amd64"},
	}
	var given map[string]any
	if err := r.decode(&given); err != nil {
		return vastRefuse(http.StatusBadRequest, "invalid_request", "Invalid json body")
	}
	maps.Copy(filter, given)
	bid, storage, limit := false, 8.0, vastMaxOffers
	var order [][]string
	conditions := map[string]map[string]any{}
	for name, value := range filter {
		ok := true
		switch name {
		case "type":
			ok = value == "bid" || value == "ondemand" || value == "on-demand"
			bid = value == "bid"
		case "allocated_storage":
			storage, ok = value.(float64)
		case "limit":
			var n float64
			n, ok = value.(float64)
			limit = min(limit, int(n))
		case "order":
			order, ok = vastOrderOf(value)
		default:
			var ops map[string]any
			if ops, ok = value.(map[string]any); !ok {
				ops, ok = value.(vastBody)
			}
			conditions[name] = ops
		}
		if !ok {
			return vastRefuse(http.StatusBadRequest, "invalid_request", "Error in query parameters: "+name)
		}
	}
	asks := []vastBody{}
	for _, o := range p.Account.offers {
		a := p.ask(o, bid, storage)
		pass, err := vastPasses(a, conditions)
		if err != nil {
			return vastRefuse(http.StatusBadRequest, "invalid_request", err.Error())
		}
		if pass {
			asks = append(asks, a)
		}
	}
	slices.SortStableFunc(asks, func(a, b vastBody) int {
		for _, key := range order {
			x, _ := a.field(key[0]).(float64)
			y, _ := b.field(key[0]).(float64)
			if c := cmp.Compare(x, y); c != 0 {
				if key[1] == "desc" {
					return -c
				}
				return c
			}
		}
		return 0
	})
	asks = asks[:min(len(asks), limit)]
	if p.has(VastOneOffer) && len(asks) > 0 {
		return reply{body: vastBody{"offers": asks[0]}, quirk: true}
	}
	return reply{body: vastBody{"offers": asks}}
}

func vastOrderOf(value any) (order [][]string, ok bool) {
	list, ok := value.([]any)
	for _, entry := range list {
		pair, _ := entry.([]any)
		if len(pair) != 2 {
			return nil, false
		}
		order = append(order, []string{fmt.Sprint(pair[0]), fmt.Sprint(pair[1])})
	}
	return order, ok
}

// ask is an offer as Vast lists it.
func (p *vast) ask(o Offer, bid bool, storage float64) vastBody {
	id, err := strconv.Atoi(o.ID)
	if err != nil {
		panic("cloud: an offer of Vast has a number as its id: " + err.Error())
	}
	cuda, _ := strconv.ParseFloat(o.CUDA, 64)
	base := o.Price
	if bid {
		base = vastMinBid(o)
	}
	hosting := 1
	if o.Community {
		hosting = 0
	}
	a := vastBody{
		"id": id, "ask_contract_id": id, "bundle_id": id + 1, "machine_id": 9001, "host_id": 77, "gpu_name": o.GPU, "num_gpus": o.Count,
		"gpu_ram": o.VRAMGB * 1024, "gpu_total_ram": o.VRAMGB * 1024 * o.Count, "gpu_frac": 0.5, "gpu_arch": "nvidia",
		"cpu_cores": 2 * o.VCPU, "cpu_cores_effective": float64(o.VCPU), "cpu_ram": 2 * 1024 * o.MemoryGB, "cpu_arch": "amd64",
		"cuda_max_good": cuda, "driver_version": "570.86.15", "compute_cap": 890, "disk_space": 420.0, "storage_cost": vastStorageCost(o),
		"dph_base": o.Price, "dph_total": base + vastStorage(o, storage), "min_bid": vastMinBid(o), "inet_down": 2300.1, "inet_up": 1800.4,
		"inet_down_cost": 0.003, "inet_up_cost": 0.003, "reliability": 0.9971, "reliability2": 0.9971, "verification": "verified",
		"hosting_type": hosting, "geolocation": o.Region, "direct_port_count": 49, "public_ipaddr": "203.0.113.4", "static_ip": true,
		"rentable": o.Stock > 0, "rented": false, "is_bid": bid, "duration": 2590000.0, "external": nil, "score": 412.3,
	}
	maps.Copy(a, o.More)
	return a
}

// vastPasses reports whether an ask passes the conditions. Some are about what an ask tells in another form.
func vastPasses(a vastBody, conditions map[string]map[string]any) (bool, error) {
	for name, ops := range conditions {
		have := a.field(name)
		switch name {
		case "verified":
			have = a["verification"] == "verified"
		case "external":
			have = a["external"] == true
		case "datacenter":
			hosting, _ := a.field("hosting_type").(float64)
			have = hosting >= 1
		case "geolocation":
			text, _ := have.(string)
			have = strings.TrimSpace(text[strings.LastIndex(text, ",")+1:])
		default:
			if _, ok := a[name]; !ok {
				return false, fmt.Errorf("%s is not a valid search key", name)
			}
		}
		for op, want := range ops {
			pass, err := vastHolds(op, have, want)
			if err != nil || !pass {
				return false, err
			}
		}
	}
	return true, nil
}

func vastHolds(op string, have, want any) (bool, error) {
	x, isNumber := have.(float64)
	y, _ := want.(float64)
	switch op {
	case "eq":
		return have == want, nil
	case "neq":
		return have != want, nil
	case "gt":
		return isNumber && x > y, nil
	case "gte":
		return isNumber && x >= y, nil
	case "lt":
		return isNumber && x < y, nil
	case "lte":
		return isNumber && x <= y, nil
	case "in", "notin":
		list, ok := want.([]any)
		if !ok {
			return false, fmt.Errorf("%s wants a list", op)
		}
		return slices.Contains(list, have) == (op == "in"), nil
	}
	return false, fmt.Errorf("%s is not a valid operator", op)
}

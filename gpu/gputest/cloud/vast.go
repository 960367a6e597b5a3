package cloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The quirks of Vast.
const (
	// VastKeepsContract refuses each create, and names a contract that exists all the same.
	VastKeepsContract Quirk = "vast: a refused create leaves a contract"
	// VastKeepsContract400 does so with a status of 400.
	VastKeepsContract400 Quirk = "vast: a create refused with 400 leaves a contract"
	// VastGone410 refuses an offer that is gone with 410 and another code than the usual 404.
	VastGone410 Quirk = "vast: 410 for an offer that is gone"
	// VastYoung400 refuses to attach a key with 400, and not 404, while a contract is young.
	VastYoung400 Quirk = "vast: 400 for the key of a young contract"
	// VastTurnsBid makes every machine one that others may outbid, whatever was asked for.
	VastTurnsBid Quirk = "vast: on-demand machines are bids"
	// VastRelayOnly gives machines no port of their own; VastJupyter has them start Jupyter too.
	VastRelayOnly Quirk = "vast: no direct port"
	VastJupyter   Quirk = "vast: jupyter"
	// VastOneOffer answers a search with an object in place of the list, as the description's example has it.
	VastOneOffer Quirk = "vast: one offer is no list"
	// VastGone404 answers 404 for an instance that is gone, in place of null.
	VastGone404 Quirk = "vast: 404 for an instance that is gone"
	// VastNulls has null wherever the contract has seen it.
	VastNulls Quirk = "vast: nulls"
	// VastPlain429 refuses what comes too early in plain text.
	VastPlain429 Quirk = "vast: 429 in plain text"
)

// vastCorrections: the pages for the single calls and Vast's own client have another form than the merged
// description, which tells of what the command line takes and of listings as they once were.
var vastCorrections = []correction{
	{"vast", "/paths/~1api~1v0~1asks~1{id}/put/requestBody/content/application~1json/schema/properties/env", map[string]any{
		"type": "object", "additionalProperties": map[string]any{"type": "string"},
	}},
	{"vast", "/components/schemas/Instance/properties/ports", map[string]any{"type": []any{"object", "null"}}},
	{"vast", "/components/schemas/Instance/properties/extra_env", map[string]any{"type": "array"}},
	{"vast", "/components/schemas/Instance/properties/public_ipaddr", map[string]any{"type": []any{"string", "null"}}},
	{"vast", "/paths/~1api~1v1~1instances/get/responses/200/content/application~1json/schema/properties/instances/items/properties/public_ipaddr", map[string]any{"type": []any{"string", "null"}}},
}

// vast is the API of Vast: v0, and v1 for the list of instances. Its offers are asks: Price is dph_base, for
// the machine and without storage. More may have min_bid (else half of that), storage_cost (0.15 USD per
// GB and month), and any field of a listed ask, which stands for the usual value.
type vast struct {
	*Account
	last      int
	contracts map[string]*vastContract
}

// A vastContract is what Vast knows of a machine beside what all providers do.
type vastContract struct {
	order vastOrder
	bid   bool
	base  float64 // USD per hour without storage
	key   string  // the machine's own
}

// A vastOrder is the body of a create call.
type vastOrder struct {
	Image         string            `json:"image"`
	TemplateHash  string            `json:"template_hash_id"`
	Label         *string           `json:"label"`
	Disk          float64           `json:"disk"`
	Runtype       string            `json:"runtype"`
	TargetState   string            `json:"target_state"`
	Price         *float64          `json:"price"`
	Env           map[string]string `json:"env"`
	CancelUnavail *bool             `json:"cancel_unavail"`
	Onstart       string            `json:"onstart"`
}

func newVast(a *Account) api {
	return &vast{Account: a, last: 7654320, contracts: map[string]*vastContract{}}
}

func (p *vast) offers() []Offer {
	return []Offer{
		{ID: "12345678", GPU: "RTX 4090", Model: "NVIDIA GeForce RTX 4090", VRAMGB: 24, Count: 1, Price: 0.34, Region: "Texas, US", VCPU: 16, MemoryGB: 63, CUDA: "12.8", Stock: 100},
		{ID: "12345679", GPU: "RTX 4090", Model: "NVIDIA GeForce RTX 4090", VRAMGB: 24, Count: 2, Price: 0.72, Region: "Sweden, SE", Community: true, VCPU: 32, MemoryGB: 126, CUDA: "12.4", Stock: 100},
		{ID: "12345680", GPU: "H100 SXM", Model: "NVIDIA H100 80GB HBM3", VRAMGB: 80, Count: 1, Price: 2.1, Region: "Iowa, US", VCPU: 28, MemoryGB: 256, CUDA: "12.8", Stock: 100},
		{ID: "12345681", GPU: "A100 SXM4", Model: "NVIDIA A100-SXM4-80GB", VRAMGB: 80, Count: 8, Price: 9.6, Region: "Quebec, CA", VCPU: 128, MemoryGB: 1024, CUDA: "12.6", Stock: 100},
	}
}

func (p *vast) routes() []route {
	return []route{
		{op: "offers", method: "POST", pattern: "/api/v0/bundles/{$}", handle: p.search, every: 6 * time.Second},
		{op: "create", method: "PUT", pattern: "/api/v0/asks/{id}/{$}", handle: p.create, every: 4500 * time.Millisecond},
		{op: "prepare", method: "POST", pattern: "/api/v0/instances/{id}/ssh/{$}", handle: p.attach, every: time.Second},
		{op: "get", method: "GET", pattern: "/api/v0/instances/{id}/{$}", handle: p.get, every: 2 * time.Second},
		{op: "list", method: "GET", pattern: "/api/v1/instances/{$}", handle: p.list, every: time.Second},
		{op: "terminate", method: "DELETE", pattern: "/api/v0/instances/{id}/{$}", handle: p.destroy, every: 3 * time.Second, open: true},
	}
}

type vastBody map[string]any

func vastRefuse(status int, code, msg string) reply {
	return reply{status: status, body: vastBody{"success": false, "error": code, "msg": msg}}
}

func (p *vast) refuse(op string, status int) reply {
	switch status {
	case http.StatusUnauthorized:
		if op == "offers" { // as it is published
			status = http.StatusNotFound
		}
		return vastRefuse(status, "auth_error", "Invalid user key")
	case http.StatusPaymentRequired: // no source shows it
		return vastRefuse(http.StatusBadRequest, "invalid_args", "Your account lacks credit; see the billing page.")
	case http.StatusForbidden:
		return vastRefuse(status, "invalid_args", "error 403/3586: Offer is not your own. Hosts can only rent their own machines.")
	case http.StatusNotFound:
		if op == "create" {
			return p.noSuchAsk("12345678")
		}
		return vastRefuse(status, "not_found", "Instance not found")
	case http.StatusTooManyRequests:
		text := "API requests too frequent endpoint threshold=3.0"
		if p.has(VastPlain429) {
			return reply{status: status, body: text, header: map[string]string{"Content-Type": "text/plain"}, quirk: true}
		}
		if op == "terminate" {
			return vastRefuse(status, "rate_limit_exceeded", text)
		}
		return reply{status: status, body: vastBody{"detail": text}}
	case http.StatusInternalServerError:
		return reply{status: status, body: "Internal Server Error", header: map[string]string{"Content-Type": "text/plain"}}
	}
	return vastRefuse(status, "invalid_args", http.StatusText(status))
}

func (p *vast) noSuchAsk(id string) reply {
	if p.has(VastGone410) {
		return vastRefuse(http.StatusGone, "no_such_ask", "error 410/3907: no_such_ask Instance type "+id+" is no longer available.")
	}
	return vastRefuse(http.StatusNotFound, "invalid_args", "error 404/3603: no_such_ask Instance type by id "+id+" is not available.")
}

// create accepts an ask.
func (p *vast) create(r *request) reply {
	id := r.PathValue("id")
	var order vastOrder
	if _, err := strconv.ParseInt(id, 10, 64); err != nil {
		return vastRefuse(http.StatusBadRequest, "invalid_args", "error 400/3467: Invalid args: 'id' is required and must be a valid offer ID")
	}
	switch err := r.decode(&order); {
	case err != nil:
		return vastRefuse(http.StatusBadRequest, "invalid_args", "Invalid json body: "+err.Error())
	case order.Image == "" && order.TemplateHash == "":
		return vastRefuse(http.StatusBadRequest, "invalid_args", "image is required")
	case order.Disk != 0 && order.Disk < 8:
		return vastRefuse(http.StatusBadRequest, "invalid_args", "disk is at least 8 GB")
	case len(order.Onstart) > 4048:
		return vastRefuse(http.StatusBadRequest, "invalid_args", "onstart is too long")
	case order.Price != nil && *order.Price < 0.001:
		return vastRefuse(http.StatusBadRequest, "invalid_price", "price is too low")
	}
	offer, ok := p.find(func(o Offer) bool { return o.ID == id })
	if !ok || offer.Stock <= 0 {
		return p.noSuchAsk(id)
	}
	c := &vastContract{order: order, bid: order.Price != nil || p.has(VastTurnsBid), base: offer.Price, key: randomHex(32)}
	if order.Price != nil {
		c.base = *order.Price
	}
	tooLow := order.Price != nil && *order.Price < vastMinBid(*offer)
	cancel := order.Price == nil
	if order.CancelUnavail != nil {
		cancel = *order.CancelUnavail
	}
	stopped := p.has(VastKeepsContract) || p.has(VastKeepsContract400)
	if tooLow || offer.Phantom {
		if cancel {
			return vastRefuse(http.StatusGone, "no_such_ask", "error 410/3907: no_such_ask Instance type "+id+" is no longer available.")
		}
		stopped = true
	}
	p.last++
	contract := strconv.Itoa(p.last)
	stock := *offer
	stock.Phantom = false // a stopped contract can be had of what cannot run
	m, err := p.rent(rental{
		ID: contract, Name: deref(order.Label), Offer: &stock, Price: c.base + vastStorage(*offer, order.disk()),
		Env: map[string]string{"CONTAINER_API_KEY": c.key, "CONTAINER_ID": contract}, Request: order,
	})
	switch {
	case errors.Is(err, errNoStock):
		return p.noSuchAsk(id)
	case err != nil:
		return p.refuse("create", http.StatusInternalServerError)
	}
	offer.Stock = stock.Stock
	p.contracts[m.ID] = c
	answer := vastBody{"success": true, "new_contract": p.last, "instance_api_key": c.key}
	if stopped || order.TargetState == "stopped" {
		p.own(m.ID).state = Stopped
	}
	if stopped {
		answer["success"], answer["error"], answer["msg"] = false, "invalid_args", "the instance could not start"
	}
	if p.has(VastKeepsContract400) {
		return reply{status: http.StatusBadRequest, body: answer}
	}
	return reply{body: answer}
}

func (o vastOrder) disk() float64 {
	if o.Disk == 0 {
		return 8
	}
	return o.Disk
}

// attach lets a key log in.
func (p *vast) attach(r *request) reply {
	var body struct {
		Key string `json:"ssh_key"`
	}
	m, ok := p.machine(r.PathValue("id"))
	switch err := r.decode(&body); {
	case err != nil || body.Key == "":
		return vastRefuse(http.StatusBadRequest, "invalid_args", "ssh_key is required")
	case ok && m.State == Pending && p.has(VastYoung400):
		return vastRefuse(http.StatusBadRequest, "invalid_args", "the instance has no container yet")
	case !ok || m.State == Gone || m.State == Pending:
		return vastRefuse(http.StatusNotFound, "not_found", "Instance not found")
	}
	p.authorize(m.ID, body.Key)
	return reply{body: vastBody{"success": true, "msg": "SSH key attached successfully"}}
}

func (p *vast) get(r *request) reply {
	id := r.PathValue("id")
	if _, err := strconv.ParseInt(id, 10, 64); err != nil {
		return vastRefuse(http.StatusBadRequest, "invalid_args", "invalid instance_id")
	}
	m, ok := p.machine(id)
	switch {
	case ok && m.State != Gone:
		return reply{body: vastBody{"instances": p.instance(m)}, quirk: p.has(VastNulls)}
	case p.has(VastGone404):
		return vastRefuse(http.StatusNotFound, "no_such_instance", "no_such_instance "+id)
	}
	return reply{body: vastBody{"instances": nil}, quirk: true}
}

// list lists a page of the account's instances.
func (p *vast) list(r *request) reply {
	limit := 25
	if n, err := strconv.Atoi(r.URL.Query().Get("limit")); err == nil {
		if limit = min(n, 25); n <= 0 {
			limit = 5
		}
	}
	limit = p.page(limit)
	after := 0
	if token := r.URL.Query().Get("after_token"); token != "" {
		var err error
		if after, err = strconv.Atoi(strings.TrimPrefix(token, "after=")); err != nil || !strings.HasPrefix(token, "after=") {
			return vastRefuse(http.StatusBadRequest, "invalid_token", "Error in query parameters: after_token")
		}
	}
	all := p.listed() // in the order of their ids
	counts := map[string]int{}
	page, next := []vastBody{}, any(nil)
	for _, m := range all {
		counts[m.Name]++
		n, err := strconv.Atoi(m.ID)
		switch {
		case err != nil:
			panic(err)
		case n <= after:
		case len(page) == limit:
			next = fmt.Sprintf("after=%v", page[limit-1]["id"])
		default:
			page = append(page, p.instance(m))
		}
	}
	return reply{quirk: p.has(VastNulls), body: vastBody{
		"success": true, "instances_found": len(page), "total_instances": len(all), "label_counts": counts, "next_token": next, "instances": page,
	}}
}

// destroy ends an instance for the account's key, or for the instance's own.
func (p *vast) destroy(r *request) reply {
	id := r.PathValue("id")
	key, c := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), p.contracts[id]
	if key != p.Key && (c == nil || key != c.key) {
		return p.refuse("terminate", http.StatusUnauthorized)
	}
	if !p.terminate(id) {
		return vastRefuse(http.StatusNotFound, "not_found", "Instance not found")
	}
	return reply{body: vastBody{"success": true}}
}

// instance is a machine as Vast tells it.
func (p *vast) instance(m Machine) vastBody {
	c := p.contracts[m.ID]
	id, err := strconv.Atoi(m.ID)
	if err != nil {
		panic(err)
	}
	ram := m.Offer.VRAMGB * 1024
	body := vastBody{
		"id": id, "label": c.order.Label, "gpu_name": m.Offer.GPU, "num_gpus": m.Count, "gpu_ram": ram, "gpu_totalram": ram * m.Count,
		"dph_base": m.Price - vastStorage(m.Offer, c.order.disk()), "dph_total": m.Price, "is_bid": c.bid, "storage_cost": vastStorageCost(m.Offer),
		"image_uuid": c.order.Image, "image_runtype": "ssh_direc ssh_proxy", "geolocation": m.Offer.Region, "machine_id": 9001, "host_id": 77,
		"start_date": float64(m.Created.UnixMicro()) / 1e6, "end_date": float64(m.Created.Unix() + 2590000), "disk_space": c.order.disk(),
		"extra_env": [][]string{}, "verification": "verified", "ssh_host": m.Host, "ssh_port": m.Port, "public_ipaddr": m.Host + " ",
		"intended_status": "running", "cur_state": "running", "next_state": "running", "cpu_cores": m.Offer.VCPU, "external": false,
		"status_msg": m.Message,
	}
	switch m.State {
	case Running:
		body["actual_status"] = "running"
		if m.Message == "" {
			body["status_msg"] = "success, running " + c.order.Image
		}
		if c.order.Runtype == "ssh_direct" && !p.has(VastRelayOnly) {
			body["ports"] = map[string]any{"22/tcp": []any{map[string]string{"HostIp": "0.0.0.0", "HostPort": strconv.Itoa(m.Port)}}}
			// What is a relay elsewhere leads nowhere here: there is one address.
			body["ssh_host"], body["ssh_port"] = "192.0.2.1", 14321
		}
	case Pending:
		body["actual_status"] = nil
	case Starting:
		body["actual_status"] = "loading"
	case Failed:
		body["actual_status"], body["status_msg"] = "created", "Error: OCI runtime create failed: "+m.Message
	case Stopped:
		body["actual_status"] = "exited"
		body["intended_status"], body["cur_state"], body["next_state"] = "stopped", "stopped", "stopped"
	case Terminating:
		body["actual_status"], body["intended_status"], body["next_state"] = "exited", "stopped", "deleted"
	default:
		body["actual_status"] = string(m.State)
	}
	if p.has(VastJupyter) {
		body["image_runtype"] = "jupyter_direc ssh_direc ssh_proxy"
		if m.State == Running {
			body["ssh_port"] = body["ssh_port"].(int) - 1
		}
	}
	if p.has(VastNulls) {
		for _, name := range []string{"cpu_cores", "status_msg", "extra_env", "start_date", "geolocation", "image_uuid", "machine_id"} {
			body[name] = nil
		}
		if m.State != Running {
			body["public_ipaddr"], body["ports"], body["ssh_host"], body["ssh_port"] = nil, nil, nil, nil
		}
	}
	return body
}

func vastMinBid(o Offer) float64 { return vastMore(o, "min_bid", o.Price/2) }

func vastStorageCost(o Offer) float64 { return vastMore(o, "storage_cost", 0.15) }

// vastStorage is what a disk costs per hour.
func vastStorage(o Offer, gb float64) float64 { return gb * vastStorageCost(o) / 720 }

func vastMore(o Offer, name string, usual float64) float64 {
	if v, ok := o.More[name].(float64); ok {
		return v
	}
	return usual
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// field is a field of a listed ask as JSON has it, so that all numbers compare.
func (b vastBody) field(name string) any {
	text, err := json.Marshal(b[name])
	if err != nil {
		panic(err)
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		panic(err)
	}
	return v
}

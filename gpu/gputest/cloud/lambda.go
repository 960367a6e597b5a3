package cloud

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// What Lambda does at times.
const (
	LambdaLateIP     Quirk = "lambda: an active machine has no address at first"          // in its first answer
	LambdaNotYet     Quirk = "lambda: a machine that boots cannot be terminated"          // 400
	LambdaBusy       Quirk = "lambda: the first terminate call meets another action"      // 409
	LambdaUnknown400 Quirk = "lambda: what does not exist is refused with 400"            // and not with 404
	LambdaNoJSON     Quirk = "lambda: refusals are pages of a proxy"                      // no code
	LambdaLingers    Quirk = "lambda: a machine that is gone is shown as terminated once" // by get
	LambdaKeyRace    Quirk = "lambda: somebody registers the same key a moment before"    // under the same name
	LambdaBare       Quirk = "lambda: machines have only what they must have"             // no name, no tags, no address
)

// lambda is the API of Lambda. An Offer's ID is a type of machine, its GPU the type's description
// ("H100 (80 GB PCIe)"); several with one ID are the regions of one type.
type lambda struct {
	*Account
	keys []lambdaKey
	seen map[string]int  // by machine: answers of get while it was active, or gone
	met  map[string]bool // by machine: whether a terminate call has met another action
}

type lambdaKey struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	PublicKey string `json:"public_key"`
}

func newLambda(a *Account) api {
	return &lambda{Account: a, seen: map[string]int{}, met: map[string]bool{}}
}

func (p *lambda) offers() []Offer {
	h100 := Offer{
		ID: "gpu_1x_h100_pcie", GPU: "H100 (80 GB PCIe)", Model: "NVIDIA H100 PCIe", VRAMGB: 80, Count: 1, Price: 2.49, Region: "us-west-3",
		VCPU: 26, MemoryGB: 200, Stock: 4,
	}
	elsewhere := h100
	elsewhere.Region, elsewhere.Stock = "us-east-1", 2
	return []Offer{
		h100, elsewhere,
		{
			ID: "gpu_8x_h100_sxm5gdr", GPU: "H100 (80 GB SXM5)", Model: "NVIDIA H100 80GB HBM3", VRAMGB: 80, Count: 8, Price: 23.92, Region: "us-west-1",
			VCPU: 208, MemoryGB: 1800, Stock: 1,
		},
		{ID: "gpu_1x_gh200", GPU: "GH200 (96 GB)", Model: "NVIDIA GH200 480GB", VRAMGB: 96, Count: 1, Price: 1.49, Region: "us-east-3", VCPU: 64, MemoryGB: 432, Stock: 4},
		{ID: "gpu_1x_a10", GPU: "A10 (24 GB PCIe)", Model: "NVIDIA A10", VRAMGB: 24, Count: 1, Price: 0.75, Region: "us-west-1", VCPU: 30, MemoryGB: 200},
		{ID: "cpu_4x_general", GPU: "N/A", Price: 0.1, Region: "us-west-1", VCPU: 4, MemoryGB: 16, Stock: 9},
	}
}

func (p *lambda) routes() []route {
	const every = time.Second
	return []route{
		{op: "offers", method: "GET", pattern: "/api/v1/instance-types", handle: p.types, every: every},
		{op: "keys", method: "GET", pattern: "/api/v1/ssh-keys", handle: func(*request) reply { return data(append([]lambdaKey{}, p.keys...)) }, every: every},
		{op: "register", method: "POST", pattern: "/api/v1/ssh-keys", handle: p.addKey, every: every},
		{op: "create", method: "POST", pattern: "/api/v1/instance-operations/launch", handle: p.launch, every: 12 * time.Second},
		{op: "get", method: "GET", pattern: "/api/v1/instances/{id}", handle: p.get, every: every},
		{op: "list", method: "GET", pattern: "/api/v1/instances", handle: p.list, every: every},
		{op: "terminate", method: "POST", pattern: "/api/v1/instance-operations/terminate", handle: p.end, every: every},
	}
}

func data(value any) reply { return reply{body: map[string]any{"data": value}} }

// refused is a refusal in Lambda's shape.
func (p *lambda) refused(status int, code, message string) reply {
	if p.has(LambdaNoJSON) {
		return reply{status: status, body: "<html><h1>" + http.StatusText(status) + "</h1></html>", header: map[string]string{"Content-Type": "text/html"}, quirk: true}
	}
	return reply{status: status, body: map[string]any{"error": map[string]string{"code": code, "message": message, "suggestion": "See the documentation."}}}
}

func (p *lambda) refuse(op string, status int) reply {
	switch status {
	case http.StatusUnauthorized:
		return p.refused(status, "global/invalid-api-key", "API key was invalid, expired, or deleted.")
	case http.StatusPaymentRequired: // Lambda sends bills afterwards
		return p.refused(http.StatusForbidden, "global/account-inactive", "Your account is inactive.")
	case http.StatusForbidden:
		if op == "create" {
			return p.refused(status, "global/invalid-address", "Your billing address is invalid.")
		}
		return p.refused(status, "global/forbidden", "You do not have permission to do this.")
	case http.StatusNotFound:
		switch op {
		case "get", "terminate", "create":
			return p.absent("it")
		}
		return p.refused(status, "global/not-found", "Not found.")
	case http.StatusConflict:
		return p.refused(status, "global/conflict", "Another operation is in progress.")
	case http.StatusTooManyRequests: // its body is nowhere described
		return reply{status: status, body: "Too Many Requests", header: map[string]string{"Content-Type": "text/plain"}}
	case http.StatusInternalServerError:
		return p.refused(status, "global/internal-error", "An internal error has occurred.")
	}
	return p.refused(status, "global/invalid-parameters", "The request is invalid.")
}

func (p *lambda) absent(what string) reply {
	status := http.StatusNotFound
	if p.has(LambdaUnknown400) {
		status = http.StatusBadRequest
	}
	r := p.refused(status, "global/object-does-not-exist", "Specified object does not exist: "+what)
	r.quirk = r.quirk || status == http.StatusBadRequest
	return r
}

func (p *lambda) machineType(o Offer, price float64) map[string]any {
	return map[string]any{
		"name": o.ID, "description": fmt.Sprintf("%dx %s", o.Count, o.GPU), "gpu_description": o.GPU,
		"price_cents_per_hour": int(math.Round(price * 100)),
		"specs":                map[string]int{"vcpus": o.VCPU, "memory_gib": o.MemoryGB, "storage_gib": 1024, "gpus": o.Count},
	}
}

func lambdaRegion(name string) map[string]string {
	return map[string]string{"name": name, "description": "Somewhere, USA"}
}

func (p *lambda) types(*request) reply {
	all := map[string]map[string]any{}
	for _, o := range p.Account.offers {
		entry := all[o.ID]
		if entry == nil {
			entry = map[string]any{"instance_type": p.machineType(o, o.Price), "regions_with_capacity_available": []map[string]string{}}
			all[o.ID] = entry
		}
		if o.Stock > 0 {
			entry["regions_with_capacity_available"] = append(entry["regions_with_capacity_available"].([]map[string]string), lambdaRegion(o.Region))
		}
	}
	return data(all)
}

func (p *lambda) addKey(r *request) reply {
	var body struct {
		Name      string `json:"name"`
		PublicKey string `json:"public_key"`
	}
	if r.decode(&body) != nil || body.Name == "" || len(body.Name) > 64 {
		return p.refuse("register", 400)
	}
	if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(body.PublicKey)); err != nil {
		return p.refuse("register", 400)
	}
	key := lambdaKey{ID: randomHex(16), Name: body.Name, PublicKey: strings.TrimSpace(body.PublicKey)}
	if p.has(LambdaKeyRace) && len(p.keys) == 0 {
		p.keys = append(p.keys, key)
	}
	for _, known := range p.keys {
		if known.Name == body.Name {
			refused := p.refused(400, "global/duplicate", "An SSH key with this name exists.")
			refused.quirk = true // the description has this code, and not for this call
			return refused
		}
	}
	p.keys = append(p.keys, key)
	return data(key)
}

// A lambdaLaunch is what a machine was asked for with.
type lambdaLaunch struct {
	Region   string   `json:"region_name"`
	Type     string   `json:"instance_type_name"`
	KeyNames []string `json:"ssh_key_names"`
	Name     string   `json:"name"`
	Quantity *int     `json:"quantity"` // was there once
	Tags     []struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	} `json:"tags"`
}

func (p *lambda) launch(r *request) reply {
	var body lambdaLaunch
	if r.decode(&body) != nil || len(body.KeyNames) != 1 || len(body.Name) > 64 || body.Quantity != nil {
		return p.refuse("create", 400)
	}
	offer, ok := p.find(func(o Offer) bool { return o.ID == body.Type && o.Region == body.Region })
	if !ok {
		return p.absent("instance type or region")
	}
	key := ""
	for _, known := range p.keys {
		if known.Name == body.KeyNames[0] {
			key = known.PublicKey
		}
	}
	if key == "" {
		return p.absent("SSH key " + body.KeyNames[0])
	}
	m, err := p.rent(rental{ID: randomHex(16), Name: body.Name, Offer: offer, Key: key, At22: true, Request: body})
	if errors.Is(err, errNoStock) {
		return p.refused(400, "instance-operations/launch/insufficient-capacity", "Not enough capacity to fulfill launch request.")
	} else if err != nil {
		return p.refuse("create", 500)
	}
	return data(map[string][]string{"instance_ids": {m.ID}})
}

func (p *lambda) get(r *request) reply {
	m, ok := p.machine(r.PathValue("id"))
	switch {
	case ok && m.State == Gone && p.has(LambdaLingers) && p.seen[m.ID+" gone"] == 0:
		p.seen[m.ID+" gone"]++
	case !ok || m.State == Gone:
		return p.absent("instance")
	}
	shown := p.show(m)
	if m.State == Running {
		p.seen[m.ID]++
	}
	answer := data(shown)
	answer.quirk = !lambdaStatus[shown["status"].(string)]
	return answer
}

func (p *lambda) list(*request) reply {
	all := []map[string]any{}
	strange := false
	for _, m := range p.listed() {
		shown := p.show(m)
		strange = strange || !lambdaStatus[shown["status"].(string)]
		all = append(all, shown)
	}
	answer := data(all)
	answer.quirk = strange
	return answer
}

// lambdaStatus are those that the description knows.
var lambdaStatus = map[string]bool{"booting": true, "active": true, "unhealthy": true, "terminated": true, "terminating": true, "preempted": true}

// show is a machine as Lambda tells it. A state that it has no word for is told as it is.
func (p *lambda) show(m Machine) map[string]any {
	status, ok := map[State]string{
		Pending: "booting", Starting: "booting", Running: "active", Failed: "unhealthy", Stopped: "preempted", Terminating: "terminating", Gone: "terminated",
	}[m.State]
	if !ok {
		status = string(m.State)
	}
	can := map[string]any{"available": true}
	terminate := can
	switch {
	case m.State == Terminating || m.State == Gone:
		terminate = map[string]any{"available": false, "reason_code": "vm-is-terminating", "reason_description": "Instance is being terminated."}
	case status == "booting" && p.has(LambdaNotYet):
		terminate = map[string]any{"available": false, "reason_code": "vm-has-not-launched", "reason_description": "Instance has not launched yet."}
	case p.has(LambdaBusy) && p.met[m.ID]:
		terminate = map[string]any{"available": false, "reason_code": "vm-action-in-progress"}
	}
	keyNames := []string{}
	for _, k := range p.keys {
		if k.PublicKey == m.Key {
			keyNames = append(keyNames, k.Name)
		}
	}
	shown := map[string]any{
		"id": m.ID, "status": status, "ssh_key_names": keyNames, "file_system_names": []string{}, "region": lambdaRegion(m.Offer.Region),
		"instance_type": p.machineType(m.Offer, m.Price),
		"actions":       map[string]any{"migrate": can, "rebuild": can, "restart": can, "cold_reboot": can, "terminate": terminate},
	}
	if p.has(LambdaBare) {
		return shown
	}
	shown["name"], shown["jupyter_token"], shown["jupyter_url"] = m.Name, "t0ken", "https://jupyter.invalid/?token=t0ken"
	if req, ok := m.Request.(lambdaLaunch); ok {
		tags := []map[string]string{}
		for _, t := range req.Tags {
			tags = append(tags, map[string]string{"key": t.Key, "value": t.Value})
		}
		shown["tags"] = tags
	}
	if status == "active" && !(p.has(LambdaLateIP) && p.seen[m.ID] == 0) {
		shown["ip"], shown["private_ip"], shown["hostname"] = m.Host, "10.0.2.100", strings.ReplaceAll(m.Host, ".", "-")
	}
	return shown
}

func (p *lambda) end(r *request) reply {
	var body struct {
		IDs []string `json:"instance_ids"`
	}
	if r.decode(&body) != nil || len(body.IDs) == 0 {
		return p.refuse("terminate", 400)
	}
	ended := []map[string]any{}
	for _, id := range body.IDs {
		m, ok := p.machine(id)
		switch {
		case !ok || m.State == Gone:
			return p.absent("instance " + id)
		case p.has(LambdaNotYet) && (m.State == Pending || m.State == Starting):
			return p.refused(400, "global/invalid-parameters", "Some instances cannot be terminated.")
		case p.has(LambdaBusy) && !p.met[id]:
			p.met[id] = true
			return p.refuse("terminate", 409)
		}
	}
	for _, id := range body.IDs {
		p.terminate(id)
		m, _ := p.machine(id)
		shown := p.show(m)
		shown["status"] = "terminating" // also where it is gone at once
		ended = append(ended, shown)
	}
	return data(map[string]any{"terminated_instances": ended})
}

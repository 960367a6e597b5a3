package cloud

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The quirks of Prime.
const (
	// PrimeBlink answers the first two requests for the listing as if nothing were for sale.
	PrimeBlink Quirk = "prime: the listing is empty at first"
	// PrimeBlank never lists anything, while the summary says that there is something.
	PrimeBlank Quirk = "prime: the listing is always empty"
	// PrimeWantsMaxPrice refuses a machine whose maximum price is not said.
	PrimeWantsMaxPrice Quirk = "prime: max_price is missing"
	// PrimeLate does not know a machine at all as long as it is hidden; otherwise only its status is
	// missing then, and it is not listed.
	PrimeLate Quirk = "prime: a young machine is not found"
	// PrimeForms writes sshConnection in another form for each machine.
	PrimeForms Quirk = "prime: forms of sshConnection"
	// PrimeRemembers shows machines that are gone, with that status.
	PrimeRemembers Quirk = "prime: what is gone is shown"
)

// prime is the API of Prime Intellect. An Offer's ID is the cloudId, its GPU the gpuType, its Price for the
// machine; More is laid over the listing's line, field by field.
type prime struct {
	*Account
	keys   []primeKey
	blinks int
}

type primeKey struct {
	ID        string `json:"id"`
	UserID    string `json:"userId"`
	Name      string `json:"name"`
	PublicKey string `json:"publicKey"`
	Primary   bool   `json:"isPrimary"`
	User      bool   `json:"isUserKey"`
}

type primeJSON = map[string]any

func newPrime(a *Account) api {
	return &prime{Account: a, keys: []primeKey{{
		ID: "key-of-a-laptop", UserID: "user-1", Name: "laptop", Primary: true, User: true,
		PublicKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFzsHHCTgTPMQOQDmRcSXDIpJRXpQZcHmJbNkcPZl4Ai somebody@laptop",
	}}}
}

func (p *prime) offers() []Offer {
	return []Offer{
		{
			ID: "NVIDIA A100 80GB PCIe", GPU: "A100_80GB", Model: "NVIDIA A100 80GB PCIe", VRAMGB: 80, Count: 1, Price: 1.6568,
			Region: "united_states", VCPU: 14, MemoryGB: 125, Stock: 1,
			More: primeJSON{"socket": "PCIe", "provider": "runpod", "dataCenter": "US-KS-2", "country": "US"},
		},
		{
			ID: "gpu_1x_h100_sxm5", GPU: "H100_80GB", Model: "NVIDIA H100 80GB HBM3", VRAMGB: 80, Count: 1, Price: 2.69, Region: "united_states",
			VCPU: 26, MemoryGB: 225, Stock: 8, More: primeJSON{"socket": "SXM5", "provider": "lambdalabs", "dataCenter": "us-west-3", "country": "US"},
		},
		{
			ID: "8H100.80S", GPU: "H100_80GB", Model: "NVIDIA H100 80GB HBM3", VRAMGB: 80, Count: 8, Price: 31.92, Region: "eu_north",
			VCPU: 176, MemoryGB: 1480, Stock: 2, More: primeJSON{"socket": "SXM5", "provider": "datacrunch", "dataCenter": "FIN-01", "country": "FI"},
		},
		{
			ID: "1A100.80S", GPU: "A100_80GB", Model: "NVIDIA A100-SXM4-80GB", VRAMGB: 80, Count: 1, Price: 0.5748, Region: "eu_north", Spot: true,
			VCPU: 22, MemoryGB: 120, Stock: 3, More: primeJSON{"socket": "SXM4", "provider": "datacrunch", "dataCenter": "FIN-01", "country": "FI"},
		},
		{
			ID: "rtx4090-pcie", GPU: "RTX4090_24GB", Model: "NVIDIA GeForce RTX 4090", VRAMGB: 24, Count: 2, Price: 0.78, Region: "canada",
			Community: true, VCPU: 16, MemoryGB: 64, Stock: 5, More: primeJSON{"socket": "PCIe", "provider": "tensordock", "country": "CA"},
		},
	}
}

func (p *prime) routes() []route {
	return []route{
		{op: "offers", method: "GET", pattern: "/api/v1/availability/gpus", handle: p.listing},
		{op: "summary", method: "GET", pattern: "/api/v1/availability/gpu-summary", handle: p.summary},
		{op: "keys", method: "GET", pattern: "/api/v1/ssh_keys/{$}", handle: p.listKeys},
		{op: "register", method: "POST", pattern: "/api/v1/ssh_keys/{$}", handle: p.addKey},
		{op: "create", method: "POST", pattern: "/api/v1/pods/{$}", handle: p.create},
		{op: "get", method: "GET", pattern: "/api/v1/pods/{id}", handle: p.get},
		{op: "status", method: "GET", pattern: "/api/v1/pods/status", handle: p.status},
		{op: "list", method: "GET", pattern: "/api/v1/pods/{$}", handle: p.list},
		{op: "terminate", method: "DELETE", pattern: "/api/v1/pods/{id}", handle: p.end},
	}
}

// refuse has the forms that were seen of Prime: a detail, and errors for what is not valid.
func (p *prime) refuse(_ string, status int) reply {
	text := map[int]string{
		http.StatusUnauthorized: "Could not validate credentials", http.StatusPaymentRequired: "Insufficient funds in the wallet",
		http.StatusForbidden: "Missing permission", http.StatusNotFound: "Not found",
	}[status]
	return p.detail(status, cmp.Or(text, http.StatusText(status)))
}

func (p *prime) detail(status int, text string) reply {
	return reply{status: status, body: primeJSON{"detail": text}}
}

func (p *prime) notValid(param, details string) reply {
	return reply{status: http.StatusUnprocessableEntity, body: primeJSON{"errors": []primeJSON{{"param": param, "details": details}}}}
}

// line is an offer as the listing has it.
func (p *prime) line(o Offer) primeJSON {
	line := primeJSON{
		"cloudId": o.ID, "gpuType": o.GPU, "socket": "PCIe", "provider": "primecompute", "region": o.Region, "dataCenter": nil, "country": nil,
		"gpuCount": o.Count, "gpuMemory": o.VRAMGB * o.Count, "sharedDisk": primeJSON{"defaultCount": nil}, "internetSpeed": nil, "interconnect": nil,
		"disk":        primeJSON{"minCount": 120, "defaultCount": 120, "maxCount": 3000, "pricePerUnit": 0.00014, "step": 10, "defaultIncludedInPrice": false},
		"vcpu":        primeJSON{"minCount": nil, "defaultCount": o.VCPU, "maxCount": nil},
		"memory":      primeJSON{"minCount": nil, "defaultCount": o.MemoryGB, "maxCount": nil},
		"stockStatus": "High", "security": "secure_cloud", "isSpot": nil, "prepaidTime": nil, "provisioningTime": nil,
		"prices": primeJSON{"onDemand": o.Price, "communityPrice": nil, "isVariable": false, "currency": "USD"},
		"images": []string{"ubuntu_22_cuda_12", "cuda_12_4_pytorch_2_4", "custom_template"},
	}
	if o.Community {
		line["security"] = "community_cloud"
		line["prices"] = primeJSON{"onDemand": nil, "communityPrice": o.Price, "isVariable": nil, "currency": "USD"}
	}
	if o.Spot {
		line["isSpot"] = true
	}
	switch {
	case o.Phantom:
		line["stockStatus"] = "Available"
	case o.Stock <= 0:
		line["stockStatus"] = "Unavailable"
	case o.Stock == 1:
		line["stockStatus"] = "Low"
	case o.Stock < 5:
		line["stockStatus"] = "Medium"
	}
	maps.Copy(line, o.More)
	return line
}

func (p *prime) listing(r *request) reply {
	query := r.URL.Query()
	lines := []primeJSON{}
	for _, o := range p.Account.offers {
		line := p.line(o)
		if typ := query.Get("gpu_type"); typ == "" || typ == line["gpuType"] {
			lines = append(lines, line)
		}
	}
	if p.has(PrimeBlank) || p.has(PrimeBlink) && p.blinks < 2 {
		p.blinks++
		lines = []primeJSON{}
	}
	size := p.page(min(max(primeNumber(query.Get("page_size"), 100), 1), 100))
	first := size * (max(primeNumber(query.Get("page"), 1), 1) - 1)
	return reply{body: primeJSON{"items": primeCut(lines, first, size), "totalCount": len(lines)}}
}

func (p *prime) summary(*request) reply {
	all := map[string]primeJSON{}
	for _, o := range p.Account.offers {
		counts, ok := all[o.GPU]
		if !ok {
			counts = primeJSON{}
			all[o.GPU] = counts
		}
		counts[strconv.Itoa(o.Count)] = primeJSON{"cheapest": primeJSON{"onDemand": o.Price, "communityPrice": nil, "spotPrice": nil}, o.Region: nil}
	}
	return reply{body: all}
}

// primeNumber reads a parameter of a query.
func primeNumber(text string, otherwise int) int {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	return otherwise
}

func primeCut[T any](all []T, first, size int) []T {
	first = min(max(first, 0), len(all))
	return all[first:min(first+size, len(all))]
}

// primePage is a list as Prime cuts it.
func primePage[T any](p *prime, r *request, all []T) reply {
	query := r.URL.Query()
	size, first := p.page(max(primeNumber(query.Get("limit"), 100), 1)), primeNumber(query.Get("offset"), 0)
	return reply{body: primeJSON{"total_count": len(all), "offset": first, "limit": size, "data": primeCut(all, first, size)}}
}

func (p *prime) listKeys(r *request) reply { return primePage(p, r, p.keys) }

func (p *prime) addKey(r *request) reply {
	var body primeKey
	if r.decode(&body) != nil || body.Name == "" || len(strings.Fields(body.PublicKey)) < 2 {
		return p.notValid("publicKey", "not a public key")
	}
	if slices.ContainsFunc(p.keys, func(k primeKey) bool { return k.PublicKey == body.PublicKey }) {
		return p.detail(http.StatusBadRequest, "SSH key already exists")
	}
	body = primeKey{ID: "key-" + randomHex(4), UserID: "user-1", Name: body.Name, PublicKey: body.PublicKey, User: true}
	p.keys = append(p.keys, body)
	return reply{body: body}
}

// A primeRequest is the body of create, with what is needed here of it.
type primeRequest struct {
	Pod struct {
		Name         string
		CloudID      string `json:"cloudId"`
		GPUType      string `json:"gpuType"`
		Socket       string
		GPUCount     int `json:"gpuCount"`
		DiskSize     *float64
		MaxPrice     *float64
		Image        *string
		DataCenterID *string `json:"dataCenterId"`
		Country      *string
		Security     *string
		SSHKeyID     *string `json:"sshKeyId"`
	}
	Provider struct{ Type string }
}

func (p *prime) create(r *request) reply {
	var body primeRequest
	if err := r.decode(&body); err != nil {
		return p.notValid("body", err.Error())
	}
	pod := body.Pod
	same := func(line primeJSON, field string, want *string) bool {
		return want == nil && line[field] == nil || want != nil && line[field] == *want
	}
	offer, ok := p.find(func(o Offer) bool {
		line := p.line(o)
		return line["cloudId"] == pod.CloudID && line["gpuType"] == pod.GPUType && line["socket"] == pod.Socket && line["gpuCount"] == pod.GPUCount &&
			line["provider"] == body.Provider.Type && same(line, "dataCenter", pod.DataCenterID) && same(line, "country", pod.Country) &&
			(pod.Security == nil || same(line, "security", pod.Security))
	})
	if !ok {
		return p.notValid("pod", "no such configuration")
	}
	line := p.line(*offer)
	image := "ubuntu_22_cuda_12"
	if pod.Image != nil {
		image = *pod.Image
	}
	if images, _ := line["images"].([]string); !slices.Contains(images, image) || image == "custom_template" {
		return p.notValid("image", image+" cannot be used here")
	}
	price := offer.Price
	if disk, _ := line["disk"].(primeJSON); pod.DiskSize != nil {
		least, _ := disk["minCount"].(int)
		most, _ := disk["maxCount"].(int)
		usual, _ := disk["defaultCount"].(int)
		step, _ := disk["step"].(int)
		unit, _ := disk["pricePerUnit"].(float64)
		size := int(*pod.DiskSize)
		if size < least || size > most || step > 0 && (size-least)%step != 0 {
			return p.notValid("diskSize", fmt.Sprintf("%d is not between %d and %d in steps of %d", size, least, most, step))
		}
		price += float64(size-usual) * unit
	}
	prices, _ := line["prices"].(primeJSON)
	switch {
	case pod.MaxPrice == nil && (p.has(PrimeWantsMaxPrice) || prices["isVariable"] == true):
		return p.detail(http.StatusBadRequest, "Missing field: max_price not specified")
	case pod.MaxPrice != nil && *pod.MaxPrice < price:
		return p.detail(http.StatusBadRequest, "The price is above max_price")
	}
	key := slices.IndexFunc(p.keys, func(k primeKey) bool {
		return pod.SSHKeyID != nil && k.ID == *pod.SSHKeyID || pod.SSHKeyID == nil && k.Primary
	})
	if key < 0 {
		return p.detail(http.StatusNotFound, "SSH key not found")
	}
	m, err := p.rent(rental{Name: pod.Name, Offer: offer, Price: price, Key: p.keys[key].PublicKey, Request: body})
	switch {
	case errors.Is(err, errNoStock):
		return p.detail(http.StatusBadRequest, "The requested GPU is out of stock at this provider")
	case err != nil:
		return p.detail(http.StatusInternalServerError, err.Error())
	}
	return reply{body: p.pod(m)}
}

// progress are the fields that details and status have in common.
func (p *prime) progress(m Machine) primeJSON {
	o := primeJSON{
		"providerType": p.line(m.Offer)["provider"], "status": "ACTIVE", "sshConnection": p.connection(m), "ip": m.Host,
		"installationStatus": "FINISHED", "installationFailure": nil, "installationProgress": 100,
	}
	switch m.State {
	case Pending:
		o["status"], o["sshConnection"], o["ip"] = "PROVISIONING", []any{nil}, nil
		o["installationStatus"], o["installationProgress"] = "PENDING", nil
	case Starting:
		o["installationStatus"], o["installationProgress"] = "ACTIVE", 40
	case Running:
	case Failed:
		o["status"], o["sshConnection"] = "ERROR", nil
		o["installationStatus"], o["installationFailure"], o["installationProgress"] = "ERROR", m.Message, nil
	case Terminating:
		o["status"] = "DELETING"
	case Gone:
		o["status"] = "TERMINATED"
	default: // Stopped, and Prime's other words
		o["status"] = strings.ToUpper(string(m.State))
	}
	return o
}

func (p *prime) connection(m Machine) any {
	forms := []any{
		fmt.Sprintf("root@%s -p %d", m.Host, m.Port),
		fmt.Sprintf("ssh root@%s -p %d", m.Host, m.Port),
		[]any{nil, fmt.Sprintf("root@%s -p %d", m.Host, m.Port)},
		fmt.Sprintf("root@%s:%d", m.Host, m.Port),
		"root@" + m.Host, // the port is that of the mapping
	}
	if !p.has(PrimeForms) {
		return forms[0]
	}
	return forms[p.place(m.ID)%len(forms)]
}

func (p *prime) place(id string) int {
	return slices.IndexFunc(p.machines, func(other *machine) bool { return other.ID == id })
}

// pod is a machine's details.
func (p *prime) pod(m Machine) primeJSON {
	line := p.line(m.Offer)
	o := p.progress(m)
	image := "ubuntu_22_cuda_12"
	if req, ok := m.Request.(primeRequest); ok && req.Pod.Image != nil {
		image = *req.Pod.Image
	}
	created := m.Created.UTC().Format(time.RFC3339Nano)
	maps.Copy(o, primeJSON{
		"id": m.ID, "userId": "user-1", "teamId": nil, "walletId": "wallet-1", "name": m.Name, "type": "HOSTED", "createdAt": created, "updatedAt": created,
		"terminatedAt": nil, "gpuName": m.Offer.GPU, "gpuCount": m.Count, "socket": line["socket"], "priceHr": m.Price, "stoppedPriceHr": nil,
		"provisioningPriceHr": 0.0, "environmentType": image, "customTemplateId": nil, "clusterId": nil, "resources": nil, "attachedResources": []any{},
		"primePortMapping": []primeJSON{{"internal": "22", "external": strconv.Itoa(m.Port), "protocol": "TCP", "usedBy": "SSH", "description": nil}},
		"isSpot":           line["isSpot"], "autoRestart": false,
	})
	if m.State == Pending {
		o["primePortMapping"] = nil
	}
	return o
}

// known returns a machine that calls about one know.
func (p *prime) known(id string) (Machine, bool) {
	m, ok := p.machine(id)
	hidden := p.now().Sub(m.Created) < m.Hidden
	return m, ok && (m.State != Gone || p.has(PrimeRemembers)) && !(hidden && p.has(PrimeLate))
}

func (p *prime) get(r *request) reply {
	m, ok := p.known(r.PathValue("id"))
	if !ok {
		return p.refuse("get", http.StatusNotFound)
	}
	return reply{body: p.pod(m)}
}

func (p *prime) status(r *request) reply {
	data := []primeJSON{}
	for _, id := range r.URL.Query()["pod_ids"] {
		if m, ok := p.known(id); ok && p.now().Sub(m.Created) >= m.Hidden {
			o := p.progress(m)
			o["podId"] = id
			data = append(data, o)
		}
	}
	return reply{body: primeJSON{"data": data}}
}

func (p *prime) list(r *request) reply {
	machines := p.listed()
	if p.has(PrimeRemembers) {
		for _, m := range p.machines {
			if seen := p.look(m); seen.State == Gone {
				machines = append(machines, seen)
			}
		}
	}
	pods := []primeJSON{}
	for _, m := range machines {
		pods = append(pods, p.pod(m))
	}
	return primePage(p, r, pods)
}

func (p *prime) end(r *request) reply {
	id := r.PathValue("id")
	if _, ok := p.known(id); !ok || !p.terminate(id) {
		return p.refuse("terminate", http.StatusNotFound)
	}
	status := "DELETING"
	if m, _ := p.machine(id); m.State == Gone {
		status = "TERMINATED"
	}
	return reply{body: primeJSON{"status": status}}
}

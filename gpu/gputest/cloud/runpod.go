package cloud

import (
	"net/http"
	"slices"
	"time"
)

// What Runpod does at times.
const (
	RunpodNoStartSSH   Quirk = "runpod: a create with startSsh is refused"         // the field is on its way out
	RunpodLatePort     Quirk = "runpod: a running pod has no public port yet"      // for its first two readings
	RunpodOldPorts     Quirk = "runpod: a stopped pod shows the ports that it had" // while it ran
	RunpodEmptyRuntime Quirk = "runpod: runtime is an empty object where it should be null"
	RunpodTombstones   Quirk = "runpod: a pod that is gone is shown as terminated" // not as 404
	RunpodFreeAtFirst  Quirk = "runpod: cost is 0 until the pod has a machine"
)

// In an Offer's More, of Runpod.
const (
	RunpodCountry      = "country"      // string: two letters; "" is US
	RunpodManufacturer = "manufacturer" // string: "" is NVIDIA
	RunpodNotOpen      = "not open"     // bool: the account may not rent it
)

// runpod is REST API v2 of Runpod. An Offer's ID is that of the GPU, its Price that of one, its Region a
// data centre, and its Count the most that a machine has; several offers of one ID are one entry of the
// catalogue.
type runpod struct {
	*Account
	owners map[string]string // ids of pods, by the key that each has
	reads  map[string]int    // of running pods
	times  []time.Time       // of calls, for the limit
}

func newRunpod(a *Account) api {
	return &runpod{Account: a, owners: map[string]string{}, reads: map[string]int{}}
}

func (p *runpod) offers() []Offer {
	return []Offer{
		{
			ID: "NVIDIA GeForce RTX 4090", GPU: "RTX 4090", Model: "NVIDIA GeForce RTX 4090", VRAMGB: 24, Count: 8, Price: 0.69,
			Region: "US-KS-2", CUDA: "12.8", Stock: 10,
		},
		{
			ID: "NVIDIA GeForce RTX 4090", GPU: "RTX 4090", Model: "NVIDIA GeForce RTX 4090", VRAMGB: 24, Count: 4, Price: 0.34,
			Region: "CA-MTL-1", CUDA: "12.8", Stock: 10, Community: true, More: map[string]any{RunpodCountry: "CA"},
		},
		{
			ID: "NVIDIA H100 80GB HBM3", GPU: "H100 SXM", Model: "NVIDIA H100 80GB HBM3", VRAMGB: 80, Count: 8, Price: 2.99,
			Region: "US-TX-3", CUDA: "12.9", Stock: 10,
		},
	}
}

func (p *runpod) routes() []route {
	return []route{
		{op: "offers", method: "GET", pattern: "/v2/catalog/gpus", handle: p.limited(p.catalogue)},
		{op: "create", method: "POST", pattern: "/v2/pods", handle: p.limited(p.create)},
		{op: "list", method: "GET", pattern: "/v2/pods", handle: p.limited(p.list)},
		{op: "get", method: "GET", pattern: "/v2/pods/{id}", handle: p.limited(p.get)},
		{op: "terminate", method: "DELETE", pattern: "/v2/pods/{id}", handle: p.end, open: true}, // pods have keys too
	}
}

// limited keeps to 60 calls a minute, which the description gives as an example.
func (p *runpod) limited(handle func(*request) reply) func(*request) reply {
	return func(r *request) reply {
		if p.opts.Limits {
			p.times = slices.DeleteFunc(p.times, func(t time.Time) bool { return p.now().Sub(t) >= time.Minute })
			if len(p.times) >= 60 {
				refused := p.refuse("", http.StatusTooManyRequests)
				refused.header = with(refused.header, "Retry-After", seconds(time.Minute-p.now().Sub(p.times[0])))
				return refused
			}
			p.times = append(p.times, p.now())
		}
		return handle(r)
	}
}

func (p *runpod) refuse(_ string, status int) reply {
	detail := map[int]string{
		http.StatusUnauthorized:        "missing bearer token",
		http.StatusPaymentRequired:     "insufficient balance to rent this pod",
		http.StatusForbidden:           "access denied",
		http.StatusNotFound:            "pod not found",
		http.StatusConflict:            "pod belongs to a cluster",
		http.StatusTooManyRequests:     "rate limit exceeded for the minute window",
		http.StatusInternalServerError: "internal error",
	}[status]
	return runpodProblem(status, detail)
}

func runpodProblem(status int, detail string, errors ...string) reply {
	body := map[string]any{"title": http.StatusText(status), "status": status, "detail": detail}
	if len(errors) > 0 {
		body["errors"] = errors
	}
	return reply{status: status, body: body, header: map[string]string{"Content-Type": "application/problem+json"}}
}

func runpodInvalid(errors ...string) reply {
	return runpodProblem(http.StatusUnprocessableEntity, "Request validation failed.", errors...)
}

// runpodNoInstances is how a create is refused for lack of machines, word for word.
func runpodNoInstances() reply {
	return runpodProblem(http.StatusBadRequest, "There are no longer any instances available with the requested specifications. Please refresh and try again.")
}

package cloud

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A RunpodRequest is the body of a create, as far as bifrost could have a use for it. It is the Request of
// Runpod's machines.
type RunpodRequest struct {
	Name  string
	Cloud string
	GPU   *struct {
		ID                  string
		Count               *int
		AllowedCUDAVersions []string
		MinCUDAVersion      string
	}
	CPU           json.RawMessage
	Image         string
	DataCenterIDs []string
	Disk          *int
	Mounts        struct {
		Persistent *struct {
			Size int
			Path string
		}
		Network []json.RawMessage
	}
	Ports            []string
	Env              map[string]string
	Args             *string
	Registry         *string
	StartSSH         *bool
	StartJupyter     bool
	TemplateID       string
	GlobalNetworking bool
}

func (p *runpod) create(r *request) reply {
	var body RunpodRequest
	dec := json.NewDecoder(bytes.NewReader(r.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&body); err != nil {
		return runpodInvalid("$: " + err.Error())
	}
	if wrong := body.wrong(); wrong != nil {
		return *wrong
	}
	if body.StartSSH != nil && p.has(RunpodNoStartSSH) {
		return runpodInvalid("$: additional properties 'startSsh' not allowed")
	}
	count := 1
	if body.GPU.Count != nil {
		count = *body.GPU.Count
	}
	offer, ok := p.find(func(o Offer) bool {
		return o.ID == body.GPU.ID && o.Community == (body.Cloud == "COMMUNITY") && o.Count >= count && o.Stock > 0 && !o.Phantom &&
			(len(body.DataCenterIDs) == 0 || slices.Contains(body.DataCenterIDs, o.Region)) &&
			!runpodOlder(o.CUDA, body.GPU.MinCUDAVersion) &&
			(len(body.GPU.AllowedCUDAVersions) == 0 || slices.Contains(body.GPU.AllowedCUDAVersions, o.CUDA))
	})
	if !ok {
		return runpodNoInstances()
	}
	if closed, _ := offer.More[RunpodNotOpen].(bool); closed {
		return p.refuse("create", http.StatusForbidden)
	}
	id, key := strings.ToLower(rand.Text()[:14]), "pod-key-"+randomHex(16)
	env := map[string]string{"RUNPOD_POD_ID": id, "RUNPOD_API_KEY": key}
	for name, value := range body.Env {
		env[name] = value
	}
	public := env["PUBLIC_KEY"] // the account has none of its own that startSsh could add
	if !slices.Contains(body.Ports, "22/tcp") {
		public = ""
	}
	m, err := p.rent(rental{ID: id, Name: body.Name, Offer: offer, Count: count, Price: offer.Price * float64(count), Key: public, Env: env, Request: body})
	switch {
	case errors.Is(err, errNoStock):
		return runpodNoInstances()
	case err != nil:
		return runpodProblem(http.StatusInternalServerError, err.Error())
	}
	p.owners[key] = id
	return reply{status: http.StatusCreated, body: p.pod(m)}
}

// wrong is the refusal of a body that breaks a rule, nil where it breaks none.
func (b *RunpodRequest) wrong() *reply {
	var missing []string
	if b.Name == "" {
		missing = append(missing, "$: missing property 'name'", "$: additional properties 'gpu' not allowed")
	}
	if b.Image == "" && b.TemplateID == "" {
		missing = append(missing, "$: missing property 'image'")
	}
	if b.GPU != nil && b.GPU.ID == "" {
		missing = append(missing, "$.gpu: missing property 'id'")
	}
	if b.Mounts.Persistent != nil && b.Mounts.Persistent.Size < 10 {
		missing = append(missing, "$.mounts.persistent.size: minimum: got less, want 10")
	}
	if b.GPU != nil && b.GPU.MinCUDAVersion != "" && !runpodVersion.MatchString(b.GPU.MinCUDAVersion) {
		missing = append(missing, "$.gpu.minCudaVersion: does not match pattern")
	}
	if len(missing) > 0 {
		r := runpodInvalid(missing...)
		return &r
	}
	webPorts := 0
	for _, port := range b.Ports {
		if strings.HasSuffix(port, "/http") {
			webPorts++
		}
	}
	detail := ""
	switch {
	case (b.GPU == nil) == (b.CPU == nil):
		detail = "exactly one of gpu and cpu must be set"
	case b.GPU == nil:
		detail = "there are no CPU pods here"
	case b.Mounts.Persistent != nil && b.Mounts.Network != nil:
		detail = "mounts.persistent and mounts.network are mutually exclusive"
	case len(b.GPU.AllowedCUDAVersions) > 0 && b.GPU.MinCUDAVersion != "":
		detail = "gpu.allowedCudaVersions and gpu.minCudaVersion are mutually exclusive"
	case webPorts > 10:
		detail = "at most 10 http ports"
	}
	if detail == "" {
		return nil
	}
	r := runpodProblem(http.StatusBadRequest, detail)
	return &r
}

// The words for states. Whatever is none of ours is shown as it is.
var runpodStates = map[State]string{
	Pending: "PROVISIONING", Starting: "STARTING", Running: "RUNNING", Failed: "ERROR", Stopped: "EXITED", Terminating: "RUNNING", Gone: "TERMINATED",
}

func (p *runpod) pod(m Machine) map[string]any {
	body, _ := m.Request.(RunpodRequest)
	status, known := runpodStates[m.State]
	if !known {
		status = string(m.State)
	}
	cost := m.Price
	if m.State == Stopped || m.State == Gone || m.State == Pending && p.has(RunpodFreeAtFirst) {
		cost = 0
	}
	mounts := map[string]any{}
	if v := body.Mounts.Persistent; v != nil {
		mounts["persistent"] = map[string]any{"size": v.Size, "path": v.Path}
	}
	disk := 50
	if body.Disk != nil {
		disk = *body.Disk
	}
	pod := map[string]any{
		"id": m.ID, "name": m.Name, "status": status, "actions": []string{"terminate"}, "image": body.Image, "args": "", "disk": disk,
		"ports": append([]string{}, body.Ports...), "env": body.Env, "registry": nil, "mounts": mounts,
		"gpu": map[string]any{"id": m.Offer.ID, "count": m.Count}, "cloud": "SECURE", "dataCenterId": nil, "cudaVersion": nil,
		"template": nil, "cost": cost, "locked": false, "globalNetworking": map[string]any{"enabled": false}, "runtime": nil,
		"createdAt": m.Created.UTC().Format(time.RFC3339), "startedAt": nil,
	}
	if body.Env == nil {
		pod["env"] = map[string]string{}
	}
	if m.Offer.Community {
		pod["cloud"] = "COMMUNITY"
	}
	if m.State != Pending {
		pod["dataCenterId"] = runpodNull(m.Offer.Region)
		pod["cudaVersion"] = runpodNull(m.Offer.CUDA)
	}
	p.addSSH(pod, m, body)
	return pod
}

// addSSH adds where SSH listens. The proxy is there as soon as the pod has a machine, and leads to a shell
// without files.
func (p *runpod) addSSH(pod map[string]any, m Machine, body RunpodRequest) {
	ssh := map[string]any{"proxy": nil, "direct": nil}
	pod["ssh"] = ssh
	if m.State != Pending {
		user := m.ID + "-64411eb2"
		ssh["proxy"] = map[string]any{"host": "ssh.runpod.io", "port": 22, "username": user, "command": "ssh " + user + "@ssh.runpod.io"}
	}
	if p.has(RunpodEmptyRuntime) {
		pod["runtime"] = map[string]any{}
	}
	shown := m.State == Running || m.State == Terminating || m.State == Stopped && p.has(RunpodOldPorts)
	if !shown || !slices.Contains(body.Ports, "22/tcp") {
		return
	}
	if m.State == Running && p.has(RunpodLatePort) {
		if p.reads[m.ID]++; p.reads[m.ID] <= 2 {
			return
		}
	}
	ssh["direct"] = map[string]any{"host": m.Host, "port": m.Port, "username": "root", "command": fmt.Sprintf("ssh root@%s -p %d", m.Host, m.Port)}
	pod["runtime"] = map[string]any{"uptime": 41, "ports": []any{map[string]any{"private": 22, "public": m.Port, "type": "tcp", "ip": m.Host}}}
}

func runpodNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// get shows one pod; one in a state that the description does not know is a quirk.
func (p *runpod) get(r *request) reply {
	m, ok := p.machine(r.PathValue("id"))
	if !ok || m.State == Gone && !p.has(RunpodTombstones) {
		return p.refuse("get", http.StatusNotFound)
	}
	_, known := runpodStates[m.State]
	return reply{body: p.pod(m), quirk: !known}
}

// list lists pods; where the account cuts its listings into pages, as newer versions of the API do, there is
// a cursor to the next.
func (p *runpod) list(r *request) reply {
	pods, quirk := []map[string]any{}, false
	for _, m := range p.listed() {
		_, known := runpodStates[m.State]
		quirk = quirk || !known
		pods = append(pods, p.pod(m))
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("cursor")) // 0 without one
	size := p.page(1000)
	to := min(from+size, len(pods))
	body := map[string]any{"pods": pods[min(from, to):to]}
	if p.opts.Page > 0 {
		page := map[string]any{"nextCursor": nil, "hasNextPage": to < len(pods)}
		if to < len(pods) {
			page["nextCursor"] = strconv.Itoa(to)
		}
		body["pagination"] = page
	}
	return reply{body: body, quirk: quirk}
}

// end terminates a pod, for the account and for the pod itself.
func (p *runpod) end(r *request) reply {
	id, key := r.PathValue("id"), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch owner, ok := p.owners[key]; {
	case key == p.Key, ok && owner == id:
	case ok:
		return p.refuse("terminate", http.StatusForbidden)
	default:
		return p.refuse("terminate", http.StatusUnauthorized)
	}
	return p.limited(func(*request) reply {
		if !p.terminate(id) {
			return p.refuse("terminate", http.StatusNotFound)
		}
		return reply{status: http.StatusNoContent}
	})(r)
}

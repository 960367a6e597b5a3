package prime

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// A pod is a rented machine as Prime tells it.
type pod struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	GPUName   string          `json:"gpuName"`
	GPUCount  int             `json:"gpuCount"`
	Socket    string          `json:"socket"`
	PriceHr   float64         `json:"priceHr"` // USD for the machine
	CreatedAt string          `json:"createdAt"`
	Spot      bool            `json:"isSpot"`
	Ports     json.RawMessage `json:"primePortMapping"` // see sshPort
	progress
}

// A progress is what changes while a machine comes and goes.
type progress struct {
	Status       string          `json:"status"`
	Connection   json.RawMessage `json:"sshConnection"` // see parseConnection
	Installation string          `json:"installationStatus"`
	Percent      float64         `json:"installationProgress"`
	Failure      json.RawMessage `json:"installationFailure"` // words
}

// podID is what an id can be: with anything else a path would lead elsewhere.
var podID = lazyregexp.New(`^[A-Za-z0-9_-]+$`)

// Get implements gpu.Provider. It takes two calls: the details have the name and the price, the status is
// what Prime's own client waits by. Prime may not know a machine yet in the seconds after its creation:
// NotFound is the end of one only where it is older than a minute, and that is for the caller to judge.
func (p *Provider) Get(ctx context.Context, id string) (gpu.Instance, error) {
	if !podID().MatchString(id) {
		return gpu.Instance{}, &gpu.Error{Provider: Name, Op: "get", Kind: gpu.NotFound, Message: fmt.Sprintf("there is no machine %q", id)}
	}
	var found pod
	err := p.api.Do(ctx, httpapi.Call{Op: "get", Method: "GET", Path: "/api/v1/pods/" + id, Into: &found, Limit: p.limit, Repeat: true})
	if err != nil {
		return gpu.Instance{}, err
	}
	if found.ID = cmp.Or(found.ID, id); found.ID != id || found.Name == "" && found.Status == "" {
		return gpu.Instance{}, fmt.Errorf("%s get: asked for machine %s, the answer is about another or none", Name, id)
	}
	if found.Status == "TERMINATED" {
		return found.instance(), nil
	}
	var answer struct {
		Data []struct {
			PodID string `json:"podId"`
			progress
		} `json:"data"`
	}
	err = p.api.Do(ctx, httpapi.Call{
		Op: "status", Method: "GET", Path: "/api/v1/pods/status", Query: url.Values{"pod_ids": {id}}, Into: &answer, Limit: p.limit, Repeat: true,
	})
	var refused *gpu.Error
	if err != nil && !(errors.As(err, &refused) && refused.Kind == gpu.NotFound) { // the details were there
		return gpu.Instance{}, err
	}
	for _, now := range answer.Data {
		if now.PodID == id {
			found.update(now.progress)
		}
	}
	return found.instance(), nil
}

// update takes over what is told; what is not stays as it was.
func (p *pod) update(now progress) {
	p.Status = cmp.Or(now.Status, p.Status)
	p.Installation = cmp.Or(now.Installation, p.Installation)
	p.Percent = max(now.Percent, p.Percent)
	if complaint(now.Failure) != "" {
		p.Failure = now.Failure
	}
	if _, ok := parseConnection(now.Connection); ok {
		p.Connection = now.Connection
	}
}

// List implements gpu.Provider.
func (p *Provider) List(ctx context.Context) ([]gpu.Instance, error) {
	pods, err := pages[pod](ctx, p, "list", "/api/v1/pods/")
	if err != nil {
		return nil, err
	}
	instances := make([]gpu.Instance, 0, len(pods))
	seen := map[string]bool{}
	for _, one := range pods {
		if !seen[one.ID] { // what comes meanwhile moves others to the next page
			seen[one.ID] = true
			instances = append(instances, one.instance())
		}
	}
	return instances, nil
}

// Terminate implements gpu.Provider.
func (p *Provider) Terminate(ctx context.Context, id string) error {
	if !podID().MatchString(id) {
		return nil // there is none
	}
	err := p.api.Do(ctx, httpapi.Call{Op: "terminate", Method: "DELETE", Path: "/api/v1/pods/" + id, Limit: p.limit, Repeat: true})
	var refused *gpu.Error
	if errors.As(err, &refused) && refused.Kind == gpu.NotFound {
		return nil
	}
	return err
}

// instance is the machine in the words of package gpu.
func (p pod) instance() gpu.Instance {
	inst := gpu.Instance{
		Provider: Name, ID: p.ID, Name: p.Name, GPUCount: p.GPUCount, PricePerHour: p.PriceHr, Spot: p.Spot, Created: parseTime(p.CreatedAt),
	}
	inst.GPUType, _ = gpu.Canonical(p.GPUName, 0, p.Socket)
	at, reachable := parseConnection(p.Connection)
	if reachable {
		inst.Host, inst.Port, inst.User = at.host, cmp.Or(at.port, p.sshPort(), 22), at.user
	}
	inst.State, inst.Message = p.state(reachable)
	return inst
}

// state is the state of a machine that can be reached or not, and why it is in it. A machine is up once
// its software is, too.
func (p pod) state(reachable bool) (gpu.State, string) {
	failure := complaint(p.Failure)
	switch p.Status {
	case "TERMINATED":
		return gpu.Terminated, failure
	case "DELETING": // it costs on until it is gone, and nothing will run on it again
		return gpu.Failed, cmp.Or(failure, "Prime is deleting it")
	case "ERROR":
		return gpu.Failed, cmp.Or(failure, "Prime calls it ERROR")
	case "STOPPED":
		return gpu.Stopped, failure
	case "PROVISIONING", "PENDING", "ACTIVE":
	default: // UNKNOWN, and what Prime may add
		return gpu.Unknown, strings.TrimSpace("Prime calls it " + p.Status)
	}
	switch {
	case p.Installation == "ERROR", p.Installation == "TERMINATED" && p.Percent < 100:
		return gpu.Failed, cmp.Or(failure, "its installation is "+p.Installation)
	case p.Status == "ACTIVE" && reachable && (p.Installation == "FINISHED" || p.Percent >= 100):
		return gpu.Running, ""
	}
	return gpu.Starting, ""
}

// sshPort is the port that Prime maps to SSH, 0 where it names none.
func (p pod) sshPort() int {
	var mapped []struct {
		External json.RawMessage `json:"external"` // a number in a text
		UsedBy   string          `json:"usedBy"`
	}
	_ = json.Unmarshal(p.Ports, &mapped) // what cannot be read names none
	for _, m := range mapped {
		if port, ok := parsePort(strings.Trim(string(m.External), `"`)); ok && m.UsedBy == "SSH" {
			return port
		}
	}
	return 0
}

// parseTime reads a time, which has a zone or means UTC. One that cannot be read is unknown: zero.
func parseTime(text string) time.Time {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t
		}
	}
	return time.Time{}
}

package runpod

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// A pod is a machine as the API describes it. What is null there is zero here.
type pod struct {
	ID     string
	Name   string
	Status string
	Ports  []string // that were asked for: 22/tcp
	GPU    struct {
		ID    string
		Count int
	}
	SSH struct {
		// Direct is null until the pod runs and its port 22 has a public one. What stands beside it, the
		// proxy, gives people a shell and nothing else: no files, no commands, no forwarding.
		Direct struct {
			Host     string
			Port     int
			Username string
		}
	}
	Cost      float64 // USD per hour for the whole pod; 0 when it is stopped
	CreatedAt string
}

var states = map[string]gpu.State{
	"PROVISIONING": gpu.Starting, "STARTING": gpu.Starting, "RUNNING": gpu.Running,
	"EXITED": gpu.Stopped, "ERROR": gpu.Failed, "TERMINATED": gpu.Terminated,
}

func (p pod) instance() gpu.Instance {
	inst := gpu.Instance{
		Provider: Name, ID: p.ID, Name: p.Name, State: gpu.Unknown, GPUCount: p.GPU.Count, PricePerHour: p.Cost,
	}
	inst.GPUType, _ = gpu.Canonical(p.GPU.ID, 0, "")
	if inst.GPUType != "" && inst.GPUCount == 0 {
		inst.GPUCount = 1
	}
	inst.Created, _ = time.Parse(time.RFC3339, p.CreatedAt) // zero when it is not told
	state, known := states[p.Status]
	if known {
		inst.State = state
	} else {
		inst.Message = fmt.Sprintf("status %q", p.Status)
	}
	direct := p.SSH.Direct
	switch {
	case state == gpu.Stopped:
		inst.Message = "stopped, or its main process ended"
	case state != gpu.Running: // where SSH listened earlier may be somebody else's now
	case direct.Host != "" && direct.Port > 0:
		inst.Host, inst.Port, inst.User = direct.Host, direct.Port, direct.Username
		if inst.User == "" {
			inst.User = "root"
		}
	case slices.Contains(p.Ports, "22/tcp"):
		inst.State, inst.Message = gpu.Starting, "its SSH port has no public address yet"
	default:
		inst.Message = "it was created without the port 22/tcp, so there is no SSH to it"
	}
	return inst
}

// podID is what the API's ids look like; another text would be another path.
var podID = lazyregexp.New(`^[A-Za-z0-9_-]+$`)

func podPath(id string) string { return "/v2/pods/" + url.PathEscape(id) }

// Get implements gpu.Provider.
func (p *Provider) Get(ctx context.Context, id string) (gpu.Instance, error) {
	if !podID().MatchString(id) {
		return gpu.Instance{}, refuse("get", gpu.NotFound, fmt.Sprintf("%q is no pod's id", id))
	}
	var found pod
	err := p.api.Do(ctx, httpapi.Call{Op: "get", Method: http.MethodGet, Path: podPath(id), Into: &found, Limit: p.limit, Repeat: true})
	switch {
	case err != nil:
		return gpu.Instance{}, err
	case found.ID != id:
		return gpu.Instance{}, fmt.Errorf("runpod get: asked for pod %s, the answer is about %q", id, found.ID)
	}
	return found.instance(), nil
}

// List implements gpu.Provider. Pods of clusters are not among them: bifrost makes none.
func (p *Provider) List(ctx context.Context) ([]gpu.Instance, error) {
	var all []gpu.Instance
	params := url.Values{}
	for seen := map[string]bool{}; ; {
		var page struct {
			Pods       json.RawMessage
			Pagination struct { // in newer versions of the API
				NextCursor  string
				HasNextPage bool
			}
		}
		err := p.api.Do(ctx, httpapi.Call{Op: "list", Method: http.MethodGet, Path: "/v2/pods", Query: params, Into: &page, Limit: p.limit, Repeat: true})
		if err != nil {
			return nil, err
		}
		var pods []pod
		if page.Pods == nil { // an answer about something else must not read as an empty account
			return nil, errors.New("runpod list: the answer has no pods")
		}
		if err := json.NewDecoder(bytes.NewReader(page.Pods)).Decode(&pods); err != nil {
			return nil, fmt.Errorf("runpod list: the answer is not what it should be: %w", err)
		}
		for _, found := range pods {
			all = append(all, found.instance())
		}
		next := page.Pagination.NextCursor
		switch {
		case !page.Pagination.HasNextPage:
			return all, nil
		case next == "" || seen[next]:
			return nil, fmt.Errorf("runpod list: after %d pods the answer leads to no further page, and says that there is one", len(all))
		}
		seen[next] = true
		params.Set("cursor", next)
	}
}

// Terminate implements gpu.Provider. The pod's disk and volume go with it.
func (p *Provider) Terminate(ctx context.Context, id string) error {
	if !podID().MatchString(id) {
		return nil
	}
	err := p.api.Do(ctx, httpapi.Call{Op: "terminate", Method: http.MethodDelete, Path: podPath(id), Limit: p.limit, Repeat: true})
	var refused *gpu.Error
	if errors.As(err, &refused) && refused.Kind == gpu.NotFound {
		return nil
	}
	return err
}

// EndScript implements gpu.SelfEnder: a pod has a key for itself in its environment. That API v2 takes this
// key to delete the pod is not published; only a live account can tell.
func (p *Provider) EndScript(id string) string {
	return httpapi.EndScript(httpapi.End{URL: p.url + podPath(id), ID: id, KeyVar: "RUNPOD_API_KEY", IDVar: "RUNPOD_POD_ID"})
}

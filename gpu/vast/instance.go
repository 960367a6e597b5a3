package vast

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
)

const (
	pageSize = 25   // instances of a list's page; Vast gives no more
	maxPages = 1000 // that are followed
)

// A contract is a rented machine as Vast tells it. Any field may be null.
type contract struct {
	ID          num             `json:"id"`
	Label       string          `json:"label"`
	Actual      string          `json:"actual_status"`
	Intended    string          `json:"intended_status"`
	Current     string          `json:"cur_state"`
	Next        string          `json:"next_state"`
	Message     string          `json:"status_msg"`
	GPUName     string          `json:"gpu_name"`
	NumGPUs     num             `json:"num_gpus"`
	GPURAM      num             `json:"gpu_ram"`   // MB per GPU
	DPHTotal    num             `json:"dph_total"` // USD per hour for the machine with its storage
	IsBid       bool            `json:"is_bid"`
	Runtype     string          `json:"image_runtype"`
	SSHHost     string          `json:"ssh_host"`
	SSHPort     num             `json:"ssh_port"`
	PublicIP    string          `json:"public_ipaddr"`
	Ports       json.RawMessage `json:"ports"`
	StartedUnix num             `json:"start_date"`
}

// instance is what a contract means.
func (c contract) instance() gpu.Instance {
	inst := gpu.Instance{
		Provider: Name, ID: c.ID.id(), Name: c.Label, State: c.state(), Message: strings.TrimSpace(c.Message), User: user,
		GPUCount: int(c.NumGPUs), PricePerHour: float64(c.DPHTotal), Spot: c.IsBid,
	}
	inst.GPUType, _ = gpu.Canonical(c.GPUName, float64(c.GPURAM)/1024, "")
	inst.Host, inst.Port = c.address()
	if c.StartedUnix > 0 {
		whole, part := math.Modf(float64(c.StartedUnix))
		inst.Created = time.Unix(int64(whole), int64(part*1e9))
	}
	return inst
}

// state is what Vast's words for a contract mean. One that is stopped and meant to be was never started or
// has lost to a higher bid: it will not come back.
func (c contract) state() gpu.State {
	ended := c.Current == "stopped" && c.Intended == "stopped" && c.Next == "stopped"
	switch c.Actual {
	case "running":
		return gpu.Running
	case "", "created", "loading", "scheduling":
		if ended || strings.Contains(c.Message, "OCI runtime create failed") {
			return gpu.Failed
		}
		return gpu.Starting
	case "stopped", "exited":
		if ended {
			return gpu.Failed
		}
		return gpu.Stopped
	}
	// "offline" and "unknown": the host has lost contact, and may find it again.
	return gpu.Unknown
}

// address is where SSH listens: on the machine itself where it has a port there, else on Vast's relay. It is
// not known before the machine runs: only then it is told whether the machine has a port.
func (c contract) address() (host string, port int) {
	if c.Actual != "running" {
		return "", 0
	}
	var ports map[string][]struct {
		HostPort num
	}
	_ = json.Unmarshal(c.Ports, &ports) // null, at times
	host = strings.TrimSpace(c.PublicIP)
	if direct := ports["22/tcp"]; host != "" && len(direct) > 0 && validPort(direct[0].HostPort) {
		return host, int(direct[0].HostPort)
	}
	if host = strings.TrimSpace(c.SSHHost); host == "" || !validPort(c.SSHPort) {
		return "", 0
	}
	port = int(c.SSHPort)
	if strings.Contains(c.Runtype, "jupyter") {
		port++
	}
	return host, port
}

func validPort(n num) bool { return n >= 1 && n <= math.MaxUint16 }

// Get implements gpu.Provider. An instance whose host has lost contact is Unknown: it is the caller's to say
// how long that may last.
func (p *Provider) Get(ctx context.Context, id string) (gpu.Instance, error) {
	number, ok := contractID(id)
	if !ok {
		return gpu.Instance{}, notFound(ctx, "get", id)
	}
	var answer struct {
		Instances json.RawMessage `json:"instances"` // one, despite its name
	}
	err := p.api.Do(ctx, httpapi.Call{
		Op: "get", Method: "GET", Path: "/api/v0/instances/" + number + "/", Into: &answer, Limit: p.limits.get, Repeat: true,
	})
	if err != nil {
		return gpu.Instance{}, err
	}
	found, err := list(answer.Instances)
	switch {
	case err != nil:
		return gpu.Instance{}, fmt.Errorf("%s get: the answer tells of no instance: %w", Name, err)
	case len(found) == 0:
		return gpu.Instance{}, notFound(ctx, "get", id)
	}
	c, err := readContract(found[0])
	if err == nil && c.ID.id() != number {
		err = fmt.Errorf("it is about %s", c.ID.id())
	}
	if err != nil {
		return gpu.Instance{}, fmt.Errorf("%s get: the answer to %s: %w", Name, number, err)
	}
	return c.instance(), nil
}

func readContract(raw json.RawMessage) (contract, error) {
	var c contract
	err := json.Unmarshal(raw, &c)
	if err == nil && c.ID.id() == "" {
		err = errors.New("an instance without an id")
	}
	return c, err
}

// List implements gpu.Provider. The list of the API v0 is retired; that of v1 comes in pages.
func (p *Provider) List(ctx context.Context) ([]gpu.Instance, error) {
	var all []gpu.Instance
	query := url.Values{"limit": {strconv.Itoa(pageSize)}}
	for range maxPages {
		var answer struct {
			Instances json.RawMessage `json:"instances"`
			Next      string          `json:"next_token"`
		}
		err := p.api.Do(ctx, httpapi.Call{
			Op: "list", Method: "GET", Path: "/api/v1/instances/", Query: query, Into: &answer, Limit: p.limits.list, Repeat: true,
		})
		if err != nil {
			return nil, err
		}
		page, err := list(answer.Instances)
		for _, raw := range page {
			c, bad := readContract(raw)
			if err = errors.Join(err, bad); err != nil {
				break
			}
			all = append(all, c.instance())
		}
		switch {
		case err != nil: // a machine that is not understood costs money all the same
			return nil, fmt.Errorf("%s list: the answer is not what it should be: %w", Name, err)
		case answer.Next == "":
			return all, nil
		case answer.Next == query.Get("after_token"):
			return nil, fmt.Errorf("%s list: the page after %s is itself", Name, answer.Next)
		}
		query.Set("after_token", answer.Next)
	}
	return nil, fmt.Errorf("%s list: more than %d pages", Name, maxPages)
}

// Terminate implements gpu.Provider.
func (p *Provider) Terminate(ctx context.Context, id string) error {
	number, ok := contractID(id)
	if !ok {
		return context.Cause(ctx) // there is none
	}
	err := p.api.Do(ctx, httpapi.Call{
		Op: "terminate", Method: "DELETE", Path: "/api/v0/instances/" + number + "/", Limit: p.limits.destroy, Repeat: true,
	})
	var refused *gpu.Error
	if errors.As(err, &refused) && refused.Kind == gpu.NotFound {
		return nil
	}
	return err
}

// notFound refuses what no answer is needed for, unless the context has ended.
func notFound(ctx context.Context, op, id string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return refuse(op, gpu.NotFound, fmt.Sprintf("there is no instance %q", id))
}

package lambda

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// A machine is a rented machine as Lambda tells it.
type machine struct {
	ID      string      `json:"id"`
	Name    string      `json:"name"`
	IP      string      `json:"ip"` // not told until late in the boot
	Status  string      `json:"status"`
	Type    machineType `json:"instance_type"`
	Tags    []tag       `json:"tags"`
	Actions struct {
		Terminate struct {
			Available *bool  `json:"available"`
			Code      string `json:"reason_code"`
			Reason    string `json:"reason_description"`
		} `json:"terminate"`
	} `json:"actions"`
}

const (
	sshPort = 22
	sshUser = "ubuntu"
)

// patience is how long a machine may be unhealthy before it counts as failed: some recover.
const patience = 2 * time.Minute

// machineID is what an id can be: with anything else a path would lead elsewhere.
var machineID = lazyregexp.New(`^[A-Za-z0-9_-]+$`)

func notFound(op, id string) error {
	return &gpu.Error{Provider: Name, Op: op, Kind: gpu.NotFound, Message: fmt.Sprintf("there is no machine %q", id)}
}

// Get implements gpu.Provider. Only Lambda's own word that there is no such machine is NotFound. A machine
// that Lambda calls unhealthy is Unknown for two minutes, Failed then; the time counts from when this
// Provider first saw it.
func (p *Provider) Get(ctx context.Context, id string) (gpu.Instance, error) {
	m, err := p.get(ctx, "get", id)
	if err != nil {
		return gpu.Instance{}, err
	}
	return p.instance(m), nil
}

func (p *Provider) get(ctx context.Context, op, id string) (machine, error) {
	if !machineID().MatchString(id) {
		return machine{}, notFound(op, id)
	}
	var answer struct {
		Data machine `json:"data"`
	}
	err := p.api.Do(ctx, httpapi.Call{Op: op, Method: "GET", Path: "/api/v1/instances/" + id, Into: &answer, Limit: p.limit, Repeat: true})
	switch {
	case err != nil:
		return machine{}, err
	case answer.Data.ID != id:
		return machine{}, fmt.Errorf("%s %s: the answer is about %q, not %q", Name, op, answer.Data.ID, id)
	}
	return answer.Data, nil
}

// List implements gpu.Provider. Lambda lists all at once. A machine may appear some seconds after its
// creation.
func (p *Provider) List(ctx context.Context) ([]gpu.Instance, error) {
	var answer struct {
		Data *[]machine `json:"data"`
	}
	err := p.api.Do(ctx, httpapi.Call{Op: "list", Method: "GET", Path: "/api/v1/instances", Into: &answer, Limit: p.limit, Repeat: true})
	if err != nil {
		return nil, err
	}
	if answer.Data == nil { // that there are none would be said
		return nil, errors.New(Name + " list: the answer has no data")
	}
	var all []gpu.Instance
	for _, m := range *answer.Data {
		all = append(all, p.instance(m))
	}
	return all, nil
}

// Terminate implements gpu.Provider. Lambda refuses to terminate a machine that is at another action, or
// that is just coming up: that is kind Conflict, and is to be tried again.
func (p *Provider) Terminate(ctx context.Context, id string) error {
	if !machineID().MatchString(id) {
		return nil // there is none
	}
	var answer struct {
		Data struct {
			Machines []machine `json:"terminated_instances"`
		} `json:"data"`
	}
	err := p.api.Do(ctx, httpapi.Call{
		Op: "terminate", Method: "POST", Path: "/api/v1/instance-operations/terminate", Into: &answer, Limit: p.limit, Repeat: true,
		Body: map[string][]string{"instance_ids": {id}},
	})
	var refused *gpu.Error
	switch {
	case err == nil:
		for _, m := range answer.Data.Machines {
			if m.ID == id {
				return m.blocked()
			}
		}
		return &gpu.Error{Provider: Name, Op: "terminate", Kind: gpu.Conflict, Message: "the answer does not name the machine"}
	case !errors.As(err, &refused):
		return err
	case refused.Kind == gpu.NotFound:
		return nil
	case refused.Kind != gpu.Validation && refused.Kind != gpu.Conflict:
		return err
	}
	// How a machine that cannot be terminated yet is refused is nowhere said; that it cannot, it says itself.
	m, getErr := p.get(ctx, "terminate", id)
	if errors.As(getErr, &refused) && refused.Kind == gpu.NotFound {
		return nil
	} else if getErr != nil {
		return err
	}
	if blocked := m.blocked(); blocked != nil || m.ending() {
		return blocked
	}
	return err
}

// ending reports whether a machine's end has been asked for.
func (m machine) ending() bool { return m.Status == "terminating" || m.Status == "terminated" }

// blocked is why a machine cannot be terminated now, nil where it can, or where it is at that.
func (m machine) blocked() error {
	action := m.Actions.Terminate
	if m.ending() || action.Available == nil || *action.Available || action.Code == "vm-is-terminating" {
		return nil
	}
	return &gpu.Error{
		Provider: Name, Op: "terminate", Kind: gpu.Conflict, Code: action.Code,
		Message: fmt.Sprintf("it cannot be terminated yet: %s", cmp.Or(action.Reason, action.Code, "no reason is told")),
	}
}

// instance is the machine in the words of package gpu.
func (p *Provider) instance(m machine) gpu.Instance {
	inst := gpu.Instance{
		Provider: Name, ID: m.ID, Name: m.Name, GPUCount: m.Type.Specs.GPUs, PricePerHour: m.Type.CentsPerHour / 100, Created: m.created(),
	}
	inst.GPUType, _ = m.Type.gpu()
	if m.IP != "" {
		inst.Host, inst.Port, inst.User = m.IP, sshPort, sshUser
	}
	inst.State, inst.Message = m.state()
	if since := p.unhealthy(m, time.Now()); since > 0 && since < patience {
		inst.State = gpu.Unknown
	}
	return inst
}

// state is the state of a machine, and why it is in it.
func (m machine) state() (gpu.State, string) {
	switch m.Status {
	case "booting":
		return gpu.Starting, ""
	case "active":
		if m.IP == "" {
			return gpu.Starting, "it has no address yet"
		}
		return gpu.Running, ""
	case "unhealthy":
		return gpu.Failed, "Lambda calls it unhealthy"
	case "preempted": // somebody else has it; that it costs nothing is nowhere said
		return gpu.Failed, "Lambda has taken it back"
	case "terminating": // it costs on until it is gone, and nothing will run on it again
		return gpu.Failed, "Lambda is terminating it"
	case "terminated":
		return gpu.Terminated, ""
	}
	return gpu.Unknown, fmt.Sprintf("Lambda calls it %q", m.Status)
}

// unhealthy is for how long a machine has been known to be unhealthy; 0 is that it is not.
func (p *Provider) unhealthy(m machine, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.Status != "unhealthy" {
		delete(p.sick, m.ID)
		return 0
	}
	if _, known := p.sick[m.ID]; !known {
		p.sick[m.ID] = now
	}
	return max(now.Sub(p.sick[m.ID]), 1)
}

// created is when a machine was made, as its tag tells; zero for one that bifrost did not make.
func (m machine) created() time.Time {
	for _, t := range m.Tags {
		if at, err := time.Parse(time.RFC3339, t.Value); t.Key == createdTag && err == nil {
			return at
		}
	}
	return time.Time{}
}

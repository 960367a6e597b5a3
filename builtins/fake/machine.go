package fake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/gpu"
)

// A state is what has become of a machine.
type state string

const (
	ready      state = "running"
	terminated state = "terminated"
	kept       state = "kept"
	held       state = "held"
	left       state = "left to its job" // started and not waited for, or detached
	silent     state = "does not answer; left to the guardian"
)

// A machine is one that exists in the world, whoever works on it.
type machine struct {
	world    *World
	id       string
	name     string // for people; "" for none
	provider string
	gpuType  string
	gpuCount int
	price    float64 // USD per hour
	rented   bool    // by the test's script
	ours     bool    // rented by bifrost, now or before
	keep     bool
	acquired bool // released by the end of the script
	dead     bool // it answers no more
	state    state
	own      map[string][]byte // files that were written there
	pushed   []pushed
	jobs     []*job
}

const home = "/root"

// acquire rents or reaches a machine.
func (w *World) acquire(ctx context.Context, spec engine.NodeSpec) (*node, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	keep := field{"keep_alive", nil}
	if spec.KeepAlive != nil {
		keep.value = *spec.KeepAlive
	}
	var m *machine
	var err error
	switch {
	case spec.Provision != nil:
		m, err = w.rent(spec, keep)
	case spec.SSH != "":
		m, err = w.reach(spec, keep)
	default:
		m, err = w.find(spec, keep)
	}
	if err != nil {
		return nil, err
	}
	return &node{machine: m}, nil
}

func (w *World) rent(spec engine.NodeSpec, keep field) (*machine, error) {
	query := *spec.Provision
	query.Count = max(query.Count, 1)
	w.mu.Lock()
	err := w.trip("acquire", cmp.Or(query.Type, "GPU"))
	w.mu.Unlock()
	var best gpu.Offer
	if err == nil {
		best, err = w.best(query)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.record("acquire", field{"gpu_type", query.Type}, field{"gpu_count", query.Count}, field{"node", nil}, keep, field{"max_cost", spec.MaxCost})
		return nil, err
	}
	m := &machine{
		world: w, name: spec.Name, id: fmt.Sprintf("%s:fake-%d", best.Provider, len(w.machines)+1), provider: best.Provider, gpuType: best.GPUType,
		gpuCount: best.GPUCount, price: best.PriceTotal, rented: true, ours: true, keep: spec.KeepAlive != nil && *spec.KeepAlive, state: ready,
		own: map[string][]byte{},
	}
	w.machines = append(w.machines, m)
	w.record("acquire", field{"gpu_type", query.Type}, field{"gpu_count", query.Count}, field{"node", m.id}, keep, field{"max_cost", spec.MaxCost})
	return m, nil
}

// reach connects to a machine of the user's own. Every one exists.
func (w *World) reach(spec engine.NodeSpec, keep field) (*machine, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := "ssh:" + strings.TrimPrefix(spec.SSH, "ssh:")
	w.record("acquire", field{"ssh", spec.SSH}, field{"node", id}, keep, field{"max_cost", spec.MaxCost})
	if err := w.trip("acquire", spec.SSH); err != nil {
		return nil, err
	}
	if m := w.machine(id); m != nil {
		return m, nil
	}
	m := &machine{world: w, id: id, provider: "ssh", state: ready, own: map[string][]byte{}}
	w.machines = append(w.machines, m)
	return m, nil
}

// find connects to a machine that exists.
func (w *World) find(spec engine.NodeSpec, keep field) (*machine, error) {
	if target, ok := strings.CutPrefix(spec.NodeID, "ssh:"); ok {
		spec.SSH = target
		return w.reach(spec, keep)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record("acquire", field{"node_id", spec.NodeID}, field{"node", spec.NodeID}, keep, field{"max_cost", spec.MaxCost})
	if err := w.trip("acquire", spec.NodeID); err != nil {
		return nil, err
	}
	m := w.machine(spec.NodeID)
	switch {
	case m == nil:
		return nil, notFound("node_id", spec.NodeID, "no such machine", fmt.Sprintf("in a test, fake.nodes([{\"id\": %q}]) makes one", spec.NodeID))
	case m.state == terminated:
		return nil, notFound("node_id", spec.NodeID, "the machine is terminated", "")
	case !m.ours && spec.KeepAlive == nil:
		return nil, invalid("node_id", spec.NodeID, "bifrost did not rent this machine, so keep_alive must be said",
			"keep_alive = True leaves it as it is, keep_alive = False terminates it at the end")
	}
	if spec.KeepAlive != nil {
		m.keep = *spec.KeepAlive
	}
	m.state = ready
	return m, nil
}

// machine is called with the world locked.
func (w *World) machine(id string) *machine {
	for _, m := range w.machines {
		if m.id == id {
			return m
		}
	}
	return nil
}

// release ends a scope of the machine: what is one's own stays, what is kept too. It is called with
// the world locked.
func (m *machine) release() error {
	switch {
	case m.provider == "ssh" || m.state != ready:
		return nil
	case m.keep:
		m.leave(kept, "keep")
		return nil
	}
	return m.terminate()
}

// leave records that the machine stays. It is called with the world locked.
func (m *machine) leave(s state, op string) {
	m.state = s
	m.world.record(op, field{"node", m.id})
}

// terminate is called with the world locked.
func (m *machine) terminate() error {
	m.world.record("terminate", field{"node", m.id})
	if err := m.world.trip("terminate", m.id); err != nil {
		return err
	}
	m.state = terminated
	now := m.world.clock.Now()
	for _, j := range m.jobs {
		j.stop(now, "its machine is gone")
	}
	return nil
}

// leaks lists the machines that the script rented and that still cost money. Those of acquire_node end
// with the script and are none.
func (w *World) leaks() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, m := range w.machines {
		if m.rented && m.state != terminated && !(m.acquired && m.state == ready && !m.keep) {
			all = append(all, fmt.Sprintf("%s (%s)", m.id, m.state))
		}
	}
	return all
}

func lost(op, target string) error {
	return &fault.Error{Kind: fault.Lost, Op: op, Target: target, Err: errors.New("the machine does not answer any more"), Hint: "look at the provider's console"}
}

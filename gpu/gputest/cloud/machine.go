package cloud

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"
)

// A State is that of a machine. The providers have their own words for it.
type State string

// The states of a machine, in the order of its life; Failed and Stopped are ways off.
const (
	Pending     State = "pending"
	Starting    State = "starting"
	Running     State = "running"
	Failed      State = "failed"
	Stopped     State = "stopped"
	Terminating State = "terminating" // costs money still
	Gone        State = "gone"
)

// A Behaviour is how a machine behaves. The zero value is one that runs at once and works.
type Behaviour struct {
	Pending  time.Duration // until the provider has a machine
	Starting time.Duration // from then until it runs
	Ending   time.Duration // from the request to end it until it is gone
	Hidden   time.Duration // from its creation until it is listed

	Dear        float64 // USD per hour that it costs above its offer
	FewerGPUs   int     // than were rented
	OtherGPU    string  // that it has instead, as nvidia-smi spells it
	Locked      bool    // nobody can log in
	Unreachable bool    // its SSH port accepts nobody
	Fails       bool    // it fails instead of running
	Stops       bool    // it stops instead of running
	Message     string  // why, in the provider's words
}

// A Machine is a rented machine as it was when it was looked at.
type Machine struct {
	ID      string
	Name    string
	Offer   Offer // as it was when it was rented
	Count   int   // GPUs
	State   State
	Price   float64 // USD per hour
	Created time.Time
	Ended   time.Time // when its end was asked for; zero before
	Key     string    // who may log in, authorized_keys form; "" is nobody
	Env     map[string]string
	Host    string // where SSH listens
	Port    int
	Behaviour
	// Request is the body that it was created with, decoded by the provider's file.
	Request any
}

// A rental is what a provider's file has read from a create request.
type rental struct {
	ID      string // "" is one that the core makes up
	Name    string
	Offer   *Offer
	Count   int     // GPUs; 0 is the offer's
	Price   float64 // USD per hour; 0 is the offer's
	Key     string
	Env     map[string]string // of what runs on the machine
	At22    bool              // SSH listens at port 22 of an address of the machine's own
	Request any
}

var errNoStock = errors.New("no stock")

// A machine is the account's own record.
type machine struct {
	Machine
	state State // set by SetState; "" follows the clock
	node  *node
}

// rent makes a machine, or fails with errNoStock.
func (a *Account) rent(r rental) (Machine, error) {
	if r.Offer.Stock <= 0 || r.Offer.Phantom {
		return Machine{}, errNoStock
	}
	b := a.opts.Machine
	if a.opts.Each != nil {
		a.opts.Each(len(a.machines), &b)
	}
	m := &machine{Machine: Machine{
		ID: cmp.Or(r.ID, randomHex(8)), Name: r.Name, Offer: *r.Offer, Count: cmp.Or(r.Count, r.Offer.Count),
		Price: cmp.Or(r.Price, r.Offer.Price) + b.Dear, Created: a.now(), Key: r.Key, Env: maps.Clone(r.Env),
		Behaviour: b, Request: r.Request,
	}}
	node, err := newNode(a, m, r.At22)
	if err != nil {
		return Machine{}, err
	}
	m.node = node
	m.Host, m.Port = node.host, node.port
	r.Offer.Stock--
	a.machines = append(a.machines, m)
	return a.look(m), nil
}

// look is a machine as it is now.
func (a *Account) look(m *machine) Machine {
	seen := m.Machine
	seen.Env = maps.Clone(m.Env)
	age := a.now().Sub(m.Created)
	switch {
	case !m.Ended.IsZero() && a.now().Sub(m.Ended) >= m.Ending:
		seen.State = Gone
	case !m.Ended.IsZero():
		seen.State = Terminating
	case m.state != "":
		seen.State = m.state
	case age < m.Pending:
		seen.State = Pending
	case age < m.Pending+m.Starting:
		seen.State = Starting
	case m.Fails:
		seen.State = Failed
	case m.Stops:
		seen.State = Stopped
	default:
		seen.State = Running
	}
	return seen
}

// machine returns the machine of an id, also where it is gone already.
func (a *Account) machine(id string) (Machine, bool) {
	if m := a.own(id); m != nil {
		return a.look(m), true
	}
	return Machine{}, false
}

func (a *Account) own(id string) *machine {
	for _, m := range a.machines {
		if m.ID == id {
			return m
		}
	}
	return nil
}

// listed are the machines that a listing shows now: no hidden ones, and none that are gone.
func (a *Account) listed() []Machine {
	var all []Machine
	for _, m := range a.machines {
		if seen := a.look(m); seen.State != Gone && a.now().Sub(m.Created) >= m.Hidden {
			all = append(all, seen)
		}
	}
	return all
}

// authorize lets a key log in to a machine.
func (a *Account) authorize(id, key string) {
	if m := a.own(id); m != nil {
		m.Key = key
	}
}

// terminate ends a machine, at once or after the time that it takes, and reports whether there was one.
func (a *Account) terminate(id string) bool {
	m := a.own(id)
	if m == nil || a.look(m).State == Gone {
		return false
	}
	if m.Ended.IsZero() {
		m.Ended = a.now()
		m.Offer.Stock++
		if o, ok := a.find(func(o Offer) bool { return o.ID == m.Offer.ID && o.Region == m.Offer.Region }); ok {
			o.Stock++
		}
		a.ending.Go(m.node.end)
	}
	return true
}

// SetState puts a machine into a state and keeps it there until it is terminated.
func (a *Account) SetState(id string, s State, message string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := a.own(id); m != nil {
		m.state, m.Message = s, message
	}
}

// Vanish ends a machine without anybody having asked for it: the provider took it.
func (a *Account) Vanish(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.terminate(id)
}

// Names are the names of machines, sorted, for comparing in tests.
func Names(machines []Machine) []string {
	var names []string
	for _, m := range machines {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return names
}

package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/ssh"
	"github.com/bifrost-run/bifrost/gpu"
)

// providerSSH stands in the journal for machines that nobody rented.
const providerSSH = "ssh"

// A NodeSpec says which machine Acquire returns: exactly one of Provision, SSH and NodeID.
type NodeSpec struct {
	Provision *gpu.Query
	SSH       string
	NodeID    string
	Name      string  // of the machine to rent, for people; "" means "node"
	KeepAlive *bool   // true: a rented machine outlives its scope
	MaxCost   float64 // USD; 0 means no limit

	Results []ResultSpec // fetched at the end of WithNode, from the last pushed workspace

	job     string        // the job that it is for; "" means none
	timeout time.Duration // of that job; 0 is none
}

// Acquire returns a node that is ready for work. A machine that it rented is released by Close
// unless it was kept.
func (e *Engine) Acquire(ctx context.Context, spec NodeSpec) (*Node, error) {
	n, err := e.acquire(ctx, spec)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.acquired = append(e.acquired, n)
	e.mu.Unlock()
	return n, nil
}

// WithNode acquires a node, calls fn with it, fetches the results and releases the node, the last two
// whatever happened in between.
func (e *Engine) WithNode(ctx context.Context, spec NodeSpec, fn func(ctx context.Context, n *Node) error) (err error) {
	n, err := e.acquire(ctx, spec)
	if err != nil {
		return err
	}
	defer func() { // deferred, so that a panic in fn releases too
		err = errors.Join(err, n.fetchResults(context.WithoutCancel(ctx), spec.Results))
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.cfg.Timing.Release)
		defer cancel()
		err = errors.Join(err, n.release(cleanup, "its with_node ended"))
	}()
	return fn(ctx, n)
}

func (e *Engine) acquire(ctx context.Context, spec NodeSpec) (*Node, error) {
	switch {
	case spec.Provision != nil:
		return e.provision(ctx, spec)
	case spec.SSH != "":
		return e.connectSSH(ctx, spec.SSH)
	case spec.NodeID != "":
		return e.connectExisting(ctx, spec)
	}
	return nil, invalid("node", "", errors.New("none of provision, ssh, node_id was given"), "give exactly one of them")
}

// connectSSH makes a node of an SSH target. It is the user's machine: never rented, never ended.
func (e *Engine) connectSSH(ctx context.Context, text string) (_ *Node, err error) {
	target, err := ssh.ParseTarget(text)
	if err != nil {
		return nil, err
	}
	end := e.cfg.Report.Step("connect", target.String())
	defer func() { end("", err) }()
	rec := journal.Node{
		ID: "ssh:" + target.String(), Name: target.Host, Provider: providerSSH, RunID: e.runID,
		State: journal.NodeIntent, SSH: text, IdentityFile: e.cfg.IdentityFile, Created: e.now(), Keep: true,
	}
	n, err := e.open(ctx, rec)
	if err != nil {
		return nil, err
	}
	// The record is what attach and ssh find the machine by; it is written once the machine answered.
	n.rec.State = journal.NodeReady
	if err := e.journal.PutNode(ctx, n.rec); err != nil {
		return nil, err
	}
	return n, nil
}

// connectExisting makes a node of a machine that exists already, by "provider:id".
func (e *Engine) connectExisting(ctx context.Context, spec NodeSpec) (_ *Node, err error) {
	provider, id, ok := strings.Cut(spec.NodeID, ":")
	if !ok || provider == "" || id == "" {
		return nil, invalid("node_id", spec.NodeID, errors.New("not of the form provider:id"), `write for example "local:abc123"; bifrost ps lists what there is`)
	}
	if provider == providerSSH {
		return e.connectSSH(ctx, id)
	}
	p, err := e.provider(provider)
	if err != nil {
		return nil, err
	}
	end := e.cfg.Report.Step("connect", spec.NodeID)
	defer func() { end("", err) }()
	rec, err := e.journal.Node(ctx, spec.NodeID)
	ours := err == nil
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return nil, err
	}
	if !ours && spec.KeepAlive == nil {
		return nil, invalid("node_id", spec.NodeID, errors.New("bifrost did not rent this machine, so keep_alive must be said"),
			"keep_alive = True leaves it as it is, keep_alive = False terminates it at the end")
	}
	inst, err := p.Get(ctx, id)
	if isKind(err, gpu.NotFound) && ours && otherKey(p, rec) {
		return nil, elsewhere(rec)
	}
	if err != nil {
		return nil, providerFault("get", spec.NodeID, err)
	}
	switch inst.State {
	case gpu.Stopped, gpu.Failed, gpu.Terminated:
		return nil, &fault.Error{Kind: fault.NotFound, Op: "node_id", Target: spec.NodeID, Err: fmt.Errorf("the machine is %s", inst.State), Hint: "bifrost ps lists what runs"}
	}
	if !ours {
		rec = journal.Node{ID: spec.NodeID, Name: inst.Name, State: journal.NodeReady, Created: inst.Created}
	}
	if inst.Name == rec.Name {
		rec.Account = accountOf(p)
	}
	describe(&rec, inst)
	if spec.KeepAlive != nil {
		rec.Keep = *spec.KeepAlive
	}
	rec.RunID = e.runID
	if err := e.own(ctx, !rec.Keep); err != nil {
		return nil, err
	}
	if err := e.journal.PutNode(ctx, rec); err != nil {
		return nil, err
	}
	return e.open(ctx, rec)
}

// own claims the run and, where a machine must be released even if this process dies, starts the
// guardian.
func (e *Engine) own(_ context.Context, releases bool) error {
	if err := e.claim(); err != nil {
		return err
	}
	if releases {
		return e.startGuardian()
	}
	return nil
}

// open connects to the node of a record and returns it once a command has run there.
func (e *Engine) open(ctx context.Context, rec journal.Node) (*Node, error) {
	client, err := e.client(rec)
	if err != nil {
		return nil, err
	}
	n := &Node{engine: e, rec: rec, runner: client}
	if _, err := n.Home(ctx); err != nil {
		if client.HostKeySeen() == "" && ctx.Err() == nil {
			e.forget(rec.ID) // one that was reached is shared: others work on it
		}
		return nil, err
	}
	return n, nil
}

// describe copies what a provider says of a machine into its record. What it does not tell stays.
func describe(rec *journal.Node, inst gpu.Instance) {
	rec.Provider, rec.ProviderID = inst.Provider, inst.ID
	if inst.Host != "" {
		rec.Host, rec.Port, rec.User = inst.Host, inst.Port, inst.User
	}
	if inst.HostKey != "" {
		rec.HostKey = inst.HostKey
	}
	if inst.GPUType != "" {
		rec.GPUType = inst.GPUType
	}
	rec.GPUCount = cmp.Or(inst.GPUCount, rec.GPUCount)
	rec.PricePerHour = cmp.Or(inst.PricePerHour, rec.PricePerHour)
}

// sleep waits for d or until ctx is done, and returns the cause in that case.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

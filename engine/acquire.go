package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/ssh"
	"github.com/bifrost-run/bifrost/gpu"
)

// providerSSH stands in the journal for machines that nobody rented.
const providerSSH = "ssh"

// adoptTimeout is how long an ambiguous create is looked for by its name.
const adoptTimeout = 2 * time.Minute

// A NodeSpec says which machine Acquire returns: exactly one of Provision, SSH and NodeID.
type NodeSpec struct {
	Provision *gpu.Query
	SSH       string
	NodeID    string
	Name      string  // of the machine to rent, for people; "" means "node"
	KeepAlive *bool   // true: a rented machine outlives its scope
	MaxCost   float64 // USD; 0 means no limit

	job string // the job that it is for; "" means none
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

// WithNode acquires a node, calls fn with it and releases it, whatever happened in between.
func (e *Engine) WithNode(ctx context.Context, spec NodeSpec, fn func(ctx context.Context, n *Node) error) (err error) {
	n, err := e.acquire(ctx, spec)
	if err != nil {
		return err
	}
	defer func() { // deferred, so that a panic in fn releases too
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
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
		State: journal.NodeIntent, SSH: text, IdentityFile: e.cfg.IdentityFile, Created: time.Now(), Keep: true,
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

// provision rents a machine: offers, then one candidate after the other until one is ready.
func (e *Engine) provision(ctx context.Context, spec NodeSpec) (_ *Node, err error) {
	query := *spec.Provision
	query.Count = max(query.Count, 1)
	end := e.cfg.Report.Step("provision", describeQuery(query))
	detail := ""
	defer func() { end(detail, err) }()

	offers, err := e.offers(ctx, query)
	if err != nil {
		return nil, err
	}
	if err := e.own(ctx, true); err != nil {
		return nil, err
	}
	var refusals []string
	for _, offer := range offers {
		n, err := e.rent(ctx, spec, query, offer)
		if err == nil {
			detail = fmt.Sprintf("%s %s", n.rec.ID, describeOffer(offer))
			return n, nil
		}
		var refusal *gpu.Error
		if errors.As(err, &refusal) && (refusal.Kind == gpu.NoCapacity || refusal.Kind == gpu.Quota) {
			refusals = append(refusals, refusal.Error())
			continue
		}
		return nil, err
	}
	return nil, &fault.Error{
		Kind: fault.NoCapacity, Op: "provision", Target: describeQuery(query),
		Err: fmt.Errorf("no offer could be rented: %s", strings.Join(refusals, "; ")), Hint: "try again later, or ask for less",
	}
}

// offers asks every provider of the query and ranks what they answer.
func (e *Engine) offers(ctx context.Context, query gpu.Query) ([]gpu.Offer, error) {
	names := query.Providers
	if names == nil {
		for _, p := range e.cfg.Providers {
			if p.Name() != "local" { // this machine is used only when it is named
				names = append(names, p.Name())
			}
		}
	}
	if len(names) == 0 {
		return nil, &fault.Error{
			Kind: fault.NoCapacity, Op: "provision", Target: describeQuery(query), Err: errors.New("there is no provider to rent from"),
			Hint: `use a machine of your own with ssh = "user@host", or this one with gpu_query(providers = "local"); renting in clouds comes with a later version`,
		}
	}
	var all []gpu.Offer
	for _, name := range names {
		p, err := e.provider(name)
		if err != nil {
			return nil, err
		}
		offers, err := p.Offers(ctx, query)
		if err != nil {
			return nil, providerFault("offers", name, err)
		}
		all = append(all, offers...)
	}
	return rank(all, query)
}

// rank drops what the query's own filter refuses and orders the rest: by its sort, else by the
// order of its providers, else by price.
func rank(offers []gpu.Offer, query gpu.Query) ([]gpu.Offer, error) {
	type ranked struct {
		gpu.Offer
		key float64
	}
	var kept []ranked
	for _, o := range offers {
		if query.MaxPrice > 0 && o.PricePerGPU > query.MaxPrice {
			continue
		}
		if query.Where != nil {
			ok, err := query.Where(o)
			if err != nil {
				return nil, fmt.Errorf("where: %w", err)
			}
			if !ok {
				continue
			}
		}
		r := ranked{Offer: o, key: o.PricePerGPU}
		switch {
		case query.Sort != nil:
			key, err := query.Sort(o)
			if err != nil {
				return nil, fmt.Errorf("sort: %w", err)
			}
			r.key = key
		case len(query.Providers) > 1:
			r.key = float64(slices.Index(query.Providers, o.Provider))
		}
		kept = append(kept, r)
	}
	if len(kept) == 0 {
		return nil, &fault.Error{
			Kind: fault.NoCapacity, Op: "provision", Target: describeQuery(query), Err: errors.New("no offer matches"),
			Hint: "ask for less, or for another type",
		}
	}
	sort.SliceStable(kept, func(i, k int) bool {
		if kept[i].key != kept[k].key {
			return kept[i].key < kept[k].key
		}
		return kept[i].PricePerGPU < kept[k].PricePerGPU
	})
	out := make([]gpu.Offer, len(kept))
	for i, r := range kept {
		out[i] = r.Offer
	}
	return out, nil
}

// rent creates one machine and waits until it is ready. The journal knows of it before the provider
// does, and a machine that does not become ready is released before rent returns.
func (e *Engine) rent(ctx context.Context, spec NodeSpec, query gpu.Query, offer gpu.Offer) (*Node, error) {
	p, err := e.provider(offer.Provider)
	if err != nil {
		return nil, err
	}
	_, public, err := e.nodeKey()
	if err != nil {
		return nil, err
	}
	label := spec.job
	if label == "" {
		if label, err = e.journal.NewJobID(ctx, cmp.Or(spec.Name, "node")); err != nil {
			return nil, err
		}
	}
	name := "bifrost-" + label + "-" + strings.ReplaceAll(time.Now().UTC().Format("20060102t150405.000"), ".", "")
	offerJSON, err := json.Marshal(offer)
	if err != nil {
		return nil, err
	}
	rec := journal.Node{
		ID: journal.IntentID(name), Name: name, Provider: offer.Provider, RunID: e.runID, State: journal.NodeIntent,
		GPUType: offer.GPUType, GPUCount: offer.GPUCount, PricePerHour: offer.PriceTotal, Offer: string(offerJSON), Created: time.Now(),
		Keep: spec.KeepAlive != nil && *spec.KeepAlive,
	}
	if spec.MaxCost > 0 && offer.PriceTotal > 0 {
		rec.Deadline = time.Now().Add(affordable(spec.MaxCost, offer.PriceTotal))
	}
	if err := e.journal.PutIntent(ctx, rec); err != nil {
		return nil, err
	}
	inst, err := e.create(ctx, p, gpu.CreateRequest{Name: name, Offer: offer, Query: query, AuthorizedKey: public})
	if err != nil {
		return nil, e.abandon(ctx, rec, err)
	}
	rec.ID = offer.Provider + ":" + inst.ID
	rec.State = journal.NodeCreated
	describe(&rec, inst)
	// The id is recorded even if the user has just pressed Ctrl-C: the machine exists.
	if err := e.journal.NodeCreated(context.WithoutCancel(ctx), name, rec); err != nil {
		return nil, err
	}
	n, err := e.boot(ctx, p, rec)
	if err != nil {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
		defer cancel()
		gone := &Node{engine: e, rec: rec}
		return nil, errors.Join(err, gone.terminate(cleanup, "it did not become ready"))
	}
	return n, nil
}

// affordable is how long a machine of that price may run for that much money.
func affordable(usd, perHour float64) time.Duration {
	return time.Duration(usd / perHour * float64(time.Hour))
}

// create sends the create call once. An answer that leaves open whether the machine exists is
// resolved by looking for its name.
func (e *Engine) create(ctx context.Context, p gpu.Provider, req gpu.CreateRequest) (gpu.Instance, error) {
	inst, err := p.Create(ctx, req)
	for {
		var refusal *gpu.Error
		if !errors.As(err, &refusal) || refusal.Kind != gpu.RateLimited {
			break
		}
		if err := sleep(ctx, max(refusal.After, time.Second)); err != nil {
			return gpu.Instance{}, refusal
		}
		inst, err = p.Create(ctx, req)
	}
	if err == nil && inst.ID != "" {
		return inst, nil
	}
	var refusal *gpu.Error
	if errors.As(err, &refusal) && refusal.Kind != gpu.Transient {
		return gpu.Instance{}, err
	}
	if err == nil {
		err = errors.New("the answer named no id")
	}
	found, lookErr := e.adopt(context.WithoutCancel(ctx), p, req.Name)
	if lookErr != nil {
		return gpu.Instance{}, &ambiguousError{err: errors.Join(err, lookErr)}
	}
	return found, nil
}

// An ambiguousError says that a machine may exist which nobody could find: its intent stays open.
type ambiguousError struct{ err error }

func (e *ambiguousError) Error() string {
	return "nobody knows whether it was created: " + e.err.Error()
}
func (e *ambiguousError) Unwrap() error { return e.err }

// adopt looks for the machine of that name until it is found or adoptTimeout has passed.
func (e *Engine) adopt(ctx context.Context, p gpu.Provider, name string) (gpu.Instance, error) {
	ctx, cancel := context.WithTimeout(ctx, adoptTimeout)
	defer cancel()
	for wait := time.Second; ; wait = min(2*wait, 20*time.Second) {
		all, err := p.List(ctx)
		var matches []gpu.Instance
		for _, inst := range all {
			if inst.Name == name && inst.State != gpu.Terminated {
				matches = append(matches, inst)
			}
		}
		if err == nil && len(matches) == 1 {
			return matches[0], nil
		}
		if sleepErr := sleep(ctx, wait); sleepErr != nil {
			return gpu.Instance{}, errors.Join(fmt.Errorf("%d machines named %s at %s", len(matches), name, p.Name()), err)
		}
	}
}

// abandon closes the intent of a create that was refused. An ambiguous one stays open for settle.
func (e *Engine) abandon(ctx context.Context, rec journal.Node, cause error) error {
	ctx = context.WithoutCancel(ctx)
	var ambiguous *ambiguousError
	if errors.As(cause, &ambiguous) {
		err := providerFault("create", rec.Name, cause)
		return &fault.Error{Kind: fault.Unreleased, Op: "create", Target: rec.Name, Err: err, Hint: "bifrost reap looks for it again and removes it"}
	}
	err := e.journal.SetNode(ctx, rec.ID, func(n *journal.Node) error {
		n.State, n.Ended, n.Note = journal.NodeGone, time.Now(), cause.Error()
		return nil
	})
	return errors.Join(providerFault("create", rec.Name, cause), err)
}

// boot waits until a created machine is ready: an address, a login, a command that ran, and as many
// GPUs as were paid for.
func (e *Engine) boot(ctx context.Context, p gpu.Provider, rec journal.Node) (*Node, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, bootPatience, &fault.Error{
		Kind: fault.Timeout, Op: "boot", Target: rec.ID, Err: fmt.Errorf("no SSH within %s", bootPatience), Hint: "try again: another machine may do",
	})
	defer cancel()
	_, id, _ := strings.Cut(rec.ID, ":")
	for wait := 500 * time.Millisecond; rec.Host == ""; wait = min(2*wait, 10*time.Second) {
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
		inst, err := p.Get(ctx, id)
		if err != nil {
			return nil, providerFault("get", rec.ID, err)
		}
		if inst.State == gpu.Failed || inst.State == gpu.Terminated {
			return nil, &fault.Error{Kind: fault.NoCapacity, Op: "boot", Target: rec.ID, Err: fmt.Errorf("the machine is %s", inst.State)}
		}
		describe(&rec, inst)
	}
	n, err := e.open(ctx, rec)
	if err != nil {
		return nil, err
	}
	if rec.GPUCount > 0 {
		gpus, err := n.GPUs(ctx)
		if err != nil {
			return nil, err
		}
		if len(gpus) < rec.GPUCount {
			return nil, &fault.Error{
				Kind: fault.NoCapacity, Op: "boot", Target: rec.ID,
				Err: fmt.Errorf("nvidia-smi shows %d GPUs, %d were paid for", len(gpus), rec.GPUCount),
			}
		}
	}
	client, err := e.client(rec)
	if err != nil {
		return nil, err
	}
	rec.State, rec.HostKey = journal.NodeReady, client.HostKeySeen()
	n.rec = rec
	return n, e.journal.SetNode(context.WithoutCancel(ctx), rec.ID, func(have *journal.Node) error {
		*have = rec
		return nil
	})
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

// describe copies what a provider says of a machine into its record.
func describe(rec *journal.Node, inst gpu.Instance) {
	rec.Provider, rec.ProviderID = inst.Provider, inst.ID
	rec.Host, rec.Port, rec.User = inst.Host, inst.Port, inst.User
	if inst.HostKey != "" {
		rec.HostKey = inst.HostKey
	}
	if inst.GPUType != "" {
		rec.GPUType = inst.GPUType
	}
	rec.GPUCount, rec.PricePerHour = inst.GPUCount, inst.PricePerHour
}

func (e *Engine) provider(name string) (gpu.Provider, error) {
	var known []string
	for _, p := range e.cfg.Providers {
		if p.Name() == name {
			return p, nil
		}
		known = append(known, p.Name())
	}
	return nil, invalid("provider", name, errors.New("unknown to this version"), "it knows: "+strings.Join(known, ", "))
}

// providerFault turns a provider's refusal into the error that users see.
func providerFault(op, target string, err error) error {
	var refusal *gpu.Error
	if !errors.As(err, &refusal) {
		return &fault.Error{Kind: fault.Unreachable, Op: op, Target: target, Err: err}
	}
	kind := map[gpu.Kind]fault.Kind{
		gpu.Auth: fault.Auth, gpu.Forbidden: fault.Auth, gpu.Funds: fault.Funds, gpu.Quota: fault.NoCapacity, gpu.NoCapacity: fault.NoCapacity,
		gpu.Validation: fault.Invalid, gpu.NotFound: fault.NotFound, gpu.Conflict: fault.Conflict,
	}[refusal.Kind]
	if kind == "" {
		kind = fault.Unreachable
	}
	return &fault.Error{Kind: kind, Op: op, Target: target, Err: err}
}

func describeQuery(q gpu.Query) string {
	name := q.Type
	if name == "" {
		name = "GPU"
	}
	text := fmt.Sprintf("%dx %s", max(q.Count, 1), name)
	if q.MaxPrice > 0 {
		text += fmt.Sprintf(" at <= $%.2f per GPU and hour", q.MaxPrice)
	}
	if len(q.Providers) > 0 {
		text += " on " + strings.Join(q.Providers, ", ")
	}
	return text
}

func describeOffer(o gpu.Offer) string {
	if o.GPUCount == 0 {
		return fmt.Sprintf("(no GPU, $%.2f/h)", o.PriceTotal)
	}
	return fmt.Sprintf("(%dx %s, $%.2f/h)", o.GPUCount, o.GPUType, o.PriceTotal)
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

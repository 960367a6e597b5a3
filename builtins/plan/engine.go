package plan

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/gpu"
)

var (
	_ builtins.Engine = (*Engine)(nil)
	_ builtins.Clock  = (*Engine)(nil)
)

// An Engine tells of steps and takes none. It is safe for concurrent use.
type Engine struct {
	Limits engine.Limits // that the run would have; set before it begins

	world World
	tell  func(Step)

	mu    sync.Mutex
	slept time.Duration
}

// New returns an engine that tells of every step, one at a time.
func New(world World, tell func(Step)) *Engine { return &Engine{world: world, tell: tell} }

// Say tells of a step.
func (e *Engine) Say(s Step) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tell(s)
}

// Now implements builtins.Clock.
func (e *Engine) Now() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Now().Add(e.slept)
}

// Sleep implements builtins.Clock: a plan waits for nothing.
func (e *Engine) Sleep(ctx context.Context, d time.Duration) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.slept += d
	return context.Cause(ctx)
}

// Run implements builtins.Engine. A job is taken to succeed where nobody asks how it ended.
func (e *Engine) Run(ctx context.Context, j builtins.Job, opts builtins.RunOptions) (res engine.Result, err error) {
	n, err := e.launch(ctx, j)
	if n == nil {
		return res, err
	}
	h := n.job("start")
	if err == nil && opts.Body != nil {
		err = opts.Body(ctx, h)
	}
	e.conclude(j.Job, n)
	return engine.Result{JobID: h.id, NodeID: n.id, Status: "succeeded", Price: n.price, Machine: "planned"}, err
}

// Start implements builtins.Engine.
func (e *Engine) Start(ctx context.Context, j builtins.Job, finish bool) (builtins.Handle, error) {
	n, err := e.launch(ctx, j)
	if err != nil {
		return nil, err
	}
	if finish {
		e.conclude(j.Job, n)
	} else {
		e.Say(Step{Op: "leave", Text: "the job runs on by itself; no results are fetched and nothing is released"})
	}
	return n.job("start"), nil
}

// Acquire implements builtins.Engine.
func (e *Engine) Acquire(ctx context.Context, spec engine.NodeSpec) (builtins.Node, error) {
	n, err := e.acquire(ctx, spec, false, 0)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// WithNode implements builtins.Engine.
func (e *Engine) WithNode(ctx context.Context, spec engine.NodeSpec, fn func(ctx context.Context, n builtins.Node) error) error {
	n, err := e.acquire(ctx, spec, false, 0)
	if err != nil {
		return err
	}
	err = fn(ctx, n)
	e.conclude(engine.Job{Results: spec.Results}, n)
	return err
}

// Attach implements builtins.Engine.
func (e *Engine) Attach(_ context.Context, id string) (builtins.Handle, error) {
	return nil, stop("attach_job(%q): how a job is, its machine knows", id)
}

// Offers implements builtins.Market.
func (e *Engine) Offers(ctx context.Context, query gpu.Query, explain bool) (engine.Offers, error) {
	return e.world.Offers(ctx, query, explain)
}

// ListNodes implements builtins.Market.
func (e *Engine) ListNodes(context.Context) ([]builtins.Node, error) {
	return nil, stop("list_nodes(): a plan holds no machines that could be acted on")
}

// FindNode implements builtins.Market.
func (e *Engine) FindNode(_ context.Context, name string) (builtins.Node, error) {
	return nil, stop("find_node(%q): a plan holds no machines that could be acted on", name)
}

// acquire tells which machine it would be, and whether it is for a job, with the timeout of that.
func (e *Engine) acquire(ctx context.Context, spec engine.NodeSpec, job bool, timeout time.Duration) (*node, error) {
	n := &node{engine: e, keep: spec.KeepAlive != nil && *spec.KeepAlive, keepSaid: spec.KeepAlive != nil}
	switch {
	case spec.Provision != nil:
		query := *spec.Provision
		query.Count = max(query.Count, 1)
		found, err := e.world.Offers(ctx, query, false)
		if err == nil && len(found.Kept) == 0 {
			if found, err = e.world.Offers(ctx, query, true); err == nil && len(found.Kept) == 0 {
				err = engine.NoOffer(query, found.Missed)
			}
		}
		if err != nil {
			return nil, err
		}
		if found.Kept, err = e.Limits.Within(found.Kept, job, timeout, spec.MaxCost); err != nil {
			return nil, err
		}
		best := found.Kept[0]
		n.id, n.provider, n.gpuType, n.gpuCount, n.price, n.rented = best.Provider+":planned", best.Provider, best.GPUType, best.GPUCount, best.PriceTotal, true
		e.Say(rentStep(query, found.Kept, timeout, spec.MaxCost))
	case spec.SSH != "":
		n.id, n.provider = "ssh:"+spec.SSH, "ssh"
		e.Say(Step{Op: "connect", Text: spec.SSH, Data: map[string]any{"node": n.id}})
	default:
		n.id = spec.NodeID
		n.provider, _, _ = strings.Cut(n.id, ":")
		e.Say(Step{Op: "connect", Text: n.id, Data: map[string]any{"node": n.id}})
	}
	return n, nil
}

// launch tells everything up to the running job, which it does even where the prepare of the script
// stops the plan. Without a node nothing was told.
func (e *Engine) launch(ctx context.Context, j builtins.Job) (*node, error) {
	if err := j.Check(); err != nil {
		return nil, err
	}
	n, err := e.acquire(ctx, engine.NodeSpec{Provision: j.Provision, SSH: j.SSH, NodeID: j.NodeID, KeepAlive: j.KeepAlive, MaxCost: j.MaxCost}, true, j.Timeout)
	if err != nil {
		return nil, err
	}
	if err := n.push(ctx, j.Workspace, j.Source); err != nil {
		return n, err
	}
	if j.Prepare != nil {
		if err = j.Prepare(ctx, n); err != nil {
			var stopped *StopError
			if !errors.As(err, &stopped) {
				return n, err
			}
		}
	}
	n.bootstrap(j.Bootstrap)
	e.Say(startStep("start", engine.Submit{Command: j.Command, Name: j.Name, WorkingDir: j.WorkingDir, Env: j.Env, Timeout: j.Timeout}))
	return n, err
}

// conclude tells what follows the end of a job.
func (e *Engine) conclude(j engine.Job, n *node) {
	for _, r := range j.Results {
		text := r.Remote + " to " + r.Local
		if r.Optional {
			text += ", if it is there"
		}
		e.Say(Step{Op: "results", Text: text, Data: map[string]any{"remote": r.Remote, "local": r.Local, "optional": r.Optional}})
	}
	e.Say(Step{Op: "release", Text: n.fate(j.OnFailure)})
}

// fate is what becomes of the machine.
func (n *node) fate(f engine.Failure) string {
	switch {
	case n.provider == "ssh":
		return "the machine stays as it was"
	case n.keep:
		return "the machine is kept"
	case !n.rented && !n.keepSaid:
		return "the machine is terminated, if bifrost rented it; else keep_alive must be said"
	case f.Keep:
		return "the machine is terminated; on anything but success it is kept"
	case f.Hold > 0:
		return fmt.Sprintf("the machine is terminated; on anything but success it is held for %s", f.Hold)
	}
	return "the machine is terminated"
}

package fake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
)

var _ builtins.Engine = (*World)(nil)

// Run implements builtins.Engine with the order and the ends of the real one.
func (w *World) Run(ctx context.Context, j builtins.Job, opts builtins.RunOptions) (res engine.Result, err error) {
	r := &run{world: w, spec: j, started: w.clock.Now()}
	defer func() { // deferred, so that a panic of the body tears down too
		p := recover()
		if p != nil {
			err = errors.Join(err, fmt.Errorf("panic: %v", p))
		}
		if r.job != nil && opts.Ending != nil {
			opts.Ending(r.job)
		}
		res, err = r.conclude(ctx, opts, err)
		if p != nil {
			panic(p)
		}
	}()
	if err := r.launch(ctx); err != nil {
		return res, err
	}
	if opts.Started != nil {
		opts.Started(r.job)
	}
	if opts.Body != nil {
		if err := opts.Body(ctx, r.job); err != nil {
			return res, err
		}
		return res, r.job.follow(ctx, func(string) bool { return true })
	}
	return res, r.job.follow(ctx, func(line string) bool {
		if opts.Stdout != nil {
			_, _ = io.WriteString(opts.Stdout, line+"\n") // a run goes on without its output
		}
		return true
	})
}

// Start implements builtins.Engine.
func (w *World) Start(ctx context.Context, j builtins.Job, finish bool) (builtins.Handle, error) {
	r := &run{world: w, spec: j, started: w.clock.Now()}
	if err := r.launch(ctx); err != nil {
		_, err = r.conclude(ctx, builtins.RunOptions{}, err)
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	op := "leave"
	if finish {
		op = "leave_to_guardian"
	}
	r.node.leave(left, op)
	return r.job, nil
}

// Acquire implements builtins.Engine.
func (w *World) Acquire(ctx context.Context, spec engine.NodeSpec) (builtins.Node, error) {
	n, err := w.acquire(ctx, spec)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n.acquired = true
	return n, nil
}

// WithNode implements builtins.Engine.
func (w *World) WithNode(ctx context.Context, spec engine.NodeSpec, fn func(ctx context.Context, n builtins.Node) error) (err error) {
	n, err := w.acquire(ctx, spec)
	if err != nil {
		return err
	}
	defer func() {
		var fetchErr error
		if n.check() == nil {
			_, fetchErr = n.fetch(context.WithoutCancel(ctx), n.base, n.id, spec.Results)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		err = errors.Join(err, fetchErr, n.release())
		n.over = "its with_node ended"
	}()
	return fn(ctx, n)
}

// Attach implements builtins.Engine for the jobs that the script has started.
func (w *World) Attach(ctx context.Context, id string) (builtins.Handle, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record("attach", field{"job", id})
	for i := len(w.jobs) - 1; i >= 0; i-- {
		if j := w.jobs[i]; j.id == id || id == "@last" || id != "" && strings.HasPrefix(j.id, id) {
			again := *j.node
			again.over = ""
			attached := *j
			attached.node = &again
			return &attached, nil
		}
	}
	return nil, notFound("attach", id, "no such job", "in a test these are the jobs that the test has started")
}

// A run is one job on its way.
type run struct {
	world   *World
	spec    builtins.Job
	node    *node // nil until acquired
	job     *job  // nil until started
	started time.Time
}

// launch does everything up to the running job.
func (r *run) launch(ctx context.Context) error {
	if err := r.spec.Check(); err != nil {
		return err
	}
	n, err := r.world.acquire(ctx, engine.NodeSpec{
		Provision: r.spec.Provision, SSH: r.spec.SSH, NodeID: r.spec.NodeID, KeepAlive: r.spec.KeepAlive, MaxCost: r.spec.MaxCost,
	})
	if err != nil {
		return err
	}
	r.node = n
	if r.spec.MaxCost > 0 && n.price > 0 {
		if limit := time.Duration(r.spec.MaxCost / n.price * float64(time.Hour)); r.spec.Timeout == 0 || limit < r.spec.Timeout {
			r.spec.Timeout = limit
		}
	}
	if err := n.push(ctx, r.spec.Workspace, r.spec.Source); err != nil {
		return err
	}
	if r.spec.Prepare != nil {
		if err := r.spec.Prepare(ctx, n); err != nil {
			return err
		}
	}
	if err := n.bootstrap(ctx, r.spec.Bootstrap, r.spec.Env); err != nil {
		return err
	}
	log := r.spec.LogFile
	if log != "" {
		log = n.in(n.absolute(cmp.Or(r.spec.WorkingDir, ".")), log)
	}
	r.job, err = n.start(ctx, "start", "job", engine.Submit{
		Command: r.spec.Command, Name: r.spec.Name, WorkingDir: r.spec.WorkingDir, Env: r.spec.Env, Timeout: r.spec.Timeout, Refuse: r.spec.Refuse,
		LogFile: log,
	})
	return err
}

// conclude ends what was begun: the job where it must stop, its results, the machine. cause is why the
// run ends before its job, nil when the job has ended by itself.
func (r *run) conclude(ctx context.Context, opts builtins.RunOptions, cause error) (engine.Result, error) {
	w := r.world
	if r.job == nil {
		return r.discard(ctx, cause)
	}
	j := r.job
	detached := errors.Is(context.Cause(ctx), engine.ErrDetach)
	if errors.Is(context.Cause(ctx), engine.ErrStop) {
		cause = nil // the user's wish is no error
	}
	ctx = context.WithoutCancel(ctx)
	res := r.result()
	switch {
	case detached:
		w.mu.Lock()
		defer w.mu.Unlock()
		res.Status, res.Machine, res.Costs = "detached", "in use by the job", res.Price > 0
		r.node.leave(left, "detach")
		r.node.over = "the run was detached"
		return res, nil
	case r.node.dead:
		w.mu.Lock()
		defer w.mu.Unlock()
		res.Status, res.Machine, res.Costs = "lost", "does not answer; it is not released", res.Price > 0
		if cause != nil {
			res.Reason = cause.Error()
		}
		r.node.leave(silent, "lost")
		return res, cause
	}
	if res.Status == "running" {
		reason := "stopped by the user"
		if cause != nil {
			reason = "the body failed: " + cause.Error()
		}
		if err := j.cancel(ctx, reason); err != nil {
			return res, errors.Join(cause, err)
		}
	}
	res = r.result()
	fetched, fetchErr := r.node.fetch(ctx, j.dir, j.id, r.spec.Results)
	res.Results = fetched
	succeeded := res.Status == "succeeded"
	releaseErr := r.release(r.spec.OnFailure, succeeded, fetchErr == nil || !succeeded && neverWritten(res.Results), &res)
	return res, errors.Join(cause, fetchErr, releaseErr)
}

// discard ends a run whose job never started.
func (r *run) discard(ctx context.Context, cause error) (engine.Result, error) {
	res := engine.Result{JobID: "job-0", Status: "failed", Machine: "none was rented"}
	policy := r.spec.OnFailure
	if ctx.Err() != nil {
		res.Status, policy = "cancelled", engine.Failure{} // what this run created is destroyed
		cause = &fault.Error{Kind: fault.Cancelled, Op: "job", Err: errors.New("interrupted before it ran")}
	}
	if r.node == nil {
		return res, cause
	}
	res.NodeID, res.Price = r.node.id, r.node.price
	return res, errors.Join(cause, r.release(policy, false, true, &res))
}

// fetch brings results here, all of them even when one fails. They are of a job or a node.
func (n *node) fetch(ctx context.Context, dir, of string, specs []engine.ResultSpec) (all []engine.Fetched, err error) {
	var failed []string
	var cause error
	for _, spec := range specs {
		local, t, err := n.download(ctx, dir, spec)
		all = append(all, engine.Fetched{Remote: spec.Remote, Local: local, Files: t.Files, Err: err})
		if err != nil {
			failed, cause = append(failed, spec.Remote), errors.Join(cause, err)
		}
	}
	if cause == nil {
		return all, nil
	}
	return all, &fault.Error{
		Kind: fault.Results, Op: "results of", Target: of, Err: fmt.Errorf("%s not complete: %w", strings.Join(failed, ", "), cause),
		Hint: "optional(path) marks what may be missing",
	}
}

func neverWritten(fetched []engine.Fetched) bool {
	for _, f := range fetched {
		if f.Err != nil && fault.KindOf(f.Err) != fault.NotFound {
			return false
		}
	}
	return true
}

// release decides what becomes of the machine, and does it.
func (r *run) release(policy engine.Failure, succeeded, complete bool, res *engine.Result) error {
	w, n := r.world, r.node
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { n.over = "the job's scope ended" }()
	hold := policy.Hold
	if !complete {
		hold = max(hold, engine.DefaultHold)
	}
	switch {
	case n.provider == "ssh":
		res.Machine = "left as it was (ssh)"
		return nil
	case n.state != ready:
		res.Machine = string(n.state)
		return nil
	case n.keep:
		res.Machine, res.Costs = "kept", n.price > 0
		n.leave(kept, "keep")
		return nil
	case !succeeded && policy.Keep:
		res.Machine, res.Costs = "kept (on_failure)", n.price > 0
		n.leave(kept, "keep")
		return nil
	case !complete || !succeeded && hold > 0:
		res.HeldUntil, res.Costs = w.clock.Now().Add(hold), n.price > 0
		res.Machine = "held until " + res.HeldUntil.Format("15:04")
		n.state = held
		w.record("hold", field{"node", n.id}, field{"seconds", hold})
		return nil
	}
	if err := n.terminate(); err != nil {
		res.Machine, res.Costs = "STILL RUNNING", n.price > 0
		return err
	}
	res.Machine = "terminated and confirmed"
	return nil
}

// result is the run as it stands.
func (r *run) result() engine.Result {
	r.world.mu.Lock()
	defer r.world.mu.Unlock()
	j, now := r.job, r.world.clock.Now()
	res := engine.Result{
		JobID: j.id, NodeID: r.node.id, Status: j.status(now), Reason: j.reason, Duration: now.Sub(r.started), Price: r.node.price,
		Cost: now.Sub(r.started).Hours() * r.node.price,
	}
	switch res.Status {
	case "timeout":
		res.ExitCode = 124
	case "succeeded", "failed":
		res.ExitCode, res.Signal = j.code(), j.outcome.signal
	}
	return res
}

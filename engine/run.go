package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/engine/session"
	"github.com/bifrost-run/bifrost/gpu"
)

// RunOptions say what Run does while the job runs.
type RunOptions struct {
	// Body is called with the running job. When it returns early, Run waits for the job; when it
	// returns an error, Run stops the job. Nil means to write the job's bytes to Stdout.
	Body   func(ctx context.Context, h *Handle) error
	Stdout io.Writer // nil discards

	// Started, if not nil, is told of the job once it runs.
	Started func(h *Handle)
	// Ending, if not nil, is told of a job that was started when its end begins: it has ended, or is
	// left or stopped next; its results and its machine remain.
	Ending func(h *Handle)
}

// A Result is what became of a job. It is plain data, good after every scope.
type Result struct {
	JobID     string
	NodeID    string
	Status    string        // succeeded failed timeout cancelled lost, or detached
	ExitCode  int           // the job's own; 124 at its timeout
	Signal    string        // that ended it, "" for none
	Reason    string        // why it was cancelled or lost
	Duration  time.Duration // of the run, or of the job where another process ran it
	Cost      float64       // USD, of the machine while this run had it
	Price     float64       // USD per hour
	Results   []Fetched
	LogPath   string // of the log's copy on this machine
	Machine   string // what became of it, in words
	Costs     bool   // the machine still exists and costs
	HeldUntil time.Time
}

// A Fetched is one entry of the results as it arrived, or did not.
type Fetched struct {
	Remote string
	Local  string // absolute
	Files  int
	Err    error
}

// Failed reports whether the job ended, and not well.
func (r Result) Failed() bool {
	return r.Status != "" && r.Status != "succeeded" && r.Status != "detached"
}

// Files is the number of files that the results brought.
func (r Result) Files() int {
	n := 0
	for _, f := range r.Results {
		n += f.Files
	}
	return n
}

// Run acquires a node, pushes, bootstraps, starts the job, calls the body, fetches the results and
// releases the node, the last two exactly once and whatever happened before. The error is that of
// a step or of the body; a job that failed is no error but a Result that says so. The Result is
// filled as far as it is known even with an error.
//
// Cancel ctx with ErrStop or ErrDetach as the cause to end it early. Before the job runs every
// cause destroys what this run created.
func (e *Engine) Run(ctx context.Context, job Job, opts RunOptions) (res Result, err error) {
	r, err := e.begin(ctx, job, true)
	if err != nil {
		return Result{}, err
	}
	var h *Handle
	defer func() { // deferred, so that a panic of the body tears down too
		p := recover()
		if p != nil {
			err = errors.Join(err, fmt.Errorf("panic: %v", p))
		}
		if h != nil && opts.Ending != nil {
			opts.Ending(h)
		}
		res, err = r.conclude(ctx, h, opts, err)
		if p != nil {
			panic(p)
		}
	}()
	if h, err = r.launch(ctx); err != nil {
		return res, err
	}
	if opts.Started != nil {
		opts.Started(h)
	}
	if opts.Body != nil {
		if err = opts.Body(ctx, h); err != nil {
			return res, err
		}
		_, err = h.end(ctx, nil)
		return res, err
	}
	shown := e.counted(r.id, opts.Stdout, 0) // so that attach goes on where this process stopped
	_, err = h.end(ctx, shown)
	e.warn(shown.save())
	return res, err
}

// Start runs a job up to the point where it runs on its own, and returns its handle. Nothing ends
// it or its machine when this process ends. With finish, the guardian fetches the results and
// releases the machine when the job has ended.
func (e *Engine) Start(ctx context.Context, job Job, finish bool) (*Handle, error) {
	r, err := e.begin(ctx, job, finish)
	if err != nil {
		return nil, err
	}
	h, err := r.launch(ctx)
	if err != nil {
		_, err = r.conclude(ctx, h, RunOptions{}, err)
		return nil, err
	}
	if finish {
		if err := e.startGuardian(); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// A run is one job on its way through the engine.
type run struct {
	engine  *Engine
	job     Job
	id      string
	node    *Node // nil until acquired
	started time.Time
}

// begin checks the job and records it. Nothing else has happened when it fails.
func (e *Engine) begin(ctx context.Context, job Job, finish bool) (*run, error) {
	if err := job.Check(); err != nil {
		return nil, err
	}
	if job.Workspace == "" {
		job.Workspace = DefaultWorkspace
	}
	if job.Source != "" {
		job.Source = e.localPath(job.Source)
	}
	if err := e.claim(); err != nil {
		return nil, err
	}
	id, err := e.record(ctx, job, finish)
	if err != nil {
		return nil, err
	}
	return &run{engine: e, job: job, id: id, started: time.Now()}, nil
}

// launch does everything up to the running job.
func (r *run) launch(ctx context.Context) (*Handle, error) {
	e := r.engine
	if err := r.enter(ctx, journal.JobAcquiring); err != nil {
		return nil, err
	}
	node, err := e.acquire(ctx, NodeSpec{
		Provision: r.job.Provision, SSH: r.job.SSH, NodeID: r.job.NodeID, KeepAlive: r.job.KeepAlive, MaxCost: r.job.MaxCost, job: r.id, timeout: r.job.Timeout,
	})
	if err != nil {
		return nil, err
	}
	r.node = node
	if err := e.journal.SetJob(ctx, r.id, func(j *journal.Job) error {
		j.State, j.NodeID = journal.JobPushing, node.ID()
		return nil
	}); err != nil {
		return nil, err
	}
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	if err := r.limit(); err != nil {
		return nil, err
	}
	dir, log := join(node.base(), r.job.WorkingDir), r.job.LogFile
	if log != "" {
		log = join(dir, log)
	}
	return node.start(ctx, r.id, r.job, dir, log)
}

// limit shortens the job's time to what is left of its max_cost. The machine has cost since it was created.
func (r *run) limit() error {
	price := r.node.PricePerHour()
	if r.job.MaxCost <= 0 || price <= 0 {
		return nil
	}
	spent := time.Duration(r.cost() / price * float64(time.Hour))
	left := affordable(r.job.MaxCost, price) - spent
	if left < time.Second {
		return &fault.Error{
			Kind: fault.Budget, Op: "start", Target: r.id,
			Err:  fmt.Errorf("max_cost $%s is spent: the machine cost $%.2f in the %s before the job began", gpu.Dollars(r.job.MaxCost), r.cost(), spent.Round(time.Second)),
			Hint: "raise max_cost, or do less before the job",
		}
	}
	if r.job.Timeout == 0 || left < r.job.Timeout {
		r.job.Timeout = left
	}
	return nil
}

// prepare makes the node ready for the command: the code, the script's own preparations, the
// bootstrap. A job without source needs no workspace, but gets one to run in.
func (r *run) prepare(ctx context.Context) error {
	node := r.node
	switch {
	case r.job.Source != "":
		pushed, err := node.push(ctx, r.job.Workspace, r.job.Source)
		if err != nil {
			return err
		}
		if err := r.callPrepare(ctx); err != nil {
			return err
		}
		if len(r.job.Bootstrap) == 0 {
			return nil
		}
		if err := r.enter(ctx, journal.JobBootstrapping); err != nil {
			return err
		}
		return node.bootstrap(ctx, r.id, pushed, r.job.Bootstrap, r.job.Env, r.job.Fresh)
	case len(r.job.Bootstrap) > 0:
		return invalid("job", r.id, errors.New("bootstrap needs a source: its steps run in what was pushed"), "")
	}
	if err := node.makeWorkspace(ctx, r.job.Workspace); err != nil {
		return err
	}
	return r.callPrepare(ctx)
}

func (r *run) callPrepare(ctx context.Context) error {
	if r.job.Prepare == nil {
		return nil
	}
	return r.job.Prepare(ctx, r.node)
}

// enter records the state that the job is in from now on.
func (r *run) enter(ctx context.Context, state journal.JobState) error {
	return r.engine.journal.SetJob(ctx, r.id, func(j *journal.Job) error {
		j.State = state
		return nil
	})
}

// conclude ends what was begun: the job where it must stop, its results, the machine. cause is why
// the run ends before its job, nil when the job has ended by itself. It works on a context of its
// own: the caller's may be cancelled.
func (r *run) conclude(ctx context.Context, h *Handle, opts RunOptions, cause error) (Result, error) {
	e := r.engine
	if h == nil {
		return r.discard(ctx, cause)
	}
	detached := errors.Is(context.Cause(ctx), ErrDetach)
	if errors.Is(context.Cause(ctx), ErrStop) {
		cause = nil // the user's wish is no error
	}
	ctx = context.WithoutCancel(ctx)
	if detached {
		return r.detach(ctx, h)
	}
	status := h.known()
	if !over(status) && isLost(cause) {
		return r.lose(ctx, h, cause)
	}
	if !over(status) {
		reason := "stopped by " + who()
		if cause != nil {
			reason = "the body failed: " + firstLine(cause.Error())
		}
		if err := r.stop(ctx, h, opts, reason); err != nil {
			return r.result(ctx, h, h.known(), nil), joined(cause, err)
		}
	}
	res, err := e.finish(ctx, r.id, h)
	res.Cost, res.Duration = r.cost(), time.Since(r.started)
	return res, joined(cause, err)
}

// joined is errors.Join, but says only once what several steps failed at for the same reason.
func joined(errs ...error) error {
	var kept []error
	for _, err := range apart(errs) {
		if !slices.ContainsFunc(kept, func(k error) bool { return k.Error() == err.Error() }) {
			kept = append(kept, err)
		}
	}
	if len(kept) == 1 {
		return kept[0]
	}
	return errors.Join(kept...)
}

// apart returns the errors without nils, and what errors.Join has joined as its parts.
func apart(errs []error) []error {
	var all []error
	for _, err := range errs {
		if err == nil {
			continue
		}
		if j, ok := err.(interface{ Unwrap() []error }); ok && err.Error() == errors.Join(j.Unwrap()...).Error() {
			all = append(all, apart(j.Unwrap())...)
			continue
		}
		all = append(all, err)
	}
	return all
}

// lose ends a run that has lost contact with its node. Where the machine is dead, so is the job; else
// nobody knows how it is: it stays as it is, and the guardian goes on trying.
func (r *run) lose(ctx context.Context, h *Handle, cause error) (Result, error) {
	e := r.engine
	rec := h.node.record()
	if e.machineDead(ctx, rec) == "" {
		res := r.result(ctx, h, h.known(), nil)
		res.Status, res.Reason, res.Machine = string(journal.JobLost), firstLine(cause.Error()), "does not answer; it is not released"
		return res, errors.Join(cause, e.startGuardian())
	}
	err := e.bury(ctx, h, cause)
	res, readErr := e.resultOf(ctx, r.id, cause)
	res.Duration = time.Since(r.started)
	return res, errors.Join(readErr, err)
}

// bury records the end of a job whose machine is dead, and makes sure that nothing is left of that
// unless the user keeps it.
func (e *Engine) bury(ctx context.Context, h *Handle, cause error) error {
	e.closeJob(ctx, h.id, journal.JobLost, cause.Error())
	if rec := h.node.record(); !releasable(rec) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.cfg.Timing.Release)
	defer cancel()
	return h.node.terminate(ctx, "the machine had died")
}

// stop cancels the job and shows the rest of what it writes.
func (r *run) stop(ctx context.Context, h *Handle, opts RunOptions, reason string) error {
	ctx, cancel := context.WithTimeout(ctx, cancelTimeout)
	defer cancel()
	r.engine.cfg.Report.Emit(report.Event{Kind: report.Notice, Text: "stopping job " + r.id})
	if err := h.cancel(ctx, reason); err != nil {
		return err
	}
	var w io.Writer
	if opts.Body == nil {
		w = opts.Stdout
	}
	_, err := h.end(ctx, w)
	return err
}

// discard ends a run whose job never started.
func (r *run) discard(ctx context.Context, cause error) (Result, error) {
	state, reason := journal.JobFailed, "it did not start"
	if cause != nil {
		reason = cause.Error()
	}
	interrupted := ctx.Err() != nil
	if interrupted {
		state = journal.JobCancelled
		stopped := &fault.Error{Kind: fault.Cancelled, Op: "job", Target: r.id, Err: &interruption{cause}}
		if fault.KindOf(cause) != fault.Unreleased {
			cause = stopped
		}
	}
	r.engine.closeJob(ctx, r.id, state, reason)
	res := Result{JobID: r.id, Status: string(state), Duration: time.Since(r.started), Machine: "none was rented"}
	if r.job.Provision == nil {
		res.Machine = "not reached"
	}
	ctx = context.WithoutCancel(ctx)
	if r.node == nil {
		if err := r.tried(ctx, &res); err != nil {
			return res, errors.Join(cause, err)
		}
		return res, cause
	}
	res.NodeID, res.Price, res.Cost = r.node.ID(), r.node.PricePerHour(), r.cost()
	policy := r.job.OnFailure
	if interrupted {
		policy = Failure{} // what this run created is destroyed
	}
	err := r.node.conclude(ctx, policy, false, true, &res)
	return res, errors.Join(cause, err)
}

// tried says in res what became of the machines that were rented for a run and did not become its node.
func (r *run) tried(ctx context.Context, res *Result) error {
	all, err := r.engine.journal.Nodes(ctx, true)
	if err != nil {
		return err
	}
	for _, n := range all {
		if !strings.HasPrefix(n.Name, machineName(r.id, "")) || n.State == journal.NodeGone && n.ID == journal.IntentID(n.Name) {
			continue // another's, or one that was never created
		}
		switch {
		case n.State == journal.NodeGone && !res.Costs:
			res.Machine = "terminated and confirmed"
		case n.State == journal.NodeIntent:
			res.Machine, res.Price, res.Costs = "nobody knows whether "+n.Name+" was created", n.PricePerHour, true
			continue
		case n.State != journal.NodeGone:
			res.Machine, res.Price, res.Costs = n.ID+" STILL RUNNING", n.PricePerHour, true
		}
		res.Cost += CostBetween(n, time.Time{}, r.engine.now())
	}
	return nil
}

// An interruption stands for what each step made of the end of its context. That is no news for
// people, but holds what a script's own function has to say.
type interruption struct{ cause error }

func (e *interruption) Error() string { return "interrupted before it ran" }
func (e *interruption) Unwrap() error { return e.cause }

// detach leaves the job to the guardian.
func (r *run) detach(ctx context.Context, h *Handle) (Result, error) {
	res := r.result(ctx, h, h.known(), nil)
	res.Status = "detached"
	res.Machine = "in use by the job"
	res.Costs = res.Price > 0
	h.node.end("the run was detached")
	return res, r.engine.startGuardian()
}

func (r *run) result(_ context.Context, h *Handle, status session.Status, fetched []Fetched) Result {
	return Result{
		JobID: r.id, NodeID: h.node.ID(), Status: string(jobState(status)), ExitCode: exitCode(status), Signal: status.Signal, Reason: status.Reason,
		Duration: time.Since(r.started), Cost: r.cost(), Price: h.node.PricePerHour(), Results: fetched, LogPath: r.engine.logPath(r.id),
		Machine: "unknown", Costs: h.node.PricePerHour() > 0,
	}
}

// cost is what the machine has cost since this run began to need it, in USD.
func (r *run) cost() float64 {
	if r.node == nil {
		return 0
	}
	rec := r.node.record()
	if rec.Created.IsZero() || rec.Created.Before(r.started) {
		return time.Since(r.started).Hours() * rec.PricePerHour
	}
	return time.Since(rec.Created).Hours() * rec.PricePerHour
}

// known is the last status that was read.
func (h *Handle) known() session.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status
}

// who names the user for records that other people read.
func who() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "the user"
}

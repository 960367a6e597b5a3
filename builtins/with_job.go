package builtins

import (
	"context"
	"errors"
	"fmt"
	"sync"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

func withJobEntry() *Entry {
	return &Entry{
		Name: "with_job", Result: "result", Effect: true,
		Capabilities: []policy.Capability{policy.Rent, policy.SSH, policy.ReadFile, policy.WriteFile},
		Doc: "Runs a job: acquires the machine, pushes, prepares, bootstraps, starts; calls fn with the handle, or writes the job's bytes to standard output; " +
			"then fetches the results and releases the machine, exactly once and whatever happened. " +
			"A function that returns early waits for the job; one that fails stops it. The handle is good inside fn only.",
		Example: `def body(handle):
    for line in handle.logs():
        if "loss = nan" in line:
            handle.cancel()
    return handle.download("metrics.json", "./").files

result = with_job(job, body, check = False)
print(result.ok, result.exit_code)  # True 0`,
		Params: []Param{
			{Name: "job", Kind: objectKind("job", "remote_job(...)"), Doc: "what to run"},
			{Name: "fn", Kind: orNone(functionKind("handle")), Default: star.None, Doc: "what to do while it runs; what it returns is the result's value"},
			{Name: "check", Kind: boolKind(), Default: star.True, KeywordOnly: true, Doc: `whether a job that failed makes the script fail, after the teardown, with the job's exit code (error kind "job_failed")`},
		},
		needs: func(c *Call) []policy.Request { return needsOfJob(c, arg[*object](c, "job")) },
		run: func(c *Call) (star.Value, error) {
			s := new(scope)
			defer s.end("with_job at " + c.thread.Caller())
			job, err := c.job(arg[*object](c, "job"), s)
			if err != nil {
				return nil, err
			}
			value := star.Value(star.None)
			ready := c.lib.begin()
			defer ready()
			opts := RunOptions{Stdout: c.jobOutput(), Ending: c.lib.opts.Ending, Started: func(h Handle) {
				if c.lib.opts.Started != nil {
					c.lib.opts.Started(h)
				}
				ready()
				itemReady(c.context())
			}}
			if fn := c.raw["fn"]; fn != star.None {
				opts.Body = func(ctx context.Context, h Handle) error {
					v, err := c.callIn(ctx, fn, c.handle(h, s))
					if err == nil {
						value = v
					}
					return err
				}
			}
			res, err := c.lib.engine.Run(c.context(), job, opts)
			if c.lib.opts.Ended != nil {
				c.lib.opts.Ended(res, err)
			}
			if arg[bool](c, "check") && (err == nil || failedFirst(res, err)) {
				err = errors.Join(failureOf(res), err) // the job's own failure comes first
			}
			if err != nil {
				return nil, err
			}
			return c.lib.result(res, value), nil
		},
	}
}

// begin announces what may have a job. It is ready once, however often it says so.
func (l *Library) begin() (ready func()) {
	if l.opts.Begin == nil {
		return func() {}
	}
	return sync.OnceFunc(l.opts.Begin())
}

// failedFirst reports whether a job failed by itself and err is of what follows its end: its
// results, its machine.
func failedFirst(r engine.Result, err error) bool {
	kind := fault.KindOf(err)
	return (r.Status == "failed" || r.Status == "timeout") && (kind == fault.Results || kind == fault.Unreleased)
}

// failureOf is the error of a job that did not succeed, or nil.
func failureOf(r engine.Result) error {
	if !r.Failed() {
		return nil
	}
	f := &fault.Error{Kind: fault.JobFailed, Op: "job", Target: r.JobID, ExitCode: r.ExitCode, Hint: "its output: bifrost logs " + r.JobID}
	switch {
	case r.Status == "timeout":
		f.Kind, f.Err = fault.Timeout, errors.New("it ran into its timeout")
		f.Hint = "raise timeout in remote_job; its output: bifrost logs " + r.JobID
	case r.Status == "lost":
		f.Kind, f.Err = fault.Lost, errors.New(because("it is gone and left no exit record", r.Reason))
	case r.Status == "cancelled":
		f.Kind, f.Err = fault.Cancelled, errors.New(because("it was cancelled", r.Reason))
	case r.Signal != "":
		f.Err = fmt.Errorf("it was ended by signal %s", r.Signal)
	default:
		f.Err = fmt.Errorf("it exited with code %d", r.ExitCode)
	}
	return f
}

func because(what, reason string) string {
	if reason == "" {
		return what
	}
	return what + ": " + reason
}

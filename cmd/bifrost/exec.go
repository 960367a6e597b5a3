package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/starlark"
)

// execFlags say how a script is run.
type execFlags struct {
	detach, fresh, asJSON, raw bool
	limits                     starlark.Limits
	permissions                *permissions
}

func newExec(a *app) *cobra.Command {
	var f execFlags
	cmd := &cobra.Command{
		Use:     "exec [-d] [--fresh] [--trace] [-v] [-i KEY] [--yes] [--allow-env=NAMES]... FILE [ARG...]",
		Short:   "Run a deploy script",
		GroupID: groupRun,
		Long: `Runs the script: rents or reaches the machine, sends the code, runs the command, streams its log, brings
the results home and releases the machine. Flags after FILE are the script's.

With -d it returns once the job runs. The job lives on without this terminal, and a guardian process
fetches the results and releases the machine when it has ended. What stands in the script after the
start, a body included, does not run then. With parallel it returns once every item has a job that runs,
or has failed: with more items than its limit, that is when the last of them has had its turn.

A script reads and writes the files of its root, rents, and connects to the hosts that it names. For
anything else, a variable first of all, bifrost.toml or a flag must allow it; on a terminal bifrost asks,
and "always" writes the answer to bifrost.toml. --yes does not answer that. What is denied stays so,
whatever is allowed.

Ctrl-C before the job runs destroys what was created. While it runs, on a terminal, it asks: detach,
stop, or carry on; the second stops the job, fetches the results and releases the machine; the third
leaves at once. Without a terminal SIGINT and SIGTERM stop, SIGHUP detaches. With several jobs, detach
and stop mean all that run, and destroy what does not run yet; SIGHUP waits for that to run.

--json prints {"version": 1, "phase", "code", "reason", "retryable", "value", "jobs", "errors"} as the
last line of stdout; each error is {"kind", "message", "file", "line", "col", "frames", "hint"}.

EXIT STATUS
  that of the job when it ran to its end, unless the script says otherwise; else
    0  done                                  130  interrupted (143 by SIGTERM)
    1  the script failed                     200  nothing could be rented
    2  usage                                 201  over the budget
  124  the job ran into its timeout          202  contact lost, the job's state is unknown
  125  the script has errors, nothing ran    203  results incomplete
  128+n  the job was killed by signal n      204  termination not confirmed, MONEY MAY BE BURNING
                                             206  permission denied
                                             207  bootstrap failed`,
		Example: `  bifrost exec deploy.star
  bifrost exec deploy.star --gpu-count 8 config.star
  bifrost exec -d deploy.star && bifrost attach @last`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "" {
				return usage(cmd, "", "FILE is missing")
			}
			return checkIdentity(cmd, a.identity)
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return []string{"star"}, cobra.ShellCompDirectiveFilterFileExt
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.exec(cmd.Context(), args[0], args[1:], f)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false)
	flags.BoolVarP(&f.detach, "detach", "d", false, "return once the job runs; a guardian finishes it")
	flags.BoolVar(&f.fresh, "fresh", false, "run every bootstrap step, whatever ran before")
	flags.StringVarP(&a.identity, "identity", "i", "", "SSH private `KEY` file to log in with")
	flags.BoolVar(&f.asJSON, "json", false, "the verdict as JSON, on the last line of stdout")
	addTrace(cmd, a)
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "show what the script logs for debugging too")
	addYes(cmd, a)
	addRaw(cmd, &f.raw)
	addLimitFlags(cmd, &f.limits)
	f.permissions = addPolicyFlags(cmd)
	return cmd
}

// addTrace adds the flag of commands that run scripts.
func addTrace(cmd *cobra.Command, a *app) {
	cmd.Flags().BoolVar(&a.trace, "trace", false, "show every call and every cause of an error, for reports of defects")
}

// checkIdentity refuses a key that is not there before anything runs. With only the public half here,
// the agent may hold the other.
func checkIdentity(cmd *cobra.Command, path string) error {
	if path == "" || strings.HasPrefix(path, "~") {
		return nil
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return usage(cmd, "name the private key file, as with ssh -i", "-i %s: it is a folder", path)
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(path + ".pub"); err != nil {
			return usage(cmd, "name the private key file, as with ssh -i", "-i %s: it does not exist", path)
		}
	}
	return nil
}

func (a *app) exec(ctx context.Context, file string, args []string, f execFlags) error {
	ctx, stop, closeStopper := a.stoppable(ctx)
	defer closeStopper()
	if f.detach {
		stop.machine.DetachSoon()
	}
	runs := &runs{stopper: stop, fresh: f.fresh, limits: f.limits, permissions: f.permissions}
	outcome, err := a.runScript(ctx, file, args, runs, f.raw)
	err = errors.Join(err, a.close()) // here, so that Ctrl-C means the same until the last machine is released
	err = a.say(runs.verdict(ctx, outcome, err))
	runs.report(a)
	if f.asJSON {
		if jsonErr := a.printVerdict(runs, outcome, err); jsonErr != nil {
			return errors.Join(err, jsonErr)
		}
	}
	return err
}

// A runs collects what became of the jobs of a script.
type runs struct {
	stopper *stopper
	fresh   bool
	limits  starlark.Limits

	permissions *permissions

	mu       sync.Mutex
	results  []engine.Result
	detached error // what went wrong in leaving a job to the guardian
}

// add takes the end of one run.
func (r *runs) add(res engine.Result, err error) {
	r.stopper.over(res.JobID)
	if res.JobID == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, res)
	if res.Status == "detached" {
		r.detached = errors.Join(r.detached, err)
	}
}

// last is the end of the latest run; the zero Result when there was none.
func (r *runs) last() engine.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.results) == 0 {
		return engine.Result{}
	}
	return r.results[len(r.results)-1]
}

// has tells whether a run ended in a status. Which of several at once is the last is chance.
func (r *runs) has(status string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.results, func(res engine.Result) bool { return res.Status == status })
}

// verdict is the error with which a script's run ends.
func (r *runs) verdict(ctx context.Context, outcome starlark.Outcome, err error) error {
	var called *starlark.ExitError
	if errors.As(err, &called) {
		return errors.Join(find204(err), exitOf(called.Code))
	}
	cause := context.Cause(ctx)
	switch {
	case cause == nil:
		if err == nil {
			return exitOf(outcome.ExitCode)
		}
		return err
	case find(err, fault.Unreleased) != nil:
		return err
	case errors.Is(cause, engine.ErrDetach):
		if !r.has("detached") {
			return err
		}
		var items *builtins.ItemsError
		if errors.As(err, &items) {
			return errors.Join(append(slices.Clone(items.Items), r.detached)...)
		}
		return r.detached
	}
	if last := r.last(); !r.has("cancelled") && (last.Status == "failed" && last.ExitCode != 0 || last.Status == "timeout") {
		return exitError(resultCode(last)) // it had ended by itself before it could be stopped
	}
	if errors.Is(cause, errTerminated) || r.stopper.terminated() {
		return exitError(exitTerminated)
	}
	return exitError(exitInterrupt)
}

func exitOf(code int) error {
	if code == exitDone {
		return nil
	}
	return exitError(code)
}

// find204 is the part of err that says that a machine may still run, or nil.
func find204(err error) error {
	if f := find(err, fault.Unreleased); f != nil {
		return f
	}
	return nil
}

// report prints how each run ended.
func (r *runs) report(a *app) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, res := range r.results {
		a.screen.Line("\n" + endBlock(res))
	}
}

// The shape of exec --json, version 1.
type jsonVerdict struct {
	Version   int                `json:"version"`
	Phase     string             `json:"phase"` // "check", "prepare", "run", "done"
	Code      int                `json:"code"`
	Reason    string             `json:"reason"`
	Retryable bool               `json:"retryable"`
	Value     any                `json:"value"`
	Jobs      []jsonJobResult    `json:"jobs"`
	Errors    []starlark.Failure `json:"errors"`
}

type jsonJobResult struct {
	ID           string  `json:"id"`
	Node         string  `json:"node,omitempty"`
	Status       string  `json:"status"`
	ExitCode     int     `json:"exit_code"`
	DurationS    float64 `json:"duration_s"`
	Cost         float64 `json:"cost"`
	Machine      string  `json:"machine"`
	Log          string  `json:"log"`
	ResultsFiles int     `json:"results_files"`
}

func (a *app) printVerdict(r *runs, outcome starlark.Outcome, err error) error {
	v := jsonVerdict{Version: 1, Phase: "done", Code: exitCode(err), Value: plainValue(outcome.Value), Jobs: []jsonJobResult{}, Errors: a.failures(err)}
	if err != nil {
		v.Reason = a.redact.Redact(err.Error())
	}
	var static *starlark.StaticError
	switch {
	case errors.As(err, &static):
		v.Phase = "check"
	case err != nil && len(r.results) == 0:
		v.Phase = "prepare"
	case err != nil:
		v.Phase = "run"
	}
	switch v.Code {
	case exitNoMachine, exitLost, exitResults:
		v.Retryable = true
	}
	for _, res := range r.results {
		v.Jobs = append(v.Jobs, jsonJobResult{
			ID: res.JobID, Node: res.NodeID, Status: res.Status, ExitCode: res.ExitCode, DurationS: res.Duration.Seconds(), Cost: res.Cost,
			Machine: res.Machine, Log: res.LogPath, ResultsFiles: res.Files(),
		})
	}
	line, jsonErr := compactJSON(v)
	if jsonErr != nil {
		return jsonErr
	}
	_, jsonErr = fmt.Fprintln(a.screen.Stdout(), line)
	return jsonErr
}

package main

import (
	"errors"
	"fmt"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/ssh"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// The exit codes of bifrost itself. The code of a job that ran to its end is passed on as it is.
const (
	exitDone       = 0
	exitFailed     = 1 // the script failed, or what a command was to do
	exitUsage      = 2
	exitTimeout    = 124
	exitStatic     = 125 // the script has static errors; nothing ran
	exitInterrupt  = 130 // 128 + the signal's number
	exitPipe       = 141
	exitTerminated = 143
	exitNoMachine  = 200 // nothing could be rented
	exitBudget     = 201
	exitLost       = 202 // contact lost, the job's state is unknown
	exitResults    = 203 // results are not complete here
	exitUnreleased = 204 // a termination is not confirmed: money may be burning
	exitDenied     = 206
	exitBootstrap  = 207
)

// kindCodes is the table of codes for errors, by their kind. Kinds that are not here end with
// exitFailed.
var kindCodes = map[fault.Kind]int{
	fault.Denied:     exitDenied,
	fault.NoCapacity: exitNoMachine,
	fault.Funds:      exitNoMachine,
	fault.Budget:     exitBudget,
	fault.Lost:       exitLost,
	fault.Timeout:    exitTimeout,
	fault.Results:    exitResults,
	fault.Bootstrap:  exitBootstrap,
	fault.Cancelled:  exitInterrupt,
	fault.Unreleased: exitUnreleased,
}

// statusCodes is the table of codes for a run's end, by its status. Of a job that failed it is the
// job's own.
var statusCodes = map[string]int{
	"succeeded": exitDone,
	"detached":  exitDone,
	"timeout":   exitTimeout,
	"cancelled": exitInterrupt,
	"lost":      exitLost,
}

// An exitError ends the process with a code; what there is to say was said.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// A saidError is one that the user was told of.
type saidError struct{ error }

func (e saidError) Unwrap() error { return e.error }

// The causes by which a user ends what runs here.
var (
	errInterrupted = errors.New("interrupted")
	errTerminated  = errors.New("terminated")
)

// exitCode returns the code for the error that a command ended with, nil included. Where several
// apply: a job's own failure first, then a machine that may cost money, then the first.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	var (
		exit   exitError
		usage  *usageError
		static *starlark.StaticError
		args   *starlark.ArgsError
		called *starlark.ExitError
		denied *policy.Denied
		limit  *starlark.LimitError
		remote *ssh.ExitError
	)
	switch job := find(err, fault.JobFailed); {
	case job != nil && job.ExitCode != 0:
		return job.ExitCode
	case find(err, fault.Unreleased) != nil:
		return exitUnreleased
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &called):
		return called.Code
	case errors.As(err, &usage), errors.As(err, &args):
		return exitUsage
	case errors.As(err, &static):
		return exitStatic
	case errors.As(err, &denied):
		return exitDenied
	case errors.As(err, &limit): // whatever it has interrupted
		return exitFailed
	case errors.Is(err, errInterrupted), errors.Is(err, engine.ErrStop):
		return exitInterrupt
	case errors.Is(err, errTerminated):
		return exitTerminated
	case errors.Is(err, engine.ErrDetach):
		return exitDone
	}
	var f *fault.Error
	if errors.As(err, &f) {
		if code, ok := kindCodes[f.Kind]; ok {
			return code
		}
		return exitFailed
	}
	if errors.As(err, &remote) && remote.Code != 0 {
		return remote.Code
	}
	return exitFailed
}

// find returns the first error of that kind anywhere in err, joined errors included.
func find(err error, kind fault.Kind) *fault.Error {
	for err != nil {
		if f, ok := err.(*fault.Error); ok && f.Kind == kind {
			return f
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			for _, part := range e.Unwrap() {
				if f := find(part, kind); f != nil {
					return f
				}
			}
			return nil
		default:
			return nil
		}
	}
	return nil
}

// resultCode returns the code for a run's end as such.
func resultCode(r engine.Result) int {
	code, known := statusCodes[r.Status]
	if !known {
		if code = r.ExitCode; code == 0 {
			code = exitFailed // a failure is never a success, whatever the code says
		}
	}
	if code != exitDone {
		return code
	}
	for _, f := range r.Results {
		if f.Err != nil {
			return exitResults
		}
	}
	return exitDone
}

// jobEnd is what waiting for a job that is over ends with.
func jobEnd(j journal.Job) error {
	r := engine.Result{Status: string(j.State)}
	if j.ExitCode != nil {
		r.ExitCode = *j.ExitCode
	}
	code := resultCode(r)
	switch {
	case code == exitDone:
		return nil
	case j.ExitCode != nil:
		return exitError(code)
	}
	why := j.Reason
	if why == "" {
		why = "no exit record"
	}
	kind := fault.Internal
	switch j.State {
	case journal.JobLost:
		kind = fault.Lost
	case journal.JobCancelled:
		kind = fault.Cancelled
	}
	return &fault.Error{Kind: kind, Op: "job", Target: j.ID, Err: fmt.Errorf("%s: %s", j.State, why)}
}

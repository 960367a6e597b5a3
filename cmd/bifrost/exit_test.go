package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/ssh"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

func kind(k fault.Kind) error { return &fault.Error{Kind: k, Err: errors.New("x")} }

func TestExitCode(t *testing.T) {
	t.Parallel()
	job := &fault.Error{Kind: fault.JobFailed, ExitCode: 3}
	for _, tt := range []struct {
		name string
		err  error
		want int
	}{
		{"nothing", nil, 0},
		{"plain", errors.New("x"), 1},
		{"usage", &usageError{text: "x"}, 2},
		{"script takes no arguments", &starlark.ArgsError{}, 2},
		{"static", &starlark.StaticError{}, 125},
		{"exit(7)", &starlark.ExitError{Code: 7}, 7},
		{"exit(0)", &starlark.ExitError{Code: 0}, 0},
		{"denied by the policy", fmt.Errorf("x: %w", &policy.Denied{Reason: errors.New("x")}), 206},
		{"denied", kind(fault.Denied), 206},
		{"a limit", &starlark.LimitError{Limit: "steps"}, 1},
		{"a limit that interrupted a job", &fault.Error{Kind: fault.Cancelled, Err: &starlark.LimitError{Limit: "wall"}}, 1},
		{"no capacity", kind(fault.NoCapacity), 200},
		{"funds", kind(fault.Funds), 200},
		{"budget", kind(fault.Budget), 201},
		{"lost", kind(fault.Lost), 202},
		{"results", kind(fault.Results), 203},
		{"unreleased", kind(fault.Unreleased), 204},
		{"bootstrap", kind(fault.Bootstrap), 207},
		{"timeout", kind(fault.Timeout), 124},
		{"cancelled", kind(fault.Cancelled), 130},
		{"unreachable", kind(fault.Unreachable), 1},
		{"unreachable job", contactLost(kind(fault.Unreachable)), 202},
		{"invalid", kind(fault.Invalid), 1},
		{"a command, uncaught", &fault.Error{Kind: fault.CommandFail, ExitCode: 9}, 1},
		{"job", job, 3},
		{"job without a code", &fault.Error{Kind: fault.JobFailed}, 1},
		{"job, wrapped", fmt.Errorf("deploy.star:3: %w", job), 3},
		{"job and unreleased", errors.Join(kind(fault.Unreleased), job), 3},
		{"results and unreleased", errors.Join(kind(fault.Results), kind(fault.Unreleased)), 204},
		{"exit(0) and unreleased", errors.Join(kind(fault.Unreleased), exitError(0)), 204},
		{"interrupted", fmt.Errorf("x: %w", errInterrupted), 130},
		{"stopped", engine.ErrStop, 130},
		{"terminated", errTerminated, 143},
		{"detached", engine.ErrDetach, 0},
		{"a code alone", exitError(77), 77},
		{"remote command", &ssh.ExitError{Code: 5}, 5},
		{"deadline", context.DeadlineExceeded, 1},
	} {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("%s: got %d want %d", tt.name, got, tt.want)
		}
	}
}

func TestResultCode(t *testing.T) {
	t.Parallel()
	missing := []engine.Fetched{{Err: errors.New("x")}}
	for _, tt := range []struct {
		r    engine.Result
		want int
	}{
		{engine.Result{Status: "succeeded"}, 0},
		{engine.Result{Status: "succeeded", Results: missing}, 203},
		{engine.Result{Status: "failed", ExitCode: 3}, 3},
		{engine.Result{Status: "failed", ExitCode: 3, Results: missing}, 3},
		{engine.Result{Status: "failed", ExitCode: 137, Signal: "KILL"}, 137},
		{engine.Result{Status: "failed"}, 1},
		{engine.Result{Status: ""}, 1},
		{engine.Result{Status: "running"}, 1},
		{engine.Result{Status: "timeout", ExitCode: 124}, 124},
		{engine.Result{Status: "cancelled", ExitCode: 143}, 130},
		{engine.Result{Status: "lost"}, 202},
		{engine.Result{Status: "detached"}, 0},
	} {
		if got := resultCode(tt.r); got != tt.want {
			t.Errorf("%+v: got %d want %d", tt.r, got, tt.want)
		}
	}
}

func TestResultError(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		r    engine.Result
		err  error
		want int
	}{
		{"well", engine.Result{Status: "succeeded"}, nil, 0},
		{"failed", engine.Result{Status: "failed", ExitCode: 3}, nil, 3},
		{"succeeded, not released", engine.Result{Status: "succeeded"}, kind(fault.Unreleased), 204},
		{"failed, not released", engine.Result{Status: "failed", ExitCode: 3}, kind(fault.Unreleased), 3},
		{"failed, results missing", engine.Result{Status: "failed", ExitCode: 3}, kind(fault.Results), 3},
		{"succeeded, results missing", engine.Result{Status: "succeeded"}, kind(fault.Results), 203},
	} {
		if got := exitCode(resultError(tt.r, tt.err)); got != tt.want {
			t.Errorf("%s: got %d want %d", tt.name, got, tt.want)
		}
	}
}

func TestJobEnd(t *testing.T) {
	t.Parallel()
	code := func(n int) *int { return &n }
	for _, tt := range []struct {
		j    journal.Job
		want int
	}{
		{journal.Job{State: journal.JobSucceeded, ExitCode: code(0)}, 0},
		{journal.Job{State: journal.JobFailed, ExitCode: code(9)}, 9},
		{journal.Job{State: journal.JobTimeout, ExitCode: code(124)}, 124},
		{journal.Job{State: journal.JobCancelled, ExitCode: code(143)}, 130},
		{journal.Job{State: journal.JobCancelled}, 130},
		{journal.Job{State: journal.JobLost}, 202},
		{journal.Job{State: journal.JobFailed, Reason: "it did not start"}, 1},
	} {
		if got := exitCode(jobEnd(tt.j)); got != tt.want {
			t.Errorf("%s %v: got %d want %d", tt.j.State, tt.j.ExitCode, got, tt.want)
		}
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"plain", errors.New("it broke"), "bifrost: it broke"},
		{
			"with a hint",
			&fault.Error{Kind: fault.Transfer, Op: "push", Target: "~/w", Err: errors.New("no space"), Hint: "free some"},
			"bifrost: push ~/w: no space\n  hint: free some",
		},
		{
			"several",
			errors.Join(errors.New("one"), fmt.Errorf("two: %w", &fault.Error{Kind: fault.Lost, Op: "reach", Err: errors.New("x"), Hint: "wait"})),
			"bifrost: one\nbifrost: two: reach: x\n  hint: wait",
		},
		{"usage", &usageError{op: "wait", text: "JOB is missing", hint: "usage: bifrost wait JOB"}, "bifrost: wait: JOB is missing\n  hint: usage: bifrost wait JOB"},
		{"lines", errors.New("a\nb\n"), "bifrost: a\n  b"},
		{"code alone", exitError(3), ""},
	} {
		if got := errorText(tt.err, false); got != tt.want {
			t.Errorf("%s: got %q want %q", tt.name, got, tt.want)
		}
	}
}

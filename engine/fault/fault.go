// Package fault defines the error that reaches users: what failed, on which object, why, and the
// way out, as data. The packages beneath engine return it where a caller decides by the kind or
// where a person reads it; it depends on nothing.
//
//	return &fault.Error{Kind: fault.Transfer, Op: "push", Target: workspace, Err: err,
//		Hint: "free space on the node, then run the same command again"}
package fault

import (
	"errors"
	"strings"
)

// A Kind says what sort of thing went wrong. The set is closed: scripts compare it as err.kind.
type Kind string

// The kinds, each with what it tells the caller.
const (
	Invalid     Kind = "invalid"     // the input is wrong; nothing was done
	Denied      Kind = "denied"      // the run's policy, or the user at the prompt, refused
	NoCapacity  Kind = "no_capacity" // nothing could be rented
	Auth        Kind = "auth"        // a key or a login was refused
	HostKey     Kind = "host_key"    // the node's host key is unknown or has changed
	Funds       Kind = "funds"       // the provider's account is empty
	Budget      Kind = "budget"      // the run's own price limit refuses
	Unreachable Kind = "unreachable" // no connection was made; nothing ran
	Lost        Kind = "lost"        // contact or process lost; the true outcome is unknown
	Timeout     Kind = "timeout"     // a time limit that the user set or was shown has passed
	NotFound    Kind = "not_found"   // a path, job or node that does not exist
	Conflict    Kind = "conflict"    // somebody else holds it: workspace, session, journal
	DiskFull    Kind = "disk_full"   // no space left, Target says where
	Transfer    Kind = "transfer"    // files did not arrive complete
	Results     Kind = "results"     // requested results are not complete here
	Bootstrap   Kind = "bootstrap"   // a bootstrap step failed
	CommandFail Kind = "command"     // a command on the node exited with another code than 0
	JobFailed   Kind = "job_failed"  // the job ended with another code than 0
	Cancelled   Kind = "cancelled"   // the user or another client ended it
	Unreleased  Kind = "unreleased"  // a termination is not confirmed: money may be burning
	Scope       Kind = "scope"       // a handle or node used after its scope ended
	Internal    Kind = "internal"    // a defect of bifrost
)

// An Error is a failure as users see it. Error() is "op target: cause" in lower case; Hint is the
// way out and is printed on a line of its own, so it is never part of the message.
type Error struct {
	Kind     Kind
	Op       string // the verb: "push", "connect", "download"
	Target   string // what it was done to: a path, a host, a job id
	Err      error  // the cause; its text is the reason
	Hint     string // what to do next; empty where there is nothing to do
	ExitCode int    // of the command or job that failed; 0 where there is none
}

func (e *Error) Error() string {
	var parts []string
	if head := strings.TrimSpace(e.Op + " " + e.Target); head != "" {
		parts = append(parts, head)
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	if len(parts) == 0 {
		return string(e.Kind)
	}
	return strings.Join(parts, ": ")
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first Error in err's chain, or Internal when there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// HintOf returns the first hint in err's chain that is not empty.
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}

// Package policy decides what a script may do. Every effect of a builtin (a file read or written, an
// environment variable, a host, a machine rented, a local program) is a Request to the run's Gate
// before it happens. A Judge decides by the user's Rules, and asks the user where they say nothing.
// The package depends on nothing.
//
//	judge, err := policy.NewJudge(policy.Config{Root: root, Script: "deploy.star", Rules: rules})
//	gate := policy.NewGate(judge.Decide)
//	if err := gate.Ask(ctx, policy.Request{Capability: policy.Env, Target: "HF_TOKEN"}); err != nil { … }
package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// A Capability is a kind of effect.
type Capability string

// The capabilities. Pure is none of them: it declares that a builtin has no effect outside of the
// script, and is never asked for.
const (
	Pure      Capability = "pure"
	ReadFile  Capability = "read files"    // Target is an absolute local path
	WriteFile Capability = "write files"   // Target is an absolute local path
	Env       Capability = "environment"   // Target is the name of a variable
	SSH       Capability = "reach hosts"   // Target is user@host:port, the id of a machine, or "job ID"
	Rent      Capability = "rent machines" // Target is the name of a provider, "*" for any
	Run       Capability = "run programs"  // Target is the name of a local program
)

// Capabilities lists every capability but Pure.
func Capabilities() []Capability {
	return []Capability{ReadFile, WriteFile, Env, SSH, Rent, Run}
}

// Key is the capability's name in bifrost.toml and in the flags: "env" of --allow-env.
func (c Capability) Key() string {
	return map[Capability]string{ReadFile: "read", WriteFile: "write", Env: "env", SSH: "ssh", Rent: "rent", Run: "run"}[c]
}

// verb says what who has the capability does; target is as people see it.
func (c Capability) verb(target string, third bool) string {
	s := ""
	if third {
		s = "s"
	}
	switch c {
	case ReadFile, Env:
		return "read" + s + " " + target
	case WriteFile:
		return "write" + s + " " + target
	case SSH:
		return "connect" + s + " to " + target
	case Rent:
		if target == "*" {
			return "rent" + s + " a machine"
		}
		return "rent" + s + " a machine from " + target
	case Run:
		return "run" + s + " " + target
	}
	return fmt.Sprintf("do%s %q with %s", map[bool]string{true: "es"}[third], string(c), target)
}

// A Request is one effect that a script wants.
type Request struct {
	Capability Capability
	Target     string
	Provider   string // of SSH, where Target is the id of a machine: who rents it out
	Caller     string // the vendored module that it is asked for; "" means the script
	Place      string // where the script asks, "deploy.star:12"; may be empty
}

// A Policy answers a request: nil allows it, an error refuses it and is the reason. It must be safe
// for concurrent use.
type Policy func(ctx context.Context, r Request) error

// Typed is a policy for programs that trust their scripts. It allows everything but the keys of
// providers, which bifrost itself reads and no script, and local programs.
func Typed() Policy {
	return func(_ context.Context, r Request) error {
		switch {
		case r.Capability == Env && IsProviderKey(r.Target):
			return errors.New("keys of providers are for bifrost itself; no script may read them")
		case r.Capability == Run:
			return errors.New("scripts run no local programs")
		}
		return nil
	}
}

// A Gate is what every effect of a script passes. A nil Gate refuses everything.
type Gate struct {
	policy Policy
}

// NewGate returns the gate of a policy; a nil policy refuses everything.
func NewGate(p Policy) *Gate { return &Gate{policy: p} }

// Ask returns nil when the request is allowed, else a *Denied; or the cause of ctx's end, when the
// user was being asked and ended the run instead. A request for Pure is a defect of the caller and is
// refused.
func (g *Gate) Ask(ctx context.Context, r Request) error {
	if g == nil || g.policy == nil {
		return &Denied{Request: r, Reason: errors.New("this run allows no effects")}
	}
	if !slices.Contains(Capabilities(), r.Capability) {
		return &Denied{Request: r, Reason: fmt.Errorf("%q is no capability", r.Capability)}
	}
	err := g.policy(ctx, r)
	if err == nil || ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return err
	}
	return &Denied{Request: r, Reason: err}
}

// A Denied is the refusal of a request. A script cannot catch it.
type Denied struct {
	Request Request
	Reason  error
}

func (d *Denied) Error() string {
	who := "the script"
	var r *refusal
	if errors.As(d.Reason, &r) {
		who = r.who
	} else if d.Request.Caller != "" {
		who = "@" + d.Request.Caller
	}
	return fmt.Sprintf("%s may not %s: %v", who, d.Request.Capability.verb(shown(d.Request.Target), false), d.Reason)
}

func (d *Denied) Unwrap() error { return d.Reason }

// Hint is what the user can do about it.
func (d *Denied) Hint() string {
	var r *refusal
	if errors.As(d.Reason, &r) {
		return r.hint
	}
	return ""
}

// A refusal is why a Judge refuses.
type refusal struct {
	who    string // as people see it
	reason string
	hint   string
}

func (r *refusal) Error() string { return r.reason }

// Package policy decides what a script may do. Every effect of a builtin (a file read or written, an
// environment variable, a host, a machine rented, a local program) is a Request to the run's Gate
// before it happens. The package depends on nothing.
//
//	gate := policy.NewGate(policy.Typed())
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
	SSH       Capability = "reach hosts"   // Target is the host as the script names it, or a node id
	Rent      Capability = "rent machines" // Target is the name of a provider, "*" for any
	Run       Capability = "run programs"  // Target is the name of a local program
)

// Capabilities lists every capability but Pure.
func Capabilities() []Capability {
	return []Capability{ReadFile, WriteFile, Env, SSH, Rent, Run}
}

// A Request is one effect that a script wants.
type Request struct {
	Capability Capability
	Target     string
}

// A Policy answers a request: nil allows it, an error refuses it and is the reason. It must be safe
// for concurrent use.
type Policy func(ctx context.Context, r Request) error

// Typed is the policy for a script that the user typed the name of. It allows everything that such a
// script can do today: files and hosts that it names, variables that it asks for, machines from
// every provider with credentials. It refuses the keys of providers, which are read by bifrost itself and
// never by a script, and local programs. Flags and bifrost.toml do not narrow it yet.
func Typed() Policy {
	return func(_ context.Context, r Request) error {
		switch {
		case r.Capability == Env && slices.Contains(ProviderKeys(), r.Target):
			return errors.New("keys of providers are for bifrost itself; no script may read them")
		case r.Capability == Run:
			return errors.New("scripts run no local programs")
		}
		return nil
	}
}

// ProviderKeys lists the variables that hold the keys of providers.
func ProviderKeys() []string {
	return []string{"RUNPOD_API_KEY", "VAST_API_KEY", "LAMBDA_API_KEY", "PRIME_API_KEY"}
}

// A Gate is what every effect of a script passes. A nil Gate refuses everything.
type Gate struct {
	policy Policy
}

// NewGate returns the gate of a policy; a nil policy refuses everything.
func NewGate(p Policy) *Gate { return &Gate{policy: p} }

// Ask returns nil when the request is allowed, else a *Denied. A request for Pure is a defect of the
// caller and is refused.
func (g *Gate) Ask(ctx context.Context, r Request) error {
	if g == nil || g.policy == nil {
		return &Denied{Request: r, Reason: errors.New("this run allows no effects")}
	}
	if !slices.Contains(Capabilities(), r.Capability) {
		return &Denied{Request: r, Reason: fmt.Errorf("%q is no capability", r.Capability)}
	}
	if err := g.policy(ctx, r); err != nil {
		return &Denied{Request: r, Reason: err}
	}
	return nil
}

// A Denied is the refusal of a request. A script cannot catch it.
type Denied struct {
	Request Request
	Reason  error
}

func (d *Denied) Error() string {
	return fmt.Sprintf("%s %s: not allowed: %v", d.Request.Capability, d.Request.Target, d.Reason)
}

func (d *Denied) Unwrap() error { return d.Reason }

// Hint is what the user can do about it.
func (d *Denied) Hint() string {
	if d.Request.Capability == Run {
		return "run it on the node: node.exec"
	}
	return ""
}

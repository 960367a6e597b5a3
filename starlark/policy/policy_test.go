package policy

import (
	"context"
	"errors"
	"testing"
)

func TestTyped(t *testing.T) {
	t.Parallel()
	gate := NewGate(Typed())
	for _, test := range []struct {
		request Request
		allowed bool
	}{
		{Request{Capability: ReadFile, Target: "/x"}, true},
		{Request{Capability: WriteFile, Target: "/x"}, true},
		{Request{Capability: Env, Target: "HF_TOKEN"}, true},
		{Request{Capability: SSH, Target: "root@gpu"}, true},
		{Request{Capability: Rent, Target: "local"}, true},
		{Request{Capability: Env, Target: "RUNPOD_API_KEY"}, false},
		{Request{Capability: Run, Target: "git"}, false},
		{Request{Capability: Pure, Target: ""}, false},
		{Request{Capability: "", Target: ""}, false},
	} {
		err := gate.Ask(t.Context(), test.request)
		var denied *Denied
		if got := err == nil; got != test.allowed || (!got && !errors.As(err, &denied)) {
			t.Errorf("Ask(%v) = %v, want allowed %v", test.request, err, test.allowed)
		}
	}
}

func TestZeroGateRefuses(t *testing.T) {
	t.Parallel()
	var none *Gate
	for _, gate := range []*Gate{none, {}, NewGate(nil)} {
		for _, c := range Capabilities() {
			if gate.Ask(context.Background(), Request{Capability: c, Target: "x"}) == nil {
				t.Errorf("%v allows %s", gate, c)
			}
		}
	}
}

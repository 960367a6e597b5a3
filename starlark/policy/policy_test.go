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
		{Request{ReadFile, "/x"}, true},
		{Request{WriteFile, "/x"}, true},
		{Request{Env, "HF_TOKEN"}, true},
		{Request{SSH, "root@gpu"}, true},
		{Request{Rent, "local"}, true},
		{Request{Env, "RUNPOD_API_KEY"}, false},
		{Request{Run, "git"}, false},
		{Request{Pure, ""}, false},
		{Request{"", ""}, false},
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
			if gate.Ask(context.Background(), Request{c, "x"}) == nil {
				t.Errorf("%v allows %s", gate, c)
			}
		}
	}
}

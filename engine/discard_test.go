package engine

import (
	"context"
	"errors"
	"testing"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// TestDiscardKeepsTheCause interrupts runs whose job has not started: what is said is that, but a machine that may
// exist is not hidden by it, and callers find why a script's function failed.
func TestDiscardKeepsTheCause(t *testing.T) {
	t.Parallel()
	eng, err := Open(t.Context(), Config{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := eng.Close(); err != nil {
			t.Error(err)
		}
	})
	limit := errors.New("a limit")
	for _, test := range []struct {
		name   string
		cancel bool
		cause  error
		want   fault.Kind
		text   string
	}{
		{"interrupted", true, limit, fault.Cancelled, "interrupted before it ran"},
		{"interrupted, and a machine may exist", true, &fault.Error{Kind: fault.Unreleased, Err: limit}, fault.Unreleased, limit.Error()},
		{"failed", false, &fault.Error{Kind: fault.Bootstrap, Err: limit}, fault.Bootstrap, limit.Error()},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := eng.begin(ctx, Job{SSH: "gpu", Command: Shell("x")}, true)
		if err != nil {
			t.Fatal(err)
		}
		if test.cancel {
			cancel()
		}
		_, err = r.discard(ctx, test.cause)
		cancel()
		var f *fault.Error
		if !errors.As(err, &f) || f.Kind != test.want || f.Err.Error() != test.text || !errors.Is(err, limit) {
			t.Errorf("%s: got %v, want %s with the text %q that holds %q", test.name, err, test.want, test.text, limit)
		}
	}
}

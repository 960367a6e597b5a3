package builtins

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// TestCatchable says for every type of error whether attempt catches it, as it is and as what a
// function called by an operation of the engine failed with.
func TestCatchable(t *testing.T) {
	t.Parallel()
	cause := errors.New("the cause")
	for _, test := range []struct {
		err  error
		kind string
		want bool
	}{
		{&fault.Error{Kind: fault.NoCapacity, Err: cause}, "no_capacity", true},
		{&fault.Error{Kind: fault.Scope, Err: cause}, "scope", true},
		{&ScriptError{Kind: "fail", Message: "no"}, "fail", true},
		{&ScriptError{Kind: "check", Message: "no"}, "check", true},
		{&DataError{Format: "json", Err: cause}, "data", true},
		{&fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}, "not_found", true},
		{&fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission}, "file", true},
		{context.DeadlineExceeded, "timeout", true},
		{&fault.Error{Kind: fault.Internal, Err: cause}, "internal", false},
		{&fault.Error{Kind: fault.Denied, Err: cause}, "denied", false},
		{&policy.Denied{Request: policy.Request{Capability: policy.Env, Target: "X"}, Reason: cause}, "denied", false},
		{&ArgError{Entry: "round", Message: "no"}, "invalid", false},
		{&starlark.ExitError{Code: 3}, "", false},
		{&starlark.LimitError{}, "", false},
		{context.Canceled, "", false},
		{cause, "", false}, // of the interpreter: a typo, an index out of range
	} {
		if kind, _ := Describe(test.err); kind != test.kind {
			t.Errorf("Describe(%v): got kind %q want %q", test.err, kind, test.kind)
		}
		if got := catchable(test.err); got != test.want {
			t.Errorf("catchable(%v): got %v want %v", test.err, got, test.want)
		}
		nested := &fault.Error{Kind: fault.Transfer, Op: "push", Err: fmt.Errorf("where: %w", evalError(t, test.err))}
		if got := catchable(nested); got != test.want {
			t.Errorf("catchable(%v inside of push): got %v want %v", test.err, got, test.want)
		}
	}
}

// evalError is err as the interpreter returns it from a call.
func evalError(t *testing.T, err error) error {
	t.Helper()
	fails := star.NewBuiltin("f", func(*star.Thread, *star.Builtin, star.Tuple, []star.Tuple) (star.Value, error) { return nil, err })
	_, evalErr := star.Call(new(star.Thread), fails, nil, nil)
	return evalErr
}

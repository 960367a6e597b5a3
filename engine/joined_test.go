package engine

import (
	"errors"
	"fmt"
	"testing"
)

func TestJoined(t *testing.T) {
	full, gone := errors.New("disk full"), errors.New("gone")
	both := fmt.Errorf("%w; %w", full, gone) // has words of its own
	for _, tt := range []struct {
		errs []error
		want string
	}{
		{[]error{full, nil}, "disk full"},
		{[]error{full, errors.Join(errors.New("disk full"), gone, full)}, "disk full\ngone"},
		{[]error{both, full}, "disk full; gone\ndisk full"},
	} {
		if got := joined(tt.errs...); got == nil || got.Error() != tt.want || !errors.Is(got, full) {
			t.Errorf("joined(%v) = %v, want %s", tt.errs, got, tt.want)
		}
	}
	if err := joined(nil, errors.Join()); err != nil {
		t.Errorf("joined of nothing: %v", err)
	}
}

package vast

import (
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// TestLimits holds the pace of calls against what Vast publishes: the least time between two calls of a kind.
func TestLimits(t *testing.T) {
	t.Parallel()
	p := New(Config{})
	tests := []struct {
		name   string
		limit  *rate.Limiter
		least  time.Duration
		atOnce int
	}{
		{"search", p.limits.search, 6 * time.Second, 4},
		{"create", p.limits.create, 4500 * time.Millisecond, 1},
		{"destroy", p.limits.destroy, 3 * time.Second, 1},
		{"get", p.limits.get, 2 * time.Second, 1},
		{"list", p.limits.list, time.Second, 1},
		{"manage", p.limits.manage, time.Second, 1},
	}
	for _, tt := range tests {
		pause := time.Duration(float64(time.Second) / float64(tt.limit.Limit()))
		if pause < tt.least || tt.limit.Burst() != tt.atOnce {
			t.Errorf("%s: got %v between calls and %d at once, want at least %v and %d", tt.name, pause, tt.limit.Burst(), tt.least, tt.atOnce)
		}
	}
	search := p.limits.search
	if n := search.Burst() + int(float64(search.Limit())*60); n > 10 {
		t.Errorf("search: got %d calls in a minute, want 10 at most", n)
	}
	if (New(Config{Unpaced: true}).limits != limits{}) {
		t.Error("without pace: got limits")
	}
}

package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine/journal"
)

func TestHardLimit(t *testing.T) {
	t.Parallel()
	start := time.Now()
	runs := func(timeout time.Duration) journal.Job {
		return journal.Job{State: journal.JobRunning, Started: start, TimeoutS: int64(timeout / time.Second)}
	}
	ended := journal.Job{State: journal.JobSucceeded, Started: start, TimeoutS: 60}
	ready := journal.Node{ID: "a:1", State: journal.NodeReady}
	costly := ready
	costly.Deadline = start.Add(time.Hour)
	tests := []struct {
		name    string
		node    journal.Node
		jobs    []journal.Job
		passed  time.Duration // by the time of day, when somebody first looks
		limit   time.Duration // 0 is none
		overdue bool          // once the grace has passed too
	}{
		{"no job", ready, nil, 0, 0, false},
		{"no job, max_cost", costly, nil, 2 * time.Hour, time.Hour, true},
		{"a job", ready, []journal.Job{runs(time.Minute)}, time.Hour, time.Minute, true},
		{"a job that has time", ready, []journal.Job{runs(time.Minute)}, 30 * time.Second, time.Minute, false},
		{"two jobs", ready, []journal.Job{runs(time.Minute), runs(2 * time.Hour)}, time.Hour, 2 * time.Hour, false},
		{"a job without a limit", ready, []journal.Job{runs(time.Minute), runs(0)}, 100 * time.Hour, 0, false},
		{"a job without a limit, max_cost", costly, []journal.Job{runs(0)}, 2 * time.Hour, time.Hour, true},
		{"max_cost comes first", costly, []journal.Job{runs(3 * time.Hour)}, 2 * time.Hour, time.Hour, true},
		{"its results are being fetched", costly, []journal.Job{ended}, 2 * time.Hour, time.Hour, false},
	}
	for _, tt := range tests {
		var want time.Time
		if tt.limit > 0 {
			want = start.Add(tt.limit)
		}
		if got := hardLimit(tt.node, tt.jobs); !got.Equal(want) {
			t.Errorf("%s: limit %v, want %v", tt.name, got, want)
		}
		e := &Engine{cfg: Config{Timing: Timing{Grace: time.Nanosecond}.orDefaults(), Now: func() time.Time { return start.Add(tt.passed) }}}
		c := e.newClocks()
		first := c.verdict(tt.node, tt.jobs)
		time.Sleep(time.Microsecond) // the grace
		if got := c.verdict(tt.node, tt.jobs); (got != "") != tt.overdue {
			t.Errorf("%s: %q, then %q; overdue %v", tt.name, first, got, tt.overdue)
		}
		// A clock that is set forward after the first look ends nothing.
		e.cfg.Now = func() time.Time { return start }
		e.cfg.Timing.Grace = time.Hour
		c = e.newClocks()
		c.verdict(tt.node, tt.jobs)
		e.cfg.Now = func() time.Time { return start.Add(10000 * time.Hour) }
		if got := c.verdict(tt.node, tt.jobs); got != "" {
			t.Errorf("%s: a clock that jumped makes it %q", tt.name, got)
		}
	}
}

func TestNoJobClock(t *testing.T) {
	t.Parallel()
	e := &Engine{cfg: Config{Timing: Timing{NoJob: time.Nanosecond}.orDefaults(), Now: time.Now}}
	c := e.newClocks()
	n := journal.Node{ID: "a:1", State: journal.NodeCreated}
	first := c.verdict(n, nil)
	time.Sleep(time.Microsecond) // the limit
	if got := c.verdict(n, nil); first != "" || !strings.Contains(got, "no job was started on it for") {
		t.Errorf("got %q, then %q", first, got)
	}
	n.State = journal.NodeReady
	if got := c.verdict(n, nil); got != "" {
		t.Errorf("a machine that somebody uses: %q", got)
	}
}

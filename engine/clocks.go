package engine

import (
	"context"
	"errors"
	"time"

	"github.com/bifrost-run/bifrost/engine/journal"
)

// Clocks measure how long machines are over their time. What is left is read from the time of day once,
// when a limit is first seen; from then on it passes on a clock that nobody sets.
type clocks struct {
	engine *Engine
	limits map[string]limit // by node id
	booted map[string]time.Time
}

type limit struct {
	told time.Time // as the journal has it
	ends time.Time // on this process's own clock
}

func (e *Engine) newClocks() *clocks {
	return &clocks{engine: e, limits: map[string]limit{}, booted: map[string]time.Time{}}
}

// left is what remains of a machine's hard limit, the grace included. ok is false where it has none.
func (c *clocks) left(n journal.Node, jobs []journal.Job) (d time.Duration, ok bool) {
	told := hardLimit(n, jobs)
	if told.IsZero() {
		delete(c.limits, n.ID)
		return 0, false
	}
	l := c.limits[n.ID]
	if !l.told.Equal(told) {
		// Whatever the clock says now, who has just begun to look gives a job its grace.
		l = limit{told, time.Now().Add(max(told.Sub(c.engine.now()), 0) + c.engine.cfg.Timing.Grace)}
		c.limits[n.ID] = l
	}
	return time.Until(l.ends), true
}

// hardLimit is when a machine must be done: when its max_cost is spent, or when all jobs that run there
// have had their time. It is zero without either.
func hardLimit(n journal.Node, jobs []journal.Job) time.Time {
	var last time.Time
	for _, j := range jobs {
		switch {
		case j.State != journal.JobRunning:
		case j.TimeoutS == 0:
			return n.Deadline
		default:
			if at := j.Started.Add(time.Duration(j.TimeoutS) * time.Second); at.After(last) {
				last = at
			}
		}
	}
	if last.IsZero() || !n.Deadline.IsZero() && n.Deadline.Before(last) {
		return n.Deadline
	}
	return last
}

// overdue ends the machines of a run that are over their time although the process that should end them
// lives: one that never came to boot, and one whose job did not end at its limit.
func (c *clocks) overdue(ctx context.Context, runID string) error {
	e := c.engine
	nodes, err := e.runNodes(ctx, runID)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range nodes {
		if !releasable(n) || n.State == journal.NodeIntent || n.State == journal.NodeReleasing {
			continue
		}
		jobs, err := e.journal.Jobs(ctx, journal.JobFilter{NodeID: n.ID, All: true})
		if err != nil {
			return err
		}
		if why := c.verdict(n, jobs); why != "" {
			limited, cancel := context.WithTimeout(ctx, e.cfg.Timing.Release)
			errs = append(errs, e.terminate(limited, n, why))
			cancel()
		}
	}
	return errors.Join(errs...)
}

// verdict says why a machine is over its time, "" while it is not.
func (c *clocks) verdict(n journal.Node, jobs []journal.Job) string {
	if n.State == journal.NodeCreated {
		since, known := c.booted[n.ID]
		if !known {
			c.booted[n.ID] = time.Now()
		}
		if known && time.Since(since) > c.engine.cfg.Timing.NoJob {
			return "no job was started on it for " + c.engine.cfg.Timing.NoJob.String()
		}
		return ""
	}
	for _, j := range jobs {
		if j.State.Final() {
			return "" // its results are being fetched
		}
	}
	if left, ok := c.left(n, jobs); ok && left <= 0 {
		return overTime
	}
	return ""
}

const overTime = "its time limit has passed and it was not released"

package fake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/session"
)

// A job is one that the script started, as one of its handles has it.
type job struct {
	node *node
	id   string
	name string
	log  string
	dir  string // that relative paths start at
	*life
}

// A life is known from the beginning; the clock says how far it is.
type life struct {
	outcome outcome
	started time.Time
	limit   time.Duration // its timeout; 0 means none
	stopped time.Time     // zero: not
	reason  string        // why it was stopped
}

// signals are the numbers of those that end a job.
var signals = map[string]int{"HUP": 1, "INT": 2, "QUIT": 3, "ABRT": 6, "KILL": 9, "SEGV": 11, "TERM": 15}

// start starts a job that the test expects.
func (n *node) start(ctx context.Context, op, verb string, s engine.Submit) (*job, error) {
	if err := n.begin(ctx, "start"); err != nil {
		return nil, err
	}
	defer n.world.mu.Unlock()
	w := n.world
	w.record(op, field{"command", s.Command}, field{"name", s.Name}, field{"env", s.Env}, field{"working_dir", s.WorkingDir},
		field{"timeout", s.Timeout}, field{"node", n.id})
	e, err := w.match(verb, s.Command)
	if err != nil {
		return nil, err
	}
	id := fmt.Sprintf("%s-%d", cmp.Or(s.Name, "job"), len(w.jobs)+1)
	j := &job{
		node: n, id: id, name: cmp.Or(s.Name, id), log: n.absolute(cmp.Or(s.LogFile, path.Join(home, ".bifrost/jobs", id, "log"))),
		dir: n.absolute(cmp.Or(s.WorkingDir, ".")), life: &life{outcome: e.outcome, started: w.clock.Now(), limit: s.Timeout},
	}
	for _, other := range n.jobs {
		if s.Name == "" || other.name != s.Name || other.status(j.started) != "running" {
			continue
		}
		if s.Refuse {
			return nil, &fault.Error{Kind: fault.Conflict, Op: "start", Target: s.Name, Err: fmt.Errorf("job %s still runs under this name", other.id), Hint: "replace = True ends it"}
		}
		other.stop(j.started, "replaced by "+id)
	}
	w.jobs, n.jobs = append(w.jobs, j), append(n.jobs, j)
	return j, nil
}

// end is when the job ends, zero if never by itself.
func (j *life) end() time.Time {
	var end time.Time
	switch {
	case j.outcome.duration >= 0 && (j.limit == 0 || j.outcome.duration <= j.limit):
		end = j.started.Add(j.outcome.duration)
	case j.limit > 0:
		end = j.started.Add(j.limit)
	}
	if !j.stopped.IsZero() {
		return j.stopped
	}
	return end
}

// status is the job's state in a word.
func (j *life) status(now time.Time) string {
	end := j.end()
	switch {
	case end.IsZero() || now.Before(end):
		return "running"
	case !j.stopped.IsZero():
		return "cancelled"
	case j.outcome.duration < 0 || j.limit > 0 && j.outcome.duration > j.limit:
		return "timeout"
	case j.outcome.lost:
		return "lost"
	case j.code() == 0:
		return "succeeded"
	}
	return "failed"
}

func (j *life) code() int {
	if j.outcome.signal != "" {
		return 128 + signals[j.outcome.signal]
	}
	return j.outcome.exitCode
}

// logged is what the job has written to its log.
func (j *life) logged(now time.Time) []byte {
	var log strings.Builder
	for i, line := range j.outcome.logs {
		if at := j.lineTime(i); at.After(now) || !j.stopped.IsZero() && at.After(j.stopped) {
			break
		}
		log.WriteString(line + "\n")
	}
	return []byte(log.String())
}

// stop ends a job that runs. It is called with the world locked.
func (j *life) stop(now time.Time, reason string) {
	if j.status(now) == "running" {
		j.stopped, j.reason = now, reason
	}
}

// written is what the job has left on the node.
func (j *life) written(now time.Time) map[string][]byte {
	if s := j.status(now); s == "succeeded" || s == "failed" {
		return j.outcome.files
	}
	return nil
}

func (j *job) JobID() string       { return j.id }
func (j *job) SessionName() string { return session.SessionName(j.name) }
func (j *job) LogFile() string     { return j.log }
func (j *job) Node() builtins.Node { return j.node }

// state is status, asked for by somebody.
func (j *job) state(ctx context.Context) (string, error) {
	if err := j.node.begin(ctx, "status"); err != nil {
		return "", err
	}
	defer j.node.world.mu.Unlock()
	return j.status(j.node.world.clock.Now()), nil
}

// follow yields the lines that the job writes, as the clock comes to them, until it has ended.
func (j *job) follow(ctx context.Context, yield func(string) bool) error {
	w := j.node.world
	if _, err := j.state(ctx); err != nil {
		return err
	}
	lines := j.outcome.logs
	for i, line := range lines {
		at := j.lineTime(i)
		w.mu.Lock()
		end := j.end()
		w.mu.Unlock()
		if !end.IsZero() && at.After(end) {
			break
		}
		if err := w.clock.until(ctx, at); err != nil {
			return err
		}
		if !yield(line) {
			return nil
		}
	}
	if j.outcome.breaks {
		w.mu.Lock()
		defer w.mu.Unlock()
		j.node.dead = true
		return lost("follow", j.id)
	}
	w.mu.Lock()
	end := j.end()
	if end.IsZero() {
		defer w.mu.Unlock()
		return w.unexpected("job %s never ends: the script waits for it for ever\nduration says how long it runs, and timeout in remote_job ends it", j.id)
	}
	w.mu.Unlock()
	return w.clock.until(ctx, end)
}

// lineTime is when a line is written: all are spread over the time that the job runs.
func (j *life) lineTime(i int) time.Time {
	total := max(j.outcome.duration, 0)
	return j.started.Add(total * time.Duration(i+1) / time.Duration(len(j.outcome.logs)+1))
}

// Logs implements builtins.Handle.
func (j *job) Logs(ctx context.Context, o engine.LogOptions) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		lines := j.outcome.logs
		now := j.node.world.clock.Now()
		past := 0
		for past < len(lines) && !j.lineTime(past).After(now) {
			past++
		}
		skip := 0
		if o.Tail > 0 {
			skip = max(0, past-o.Tail)
		}
		if !o.Follow {
			if _, err := j.state(ctx); err != nil {
				yield("", err)
				return
			}
			for _, line := range lines[skip:past] {
				if !yield(line, nil) {
					return
				}
			}
			return
		}
		more := true
		err := j.follow(ctx, func(line string) bool {
			if skip > 0 {
				skip--
				return true
			}
			more = yield(line, nil)
			return more
		})
		if err != nil && more {
			yield("", err)
		}
	}
}

// Wait implements builtins.Handle.
func (j *job) Wait(ctx context.Context, timeout time.Duration) (int, error) {
	w := j.node.world
	if _, err := j.state(ctx); err != nil {
		return 0, err
	}
	w.mu.Lock()
	end, deadline := j.end(), w.clock.Now().Add(timeout)
	w.mu.Unlock()
	if timeout > 0 && (end.IsZero() || end.After(deadline)) {
		return 124, w.clock.until(ctx, deadline)
	}
	if err := j.follow(ctx, func(string) bool { return true }); err != nil {
		return 0, err
	}
	switch state, err := j.state(ctx); {
	case err != nil:
		return 0, err
	case state == "lost":
		return 0, &fault.Error{Kind: fault.Lost, Op: "job", Target: j.id, Err: errors.New("its processes are gone and left no exit record")}
	case state == "timeout":
		return 124, nil
	case state == "cancelled":
		return 128 + signals["TERM"], nil
	}
	return j.code(), nil
}

// Status implements builtins.Handle.
func (j *job) Status(ctx context.Context) (string, error) { return j.state(ctx) }

// Cancel implements builtins.Handle.
func (j *job) Cancel(ctx context.Context) error { return j.cancel(ctx, "cancelled by the user") }

func (j *job) cancel(ctx context.Context, reason string) error {
	if err := j.node.begin(ctx, "cancel"); err != nil {
		return err
	}
	defer j.node.world.mu.Unlock()
	j.node.world.record("cancel", field{"job", j.id}, field{"node", j.node.id})
	j.stop(j.node.world.clock.Now(), reason)
	return nil
}

// Download implements builtins.Handle.
func (j *job) Download(ctx context.Context, remote, local string, missingOK bool) (engine.Transfer, error) {
	_, t, err := j.node.download(ctx, j.dir, engine.ResultSpec{Remote: remote, Local: local, Optional: missingOK})
	return t, err
}

// Terminate implements builtins.Handle.
func (j *job) Terminate(ctx context.Context) error { return j.node.Terminate(ctx) }

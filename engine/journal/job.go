package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// A Job is a job of this user, on whatever node, from the moment it is planned. It holds no secret:
// Command is the text for display.
type Job struct {
	ID          string
	Name        string
	RunID       string // of the bifrost process that started it; see LockRun
	NodeID      string // a Node's; empty until there is one
	State       JobState
	Script      string // file of the deploy script
	Root        string // folder that is pushed
	Command     string
	Workspace   string
	WorkingDir  string
	SessionName string
	RemoteLog   string
	LocalLog    string
	Results     []ResultSpec
	KeepAlive   bool
	OnFailure   string
	Finish      bool    // the guardian fetches the results and releases the node
	TimeoutS    int64   // seconds; 0 is none
	MaxCost     float64 // USD; 0 is no limit
	ExitCode    *int    // nil until known
	Signal      string
	Reason      string // why it is in its state, one line; noted with each transition
	ResultsDone bool
	Created     time.Time // by this machine's clock, as Started and Ended
	Started     time.Time
	Ended       time.Time
	Printed     int64 // bytes of the log that this client has shown
}

// A ResultSpec is one entry of a job's results.
type ResultSpec struct {
	Remote, Local string
	Optional      bool
}

const jobColumns = `id, name, run_id, node_id, state, script, root, command, workspace, working_dir,
	session_name, remote_log, local_log, results, keep_alive, on_failure, finish, timeout_s, max_cost,
	exit_code, signal, reason, results_done, created, started, ended, printed`

func jobValues(b Job) ([]any, error) {
	if b.Results == nil {
		b.Results = []ResultSpec{}
	}
	results, err := encodeResults(b.Results)
	if err != nil {
		return nil, err
	}
	var code any
	if b.ExitCode != nil {
		code = *b.ExitCode
	}
	return []any{
		b.ID, b.Name, b.RunID, b.NodeID, string(b.State), b.Script, b.Root, b.Command, b.Workspace, b.WorkingDir,
		b.SessionName, b.RemoteLog, b.LocalLog, results, b.KeepAlive, b.OnFailure, b.Finish, b.TimeoutS, b.MaxCost,
		code, b.Signal, b.Reason, b.ResultsDone, millis(b.Created), millis(b.Started), millis(b.Ended), b.Printed,
	}, nil
}

func scanJob(scan func(...any) error) (Job, error) {
	var b Job
	var state, results string
	var code sql.NullInt64
	var created, started, ended int64
	err := scan(&b.ID, &b.Name, &b.RunID, &b.NodeID, &state, &b.Script, &b.Root, &b.Command, &b.Workspace, &b.WorkingDir,
		&b.SessionName, &b.RemoteLog, &b.LocalLog, &results, &b.KeepAlive, &b.OnFailure, &b.Finish, &b.TimeoutS, &b.MaxCost,
		&code, &b.Signal, &b.Reason, &b.ResultsDone, &created, &started, &ended, &b.Printed)
	if err != nil {
		return Job{}, err
	}
	b.State = JobState(state)
	b.Created, b.Started, b.Ended = moment(created), moment(started), moment(ended)
	if code.Valid {
		c := int(code.Int64)
		b.ExitCode = &c
	}
	b.Results, err = decodeResults(results)
	return b, err
}

// Results are a JSON list of [remote, local] or [remote, local, true]. JSON text cannot hold every
// name a file may have, so names travel in it as bytes.
func encodeResults(specs []ResultSpec) (string, error) {
	rows := make([]storedResult, len(specs))
	for i, s := range specs {
		rows[i] = storedResult{[]byte(s.Remote), []byte(s.Local), s.Optional}
	}
	text, err := json.Marshal(rows)
	return string(text), err
}

func decodeResults(text string) ([]ResultSpec, error) {
	var rows []storedResult
	if err := json.Unmarshal([]byte(text), &rows); err != nil {
		return nil, fmt.Errorf("results of a job: %w", err)
	}
	var specs []ResultSpec
	for _, r := range rows {
		specs = append(specs, ResultSpec{string(r.Remote), string(r.Local), r.Optional})
	}
	return specs, nil
}

type storedResult struct {
	Remote   []byte `json:"remote"`
	Local    []byte `json:"local"`
	Optional bool   `json:"optional,omitempty"`
}

// PutJob records a new job. Its ID comes from NewJobID; State defaults to planned and Created to
// now. A job that is there already is an error of kind conflict.
func (j *Journal) PutJob(ctx context.Context, job Job) error {
	if job.State == "" {
		job.State = JobPlanned
	}
	if job.Created.IsZero() {
		job.Created = time.Now()
	}
	if job.ID == "" || !job.State.valid() {
		return defect("record", "job "+job.ID, "no id, or no state: %q", job.State)
	}
	values, err := jobValues(job)
	if err != nil {
		return err
	}
	return j.tx(ctx, "write", func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, "INSERT INTO jobs ("+jobColumns+") VALUES ("+marks(len(values))+") ON CONFLICT DO NOTHING", values...)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return &fault.Error{Kind: fault.Conflict, Op: "record", Target: "job " + job.ID, Err: errors.New("in the journal already")}
		}
		return record(ctx, tx, KindJob, job.ID, "", string(job.State), job.Reason)
	})
}

// SetJob reads a job, lets fn change it, and writes it back, all under the write lock. id is exact.
// fn must not call the journal; an error of fn changes nothing and is returned. The id stays, and
// a state only moves forward: anything else is an error of kind internal.
func (j *Journal) SetJob(ctx context.Context, id string, fn func(*Job) error) error {
	return j.tx(ctx, "write", func(tx *sql.Tx) error {
		job, err := scanJob(tx.QueryRowContext(ctx, "SELECT "+jobColumns+" FROM jobs WHERE id = ?", id).Scan)
		if errors.Is(err, sql.ErrNoRows) {
			return j.notFound("job "+id, "list jobs with: bifrost ps -a")
		} else if err != nil {
			return err
		}
		from := job.State
		if err := fn(&job); err != nil {
			return err
		}
		if job.ID != id || !job.State.valid() || !from.mayBecome(job.State) {
			return defect("record", "job "+id, "it cannot go from %s to %s (as %q)", from, job.State, job.ID)
		}
		values, err := jobValues(job)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE jobs SET ("+jobColumns+") = ("+marks(len(values))+") WHERE id = ?", append(values, id)...)
		if err != nil {
			return err
		}
		return record(ctx, tx, KindJob, id, string(from), string(job.State), job.Reason)
	})
}

// Job finds a job by its id, by a prefix that no other job's id has, by its name, which may be longer than
// what its id has of it and means the latest, or as "@last", the one that was recorded last. Errors: not_found, with suggestions; invalid where several match.
func (j *Journal) Job(ctx context.Context, prefix string) (Job, error) {
	var found []Job
	var err error
	switch {
	case prefix == "":
		return Job{}, &fault.Error{Kind: fault.Invalid, Op: "find", Target: "job", Err: errors.New("the id is empty"), Hint: "list jobs with: bifrost ps -a"}
	case prefix == "@last":
		found, err = list(ctx, j, scanJob, "SELECT "+jobColumns+" FROM jobs ORDER BY seq DESC LIMIT 1")
		if err == nil && len(found) == 0 {
			return Job{}, &fault.Error{Kind: fault.NotFound, Op: "find", Target: "job @last", Err: errors.New("no job has been started yet")}
		}
	default:
		// An id sorts before everything it is a prefix of, and the byte 0xff after all that ids
		// are made of.
		found, err = list(ctx, j, scanJob, "SELECT "+jobColumns+" FROM jobs WHERE id >= ? AND id < ? ORDER BY id LIMIT 10", prefix, prefix+"\xff")
		if err == nil && len(found) == 0 {
			found, err = list(ctx, j, scanJob, "SELECT "+jobColumns+" FROM jobs WHERE name = ? ORDER BY seq DESC LIMIT 1", prefix)
		}
	}
	switch {
	case err != nil:
		return Job{}, err
	case len(found) == 0:
		hint, err := j.suggest(ctx, prefix)
		if err != nil {
			return Job{}, err
		}
		return Job{}, j.notFound("job "+prefix, hint)
	case len(found) == 1 || found[0].ID == prefix:
		return found[0], nil
	}
	var ids []string
	for _, b := range found {
		ids = append(ids, b.ID)
	}
	text := strings.Join(ids, ", ")
	if len(ids) == 10 {
		text += ", …"
	}
	return Job{}, &fault.Error{
		Kind: fault.Invalid, Op: "find", Target: "job " + prefix,
		Err: fmt.Errorf("it could be any of %s", text), Hint: "give more of the id",
	}
}

// A JobFilter selects jobs; its zero value selects those that are not over.
type JobFilter struct {
	All    bool   // those in a final state too
	NodeID string // on this node; empty means any
	RunID  string // of this run; empty means any
	Limit  int    // at most; 0 means no limit
}

// Jobs returns the jobs that f selects, newest first.
func (j *Journal) Jobs(ctx context.Context, f JobFilter) ([]Job, error) {
	var where []string
	var args []any
	if !f.All { // in the words of the index jobs_live
		where = append(where, "state NOT IN ('succeeded', 'failed', 'timeout', 'cancelled', 'lost')")
	}
	if f.NodeID != "" {
		where, args = append(where, "node_id = ?"), append(args, f.NodeID)
	}
	if f.RunID != "" {
		where, args = append(where, "run_id = ?"), append(args, f.RunID)
	}
	query := "SELECT " + jobColumns + " FROM jobs"
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	query += " ORDER BY seq DESC"
	if f.Limit > 0 {
		query, args = query+" LIMIT ?", append(args, f.Limit)
	}
	return list(ctx, j, scanJob, query, args...)
}

// marks is the list of n parameters in a statement.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

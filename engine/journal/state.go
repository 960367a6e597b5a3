package journal

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// A JobState is how far a job has come.
type JobState string

// The states of a job, in order; the last five are final.
const (
	JobPlanned       JobState = "planned"
	JobAcquiring     JobState = "acquiring"
	JobPushing       JobState = "pushing"
	JobBootstrapping JobState = "bootstrapping"
	JobRunning       JobState = "running"
	JobSucceeded     JobState = "succeeded"
	JobFailed        JobState = "failed"
	JobTimeout       JobState = "timeout"
	JobCancelled     JobState = "cancelled"
	JobLost          JobState = "lost"
)

var jobOrder = []JobState{JobPlanned, JobAcquiring, JobPushing, JobBootstrapping, JobRunning, JobSucceeded, JobFailed, JobTimeout, JobCancelled, JobLost}

// Final reports whether the state never changes again.
func (s JobState) Final() bool {
	return slices.Index(jobOrder, s) > slices.Index(jobOrder, JobRunning)
}

func (s JobState) valid() bool { return slices.Contains(jobOrder, s) }

// mayBecome reports whether a job goes from s to next: forward, steps may be left out, and never
// out of a final state.
func (s JobState) mayBecome(next JobState) bool {
	return s == next || !s.Final() && slices.Index(jobOrder, next) > slices.Index(jobOrder, s)
}

// A NodeState is what is known of a node's existence, which is what it costs.
type NodeState string

// The states of a node.
const (
	NodeIntent    NodeState = "intent"    // about to be asked for, or asked for without a clear answer
	NodeCreated   NodeState = "created"   // the provider gave an id: it costs from here on
	NodeReady     NodeState = "ready"     // a command ran on it
	NodeReleasing NodeState = "releasing" // termination asked for, not yet confirmed
	NodeGone      NodeState = "gone"      // read back as gone
	NodeKept      NodeState = "kept"      // left on purpose
	NodeLeaked    NodeState = "leaked"    // should be gone and could not be released
)

// nodeNext lists what each state may become.
var nodeNext = map[NodeState][]NodeState{
	NodeIntent:    {NodeCreated, NodeReady, NodeGone, NodeLeaked},
	NodeCreated:   {NodeReady, NodeReleasing, NodeKept, NodeLeaked, NodeGone},
	NodeReady:     {NodeReleasing, NodeKept, NodeLeaked, NodeGone},
	NodeKept:      {NodeReady, NodeReleasing, NodeLeaked, NodeGone},
	NodeLeaked:    {NodeReleasing, NodeKept, NodeGone},
	NodeReleasing: {NodeLeaked, NodeGone},
	NodeGone:      {},
}

func (s NodeState) valid() bool { _, ok := nodeNext[s]; return ok }

func (s NodeState) mayBecome(next NodeState) bool {
	return s == next || slices.Contains(nodeNext[s], next)
}

// A RecordKind says which table a Transition belongs to.
type RecordKind string

// The kinds of records that have states.
const (
	KindJob  RecordKind = "job"
	KindNode RecordKind = "node"
)

// A Transition is one change of a state. From is empty for the first.
type Transition struct {
	Kind     RecordKind
	ID       string
	From, To string
	At       time.Time
	Note     string // the job's reason or the node's note at that moment
}

// History returns the transitions of a job or node, oldest first. Those of an intent belong to the
// node that it became.
func (j *Journal) History(ctx context.Context, kind RecordKind, id string) ([]Transition, error) {
	return list(ctx, j, func(scan func(...any) error) (Transition, error) {
		t := Transition{Kind: kind, ID: id}
		var at int64
		err := scan(&t.From, &t.To, &at, &t.Note)
		t.At = moment(at)
		return t, err
	}, "SELECT old, new, at, note FROM transitions WHERE kind = ? AND id = ? ORDER BY seq", string(kind), id)
}

// record appends a transition; there is none where the state did not change.
func record(ctx context.Context, tx *sql.Tx, kind RecordKind, id, from, to, note string) error {
	if from == to {
		return nil
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO transitions (kind, id, old, new, at, note) VALUES (?, ?, ?, ?, ?, ?)",
		string(kind), id, from, to, time.Now().UnixMilli(), note)
	return err
}

func defect(op, target, format string, args ...any) error {
	return &fault.Error{Kind: fault.Internal, Op: op, Target: target, Err: fmt.Errorf(format, args...)}
}

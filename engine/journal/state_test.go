package journal

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bifrost-run/bifrost/engine/fault"
)

func TestJobStates(t *testing.T) {
	t.Parallel()
	for i, from := range jobOrder {
		for k, to := range jobOrder {
			want := i == k || !from.Final() && k > i
			if got := from.mayBecome(to); got != want {
				t.Errorf("%s to %s: got %v, want %v", from, to, got, want)
			}
		}
		if want := i >= 5; from.Final() != want {
			t.Errorf("%s is final: got %v, want %v", from, from.Final(), want)
		}
	}
	if JobState("").Final() || JobState("odd").Final() {
		t.Error("got an unknown state as final")
	}
}

func TestJobTransitions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	j := openTest(t)
	must(t, j.PutJob(ctx, Job{ID: "a-1"}))
	set := func(s JobState, reason string) error {
		return j.SetJob(ctx, "a-1", func(b *Job) error { b.State, b.Reason = s, reason; return nil })
	}
	must(t, set(JobPushing, ""))
	must(t, set(JobPushing, "still"))
	must(t, set(JobRunning, ""))
	wantKind(t, set(JobPushing, ""), fault.Internal)
	wantKind(t, set("walking", ""), fault.Internal)
	must(t, set(JobCancelled, "replaced by b-2"))
	for _, s := range jobOrder {
		if s != JobCancelled {
			wantKind(t, set(s, ""), fault.Internal)
		}
	}
	wantKind(t, j.SetJob(ctx, "a-1", func(b *Job) error { b.ID = "other"; return nil }), fault.Internal)
	wantKind(t, j.SetJob(ctx, "nothing", func(*Job) error { return nil }), fault.NotFound)
	wantKind(t, j.PutJob(ctx, Job{ID: "a-1"}), fault.Conflict)
	wantKind(t, j.PutJob(ctx, Job{ID: "a-2", State: "walking"}), fault.Internal)
	own := errors.New("own")
	if err := j.SetJob(ctx, "a-1", func(b *Job) error { b.Name = "changed"; return own }); !errors.Is(err, own) {
		t.Errorf("got %v, want the function's error", err)
	}
	job, err := j.Job(ctx, "a-1")
	must(t, err)
	if job.Name != "" || job.State != JobCancelled {
		t.Errorf("got %+v, want it unchanged by what was refused", job)
	}
	got, err := j.History(ctx, KindJob, "a-1")
	must(t, err)
	want := []Transition{
		{KindJob, "a-1", "", "planned", time.Time{}, ""},
		{KindJob, "a-1", "planned", "pushing", time.Time{}, ""},
		{KindJob, "a-1", "pushing", "running", time.Time{}, ""},
		{KindJob, "a-1", "running", "cancelled", time.Time{}, "replaced by b-2"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Transition{}, "At")); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	for _, tr := range got {
		if d := time.Since(tr.At); d < -time.Minute || d > time.Minute {
			t.Errorf("got transition at %v", tr.At)
		}
	}
}

func TestNodeLife(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	j := openTest(t)
	deadline := time.Now().Add(time.Hour).Truncate(time.Millisecond).UTC()
	must(t, j.PutIntent(ctx, Node{Name: "bifrost-a", Provider: "local", RunID: "r", PricePerHour: 2, Deadline: deadline, Offer: "{}"}))
	wantKind(t, j.PutIntent(ctx, Node{Name: "bifrost-a", Provider: "local"}), fault.Conflict)
	wantKind(t, j.PutIntent(ctx, Node{Name: "bifrost-b"}), fault.Internal)
	must(t, j.PutJob(ctx, Job{ID: "a-1", NodeID: IntentID("bifrost-a")}))
	must(t, j.NodeCreated(ctx, "bifrost-a", Node{ID: "local:1", ProviderID: "1", Note: "adopted"}))
	must(t, j.NodeCreated(ctx, "bifrost-a", Node{ID: "local:1", ProviderID: "1"}))
	wantKind(t, j.NodeCreated(ctx, "bifrost-a", Node{ID: "local:2"}), fault.Conflict)
	wantKind(t, j.NodeCreated(ctx, "bifrost-z", Node{ID: "local:1"}), fault.Conflict)
	wantKind(t, j.NodeCreated(ctx, "bifrost-a", Node{}), fault.Internal)
	if _, err := j.Node(ctx, IntentID("bifrost-a")); fault.KindOf(err) != fault.NotFound {
		t.Errorf("got %v, want the intent gone", err)
	}
	n, err := j.Node(ctx, "local:1")
	must(t, err)
	if n.Provider != "local" || n.RunID != "r" || n.PricePerHour != 2 || !n.Deadline.Equal(deadline) || n.Offer != "{}" || n.State != NodeCreated || n.Created.IsZero() {
		t.Errorf("got %+v, want what the intent had", n)
	}
	if job, err := j.Job(ctx, "a-1"); err != nil || job.NodeID != "local:1" {
		t.Errorf("got job on %q, %v, want it moved to the node", job.NodeID, err)
	}
	set := func(s NodeState) error {
		return j.SetNode(ctx, "local:1", func(n *Node) error { n.State, n.Note = s, "to "+string(s); return nil })
	}
	must(t, set(NodeReady))
	wantKind(t, set(NodeIntent), fault.Internal)
	wantKind(t, set(NodeCreated), fault.Internal)
	must(t, set(NodeReleasing))
	wantKind(t, set(NodeKept), fault.Internal)
	must(t, set(NodeLeaked))
	must(t, set(NodeReleasing))
	must(t, set(NodeGone))
	for s := range nodeNext {
		if s != NodeGone {
			wantKind(t, set(s), fault.Internal)
		}
	}
	wantKind(t, j.PutNode(ctx, Node{ID: "local:1", Provider: "local"}), fault.Internal)
	n, err = j.Node(ctx, "local:1")
	must(t, err)
	if n.Ended.IsZero() {
		t.Error("got no time of the end")
	}
	history, err := j.History(ctx, KindNode, "local:1")
	must(t, err)
	var got []string
	for _, h := range history {
		got = append(got, h.From+">"+h.To+" "+h.Note)
	}
	want := []string{
		">intent ", "intent>created adopted", "created>ready to ready", "ready>releasing to releasing",
		"releasing>leaked to leaked", "leaked>releasing to releasing", "releasing>gone to gone",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

func TestNodes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	j := openTest(t)
	must(t, j.PutIntent(ctx, Node{Name: "a", Provider: "local"}))
	must(t, j.PutNode(ctx, Node{ID: "ssh:me@host:22", Provider: "ssh", SSH: "me@host"}))
	must(t, j.SetNode(ctx, IntentID("a"), func(n *Node) error { n.State = NodeGone; return nil }))
	ids := func(all bool) (ids []string) {
		nodes, err := j.Nodes(ctx, all)
		must(t, err)
		for _, n := range nodes {
			ids = append(ids, n.ID)
		}
		return ids
	}
	if diff := cmp.Diff([]string{"ssh:me@host:22"}, ids(false)); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ssh:me@host:22", "intent:a"}, ids(true)); diff != "" {
		t.Errorf("all nodes (-want +got):\n%s", diff)
	}
	// The create that was given up succeeded after all: it costs, so it is recorded.
	must(t, j.NodeCreated(ctx, "a", Node{ID: "local:9", Provider: "local"}))
	if diff := cmp.Diff([]string{"local:9", "ssh:me@host:22"}, ids(false)); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	// The user's own machine comes and goes.
	must(t, j.SetNode(ctx, "ssh:me@host:22", func(n *Node) error { n.State = NodeGone; return nil }))
	must(t, j.PutNode(ctx, Node{ID: "ssh:me@host:22", Provider: "ssh", SSH: "me@host"}))
	n, err := j.Node(ctx, "ssh:me@host:22")
	must(t, err)
	if n.State != NodeReady || !n.Ended.IsZero() {
		t.Errorf("got %+v, want it ready", n)
	}
	wantKind(t, j.SetNode(ctx, "local:none", func(*Node) error { return nil }), fault.NotFound)
}

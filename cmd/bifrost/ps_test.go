package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/engine/journal"
)

func TestListing(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	three := 3
	l := listing{
		Now: now,
		Jobs: []journal.Job{
			{ID: "train-7f3k", State: journal.JobRunning, NodeID: "vast:9", Command: "python train.py --with a --long list --of arguments", Created: now.Add(-time.Hour), Started: now.Add(-30 * time.Minute), TimeoutS: 7200},
			{ID: "eval-1", State: journal.JobRunning, NodeID: "ssh:root@gpu:22", Command: "python\neval.py", Created: now.Add(-time.Minute)},
			{ID: "old-1", State: journal.JobFailed, ExitCode: &three, Created: now.Add(-49 * time.Hour)},
		},
		Nodes: []journal.Node{
			{ID: "vast:9", Provider: "vast", State: journal.NodeReady, GPUType: "A100 80GB", GPUCount: 2, PricePerHour: 2.5, Created: now.Add(-time.Hour), Ended: now, Deadline: now.Add(time.Minute), Switch: journal.SwitchArmed},
			{ID: "runpod:x", Provider: "runpod", State: journal.NodeReleasing, PricePerHour: 1, Created: now.Add(-2 * time.Hour), Ended: now},
			{ID: "local:h", Provider: "local", State: journal.NodeReady, Created: now, Ended: now, HoldUntil: now.Add(-time.Second)},
			{ID: "ssh:root@gpu:22", Provider: "ssh", State: journal.NodeReady},
		},
		Unreachable: map[string]bool{"eval-1": true},
	}
	var b strings.Builder
	if err := l.write(&b); err != nil {
		t.Fatal(err)
	}
	want := `JOB         STATE                    AGE   LEFT  NODE             COMMAND
train-7f3k  running                1h00m  1h30m  vast:9           python train.py --with a --long list ...
eval-1      running (unreachable)  1m00s      -  ssh:root@gpu:22  python eval.py
old-1       failed (3)             2d01h      -  -                -

NODE             STATE      GPUS            AGE  $/HOUR  SPENT   LEFT  SWITCH       JOB
vast:9           ready      2x A100 80GB  1h00m   $2.50  $2.50  1m00s  node         train-7f3k
runpod:x         RELEASING  -             2h00m   $1.00  $2.00      -  client only  -
local:h          held       -              0.0s   $0.00  $0.00   over  client only  -
ssh:root@gpu:22  ready      -                 -       -      -      -  -            eval-1
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("listing (-want +got):\n%s", diff)
	}
	data, err := json.Marshal(l.json())
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Version int
		Jobs    []map[string]any
		Nodes   []map[string]any
	}
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if back.Version != 1 || len(back.Jobs) != 3 || len(back.Nodes) != 4 {
		t.Errorf("got version %d, %d jobs, %d nodes", back.Version, len(back.Jobs), len(back.Nodes))
	}
	if got := back.Jobs[1]["reachable"]; got != false {
		t.Errorf("reachable: got %v want false", got)
	}
	if _, ok := back.Jobs[2]["reachable"]; ok {
		t.Error("a job that is over is neither reachable nor not")
	}
}

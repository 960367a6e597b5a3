package main

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/engine"
)

func TestEndBlock(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		r    engine.Result
		want string
	}{
		{
			"succeeded",
			engine.Result{
				JobID: "train-7f3k", NodeID: "local:a", Status: "succeeded", Duration: 723 * time.Second, Cost: 0.61,
				Results: []engine.Fetched{{Remote: "results/", Local: "/home/u/results", Files: 14}},
				LogPath: "/s/jobs/train-7f3k/log", Machine: "terminated and confirmed",
			},
			`status   train-7f3k succeeded, exit code 0
time     12m03s, $0.61
results  14 files in /home/u/results
machine  terminated and confirmed
log      /s/jobs/train-7f3k/log`,
		},
		{
			"failed on a kept machine",
			engine.Result{JobID: "x-1", NodeID: "runpod:a", Status: "failed", ExitCode: 3, Duration: time.Second, Machine: "kept (on_failure)", Costs: true, Price: 2.4, LogPath: "/l"},
			`status   x-1 failed, exit code 3
time     1.0s, $0.00
results  none asked for
machine  runpod:a kept (on_failure), $2.40 per hour
log      /l
next     bifrost logs --tail 50 x-1
         bifrost terminate x-1`,
		},
		{
			"killed on ssh",
			engine.Result{JobID: "x-1", NodeID: "ssh:root@h:22", Status: "failed", ExitCode: 137, Signal: "KILL", Machine: "left as it was (ssh)", LogPath: "/l"},
			`status   x-1 failed, killed by signal KILL, exit code 137
time     0.0s, $0.00
results  none asked for
machine  ssh:root@h:22 left as it was (ssh)
log      /l
next     bifrost logs --tail 50 x-1`,
		},
		{
			"results incomplete",
			engine.Result{
				JobID: "x-1", NodeID: "vast:a", Status: "succeeded", Duration: time.Second, Machine: "held until 15:04", Costs: true, Price: 1, LogPath: "/l",
				Results: []engine.Fetched{{Remote: "out", Local: "/o", Err: errors.New("x")}, {Remote: "log.txt", Local: "/log.txt", Files: 1}},
			},
			`status   x-1 succeeded, exit code 0
time     1.0s, $0.00
results  out INCOMPLETE in /o; 1 file in /log.txt
machine  vast:a held until 15:04, $1.00 per hour
log      /l
next     bifrost sync x-1
         bifrost terminate x-1`,
		},
		{
			"detached",
			engine.Result{JobID: "x-1", NodeID: "local:a", Status: "detached", Duration: time.Second, Machine: "in use by the job", LogPath: "/l"},
			`status   x-1 detached: the job runs on
time     1.0s, $0.00
results  what was asked for is fetched when the job has ended
machine  local:a in use by the job
log      /l
next     bifrost attach x-1
         bifrost cancel x-1`,
		},
		{
			"not confirmed",
			engine.Result{JobID: "x-1", NodeID: "vast:a", Status: "succeeded", Machine: "STILL RUNNING", Costs: true, Price: 3.5, LogPath: "/l"},
			`status   x-1 succeeded, exit code 0
time     0.0s, $0.00
results  none asked for
machine  vast:a STILL RUNNING, $3.50 per hour
log      /l
next     bifrost terminate x-1`,
		},
		{
			"never ran",
			engine.Result{JobID: "x-1", Status: "failed", Machine: "none was rented"},
			`status   x-1 failed before the job ran
time     0.0s, $0.00
results  none: the job did not run
machine  none was rented
log      none`,
		},
		{
			"lost",
			engine.Result{JobID: "x-1", NodeID: "local:a", Status: "lost", Reason: "boot id changed", Machine: "kept", LogPath: "/l"},
			`status   x-1 lost: how the job ended is unknown (boot id changed)
time     0.0s, $0.00
results  none asked for
machine  local:a kept
log      /l
next     bifrost attach x-1
         bifrost terminate x-1`,
		},
		{
			"timeout",
			engine.Result{JobID: "x-1", NodeID: "local:a", Status: "timeout", ExitCode: 124, Machine: "terminated and confirmed", LogPath: "/l"},
			`status   x-1 timeout: the job was ended at its time limit
time     0.0s, $0.00
results  none asked for
machine  terminated and confirmed
log      /l
next     bifrost logs --tail 50 x-1`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, endBlock(tt.r)); diff != "" {
				t.Errorf("end block (-want +got):\n%s", diff)
			}
		})
	}
}

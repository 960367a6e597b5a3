package engine_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
)

// nothingLeft checks that the local nodes of a state folder are gone, with their processes.
func nothingLeft(t *testing.T, state string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(state, "local", "[^.]*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	enginetest.Until(t, "no process of "+state+" to be left", func() bool { return len(processes(t, "cmdline", state)) == 0 })
}

func TestRunOnLocalNode(t *testing.T) {
	t.Parallel()
	state := stateDir(t)
	eng, seen := openAt(t, state)
	source := tree(t, map[string]string{"train.sh": "echo one; echo two >&2; mkdir results; echo \"$TOKEN\" | wc -c > results/out.txt; ls"})
	var out bytes.Buffer
	res, err := eng.Run(t.Context(), engine.Job{
		Provision: onLocal(), Source: source, Bootstrap: []engine.Step{{Command: "echo prepared > ready"}},
		Command: engine.Shell("sh train.sh"), Env: []engine.Var{{Name: "TOKEN", Value: "canary-1234"}},
		Timeout: time.Minute, Results: []engine.ResultSpec{{Remote: "results/", Local: "got"}, {Remote: "nope", Local: "x", Optional: true}},
	}, engine.RunOptions{Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	if res.Status != "succeeded" || res.ExitCode != 0 || res.Machine != "terminated and confirmed" || res.Costs {
		t.Errorf("result %+v", res)
	}
	if got, want := out.String(), "one\ntwo\nready\nresults\ntrain.sh\n"; got != want {
		t.Errorf("log %q, want %q", got, want)
	}
	if got, err := os.ReadFile(filepath.Join(state, "got", "out.txt")); err != nil || strings.TrimSpace(string(got)) != "12" {
		t.Errorf("results %q, %v", got, err)
	}
	copied, err := os.ReadFile(res.LogPath)
	if err != nil || !bytes.Equal(copied, out.Bytes()) {
		t.Errorf("copy of the log %q, %v", copied, err)
	}
	if strings.Contains(seen.text(), "canary") {
		t.Error("a secret was reported")
	}
	nothingLeft(t, state)
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		command string
		timeout time.Duration
		status  string
		code    int
		signal  string
	}{
		{"exit 0", 0, "succeeded", 0, ""},
		{"exit 3", 0, "failed", 3, ""},
		{"exit 143", 0, "failed", 143, ""},
		{"kill -TERM $$", 0, "failed", 143, "TERM"},
		{"sleep 1000", time.Second, "timeout", 124, ""},
	}
	state := stateDir(t)
	eng, _ := openAt(t, state)
	node, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: onLocal()})
	if err != nil {
		t.Fatal(err)
	}
	keep := true
	for _, tt := range tests {
		res, err := eng.Run(t.Context(), engine.Job{
			NodeID: node.ID(), KeepAlive: &keep, Command: engine.Shell(tt.command), Timeout: tt.timeout,
		}, engine.RunOptions{})
		if err != nil {
			t.Fatalf("%s: %v", tt.command, err)
		}
		if res.Status != tt.status || res.ExitCode != tt.code || tt.signal != "" && res.Signal != tt.signal {
			t.Errorf("%s: got %s %d %q, want %s %d %q", tt.command, res.Status, res.ExitCode, res.Signal, tt.status, tt.code, tt.signal)
		}
	}
	if err := eng.Terminate(t.Context(), node.ID()); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, state)
}

func TestBodyErrorStopsTheJob(t *testing.T) {
	t.Parallel()
	state := stateDir(t)
	eng, _ := openAt(t, state)
	boom := errors.New("boom")
	var handle *engine.Handle
	res, err := eng.Run(t.Context(), engine.Job{Provision: onLocal(), Command: engine.Shell("echo here; sleep 1000")}, engine.RunOptions{
		Body: func(ctx context.Context, h *engine.Handle) error {
			handle = h
			for line, err := range h.Logs(ctx, engine.LogOptions{Follow: true}) {
				if err != nil || line != "here" {
					t.Errorf("line %q, %v", line, err)
				}
				return boom
			}
			return nil
		},
	})
	if !errors.Is(err, boom) {
		t.Errorf("error %v, want boom", err)
	}
	if res.Status != "cancelled" || res.Machine != "terminated and confirmed" {
		t.Errorf("result %+v", res)
	}
	if _, err := handle.Wait(t.Context(), 0); fault.KindOf(err) != fault.Scope {
		t.Errorf("a handle after its scope: %v", err)
	}
	nothingLeft(t, state)
}

func TestBodyPanicTearsDown(t *testing.T) {
	t.Parallel()
	state := stateDir(t)
	eng, _ := openAt(t, state)
	func() {
		defer func() {
			if p := recover(); p != "body panic" {
				t.Errorf("recovered %v", p)
			}
		}()
		_, _ = eng.Run(t.Context(), engine.Job{Provision: onLocal(), Command: engine.Shell("sleep 1000")}, engine.RunOptions{
			Body: func(context.Context, *engine.Handle) error { panic("body panic") },
		})
	}()
	nothingLeft(t, state)
}

func TestStopFetchesResults(t *testing.T) {
	t.Parallel()
	state := stateDir(t)
	eng, _ := openAt(t, state)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	res, err := eng.Run(ctx, engine.Job{
		Provision: onLocal(), Command: engine.Shell("echo half > part.txt; sleep 1000"), Results: []engine.ResultSpec{{Remote: "part.txt", Local: "./"}},
	}, engine.RunOptions{Body: func(ctx context.Context, h *engine.Handle) error {
		enginetest.Until(t, "part.txt on the node", func() bool {
			ok, err := h.Node().Exists(ctx, "part.txt")
			return ok && err == nil
		})
		cancel(engine.ErrStop)
		<-ctx.Done()
		return context.Cause(ctx)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(state, "part.txt")); err != nil || string(got) != "half\n" {
		t.Errorf("result %q, %v", got, err)
	}
	if res.Status != "cancelled" {
		t.Errorf("status %s", res.Status)
	}
	nothingLeft(t, state)
}

func TestInterruptBeforeTheJobDestroysWhatWasCreated(t *testing.T) {
	t.Parallel()
	state := stateDir(t)
	eng, _ := openAt(t, state)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	_, err := eng.Run(ctx, engine.Job{
		Provision: onLocal(), Command: engine.Shell("true"), OnFailure: engine.Failure{Keep: true},
		Prepare: func(ctx context.Context, _ *engine.Node) error {
			cancel(engine.ErrStop)
			return context.Cause(ctx)
		},
	}, engine.RunOptions{})
	if fault.KindOf(err) != fault.Cancelled {
		t.Errorf("error %v, want kind cancelled", err)
	}
	nothingLeft(t, state)
}

func TestMissingResultsHoldTheMachine(t *testing.T) {
	t.Parallel()
	state := stateDir(t)
	eng, _ := openAt(t, state)
	res, err := eng.Run(t.Context(), engine.Job{
		Provision: onLocal(), Command: engine.Shell("echo late > elsewhere.txt"), Results: []engine.ResultSpec{{Remote: "late.txt", Local: "./"}},
	}, engine.RunOptions{})
	if fault.KindOf(err) != fault.Results || !strings.Contains(err.Error(), "late.txt") {
		t.Errorf("error %v, want kind results that names late.txt", err)
	}
	if res.HeldUntil.IsZero() || res.Status != "succeeded" {
		t.Errorf("result %+v", res)
	}
	// The user mends it by hand; sync then fetches, and the machine has no more reason to stay.
	node, err := eng.OpenNode(t.Context(), res.JobID)
	if err != nil {
		t.Fatal(err)
	}
	if err := node.WriteFile(t.Context(), "~/.bifrost/workspace/late.txt", []byte("mended"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := eng.Sync(t.Context(), res.JobID); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(state, "late.txt")); err != nil || string(got) != "mended" {
		t.Errorf("result %q, %v", got, err)
	}
	nothingLeft(t, state)
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	state := stateDir(t)
	eng, seen := openAt(t, state)
	node, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: onLocal()})
	if err != nil {
		t.Fatal(err)
	}
	keep := true
	source := tree(t, map[string]string{"lock": "1", "other": "a"})
	run := func(steps ...engine.Step) error {
		_, err := eng.Run(t.Context(), engine.Job{
			NodeID: node.ID(), KeepAlive: &keep, Source: source, Bootstrap: steps, Command: engine.Shell("true"),
			Env: []engine.Var{{Name: "PIP_TOKEN", Value: "x"}},
		}, engine.RunOptions{})
		return err
	}
	count := func() string {
		t.Helper()
		got, err := node.ReadFile(t.Context(), "~/ran")
		if err != nil {
			t.Fatal(err)
		}
		return string(got)
	}
	steps := []engine.Step{{Command: "printf 1 >> ~/ran", Inputs: []string{"lock"}}, {Command: "printf 2 >> ~/ran", Inputs: []string{"lock"}}}
	if err := run(steps...); err != nil {
		t.Fatal(err)
	}
	if err := run(steps...); err != nil || count() != "12" {
		t.Errorf("steps run again without a reason: %q, %v", count(), err)
	}
	if err := os.WriteFile(filepath.Join(source, "other"), []byte("b"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(steps...); err != nil || count() != "12" {
		t.Errorf("steps run again for a file that is no input: %q, %v", count(), err)
	}
	if err := os.WriteFile(filepath.Join(source, "lock"), []byte("2"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(steps...); err != nil || count() != "1212" {
		t.Errorf("steps not run again for a changed input: %q, %v", count(), err)
	}
	err = run(steps[0], engine.Step{Command: "for i in $(seq 60); do echo line $i; done; exit 7"})
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Bootstrap || f.ExitCode != 7 {
		t.Fatalf("failed step: %v", err)
	}
	for _, want := range []string{"step 2 of 2", "exit code 7", "line 21\n", "line 60"} {
		if !strings.Contains(f.Error(), want) {
			t.Errorf("error lacks %q: %s", want, f.Error())
		}
	}
	if strings.Contains(f.Error(), "line 20\n") {
		t.Error("the error quotes more than 40 lines")
	}
	if _, err := os.Stat(strings.TrimPrefix(f.Hint, "the whole log is ")); err != nil {
		t.Errorf("hint %q: %v", f.Hint, err)
	}
	if !strings.Contains(seen.text(), "line 1\n") {
		t.Error("the step's output was not streamed")
	}
}

func TestDetachedJobIsFoundAgain(t *testing.T) {
	t.Parallel()
	state := stateDir(t)
	eng, _ := openAt(t, state)
	h, err := eng.Start(t.Context(), engine.Job{Provision: onLocal(), Command: engine.Shell("echo begun; until [ -e go ]; do sleep 0.05; done; echo done; exit 5")}, false)
	if err != nil {
		t.Fatal(err)
	}
	// Another process, another day: an engine of its own over the same state.
	other, _ := openAt(t, state)
	if jobs, err := other.Jobs(t.Context(), false); err != nil || len(jobs) != 1 || jobs[0].State != journal.JobRunning {
		t.Fatalf("jobs %+v, %v", jobs, err)
	}
	again, err := other.Attach(t.Context(), h.JobID()[:len(h.JobID())-1])
	if err != nil {
		t.Fatal(err)
	}
	if code, err := again.Wait(t.Context(), 50*time.Millisecond); err != nil || code != 124 {
		t.Errorf("wait that times out: %d, %v", code, err)
	}
	if err := again.Node().WriteFile(t.Context(), "go", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if code, err := again.Wait(t.Context(), 0); err != nil || code != 5 {
		t.Errorf("wait: %d, %v", code, err)
	}
	var out bytes.Buffer
	if err := other.Logs(t.Context(), "@last", engine.LogOptions{}, &out); err != nil || out.String() != "begun\ndone\n" {
		t.Errorf("logs %q, %v", out.String(), err)
	}
	if err := other.Terminate(t.Context(), h.JobID()); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, state)
}

// TestEndSeenByAnotherProcess takes the machine away before somebody who watches has seen the job
// end: whoever saw it wrote it down.
func TestEndSeenByAnotherProcess(t *testing.T) {
	t.Parallel()
	state := stateDir(t)
	eng, _ := openAt(t, state)
	h, err := eng.Start(t.Context(), engine.Job{Provision: onLocal(), Command: engine.Shell("until [ -e go ]; do sleep 0.05; done; echo done; exit 5")}, false)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := openAt(t, state)
	watching, err := other.Attach(t.Context(), h.JobID())
	if err != nil {
		t.Fatal(err)
	}
	if status, err := watching.Status(t.Context()); err != nil || status != "running" {
		t.Fatalf("status %s, %v", status, err)
	}
	if err := h.Node().WriteFile(t.Context(), "go", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if code, err := h.Wait(t.Context(), 0); err != nil || code != 5 {
		t.Fatalf("wait: %d, %v", code, err)
	}
	if err := eng.Terminate(t.Context(), h.JobID()); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := watching.Stream(t.Context(), &out); err != nil || out.String() != "done\n" {
		t.Errorf("log %q, %v", out.String(), err)
	}
	if code, err := watching.Wait(t.Context(), 0); err != nil || code != 5 {
		t.Errorf("wait of the other: %d, %v", code, err)
	}
	nothingLeft(t, state)
}

// TestAttachGoesOnWhereRunStopped shows no byte twice to somebody who watched the run.
func TestAttachGoesOnWhereRunStopped(t *testing.T) {
	t.Parallel()
	eng, _ := open(t)
	var out, again bytes.Buffer
	res, err := eng.Run(t.Context(), engine.Job{Provision: onLocal(), Command: engine.Shell("echo seen")}, engine.RunOptions{Stdout: &out})
	if err != nil || out.String() != "seen\n" {
		t.Fatalf("log %q, %v", out.String(), err)
	}
	if _, err := eng.Follow(t.Context(), res.JobID, &again); err != nil || again.Len() > 0 {
		t.Errorf("shown again: %q, %v", again.String(), err)
	}
}

// TestFailedJobWithoutResultsFreesTheMachine pays for no machine that is held for what was never
// written.
func TestFailedJobWithoutResultsFreesTheMachine(t *testing.T) {
	t.Parallel()
	state := stateDir(t)
	eng, _ := openAt(t, state)
	res, err := eng.Run(t.Context(), engine.Job{
		Provision: onLocal(), Command: engine.Shell("echo x > log.txt; exit 3"),
		Results: []engine.ResultSpec{{Remote: "model.bin", Local: "./"}, {Remote: "log.txt", Local: "./"}},
	}, engine.RunOptions{})
	if fault.KindOf(err) != fault.Results || res.ExitCode != 3 || res.Machine != "terminated and confirmed" {
		t.Errorf("result %+v, %v", res, err)
	}
	if _, err := os.Stat(filepath.Join(state, "log.txt")); err != nil {
		t.Errorf("what was there did not arrive: %v", err)
	}
	nothingLeft(t, state)
}

// TestAttachToHeldMachine does not wait for the hold to end.
func TestAttachToHeldMachine(t *testing.T) {
	t.Parallel()
	eng, _ := open(t)
	res, err := eng.Run(t.Context(), engine.Job{Provision: onLocal(), Command: engine.Shell("echo x"), Results: []engine.ResultSpec{{Remote: "model.bin", Local: "./"}}}, engine.RunOptions{})
	if res.HeldUntil.IsZero() {
		t.Fatalf("not held: %+v, %v", res, err)
	}
	if res, err := eng.Follow(t.Context(), res.JobID, nil); err != nil || res.HeldUntil.IsZero() || res.Results[0].Err == nil {
		t.Errorf("attach: %+v, %v", res, err)
	}
	if err := eng.Terminate(t.Context(), res.JobID); err != nil {
		t.Error(err)
	}
}

// TestSyncBesideTheGuardian waits for a job that the guardian finishes, then asks for its results:
// whoever fetches them, they are there.
func TestSyncBesideTheGuardian(t *testing.T) {
	t.Parallel()
	state := stateDir(t)
	eng, _ := openAt(t, state)
	h, err := eng.Start(t.Context(), engine.Job{Provision: onLocal(), Command: engine.Shell("echo x > out.txt"), Results: []engine.ResultSpec{{Remote: "out.txt", Local: "./"}}}, true)
	if err != nil {
		t.Fatal(err)
	}
	id := h.JobID()
	if err := eng.Close(); err != nil {
		t.Fatal(err)
	}
	other, _ := openAt(t, state)
	if again, err := other.Attach(t.Context(), id); err == nil { // the guardian may have been quicker
		if code, err := again.Wait(t.Context(), 0); err != nil || code != 0 {
			t.Errorf("wait: %d, %v", code, err)
		}
	}
	enginetest.Until(t, "the job to be over", func() bool {
		job, err := other.Job(t.Context(), id)
		return err == nil && job.State.Final()
	})
	if fetched, err := other.Sync(t.Context(), id); err != nil || len(fetched) != 1 {
		t.Errorf("sync: %+v, %v", fetched, err)
	}
	if _, err := os.Stat(filepath.Join(state, "out.txt")); err != nil {
		t.Error(err)
	}
	enginetest.Until(t, "the guardian to be done", func() bool { return len(guardians(t, state)) == 0 })
	nothingLeft(t, state)
}

// TestStaleResults tells of results that an earlier run left in the workspace.
func TestStaleResults(t *testing.T) {
	t.Parallel()
	eng, seen := open(t)
	node, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: onLocal()})
	if err != nil {
		t.Fatal(err)
	}
	keep := true
	const warning = "it may be of an earlier run"
	for _, tt := range []struct {
		command string
		warns   bool
	}{{"mkdir -p out && echo 1 > out/loss", false}, {"exit 1", true}, {"echo 2 > out/loss", false}} {
		before := strings.Count(seen.text(), warning)
		_, err := eng.Run(t.Context(), engine.Job{
			NodeID: node.ID(), KeepAlive: &keep, Command: engine.Shell(tt.command), Results: []engine.ResultSpec{{Remote: "out/", Local: "out"}},
		}, engine.RunOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if warned := strings.Count(seen.text(), warning) > before; warned != tt.warns {
			t.Errorf("%s: warned %v, want %v", tt.command, warned, tt.warns)
		}
	}
	if err := eng.Terminate(t.Context(), node.ID()); err != nil {
		t.Fatal(err)
	}
}

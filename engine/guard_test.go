package engine_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/report"
)

// client is the body of a bifrost process that a test kills: it runs a job that ends when a file
// appears, and says on stdout where it is.
func client(state, moment string) int {
	ctx := context.Background()
	eng, err := engine.Open(ctx, config(state, func(ev report.Event) {
		if ev.Kind == report.Started {
			fmt.Println("step", ev.Step)
		}
	}))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer eng.Close()
	release := filepath.Join(state, "release")
	_, err = eng.Run(ctx, engine.Job{
		Name: "killed", Provision: onLocal(),
		Prepare: func(ctx context.Context, _ *engine.Node) error {
			fmt.Println("preparing")
			if moment == "prepare" {
				<-ctx.Done()
			}
			return nil
		},
		Command: engine.Shell("echo begun; until [ -e " + release + " ]; do sleep 0.05; done; echo kept > out.txt; echo ended"),
		Results: []engine.ResultSpec{{Remote: "out.txt", Local: "./"}},
	}, engine.RunOptions{Body: func(ctx context.Context, h *engine.Handle) error {
		fmt.Println("running", h.JobID())
		_, err := h.Wait(ctx, 0)
		return err
	}})
	fmt.Println("end", err)
	return 0
}

// TestKilledClient kills the process that runs a job. Its guardian finishes the job if there is
// one, and releases the machine in any case; where the guardian dies too, the next command does.
func TestKilledClient(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		moment   string // "prepare" or "run"
		until    string // what the client says when it is killed
		guardian bool   // survives
	}{
		{"before the job", "prepare", "preparing", true},
		{"while it runs", "run", "running", true},
		{"before the job, the guardian too", "prepare", "preparing", false},
		{"while it runs, the guardian too", "run", "running", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			state := stateDir(t)
			exe, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(exe, tt.moment)
			cmd.Env = append(os.Environ(), clientEnv+"="+state)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			scanner := bufio.NewScanner(out)
			for scanner.Scan() && !strings.HasPrefix(scanner.Text(), tt.until) {
			}
			if !tt.guardian {
				killGuardians(t, state)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // killed, so it has an error
			if err := os.WriteFile(filepath.Join(state, "release"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			eng, _ := openAt(t, state, func(c *engine.Config) {
				if tt.guardian {
					return
				}
				c.Guardian = nil // Settle then does the work itself
			})
			if !tt.guardian {
				if err := eng.Settle(t.Context()); err != nil {
					t.Errorf("settle: %v", err)
				}
			}
			enginetest.Until(t, "the machine to be gone", func() bool {
				nodes, err := eng.Nodes(t.Context(), false)
				return err == nil && len(nodes) == 0
			})
			nodes, err := eng.Nodes(t.Context(), true)
			if err != nil || len(nodes) != 1 || nodes[0].State != journal.NodeGone {
				t.Errorf("nodes %+v, %v", nodes, err)
			}
			job, err := eng.Job(t.Context(), "@last")
			if err != nil {
				t.Fatal(err)
			}
			if tt.moment == "prepare" {
				if job.State != journal.JobCancelled {
					t.Errorf("job %+v", job)
				}
			} else {
				if job.State != journal.JobSucceeded || !job.ResultsDone {
					t.Errorf("job %+v", job)
				}
				if got, err := os.ReadFile(filepath.Join(state, "out.txt")); err != nil || string(got) != "kept\n" {
					t.Errorf("result %q, %v", got, err)
				}
				if got, err := os.ReadFile(job.LocalLog); err != nil || string(got) != "begun\nended\n" {
					t.Errorf("log %q, %v", got, err)
				}
			}
			enginetest.Until(t, "every process to be gone", func() bool { return len(guardians(t, state)) == 0 })
			nothingLeft(t, state)
		})
	}
}

// guardians lists the guardian processes of a state folder.
func guardians(t *testing.T, state string) (pids []string) {
	t.Helper()
	return processes(t, "environ", guardianEnv+"="+state+"\x00")
}

// processes lists those whose file of that name in /proc has text in it.
func processes(t *testing.T, file, text string) (pids []string) {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		if got, _ := os.ReadFile(p); strings.Contains(string(got), text) { // a process may have ended
			pids = append(pids, filepath.Base(filepath.Dir(p)))
		}
	}
	return pids
}

// killGuardians kills them.
func killGuardians(t *testing.T, state string) {
	t.Helper()
	enginetest.Until(t, "a guardian to kill", func() bool { return len(guardians(t, state)) > 0 })
	if out, err := exec.Command("kill", append([]string{"-9"}, guardians(t, state)...)...).CombinedOutput(); err != nil {
		t.Fatalf("kill: %v: %s", err, out)
	}
}

// TestGuardianFinishesDetachedRun lets a job outlive the process that ran it, as exec -d does.
func TestGuardianFinishesDetachedRun(t *testing.T) {
	t.Parallel()
	state := stateDir(t)
	eng, _ := openAt(t, state)
	h, err := eng.Start(t.Context(), engine.Job{
		Provision: onLocal(), Command: engine.Shell("until [ -e go ]; do sleep 0.05; done; echo x > out.txt; exit 4"), Results: []engine.ResultSpec{{Remote: "out.txt", Local: "./"}},
	}, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Node().WriteFile(t.Context(), "go", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	id := h.JobID()
	if err := eng.Close(); err != nil {
		t.Fatal(err)
	}
	other, _ := openAt(t, state)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	res, err := other.Follow(ctx, id, nil)
	if err != nil || res.ExitCode != 4 || res.Machine != "terminated and confirmed" {
		t.Errorf("result %+v, %v", res, err)
	}
	if _, err := os.Stat(filepath.Join(state, "out.txt")); err != nil {
		t.Error(err)
	}
	enginetest.Until(t, "every process to be gone", func() bool { return len(guardians(t, state)) == 0 })
	nothingLeft(t, state)
}

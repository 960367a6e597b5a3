package session_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/session"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// TestFind looks for a job whose start was answered to nobody.
func TestFind(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, n *node) {
		first := session.Spec{ID: "first", Name: "same", Shell: "sleep 1000"}
		second := session.Spec{ID: "second", Name: "same", Shell: "echo begun; sleep 1000", Replace: true}
		if got, err := session.Find(t.Context(), n, first); err != nil || got.Status.State != session.Missing {
			t.Errorf("before the start: %+v, %v", got, err)
		}
		n.start(first)
		want := n.start(second)
		if want.Replaced != "first" {
			t.Errorf("replaced %q", want.Replaced)
		}
		got, err := session.Find(t.Context(), n, second)
		if err != nil {
			t.Fatal(err)
		}
		got.Status.NodeNow, want.Status.NodeNow = time.Time{}, time.Time{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("found something else than what was started (-want +got):\n%s", diff)
		}
		if _, err := session.Cancel(t.Context(), n, "second", "enough"); err != nil {
			t.Fatal(err)
		}
		if got, err := session.Find(t.Context(), n, second); err != nil || got.Status.State != session.Cancelled {
			t.Errorf("after the end: %+v, %v", got, err)
		}
	})
}

// TestFindWaits asks while the start is under way.
func TestFindWaits(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, n *node) {
		spec := session.Spec{ID: "j", Name: "j", Shell: "exit 3"}
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := session.Start(t.Context(), n, spec)
			if err != nil {
				t.Errorf("start: %v", err)
			}
		})
		n.until("the job's folder", func() bool { _, err := os.Stat(n.job("j")); return err == nil })
		got, err := session.Find(t.Context(), n, spec)
		if err != nil || got.LogFile != filepath.Join(n.job("j"), "log") {
			t.Errorf("%+v, %v", got, err)
		}
		wg.Wait()
		if got := n.end("j"); got.ExitCode != 3 {
			t.Errorf("end %+v", got)
		}
	})
}

// TestFindInterrupted asks for a job whose start was killed in the middle.
func TestFindInterrupted(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, n *node) {
		script := "mkdir -p " + session.Dir("j") + "; cd " + session.Dir("j") + "; printf 'state=starting\\nsupervisor=4194303\\n' >status"
		if err := n.Run(t.Context(), ssh.Command{Script: script}); err != nil {
			t.Fatal(err)
		}
		_, err := session.Find(t.Context(), n, session.Spec{ID: "j", Name: "j", Shell: "true"})
		if fault.KindOf(err) != fault.Lost || !strings.Contains(err.Error(), "ended in the middle") {
			t.Errorf("error %v", err)
		}
	})
}

// TestStartTwice sends one start twice at the same moment: one of them makes the job.
func TestStartTwice(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, n *node) {
		spec := session.Spec{ID: "j", Name: "same", Shell: "echo begun", Replace: true, NoTmux: true}
		var errs [4]error
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { _, errs[i] = session.Start(t.Context(), n, spec) })
		}
		wg.Wait()
		started := 0
		for _, err := range errs {
			if err == nil {
				started++
			} else if fault.KindOf(err) != fault.Conflict {
				t.Errorf("error %v", err)
			}
		}
		n.end("j")
		if log := n.read(filepath.Join(n.job("j"), "log")); started != 1 || log != "begun\n" {
			t.Errorf("%d starts succeeded, log %q", started, log)
		}
	})
}

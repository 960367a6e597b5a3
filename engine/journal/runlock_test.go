package journal

import (
	"bufio"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bifrost-run/bifrost/engine/fault"
)

func TestRunLock(t *testing.T) {
	t.Parallel()
	j := openTest(t)
	wantFree := func(want bool) {
		t.Helper()
		if free, err := j.TryRun("r1"); err != nil || free != want {
			t.Errorf("TryRun: got %v, %v, want %v", free, err, want)
		}
	}
	wantFree(true)
	lock, err := j.LockRun("r1")
	must(t, err)
	wantFree(false)
	_, err = j.LockRun("r1")
	wantKind(t, err, fault.Conflict)
	other, err := j.LockRun("r2")
	must(t, err)
	must(t, other.Release())
	must(t, lock.Release())
	must(t, lock.Release())
	wantFree(true)
	left, err := os.ReadDir(filepath.Join(filepath.Dir(j.Path()), "runs"))
	must(t, err)
	if len(left) != 0 {
		t.Errorf("got files %v left, want none", left)
	}
	for _, id := range []string{"", "..", "a/b", `a\b`} {
		_, err := j.LockRun(id)
		wantKind(t, err, fault.Internal)
	}
}

func TestRunLockOfKilledProcess(t *testing.T) {
	t.Parallel()
	j := openTest(t)
	cmd := process(t, "lock", j.Path())
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "locked\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	if free, err := j.TryRun("r1"); err != nil || free {
		t.Errorf("TryRun: got %v, %v, want it taken", free, err)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	if free, err := j.TryRun("r1"); err != nil || !free {
		t.Errorf("TryRun: got %v, %v, want it free", free, err)
	}
	lock, err := j.LockRun("r1")
	must(t, err)
	must(t, lock.Release())
}

// Files are removed while others open them: still only one has the lock at a time.
func TestRunLockExcludes(t *testing.T) {
	t.Parallel()
	j := openTest(t)
	var inside, taken atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				lock, err := j.LockRun("r")
				if fault.KindOf(err) == fault.Conflict && err != nil {
					continue
				} else if err != nil {
					t.Error(err)
					return
				}
				if inside.Add(1) != 1 {
					t.Error("two hold the lock")
				}
				taken.Add(1)
				inside.Add(-1)
				if err := lock.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 200 {
			if _, err := j.TryRun("r"); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if taken.Load() < 200 {
		t.Errorf("got %d locks, want more", taken.Load())
	}
}

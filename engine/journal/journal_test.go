package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// roleEnv makes the test binary play another process; see roles.
const roleEnv = "JOURNAL_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		if err := roles(role, os.Getenv("JOURNAL_TEST_PATH")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// roles are the things that other processes do in these tests.
func roles(role, path string) error {
	ctx := context.Background()
	if role == "open" {
		j, err := Open(ctx, path)
		if err != nil {
			fmt.Printf("%s\n%v\n%s\n", fault.KindOf(err), err, fault.HintOf(err))
			return nil
		}
		fmt.Println("opened")
		return j.Close()
	}
	j, err := Open(ctx, path)
	if err != nil {
		return err
	}
	switch role {
	case "write":
		who := os.Getenv("JOURNAL_TEST_WHO")
		for i := range 100 {
			id := fmt.Sprintf("w%s-%d", who, i)
			if err := j.PutJob(ctx, Job{ID: id}); err != nil {
				return err
			}
			err := j.SetJob(ctx, "shared", func(b *Job) error { b.Printed++; return nil })
			if err != nil {
				return err
			}
		}
	case "lock":
		if _, err := j.LockRun("r1"); err != nil {
			return err
		}
		fmt.Println("locked")
		select {} // until killed
	}
	return j.Close()
}

// process starts the test binary in a role.
func process(t *testing.T, role, path string, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), roleEnv+"="+role, "JOURNAL_TEST_PATH="+path), env...)
	cmd.Stderr = os.Stderr
	return cmd
}

func openTest(t *testing.T) *Journal {
	t.Helper()
	return reopen(t, filepath.Join(t.TempDir(), "state", "journal.db"))
}

func reopen(t *testing.T, path string) *Journal {
	t.Helper()
	j, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, err error, want fault.Kind) {
	t.Helper()
	var e *fault.Error
	if !errors.As(err, &e) || e.Kind != want {
		t.Fatalf("got error %v (kind %s), want kind %s", err, fault.KindOf(err), want)
	}
}

func TestOpenMakesPrivateFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a b", "st?te #1%20", "journal.db")
	j := reopen(t, path)
	must(t, j.PutJob(t.Context(), Job{ID: "a-1"}))
	for file, want := range map[string]os.FileMode{
		filepath.Dir(path): 0o700 | os.ModeDir, path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600,
	} {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want && runtime.GOOS != "windows" {
			t.Errorf("%s: got mode %v, want %v", filepath.Base(file), info.Mode(), want)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	if len(entries) != 3 {
		t.Errorf("got files %v, want the journal and its two companions", entries)
	}
}

func TestReopenKeepsAll(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	j := openTest(t)
	code := 3
	at := time.Date(2026, 11, 23, 10, 0, 0, 5e6, time.UTC)
	job := Job{
		ID: "train-7f3k", Name: "train", RunID: "r1", NodeID: "local:x", State: JobRunning, Script: "deploy.star", Root: "/r\xff\n",
		Command: "python 'a b'", Workspace: "~/w", WorkingDir: "d", SessionName: "s", RemoteLog: "/l", LocalLog: "/m",
		Results: []ResultSpec{{"a\xff", "b\n", true}, {"c", "d", false}}, KeepAlive: true, OnFailure: "hold 15m", Finish: true,
		TimeoutS: 7200, MaxCost: 12.5, ExitCode: &code, Signal: "TERM", Reason: "why", ResultsDone: true,
		Created: at, Started: at.Add(time.Second), Ended: at.Add(time.Minute), Printed: 1 << 40,
	}
	node := Node{
		ID: "local:x", Name: "bifrost-x", Provider: "local", ProviderID: "x", RunID: "r1", State: NodeReady, Host: "127.0.0.1",
		Port: 2222, User: "me", HostKey: "ssh-ed25519 AAAA", SSH: "ssh", IdentityFile: "/k", GPUType: "A100", GPUCount: 2, PricePerHour: 3.25,
		Created: at, Keep: true, HoldUntil: at.Add(time.Hour), Deadline: at.Add(2 * time.Hour), Offer: `{"ID":"o"}`, Note: "n",
		Volume: "/workspace", Switch: SwitchArmed, SwitchUntil: at.Add(time.Minute),
	}
	must(t, j.PutJob(ctx, job))
	must(t, j.PutNode(ctx, node))
	client, err := j.ClientID(ctx)
	must(t, err)
	must(t, j.Close())

	j = reopen(t, j.Path())
	gotJob, err := j.Job(ctx, "train-7f3k")
	must(t, err)
	if diff := cmp.Diff(job, gotJob); diff != "" {
		t.Errorf("job (-want +got):\n%s", diff)
	}
	gotNode, err := j.Node(ctx, "local:x")
	must(t, err)
	if diff := cmp.Diff(node, gotNode); diff != "" {
		t.Errorf("node (-want +got):\n%s", diff)
	}
	again, err := j.ClientID(ctx)
	must(t, err)
	if again != client || len(client) != 16 {
		t.Errorf("got client ids %q and %q, want the same twice", client, again)
	}
}

// Eight processes create the journal at once and write to it, 200 transactions each.
// A journal that an older version wrote is brought up to this one, with what it has.
func TestOlderSchema(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.db")
	db, err := sql.Open("sqlite", path)
	must(t, err)
	for _, text := range []string{
		migrations[0],
		fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = 1", applicationID),
		`INSERT INTO nodes (id, name, provider, provider_id, run_id, state, host, port, user, host_key, ssh, identity_file, gpu_type,
			gpu_count, price_per_hour, created, ended, keep, hold_until, deadline, offer, note)
			VALUES ('local:x', 'n', 'local', 'x', 'r', 'ready', 'h', 22, 'u', '', '', '', '', 0, 2.5, 1000, 0, 0, 0, 0, '', '')`,
	} {
		_, err := db.Exec(text)
		must(t, err)
	}
	must(t, db.Close())
	j := reopen(t, path)
	want := Node{
		ID: "local:x", Name: "n", Provider: "local", ProviderID: "x", RunID: "r", State: NodeReady, Host: "h", Port: 22, User: "u",
		PricePerHour: 2.5, Created: time.UnixMilli(1000).UTC(),
	}
	got, err := j.Node(t.Context(), "local:x")
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestManyProcesses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state", "journal.db")
	first := reopen(t, path)
	must(t, first.PutJob(t.Context(), Job{ID: "shared"}))
	var wg sync.WaitGroup
	for who := range 8 {
		wg.Go(func() {
			if err := process(t, "write", path, "JOURNAL_TEST_WHO="+strconv.Itoa(who)).Run(); err != nil {
				t.Errorf("process %d: %v", who, err)
			}
		})
	}
	wg.Wait()
	shared, err := first.Job(t.Context(), "shared")
	must(t, err)
	if shared.Printed != 800 {
		t.Errorf("got %d increments, want 800", shared.Printed)
	}
	jobs, err := first.Jobs(t.Context(), JobFilter{})
	must(t, err)
	if len(jobs) != 801 {
		t.Errorf("got %d jobs, want 801", len(jobs))
	}
}

func TestCreatedByManyProcesses(t *testing.T) {
	t.Parallel()
	for range 5 {
		path := filepath.Join(t.TempDir(), "state", "journal.db")
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				out, err := process(t, "open", path).Output()
				if err != nil || string(out) != "opened\n" {
					t.Errorf("got %q, %v", out, err)
				}
			})
		}
		wg.Wait()
	}
}

func TestCancelledWhileLocked(t *testing.T) {
	t.Parallel()
	j := openTest(t)
	other := reopen(t, j.Path())
	tx, err := other.db.BeginTx(t.Context(), nil)
	must(t, err)
	defer tx.Rollback()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	err = j.PutJob(ctx, Job{ID: "a"})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 2*time.Second {
		t.Errorf("got %v after %v, want the context's error at once", err, time.Since(start))
	}
}

func TestOpenIsCheap(t *testing.T) {
	j := openTest(t)
	must(t, j.Close())
	start := time.Now()
	j = reopen(t, j.Path())
	if took := time.Since(start); took > 500*time.Millisecond { // a few ms; generous for a loaded machine
		t.Errorf("opening took %v", took)
	} else {
		t.Log("opening took", took)
	}
	if s := strings.TrimSpace(j.Path()); s == "" {
		t.Error("no path")
	}
}

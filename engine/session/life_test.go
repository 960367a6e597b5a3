package session_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/session"
)

// tmux runs a tmux command on the node and returns its output.
func (n *node) tmux(args ...string) string {
	cmd := exec.Command("tmux", append([]string{"-L", "bifrost"}, args...)...)
	cmd.Env = n.env
	out, _ := cmd.CombinedOutput()
	return string(out)
}

// tmuxNodes are the kinds on which there is tmux.
func tmuxNodes(t *testing.T, test func(t *testing.T, n *node)) {
	need(t, "tmux")
	for _, kind := range []string{"dash", "bash"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, newNode(t, kind))
		})
	}
}

func TestTmux(t *testing.T) {
	t.Parallel()
	tmuxNodes(t, func(t *testing.T, n *node) {
		started := n.start(session.Spec{ID: "j", Name: "my.job", Shell: "echo shown; while [ ! -e go ]; do sleep 0.02; done; exit 4"})
		if !started.Tmux || started.SessionName != "my_job" || started.TmuxNote != "" {
			t.Fatalf("got %+v", started)
		}
		if got := n.tmux("list-sessions", "-F", "#{session_name} #{window_width}"); got != "my_job 200\n" {
			t.Errorf("sessions: got %q", got)
		}
		n.until("the pane shows the log", func() bool {
			return strings.HasPrefix(n.tmux("capture-pane", "-p", "-t", "=my_job:"), "shown\n")
		})
		n.tmux("send-keys", "-t", "=my_job:", "C-c", "C-\\", "C-z")
		n.tmux("kill-server")
		n.until("the server is gone", func() bool { return strings.Contains(n.tmux("list-sessions"), "no server") })
		if got := n.status("j"); got.State != session.Running || got.Reason != "" {
			t.Errorf("after the server was killed: got %+v", got)
		}
		write(t, filepath.Join(n.home, "go"))
		if got := n.end("j"); got.State != session.Exited || got.ExitCode != 4 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestTmuxSessionEndsWithTheJob(t *testing.T) {
	t.Parallel()
	tmuxNodes(t, func(t *testing.T, n *node) {
		n.start(session.Spec{Command: []string{"true"}})
		n.end("j")
		n.until("the session is gone", func() bool { return !strings.HasPrefix(n.tmux("list-sessions"), "j:") })
		n.tmux("-f", "/dev/null", "new-session", "-d", "-s", "k", "sleep", "600")
		if started := n.start(session.Spec{ID: "k", Command: []string{"true"}}); !started.Tmux {
			t.Errorf("over a session of the user's own: got %+v", started)
		}
		n.end("k")
	})
}

func TestWithoutTmux(t *testing.T) {
	t.Parallel()
	n := newNode(t, "dash")
	n.without("tmux")
	started := n.start(session.Spec{Shell: "exit 4"})
	if started.Tmux || started.TmuxNote != "tmux is not installed" {
		t.Errorf("got %+v", started)
	}
	if got := n.end("j"); got.ExitCode != 4 {
		t.Errorf("got %+v", got)
	}
	// A tmux that fails is no reason not to run the job.
	n.path = n.root + "/broken:" + n.path
	n.env[1] = "PATH=" + n.path
	os.Mkdir(n.root+"/broken", 0o700)
	os.WriteFile(n.root+"/broken/tmux", []byte("#!/bin/sh\necho no terminals >&2\nexit 1\n"), 0o700)
	started = n.start(session.Spec{ID: "k", Shell: "exit 4"})
	if started.Tmux || started.TmuxNote != "no terminals" {
		t.Errorf("got %+v", started)
	}
	n.end("k")
}

func TestWithoutGzip(t *testing.T) {
	t.Parallel()
	n := newNode(t, "dash")
	n.without("gzip")
	n.start(session.Spec{Shell: "exit 4"})
	if got := n.end("j"); got.ExitCode != 4 {
		t.Errorf("got %+v", got)
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, n *node) {
		n.start(session.Spec{ID: "one", Name: "train", Command: []string{"sleep", "600"}})
		_, err := session.Start(t.Context(), n, session.Spec{ID: "two", Name: "train", Command: []string{"true"}})
		if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "one") {
			t.Errorf("without Replace: got %v", err)
		}
		if _, err := os.Stat(n.job("two")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a start that was refused left its folder: %v", err)
		}
		if got := n.status("one"); got.State != session.Running {
			t.Errorf("job whose replacement was refused: got %+v", got)
		}
		started := n.start(session.Spec{ID: "three", Name: "train", Command: []string{"sleep", "600"}, Replace: true})
		if started.Replaced != "one" {
			t.Errorf("got %+v", started)
		}
		if got := n.status("one"); got.State != session.Cancelled || got.Reason != "replaced by three" {
			t.Errorf("replaced job: got %+v", got)
		}
		if _, err := session.Cancel(t.Context(), n, "three", ""); err != nil {
			t.Error(err)
		}
		started = n.start(session.Spec{ID: "four", Name: "train", Command: []string{"true"}})
		if started.Replaced != "" {
			t.Errorf("after the job had ended: got %+v", started)
		}
		n.end("four")
		_, err = session.Start(t.Context(), n, session.Spec{ID: "four", Name: "other", Command: []string{"true"}})
		if fault.KindOf(err) != fault.Conflict {
			t.Errorf("same id again: got %v", err)
		}
	})
}

// Of two starts at once with one name, exactly one is refused, or replaces the other.
func TestStartsAtOnce(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, n *node) {
		for _, replace := range []bool{false, true} {
			prefix := map[bool]string{false: "refuse-", true: "replace-"}[replace]
			ids := []string{prefix + "a", prefix + "b", prefix + "c"}
			errs := make([]error, len(ids))
			var wg sync.WaitGroup
			for i, id := range ids {
				wg.Go(func() {
					_, errs[i] = session.Start(t.Context(), n, session.Spec{ID: id, Name: prefix, Command: []string{"sleep", "600"}, Replace: replace})
				})
			}
			wg.Wait()
			running := ""
			for i, id := range ids {
				got := n.status(id)
				switch {
				case got.State == session.Running && errs[i] == nil && running == "":
					running = id
				case !replace && got.State == session.Missing && fault.KindOf(errs[i]) == fault.Conflict:
				case replace && got.State == session.Cancelled && errs[i] == nil && strings.HasPrefix(got.Reason, "replaced by "+prefix):
				default:
					t.Errorf("replace %v: %s: got %+v, %v", replace, id, got, errs[i])
				}
			}
			if running == "" {
				t.Errorf("replace %v: none runs", replace)
				continue
			}
			session.Cancel(t.Context(), n, running, "")
		}
	})
}

// A lock whose owner is gone is no obstacle.
func TestStaleLock(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, n *node) {
		dir := filepath.Join(n.home, ".bifrost/sessions")
		os.MkdirAll(dir, 0o700)
		boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
		ns, _ := os.Readlink("/proc/self/ns/pid")
		os.Symlink("1:7:"+strings.TrimSpace(string(boot))+":"+ns, filepath.Join(dir, "j.lock"))
		os.Symlink("1:7:another boot:"+ns, filepath.Join(dir, "k.lock"))
		for _, id := range []string{"j", "k"} {
			n.start(session.Spec{ID: id, Command: []string{"true"}})
			n.end(id)
			if _, err := os.Lstat(filepath.Join(dir, id+".lock")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("lock of %s: %v", id, err)
			}
		}
	})
}

func (n *node) fact(id, key string) int {
	n.t.Helper()
	for line := range strings.SplitSeq(n.read(n.job(id, "status")), "\n") {
		if k, v, _ := strings.Cut(line, "="); k == key && atoi(v) > 1 {
			return atoi(v)
		}
	}
	n.t.Fatalf("the status of %s has no %s", id, key)
	return 0
}

func TestLost(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, n *node) {
		// The supervisor is killed while the group lives, then the group.
		n.start(session.Spec{ID: "a", Shell: "echo one; sleep 600", NoTmux: true})
		unix.Kill(n.fact("a", "supervisor"), unix.SIGKILL)
		var got session.Status
		n.until("the supervisor's end is noticed", func() bool { got = n.status("a"); return got.Reason != "" })
		if got.State != session.Running || !strings.Contains(got.Reason, "supervisor was killed") {
			t.Errorf("without supervisor: got %+v", got)
		}
		unix.Kill(-n.fact("a", "group"), unix.SIGKILL)
		if got := n.end("a"); got.State != session.Lost || got.Reason == "" || got.LogSize != 4 {
			t.Errorf("got %+v", got)
		}
		// Cancel works without a supervisor; how the job ended nobody knows.
		n.start(session.Spec{ID: "b", Shell: "trap '' TERM; sleep 600", NoTmux: true, Grace: 100 * time.Millisecond})
		unix.Kill(n.fact("b", "supervisor"), unix.SIGKILL)
		n.until("the supervisor is gone", func() bool { return n.status("b").Reason != "" })
		got, err := session.Cancel(t.Context(), n, "b", "")
		if err != nil || got.State != session.Lost {
			t.Errorf("cancel without supervisor: got %+v, %v", got, err)
		}
		// So does the timeout.
		n.start(session.Spec{ID: "c", Shell: "sleep 600", NoTmux: true, Timeout: 2 * time.Second, Grace: 100 * time.Millisecond})
		unix.Kill(n.fact("c", "supervisor"), unix.SIGKILL)
		if got := n.end("c"); got.State != session.Lost {
			t.Errorf("timeout without supervisor: got %+v", got)
		}
		n.settle() // the watches have noticed too

		// The node was restarted; the same pids may be there again.
		n.start(session.Spec{ID: "d", Shell: "sleep 600", NoTmux: true})
		text := n.read(n.job("d", "status"))
		for _, change := range []struct{ old, new, reason string }{
			{"boot_id=", "boot_id=0", "node was restarted"},
			{"pid_ns=", "pid_ns=0", "container was restarted"},
			{"ticks=", "ticks=1", "gone"},
		} {
			os.WriteFile(n.job("d", "status"), []byte(strings.ReplaceAll(text, change.old, change.new)), 0o600)
			if got := n.status("d"); got.State != session.Lost || !strings.Contains(got.Reason, change.reason) {
				t.Errorf("%s: got %+v", change.new, got)
			}
		}
		os.WriteFile(n.job("d", "status"), []byte(text), 0o600)
		session.Cancel(t.Context(), n, "d", "")
	})
}

func TestRefused(t *testing.T) {
	t.Parallel()
	nul, name := "a\x00b", "TestRefused"
	tests := []struct {
		name   string
		change func(n *node, s *session.Spec)
		kind   fault.Kind
		text   string
	}{
		{"empty command", func(_ *node, s *session.Spec) { s.Command = nil }, fault.Invalid, "command is empty"},
		{"blank shell", func(_ *node, s *session.Spec) { s.Command, s.Shell = nil, " \n" }, fault.Invalid, "command is empty"},
		{"empty word", func(_ *node, s *session.Spec) { s.Command = []string{""} }, fault.Invalid, "command is empty"},
		{"both", func(_ *node, s *session.Spec) { s.Shell = "x" }, fault.Invalid, "both"},
		{"NUL in command", func(_ *node, s *session.Spec) { s.Command = []string{"a", nul} }, fault.Invalid, "NUL"},
		{"NUL in value", func(_ *node, s *session.Spec) { s.Env = []session.Env{{Name: "A", Value: nul}} }, fault.Invalid, "NUL"},
		{"dash in name", func(_ *node, s *session.Spec) { s.Env = []session.Env{{Name: "A-B"}} }, fault.Invalid, `"A-B"`},
		{"digit in name", func(_ *node, s *session.Spec) { s.Env = []session.Env{{Name: "1A"}} }, fault.Invalid, `"1A"`},
		{"no env name", func(_ *node, s *session.Spec) { s.Env = []session.Env{{}} }, fault.Invalid, `""`},
		{"no name", func(_ *node, s *session.Spec) { s.Name = "" }, fault.Invalid, "no name"},
		{"bad id", func(_ *node, s *session.Spec) { s.ID = "../x" }, fault.Invalid, "not a job id"},
		{"relative folder", func(_ *node, s *session.Spec) { s.WorkingDir = "x" }, fault.Invalid, "neither absolute"},
		{"no such folder", func(_ *node, s *session.Spec) { s.WorkingDir = "~/no such" }, fault.NotFound, "~/no such"},
		{"file as folder", func(_ *node, s *session.Spec) { s.WorkingDir = "/etc/passwd" }, fault.NotFound, "/etc/passwd"},
		{"log in a file", func(_ *node, s *session.Spec) { s.LogFile = "/etc/passwd/log" }, fault.Invalid, "/etc/passwd/log"},
		{"log is a folder", func(_ *node, s *session.Spec) { s.LogFile = "~" }, fault.Invalid, "log file ~"},
		{"no setsid", func(n *node, _ *session.Spec) { n.without("setsid") }, fault.NotFound, "the node has no setsid"},
		{"folder is a file", func(n *node, _ *session.Spec) { write(n.t, filepath.Join(n.home, ".bifrost")) }, fault.Invalid, "job folder"},
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			for _, test := range tests {
				if kind == "busybox" && test.name == "no setsid" {
					continue // this shell has it built in
				}
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					n := newNode(t, kind)
					spec := session.Spec{ID: "j", Name: name, Command: []string{"true"}, Env: []session.Env{{Name: "KEY", Value: "canary"}}}
					test.change(n, &spec)
					_, err := session.Start(t.Context(), n, spec)
					if fault.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.text) {
						t.Errorf("got %v (%s), want %q (%s)", err, fault.KindOf(err), test.text, test.kind)
					}
					if _, err := os.ReadDir(filepath.Join(n.home, ".bifrost")); err == nil {
						t.Error("left behind: .bifrost")
					}
				})
			}
		})
	}
}

// What one shell forbids is found before the job counts as started.
func TestReadOnlyVariable(t *testing.T) {
	t.Parallel()
	n := newNode(t, "bash")
	_, err := session.Start(t.Context(), n, session.Spec{ID: "j", Name: "j", Command: []string{"true"}, Env: []session.Env{{Name: "UID", Value: "canary"}}})
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "UID") || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
	if got := n.status("j"); got.State != session.Missing {
		t.Errorf("got %+v", got)
	}
}

// A secret is in the environment of the job and nowhere else.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	const canary = "canary-5f1c"
	eachKind(t, func(t *testing.T, n *node) {
		done := make(chan struct{})
		var watcher sync.WaitGroup
		seen := make(map[string]bool)
		watcher.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				for _, pid := range n.processes() {
					if line := procFile(pid, "cmdline"); strings.Contains(line, canary) {
						seen[line] = true
					}
				}
			}
		})
		n.start(session.Spec{
			ID: "j", Shell: `echo ${#KEY}; while [ ! -e go ]; do sleep 0.02; done`,
			Env: []session.Env{{Name: "KEY", Value: canary}},
		})
		group := n.fact("j", "group")
		n.until("the job has the secret", func() (holds bool) {
			for _, pid := range n.processes() {
				if !strings.Contains(procFile(pid, "environ"), canary) {
					continue
				}
				holds = true
				if pgid, err := unix.Getpgid(atoi(pid)); err == nil && pgid != group {
					t.Errorf("the environment of %q has it", procFile(pid, "cmdline"))
				}
			}
			return holds
		})
		if out := n.tmux("show-environment", "-g") + n.tmux("show-environment", "-t", "=j:"); strings.Contains(out, canary) {
			t.Errorf("tmux has it: %s", out)
		}
		grep := func(when string) {
			filepath.WalkDir(n.root, func(path string, entry os.DirEntry, _ error) error {
				if !entry.Type().IsRegular() {
					return nil // reading a fifo would wait
				}
				if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), canary) {
					t.Errorf("%s, %s has it", when, path)
				}
				return nil
			})
		}
		grep("while it runs")
		write(t, filepath.Join(n.home, "go"))
		n.end("j")
		grep("afterwards")
		close(done)
		watcher.Wait()
		for line := range seen {
			t.Errorf("an argument list had it: %q", line)
		}
	})
}

// A client that goes away in the middle of a start leaves either nothing or a job that runs.
func TestInterruptedStart(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, n *node) {
		for i := range 12 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*12*time.Millisecond)
			_, err := session.Start(ctx, n, session.Spec{ID: "j", Name: "j", Command: []string{"sleep", "600"}, NoTmux: true})
			cancel()
			var got session.Status
			n.until("it is clear how the start went", func() bool {
				got = n.status("j")
				return got.State != session.Starting && (got.State != session.Missing || len(n.processes()) == 0)
			})
			switch got.State {
			case session.Running:
				session.Cancel(t.Context(), n, "j", "")
			case session.Missing, session.Lost:
				if err == nil {
					t.Errorf("a start that succeeded left %s", got.State)
				}
				n.settle()
			default:
				t.Errorf("got %+v", got)
			}
			if _, err := os.Stat(n.job("j", "env")); err == nil {
				t.Error("the environment's file is still there")
			}
			os.RemoveAll(n.job("j"))
		}
	})
}

func TestLogFile(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, n *node) {
		name := filepath.Join(n.home, "logs", "my log\n.txt")
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("old content\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		started := n.start(session.Spec{Shell: "echo new", LogFile: "~/logs/my log\n.txt"})
		n.end("j")
		if started.LogFile != name || n.read(name) != "new\n" || n.read(n.job("j", "log")) != "new\n" {
			t.Errorf("got %+v, log %q", started, n.read(name))
		}
		if started.Dir != n.job("j") {
			t.Errorf("got folder %q, want %q", started.Dir, n.job("j"))
		}
		n.start(session.Spec{ID: "in-a-new-folder", Shell: "echo new", LogFile: "~/a/b/log"})
		n.end("in-a-new-folder")
		if got := n.read(filepath.Join(n.home, "a", "b", "log")); got != "new\n" {
			t.Errorf("log in a new folder %q", got)
		}
	})
}

// A job that fills the disk still gets its record.
func TestDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	t.Parallel()
	eachKind(t, func(t *testing.T, n *node) {
		if err := unix.Mount("tmpfs", n.home, "tmpfs", 0, "size=1m"); err != nil {
			t.Skipf("mounting a small file system: %v", err)
		}
		t.Cleanup(func() { unix.Unmount(n.home, unix.MNT_DETACH) })
		n.start(session.Spec{ID: "j", Shell: "cat /dev/zero; exit 9", NoTmux: true})
		got := n.end("j")
		if got.State != session.Exited || got.ExitCode != 9 || !got.DiskFull {
			t.Errorf("got %+v", got)
		}
		if size := int64(len(n.read(n.job("j", "log")))); got.LogSize != size || size < 100_000 {
			t.Errorf("got a log of recorded length %d, want %d", got.LogSize, size)
		}
		n.until("followers were told", func() bool { return strings.Contains(n.read(n.job("j", "events")), "state=exited") })
		_, err := session.Start(t.Context(), n, session.Spec{ID: "k", Name: "k", Command: []string{"true"}, NoTmux: true})
		if fault.KindOf(err) != fault.DiskFull {
			t.Errorf("start on a full disk: got %v (%s)", err, fault.KindOf(err))
		}
		if got := n.status("k"); got.State != session.Missing {
			t.Errorf("start on a full disk left %+v", got)
		}
	})
}

func write(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

package session_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/engine/session"
)

func TestEnds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		shell  string
		code   int
		signal string
		log    string
	}{
		{"zero", "echo hello", 0, "", "hello\n"},
		{"at once", "true", 0, "", ""},
		{"three", "echo out; echo err >&2; exit 3", 3, "", "out\nerr\n"},
		{"255", "exit 255", 255, "", ""},
		{"exit 143", "exit 143", 143, "", ""},
		{"exit 137", "exit 137", 137, "", ""},
		{"exit 129", "exit 129", 129, "", ""},
		{"no newline", "printf abc", 0, "", "abc"},
		{"TERM", "kill -TERM $$", 143, "TERM", ""},
		{"KILL", "kill -KILL $$", 137, "KILL", ""},
		{"INT", "kill -INT $$", 130, "INT", ""},
		{"HUP", "kill -HUP $$", 129, "HUP", ""},
		{"PIPE", "kill -PIPE $$", 141, "PIPE", ""},
		{"ABRT", "ulimit -c 0; kill -ABRT $$", 134, "ABRT", ""},
		{"SEGV", "ulimit -c 0; kill -SEGV $$", 139, "SEGV", ""},
		{"USR1", "kill -USR1 $$", 138, "USR1", ""},
		{"binary", `printf '\000\001\377\r\200'`, 0, "", "\x00\x01\xff\r\x80"},
		{"stdin is empty", "cat; echo done", 0, "", "done\n"},
	}
	eachKind(t, func(t *testing.T, n *node) {
		for i, test := range tests {
			id := fmt.Sprint("job-", i)
			started := n.start(session.Spec{ID: id, Shell: test.shell, NoTmux: true})
			got := n.end(id)
			if got.State != session.Exited || got.ExitCode != test.code || got.Signal != test.signal {
				t.Errorf("%s: got %s, code %d, signal %q, want exited, %d, %q",
					test.name, got.State, got.ExitCode, got.Signal, test.code, test.signal)
			}
			if log := n.read(started.LogFile); log != test.log || got.LogSize != int64(len(log)) {
				t.Errorf("%s: got log %q of recorded length %d, want %q", test.name, log, got.LogSize, test.log)
			}
			if got.Started.IsZero() || got.Ended.Before(got.Started) || got.NodeNow.Before(got.Ended) || got.BootID == "" {
				t.Errorf("%s: got times %v %v %v, boot id %q", test.name, got.Started, got.Ended, got.NodeNow, got.BootID)
			}
			if got.Reason != "" || got.DiskFull {
				t.Errorf("%s: got reason %q, disk full %v", test.name, got.Reason, got.DiskFull)
			}
			n.until("only what counts is left", func() bool {
				var names []string
				entries, _ := os.ReadDir(n.job(id))
				for _, entry := range entries {
					names = append(names, entry.Name())
				}
				return cmp.Equal(names, []string{"events", "log", "run.sh", "spec", "started", "status"})
			})
		}
		n.settle()
	})
}

// A job must find the signals as a login leaves them: programs that are ended with INT rely on it.
func TestJobInheritsNoIgnoredSignals(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, n *node) {
		started := n.start(session.Spec{Command: []string{"grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"}})
		n.end("j")
		// What a plain child of this process gets: some are ignored before the test even begins.
		want, err := exec.Command("grep", "-E", "Sig(Ign|Blk)", "/proc/self/status").Output()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), n.read(started.LogFile)); diff != "" {
			t.Errorf("signals (-want +got):\n%s", diff)
		}
	})
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	var all []byte
	for c := 1; c < 256; c++ {
		all = append(all, byte(c))
	}
	eachKind(t, func(t *testing.T, n *node) {
		n.env = append(n.env, "HAS=old", "b_=1", "name=from the login", "TMUX=/x,1,0", "CDPATH=/tmp")
		dir := filepath.Join(n.home, "wörk 'ing\ndir")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		spec := session.Spec{
			Command: []string{"sh", "-c", `pwd; umask; env -0 2>/dev/null || tr '\0' '\n' </proc/self/environ`},
			Env: []session.Env{
				{Name: "ALL", Value: string(all)},
				{Name: "EMPTY"},
				{Name: "QUOTES", Value: `'"$HOME$(id)` + "`id`" + `\`},
				{Name: "NEWLINES", Value: "\n\na\n\n"},
				{Name: "HAS", Value: "new", Prepend: true},
				{Name: "HASNOT", Value: "new", Prepend: true},
				{Name: "PATH", Value: "/first", Prepend: true},
				{Name: "b_dir", Value: "mine"},
				{Name: "IFS", Value: "x"},
			},
			WorkingDir: "~/wörk 'ing\ndir",
		}
		spec.Command = []string{"/bin/cat", "/proc/self/environ"}
		started := n.start(spec)
		n.end("j")
		got := make(map[string]string)
		for pair := range strings.SplitSeq(n.read(started.LogFile), "\x00") {
			name, value, _ := strings.Cut(pair, "=")
			got[name] = value
		}
		want := map[string]string{
			"ALL": string(all), "EMPTY": "", "QUOTES": spec.Env[2].Value, "NEWLINES": "\n\na\n\n",
			"HAS": "new:old", "HASNOT": "new", "PATH": "/first:" + n.path, "b_dir": "mine", "IFS": "x",
			"BIFROST_JOB_ID": "j", "name": "from the login", "HOME": n.home, "b_": "1", "PWD": dir,
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s: got %q, want %q", name, got[name], value)
			}
		}
		if _, ok := got["TMUX"]; ok {
			t.Error("the job has TMUX of the login")
		}
	})
}

func TestCommandWords(t *testing.T) {
	t.Parallel()
	words := []string{"a b", "", "'", "\n", "$HOME", "-x", "*", "\xff\xfe", `\`, "=", "a=b"}
	long := strings.Repeat("x", 100_000)
	eachKind(t, func(t *testing.T, n *node) {
		started := n.start(session.Spec{Command: append([]string{"/usr/bin/printf", "%s\\000"}, words...)})
		n.end("j")
		if got, want := n.read(started.LogFile), strings.Join(words, "\x00")+"\x00"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		started = n.start(session.Spec{ID: "long", Shell: "umask\npwd\n#" + long + "\n#" + long + "\necho end"})
		n.end("long")
		if got, want := n.read(started.LogFile), fmt.Sprintf("%s\n%s\nend\n", "0022", n.home); got != want {
			t.Errorf("long shell text: got %q, want %q", got, want)
		}
		n.start(session.Spec{ID: "none", Command: []string{"/does/not/exist"}})
		if got := n.end("none"); got.ExitCode != 127 {
			t.Errorf("command that does not exist: got code %d, want 127", got.ExitCode)
		}
	})
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, n *node) {
		// Long enough for a busy machine to have set the trap.
		const timeout = 2 * time.Second
		n.start(session.Spec{ID: "soft", Shell: "trap 'exit 5' TERM; while :; do sleep 0.05; done", Timeout: timeout})
		if got := n.end("soft"); got.State != session.TimedOut || got.ExitCode != 5 || got.Signal != "" || got.Reason == "" {
			t.Errorf("job that handles TERM: got %+v", got)
		}
		n.start(session.Spec{
			ID: "hard", Shell: "trap '' TERM; while :; do sleep 0.05; done",
			Timeout: timeout, Grace: 200 * time.Millisecond,
		})
		if got := n.end("hard"); got.State != session.TimedOut || got.Signal != "KILL" || got.ExitCode != 137 {
			t.Errorf("job that ignores TERM: got %+v", got)
		}
		n.start(session.Spec{ID: "whole", Command: []string{"sleep", "600"}, Timeout: time.Second})
		if got := n.end("whole"); got.State != session.TimedOut || got.Signal != "TERM" {
			t.Errorf("job that sleeps: got %+v", got)
		}
		n.start(session.Spec{ID: "inTime", Command: []string{"true"}, Timeout: time.Hour})
		if got := n.end("inTime"); got.State != session.Exited {
			t.Errorf("job that ends in time: got %+v", got)
		}
		n.settle() // no sleep of an hour is left
	})
}

// The status is final when the group has ended, with the exit code of its first process.
func TestStragglers(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, n *node) {
		n.start(session.Spec{ID: "wait", Shell: "(while [ ! -e go ]; do sleep 0.02; done; echo late) & exit 7"})
		if got := n.status("wait"); got.State != session.Running {
			t.Errorf("while a child runs: got %+v", got)
		}
		if err := os.WriteFile(filepath.Join(n.home, "go"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := n.end("wait"); got.State != session.Exited || got.ExitCode != 7 || got.LogSize != int64(len("late\n")) {
			t.Errorf("got %+v", got)
		}
		n.start(session.Spec{ID: "over", Shell: "sleep 600 & exit 7", Timeout: 300 * time.Millisecond})
		if got := n.end("over"); got.State != session.TimedOut || got.ExitCode != 7 {
			t.Errorf("child that outlives the timeout: got %+v", got)
		}
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, n *node) {
		n.start(session.Spec{ID: "a", Shell: "sleep 600 & sleep 600"})
		begin := time.Now()
		got, err := session.Cancel(t.Context(), n, "a", "by ü\nme = you")
		if err != nil || got.State != session.Cancelled || got.Signal != "TERM" || got.Reason != "by ü me = you" {
			t.Errorf("got %+v, %v", got, err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		again, err := session.Cancel(t.Context(), n, "a", "again")
		if err != nil || again.State != session.Cancelled || again.Reason != got.Reason {
			t.Errorf("second cancel: got %+v, %v", again, err)
		}
		n.start(session.Spec{ID: "b", Shell: "trap '' TERM; echo >ready; kill -STOP $$; sleep 600", Grace: 200 * time.Millisecond})
		n.until("the job ignores TERM", func() bool { _, err := os.Stat(filepath.Join(n.home, "ready")); return err == nil })
		got, err = session.Cancel(t.Context(), n, "b", "stopped")
		if err != nil || got.State != session.Cancelled || got.Signal != "KILL" {
			t.Errorf("stopped job that ignores TERM: got %+v, %v", got, err)
		}
		n.start(session.Spec{ID: "c", Command: []string{"true"}})
		n.end("c")
		got, err = session.Cancel(t.Context(), n, "c", "late")
		if err != nil || got.State != session.Exited {
			t.Errorf("job that has ended: got %+v, %v", got, err)
		}
		got, err = session.Cancel(t.Context(), n, "none", "")
		if err != nil || got.State != session.Missing {
			t.Errorf("no such job: got %+v, %v", got, err)
		}
		if got := n.status("none"); got.State != session.Missing {
			t.Errorf("read of no such job: got %+v", got)
		}
		n.settle()
	})
}

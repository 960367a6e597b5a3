//go:build linux

package follow_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/follow"
	"github.com/bifrost-run/bifrost/engine/session"
)

// eachShell runs a test with the shell of this machine and with nothing but busybox.
func eachShell(t *testing.T, test func(t *testing.T, node *enginetest.Shell)) {
	t.Helper()
	t.Run("sh", func(t *testing.T) {
		t.Parallel()
		test(t, &enginetest.Shell{Home: t.TempDir()})
	})
	t.Run("busybox", func(t *testing.T) {
		t.Parallel()
		enginetest.Need(t, "busybox")
		busybox, err := exec.LookPath("busybox")
		if err != nil {
			t.Fatal(err)
		}
		applets, err := exec.Command(busybox, "--list").Output()
		if err != nil {
			t.Fatal(err)
		}
		bin := t.TempDir()
		for _, applet := range strings.Fields(string(applets)) {
			if err := os.Symlink(busybox, filepath.Join(bin, applet)); err != nil {
				t.Fatal(err)
			}
		}
		test(t, &enginetest.Shell{Home: t.TempDir(), Argv: []string{filepath.Join(bin, "sh")}, Path: bin})
	})
}

func run(t *testing.T, node *enginetest.Shell, command string) {
	t.Helper()
	if _, err := session.Start(t.Context(), node, session.Spec{ID: "j", Name: "j", Shell: command, NoTmux: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Cancel(context.WithoutCancel(t.Context()), node, "j", "the test ended") })
}

func followTo(t *testing.T, node *enginetest.Shell, c *follow.Copy) (session.Status, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	return follow.Follow(ctx, node, follow.Request{JobID: "j", Log: c}, nil)
}

func TestFollowLongerCopy(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, node *enginetest.Shell) {
		run(t, node, "echo one; sleep 600")
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, bytes.Repeat([]byte("longer\n"), 10000), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := followTo(t, node, openCopy(t, path)); fault.KindOf(err) != fault.Lost || fault.HintOf(err) == "" {
			t.Errorf("got %v", err)
		}
	})
}

func TestFollowLogEmptiedByItsJob(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, node *enginetest.Shell) {
		run(t, node, "seq 1 10000; while [ ! -e go ]; do sleep 0.02; done; : >.bifrost/jobs/j/log; echo after")
		c := openCopy(t, filepath.Join(t.TempDir(), "log"))
		w := writerFunc(func(p []byte) (int, error) {
			return len(p), os.WriteFile(filepath.Join(node.Home, "go"), nil, 0o600)
		})
		if status, err := follow.Follow(t.Context(), node, follow.Request{JobID: "j", Log: c}, w); fault.KindOf(err) != fault.Lost {
			t.Errorf("got %+v, %v", status, err)
		}
	})
}

// A process that left the job's group writes on: the job has ended all the same, and whoever
// follows later gets the same answer.
func TestFollowLogThatGrowsAfterTheEnd(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, node *enginetest.Shell) {
		run(t, node, "echo one; setsid sh -c 'while [ ! -e stop ]; do echo late; sleep 0.01; done' & exit 4")
		t.Cleanup(func() { os.WriteFile(filepath.Join(node.Home, "stop"), nil, 0o600) })
		c := openCopy(t, filepath.Join(t.TempDir(), "log"))
		for range 3 {
			status, err := followTo(t, node, c)
			if err != nil || status.ExitCode != 4 || c.Size() < status.LogSize {
				t.Errorf("got %+v, %v, %d bytes", status, err, c.Size())
			}
		}
	})
}

func TestFollowJobThatIsBeingStarted(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, node *enginetest.Shell) {
		dir := filepath.Join(node.Home, ".bifrost/jobs/j")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		status, err := followTo(t, node, openCopy(t, filepath.Join(t.TempDir(), "log")))
		if err != nil || status.State != session.Lost {
			t.Errorf("a start that was interrupted: got %+v, %v", status, err)
		}
		text := "state=starting\nsupervisor=" + strconv.Itoa(os.Getpid()) + "\n"
		if err := os.WriteFile(filepath.Join(dir, "status"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		c := openCopy(t, filepath.Join(t.TempDir(), "log2"))
		if _, err := follow.Follow(ctx, node, follow.Request{JobID: "j", Log: c}, nil); ctx.Err() == nil {
			t.Errorf("a start that goes on: got %v", err)
		}
	})
}

// Tails end even when the shell that started them was killed.
func TestFollowShellKilled(t *testing.T) {
	t.Parallel()
	eachShell(t, func(t *testing.T, node *enginetest.Shell) {
		run(t, node, "echo one; while [ ! -e go ]; do sleep 0.05; done")
		c := openCopy(t, filepath.Join(t.TempDir(), "log"))
		killed := false
		w := writerFunc(func(p []byte) (int, error) {
			if !killed { // before there is somebody to end them, they are not ended
				enginetest.Until(t, "the tails have their guard", func() bool { return len(tails(node.Home)) == 2 && shells(node.Home) == 2 })
			}
			for _, pid := range children(node.Home) {
				if !killed {
					killed = true
					unix.Kill(pid, unix.SIGKILL)
				}
			}
			return len(p), os.WriteFile(filepath.Join(node.Home, "go"), nil, 0o600)
		})
		status, err := follow.Follow(t.Context(), node, follow.Request{JobID: "j", Log: c}, w)
		if err != nil || status.State != session.Exited || !killed {
			t.Errorf("got %+v, %v, killed %v", status, err, killed)
		}
		enginetest.Until(t, "no tail is left", func() bool { return len(tails(node.Home)) == 0 })
	})
}

// children lists the processes of this one that run a following script in a home.
func children(home string) (pids []int) {
	for pid, argv := range processes(home) {
		stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		fields := strings.Fields(string(stat))
		if len(fields) > 3 && fields[3] == strconv.Itoa(os.Getpid()) && strings.Contains(argv, "b_from=") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// shells returns how many processes run a following script in a home, whoever started them.
func shells(home string) (n int) {
	for _, argv := range processes(home) {
		if strings.Contains(argv, "b_from=") {
			n++
		}
	}
	return n
}

func tails(home string) (argvs []string) {
	for _, argv := range processes(home) {
		if strings.HasPrefix(argv, "tail\x00") {
			argvs = append(argvs, argv)
		}
	}
	return argvs
}

// processes returns the argument lists of those that run with a home.
func processes(home string) map[int]string {
	all := make(map[int]string)
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		env, _ := os.ReadFile("/proc/" + entry.Name() + "/environ")
		argv, _ := os.ReadFile("/proc/" + entry.Name() + "/cmdline")
		if bytes.Contains(env, []byte("HOME="+home+"\x00")) {
			all[pid] = string(argv)
		}
	}
	return all
}

func TestFollowDiskFullHere(t *testing.T) {
	t.Parallel()
	enginetest.Need(t, "root")
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	node := &enginetest.Shell{Home: t.TempDir()}
	run(t, node, "head -c 1000000 /dev/zero; sleep 600")
	path := filepath.Join(dir, "log")
	_, err := followTo(t, node, openCopy(t, path))
	if fault.KindOf(err) != fault.DiskFull || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v (%s)", err, fault.KindOf(err))
	}
}

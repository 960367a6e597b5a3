//go:build linux

package local

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/gpu"
)

// runaway is a command that leaves a process behind: in a session of its own, its parent dead, and
// with nothing in its environment. The sleep's id is in the file.
func runaway(file string) string {
	return `setsid sh -c 'env -i PATH="$PATH" sh -c "echo \$\$ > ` + file + `.new; mv ` + file + `.new ` + file + `; exec sleep 1000" </dev/null >/dev/null 2>&1 &' </dev/null >/dev/null 2>&1; true`
}

func needTmux(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("tmux is not installed")
	}
}

func TestTerminateEndsAll(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	bystander := nodeOf(t, n.p)
	bystander.sh(runaway("other"))
	other := bystander.pidFile("other")

	n.sh(runaway("away"))
	n.sh(`nohup sh -c 'trap "" TERM HUP INT; echo $$ > deaf; while :; do sleep 0.05; done' >/dev/null 2>&1 </dev/null &`)
	n.sh(`nohup sh -c 'echo $$ > stopped; kill -STOP $$' >/dev/null 2>&1 </dev/null &`)
	s := n.session()
	must(t, s.Start(`echo $$ > attached; exec sleep 1000`))
	n.sh(`mkdir -p locked/deep && touch locked/deep/file && chmod 0 locked/deep && chmod 500 locked`)
	pids := []int{n.pidFile("away"), n.pidFile("deaf"), n.pidFile("stopped"), n.pidFile("attached"), daemonPid(t, n)}
	for _, pid := range pids {
		if !alive(pid) {
			t.Fatalf("process %d is not there", pid)
		}
	}
	n.Client.Close() // what was started detached does not mind
	start := time.Now()
	must(t, n.p.Terminate(t.Context(), n.inst.ID))
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
	for _, pid := range pids {
		eventually(t, "process "+strconv.Itoa(pid)+" ends", func() bool { return !alive(pid) })
	}
	wantNothingLeft(t, n)
	if !alive(other) {
		t.Error("got another node's process ended")
	}
	if inst, err := n.p.Get(t.Context(), bystander.inst.ID); err != nil || inst.State != gpu.Running {
		t.Errorf("got the other node %v, %v, want it running", inst.State, err)
	}
}

func TestTmuxOfTwoNodes(t *testing.T) {
	t.Parallel()
	needTmux(t)
	a, b := newNode(t), newNode(t)
	for _, n := range []*node{a, b} {
		n.sh(`tmux -L bifrost new-session -d -s train 'echo $$ > job; exec sleep 1000'`)
		n.sh(`tmux -L bifrost display-message -p '#{pid}' > server`)
	}
	aJob, bJob, aServer, bServer := a.pidFile("job"), b.pidFile("job"), a.pidFile("server"), b.pidFile("server")
	must(t, a.p.Terminate(t.Context(), a.inst.ID))
	for _, pid := range []int{aJob, aServer} {
		eventually(t, "the first node's tmux ends", func() bool { return !alive(pid) })
	}
	if !alive(bJob) || !alive(bServer) {
		t.Error("got the second node's tmux ended too")
	}
	if got := b.sh(`tmux -L bifrost list-sessions -F '#S'`); got != "train\n" {
		t.Errorf("got sessions %q", got)
	}
	wantNothingLeft(t, a)
}

func TestTerminateAfterKill(t *testing.T) {
	t.Parallel()
	needTmux(t)
	n := newNode(t)
	n.sh(`tmux -L bifrost new-session -d -s train 'echo $$ > job; exec sleep 1000'; tmux -L bifrost display-message -p '#{pid}' > server`)
	n.sh(`setsid sh -c 'echo $$ > away; exec sleep 1000' </dev/null >/dev/null 2>&1 &`)
	pids := []int{n.pidFile("job"), n.pidFile("server"), n.pidFile("away")}
	bystander := nodeOf(t, n.p)
	bystander.sh(`setsid sh -c 'echo $$ > other; exec sleep 1000' </dev/null >/dev/null 2>&1 &`)
	other := bystander.pidFile("other")

	daemon := daemonPid(t, n)
	must(t, syscall.Kill(daemon, syscall.SIGKILL))
	eventually(t, "the daemon's death is seen", func() bool {
		inst, err := n.p.Get(t.Context(), n.inst.ID)
		return err == nil && inst.State == gpu.Failed
	})
	for _, pid := range pids {
		if !alive(pid) {
			t.Fatalf("process %d is not there", pid)
		}
	}
	must(t, n.p.Terminate(t.Context(), n.inst.ID))
	for _, pid := range pids {
		eventually(t, "process "+strconv.Itoa(pid)+" ends", func() bool { return !alive(pid) })
	}
	wantNothingLeft(t, n)
	if !alive(other) {
		t.Error("got another node's process ended")
	}
}

// A daemon that does not answer is ended from outside, with what ran away from it.
func TestTerminateHangingDaemon(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.sh(runaway("away"))
	away, daemon := n.pidFile("away"), daemonPid(t, n)
	must(t, syscall.Kill(daemon, syscall.SIGSTOP))
	must(t, n.p.Terminate(t.Context(), n.inst.ID))
	for _, pid := range []int{away, daemon} {
		eventually(t, "process "+strconv.Itoa(pid)+" ends", func() bool { return !alive(pid) })
	}
	wantNothingLeft(t, n)
}

func TestEndsWithItsFolder(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.sh(runaway("away"))
	away, daemon := n.pidFile("away"), daemonPid(t, n)
	must(t, os.RemoveAll(n.dir))
	for _, pid := range []int{away, daemon} {
		eventually(t, "process "+strconv.Itoa(pid)+" ends", func() bool { return !alive(pid) })
	}
	wantNothingLeft(t, n)
}

func TestDetachedLivesOn(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.sh(runaway("away"))
	away := n.pidFile("away")
	n.Client.Close()
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		must(t, syscall.Kill(daemonPid(t, n), sig))
	}
	n.Client = n.dial()
	if got := n.sh("echo there"); got != "there\n" || !alive(away) {
		t.Errorf("got %q, and the process alive: %v", got, alive(away))
	}
}

// Orphans are buried, and none of the exit codes of the commands at the same time is lost.
func TestOrphansAreBuried(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	daemon := daemonPid(t, n)
	done := make(chan error, 1)
	go func() {
		for range 100 {
			s, err := n.NewSession()
			if err != nil {
				done <- err
				return
			}
			if err := s.Run("exit 0"); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 5 {
		n.sh(`for i in 1 2 3 4 5 6 7 8 9 10; do (setsid sleep 0.0$i >/dev/null 2>&1 </dev/null &); done`)
	}
	must(t, <-done)
	eventually(t, "all orphans are buried", func() bool {
		all, err := processes()
		must(t, err)
		for _, p := range all {
			if p.parent == daemon {
				return false
			}
		}
		return true
	})
}

func TestServeTwice(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	// In another process would be the usual way; it gives up before it touches this one.
	if err := Serve(t.Context(), n.dir); !errors.Is(err, errLocked) {
		t.Errorf("got %v, want it refused", err)
	}
}

// The client's environment is not the node's, and its end not the node's end.
func TestSurvivesItsCreator(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe, "-test.run=^TestCreateAndLeave$")
	cmd.Env = append(os.Environ(), "LOCAL_TEST_LEAVE="+filepath.Dir(p.dir), "HF_TOKEN=hunter2secret")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGHUP) // as its terminal would; nobody may be left to hear it
	all, err := p.List(t.Context())
	if err != nil || len(all) != 1 || all[0].State != gpu.Running {
		t.Fatalf("got %+v, %v, want the instance running", all, err)
	}
	in, err := readInfo(filepath.Join(p.dir, all[0].ID))
	must(t, err)
	environ, err := os.ReadFile("/proc/" + strconv.Itoa(in.Pid) + "/environ")
	must(t, err)
	if strings.Contains(string(environ), "hunter2secret") {
		t.Error("got the client's secret in the daemon's environment")
	}
	must(t, p.Terminate(t.Context(), all[0].ID))
}

// TestCreateAndLeave is the other process of TestSurvivesItsCreator.
func TestCreateAndLeave(t *testing.T) {
	state := os.Getenv("LOCAL_TEST_LEAVE")
	if state == "" {
		t.Skip("run by TestSurvivesItsCreator")
	}
	req, _ := newRequest(t)
	if _, err := New(Config{StateDir: state}).Create(context.Background(), req); err != nil {
		t.Fatal(err)
	}
}

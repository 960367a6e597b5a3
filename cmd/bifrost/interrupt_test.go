//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// A session is a bifrost that runs in a folder of its own.
type session struct {
	t     *testing.T
	dir   string // where it runs
	home  string
	state string // XDG_STATE_HOME
	env   []string
	cmd   *exec.Cmd
	keys  *os.File // of the terminal; nil without one

	mu   sync.Mutex
	seen bytes.Buffer
	read chan struct{}
}

// newSession prepares a folder with a script whose job does what the shell text says. It waits for
// ./go-on in its home where the text says "wait".
func newSession(t *testing.T, bootstrap, command string) *session {
	t.Helper()
	s := newFolder(t)
	s.script("deploy.star", `with_job(remote_job(provision = gpu_query(type = None, providers = "local"), name = "job", bootstrap = `+bootstrap+`,
    command = """`+command+`""", results = {"result.txt": optional("./")}))
print("after")
`)
	return s
}

// newFolder prepares an empty folder, and a home and a state folder beside it.
func newFolder(t *testing.T) *session {
	t.Helper()
	dir := t.TempDir()
	s := &session{t: t, dir: filepath.Join(dir, "project"), home: filepath.Join(dir, "home"), state: filepath.Join(dir, "state")}
	for _, d := range []string{s.dir, s.home, s.state} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.env = append(os.Environ(), "HOME="+s.home, "XDG_STATE_HOME="+s.state, "SSH_AUTH_SOCK=", "CI=", "NO_COLOR=", "TERM=xterm")
	t.Cleanup(func() {
		cmd := s.command("terminate", "--all", "--yes")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("terminate --all: %v\n%s", err, out)
		}
		if t.Failed() {
			t.Logf("seen:\n%s", s.text())
		}
	})
	return s
}

// script writes a file into the folder.
func (s *session) script(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *session) command(args ...string) *exec.Cmd {
	s.t.Helper()
	bifrost, err := exec.LookPath("bifrost")
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(bifrost, args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	return cmd
}

// startOnTerminal starts bifrost with a terminal of its own.
func (s *session) startOnTerminal(args ...string) {
	s.t.Helper()
	s.cmd = s.command(args...)
	f, err := pty.StartWithSize(s.cmd, &pty.Winsize{Rows: 40, Cols: 120})
	if err != nil {
		s.t.Fatal(err)
	}
	s.keys = f
	s.read = make(chan struct{})
	go func() {
		defer close(s.read)
		buf := make([]byte, 4096)
		for {
			n, err := f.Read(buf)
			_, _ = (*sessionOutput)(s).Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
}

// start starts bifrost without a terminal.
func (s *session) start(args ...string) {
	s.t.Helper()
	s.cmd = s.command(args...)
	s.cmd.Stdout, s.cmd.Stderr = (*sessionOutput)(s), (*sessionOutput)(s)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

type sessionOutput session

func (o *sessionOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seen.Write(p)
}

func (s *session) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.String()
}

// await waits until text was printed.
func (s *session) await(text string) {
	s.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !strings.Contains(s.text(), text) {
		if time.Now().After(deadline) {
			_ = s.cmd.Process.Kill()
			s.t.Fatalf("never printed: %q", text)
		}
		time.Sleep(10 * time.Millisecond) // between two looks; the deadline decides
	}
}

func (s *session) press(keys string) {
	s.t.Helper()
	if _, err := s.keys.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

func (s *session) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// exits waits for the end of bifrost and compares its exit code.
func (s *session) exits(want int) {
	s.t.Helper()
	timer := time.AfterFunc(60*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	_ = s.cmd.Wait() // the code says it
	if s.keys != nil {
		<-s.read
		s.keys.Close()
	}
	if got := s.cmd.ProcessState.ExitCode(); got != want {
		s.t.Errorf("got exit code %d want %d", got, want)
	}
}

// output runs bifrost to its end and returns what it printed.
func (s *session) output(args ...string) string {
	s.t.Helper()
	out, _ := s.command(args...).CombinedOutput()
	return string(out)
}

func (s *session) wants(text, want string) {
	s.t.Helper()
	if !strings.Contains(text, want) {
		s.t.Errorf("got %q, want %q in it", text, want)
	}
}

const (
	ctrlC   = "\x03"
	waiting = `
echo half > result.txt
echo be''gun
while [ ! -e ~/go-on ]; do sleep 0.05; done
echo ended
`
)

// A shell on a machine has a terminal: its size, its keys, its exit code.
func TestShellOnTerminal(t *testing.T) {
	t.Parallel()
	s := newSession(t, "None", waiting)
	if out, err := s.command("exec", "-d", "deploy.star").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.startOnTerminal("ssh", "@last")
	s.press("stty size; echo $((40+2))\r")
	s.await("40 120")
	s.await("42")
	// A process of its own: an interrupt that comes before the shell's child is a sleep can be lost on it.
	s.press("sh -c \"echo wai''ting; exec sleep 60\"\r")
	s.await("waiting")
	s.press(ctrlC) // the remote side's
	s.press("echo in''terrupted; exit 9\r")
	s.await("interrupted")
	s.exits(9)
	s.startOnTerminal("ssh", "--tmux", "@last")
	s.await("[job]") // tmux's own line at the bottom
	s.press("\x02d") // detach from tmux
	s.exits(0)
	s.wants(s.output("ps"), "running")
}

func TestInterruptBeforeTheJob(t *testing.T) {
	t.Parallel()
	s := newSession(t, `"echo preparing; sleep 60"`, "true")
	s.startOnTerminal("exec", "deploy.star")
	s.await("preparing")
	s.press(ctrlC)
	s.await("destroying what this run created")
	s.exits(130)
	s.wants(s.text(), "terminated and confirmed")
	s.wants(s.output("ps"), "no jobs and no machines")
}

func TestInterruptDetach(t *testing.T) {
	t.Parallel()
	s := newSession(t, "None", waiting)
	s.startOnTerminal("exec", "deploy.star")
	s.await("begun")
	s.press(ctrlC)
	s.await("d detach, s stop")
	s.press("d")
	s.exits(0)
	s.wants(s.text(), "detached: the job runs on")
	s.wants(s.output("ps"), "running")
	// The terminal is as it was: the next one attaches, and Ctrl-C there touches nothing.
	s.startOnTerminal("attach", "@last")
	s.await("Ctrl-C stops watching")
	s.press(ctrlC)
	s.exits(130)
	s.wants(s.output("ps"), "running")
	s.output("ssh", "@last", "touch go-on")
	s.start("wait", "@last")
	s.keys = nil
	s.exits(0)
}

func TestInterruptStop(t *testing.T) {
	t.Parallel()
	s := newSession(t, "None", waiting)
	s.startOnTerminal("exec", "deploy.star")
	s.await("begun")
	s.press(ctrlC)
	s.await("d detach, s stop")
	s.press("s")
	s.exits(130)
	s.wants(s.text(), "cancelled")
	s.wants(s.text(), "terminated and confirmed")
	if data, err := os.ReadFile(filepath.Join(s.dir, "result.txt")); string(data) != "half\n" {
		t.Errorf("result: got %q, %v want %q", data, err, "half\n")
	}
	if strings.Contains(s.text(), "after\r\n") {
		t.Error("the script went on after the stop")
	}
}

func TestInterruptCarryOn(t *testing.T) {
	t.Parallel()
	s := newSession(t, "None", waiting)
	s.startOnTerminal("exec", "deploy.star")
	s.await("begun")
	s.press(ctrlC)
	s.await("d detach, s stop")
	s.press("xc")
	s.output("ssh", "@last", "touch go-on")
	s.exits(0)
	s.wants(s.text(), "ended\r\n")
	s.wants(s.text(), "after\r\n")
}

func TestInterruptTwice(t *testing.T) {
	t.Parallel()
	s := newSession(t, "None", waiting)
	s.startOnTerminal("exec", "deploy.star")
	s.await("begun")
	s.press(ctrlC)
	s.await("d detach, s stop")
	s.press(ctrlC)
	s.exits(130)
	s.wants(s.text(), "terminated and confirmed")
}

func TestInterruptThreeTimesLeaves(t *testing.T) {
	t.Parallel()
	s := newSession(t, "None", "trap '' TERM; echo be''gun; while true; do sleep 1; done")
	s.startOnTerminal("exec", "deploy.star")
	s.await("begun")
	s.press(ctrlC)
	s.await("d detach, s stop")
	s.press(ctrlC)
	s.await("stopping the job")
	s.press(ctrlC)
	s.exits(204)
	s.wants(s.text(), "a machine may still run")
}

func TestTerminatedWithoutTerminal(t *testing.T) {
	t.Parallel()
	s := newSession(t, "None", waiting)
	s.start("exec", "deploy.star")
	s.await("begun")
	s.signal(syscall.SIGTERM)
	s.exits(143)
	s.wants(s.text(), "terminated and confirmed")
	if _, err := os.Stat(filepath.Join(s.dir, "result.txt")); err != nil {
		t.Error(err)
	}
}

func TestHangupDetaches(t *testing.T) {
	t.Parallel()
	s := newSession(t, "None", waiting)
	s.start("exec", "deploy.star")
	s.await("begun")
	s.signal(syscall.SIGHUP)
	s.exits(0)
	s.wants(s.text(), "detached: the job runs on")
	s.wants(s.output("ps"), "running")
	s.output("ssh", "@last", "touch go-on")
	s.start("attach", "@last")
	s.exits(0)
	s.wants(s.text(), "ended\n")
}

// eventuallyClean waits until ps shows neither jobs nor machines.
func (s *session) eventuallyClean() {
	s.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !strings.Contains(s.output("ps"), "no jobs and no machines") {
		if time.Now().After(deadline) {
			s.t.Fatalf("never clean:\n%s", s.output("ps"))
		}
		time.Sleep(100 * time.Millisecond) // between two looks; the deadline decides
	}
}

func TestInterruptedWithoutTerminal(t *testing.T) {
	t.Parallel()
	s := newSession(t, "None", waiting)
	s.start("exec", "deploy.star")
	s.await("begun")
	s.signal(os.Interrupt)
	s.exits(130)
	s.wants(s.text(), "cancelled")
	s.wants(s.text(), "results  1 file in ")
	s.wants(s.text(), "terminated and confirmed")
	s.wants(s.output("ps"), "no jobs and no machines")
}

// After a hangup nobody comes back: the guardian fetches the results and releases the machine.
func TestHangupLeavesItToTheGuardian(t *testing.T) {
	t.Parallel()
	s := newSession(t, "None", waiting)
	s.start("exec", "deploy.star")
	s.await("begun")
	s.signal(syscall.SIGHUP)
	s.exits(0)
	s.wants(s.text(), "results  what was asked for is fetched when the job has ended")
	s.output("ssh", "@last", "touch go-on")
	s.eventuallyClean()
	if data, err := os.ReadFile(filepath.Join(s.dir, "result.txt")); string(data) != "half\n" {
		t.Errorf("result: got %q, %v want %q", data, err, "half\n")
	}
	s.wants(s.output("ps", "-a"), " succeeded ")
}

// kill -9 leaves no time for anything: the guardian finishes the job and releases the machine.
func TestKilledWhileTheJobRuns(t *testing.T) {
	t.Parallel()
	s := newSession(t, "None", waiting)
	s.start("exec", "deploy.star")
	s.await("begun")
	s.signal(os.Kill)
	s.exits(-1)
	s.wants(s.output("ps"), "running")
	s.output("ssh", "@last", "touch go-on")
	s.eventuallyClean()
	if data, err := os.ReadFile(filepath.Join(s.dir, "result.txt")); string(data) != "half\n" {
		t.Errorf("result: got %q, %v want %q", data, err, "half\n")
	}
	s.wants(s.output("logs", "@last"), "ended")
	s.wants(s.output("ps", "-a"), " succeeded ")
}

// Before the job ran there is nothing to finish: the machine goes.
func TestKilledBeforeTheJob(t *testing.T) {
	t.Parallel()
	s := newSession(t, `"echo preparing; sleep 600"`, "true")
	s.start("exec", "deploy.star")
	s.await("  preparing")
	s.signal(os.Kill)
	s.exits(-1)
	s.eventuallyClean()
	if left, err := filepath.Glob(filepath.Join(s.state, "bifrost/local/[^.]*")); err != nil || len(left) > 0 {
		t.Errorf("local nodes are left: %v, %v", left, err)
	}
}

// newParallelSession prepares a folder with a script that runs two jobs, one and two, as many at once as
// the limit says. They wait for ./go-on in their homes, and before they run for a file of their name in the
// project's folder.
func newParallelSession(t *testing.T, limit int, mayRun ...string) *session {
	t.Helper()
	s := newFolder(t)
	for _, name := range mayRun {
		s.script(name, "")
	}
	s.script("deploy.star", `
def run(name):
    return with_job(remote_job(provision = gpu_query(type = None, providers = "local"), name = name, timeout = None,
        bootstrap = "while [ ! -e '`+s.dir+`/%s' ]; do sleep 0.05; done" % name,
        command = """echo be''gun `+"`basename $PWD`"+`; while [ ! -e ~/go-on ]; do sleep 0.05; done; echo ended""")).status

print([v for v, err in parallel(run, ["one", "two"], limit = `+strconv.Itoa(limit)+`)])
`)
	return s
}

func TestParallelJobsEnd(t *testing.T) {
	t.Parallel()
	s := newParallelSession(t, 2, "one", "two")
	s.start("exec", "deploy.star")
	s.await("[one] begun")
	s.await("[two] begun")
	for _, job := range []string{"one", "two"} {
		s.output("ssh", job, "touch go-on")
	}
	s.exits(0)
	s.wants(s.text(), "[one] ended\n")
	s.wants(s.text(), "[two] ended\n")
	s.wants(s.text(), `["succeeded", "succeeded"]`)
	s.wants(s.output("ps"), "no jobs and no machines")
	if got := strings.Count(s.output("ps", "-a"), " succeeded "); got != 2 {
		t.Errorf("the journal has %d jobs that succeeded, want 2:\n%s", got, s.output("ps", "-a"))
	}
}

func TestParallelJobsInterrupted(t *testing.T) {
	t.Parallel()
	s := newParallelSession(t, 2, "one", "two")
	s.start("exec", "deploy.star")
	s.await("[one] begun")
	s.await("[two] begun")
	s.signal(os.Interrupt)
	s.exits(130)
	if got := strings.Count(s.text(), "terminated and confirmed"); got < 2 {
		t.Errorf("%d machines are terminated and confirmed, want 2", got)
	}
	s.wants(s.output("ps"), "no jobs and no machines")
}

// While one of several jobs runs Ctrl-C asks, whatever became of the others.
func TestParallelOneHasEnded(t *testing.T) {
	t.Parallel()
	s := newParallelSession(t, 2, "one", "two")
	s.startOnTerminal("exec", "deploy.star")
	s.await("[one] begun")
	s.await("[two] begun")
	s.output("ssh", "one", "touch go-on")
	s.await("[one] ended")
	s.await("gone, confirmed")
	s.press(ctrlC)
	s.await("interrupted; the job runs on: d detach, s stop")
	s.press("d")
	s.exits(0)
	s.wants(s.text(), "detached: the job runs on")
	s.wants(s.output("ps"), "two")
	s.output("ssh", "two", "touch go-on")
	s.eventuallyClean()
}

// Detaching leaves what runs and destroys what does not run yet.
func TestParallelDetachWhileOnePrepares(t *testing.T) {
	t.Parallel()
	s := newParallelSession(t, 2, "one")
	s.startOnTerminal("exec", "deploy.star")
	s.await("[one] begun")
	s.press(ctrlC)
	s.await("interrupted; the job runs on, what has not started yet is destroyed after d and s: d detach")
	s.press("d")
	s.exits(0)
	s.wants(s.text(), "detached: the job runs on")
	s.wants(s.text(), "detaching: the job runs on, what has not started yet is destroyed; a body")
	s.wants(s.text(), "none: the job did not run")
	s.wants(s.text(), "terminated and confirmed")
	if ps := s.output("ps"); !strings.Contains(ps, "one-") || strings.Contains(ps, "two-") {
		t.Errorf("ps: got %s, want one alone", ps)
	}
}

func TestParallelStop(t *testing.T) {
	t.Parallel()
	s := newParallelSession(t, 2, "one", "two")
	s.startOnTerminal("exec", "deploy.star")
	s.await("[one] begun")
	s.await("[two] begun")
	s.press(ctrlC)
	s.await("interrupted; 2 jobs run on: d detach, s stop")
	s.press("s")
	s.exits(130)
	s.wants(s.text(), "stopping 2 jobs")
	s.wants(s.output("ps"), "no jobs and no machines")
}

// -d and a hangup leave several jobs to the guardian once all of them run.
func TestParallelLeftToTheGuardian(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(s *session){
		"detached": func(s *session) {
			s.start("exec", "-d", "deploy.star")
			s.await("[one] begun")
		},
		"hangup": func(s *session) {
			s.start("exec", "deploy.star")
			s.await("[one] begun")
			s.signal(syscall.SIGHUP)
			s.await("detaching as soon as all that was begun runs")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newParallelSession(t, 2, "one")
			leave(s)
			s.script("two", "")
			s.exits(0)
			for _, job := range []string{"one", "two"} {
				s.output("ssh", job, "touch go-on")
			}
			s.eventuallyClean()
			if got := strings.Count(s.output("ps", "-a"), " succeeded "); got != 2 {
				t.Errorf("%d jobs succeeded, want 2:\n%s", got, s.output("ps", "-a"))
			}
		})
	}
}

// -d keeps to the limit: it returns when the last item has had its turn.
func TestParallelDetachedInTurn(t *testing.T) {
	t.Parallel()
	s := newParallelSession(t, 1, "one", "two")
	s.start("exec", "-d", "deploy.star")
	s.await("[one] begun")
	s.output("ssh", "one", "touch go-on")
	s.exits(0)
	s.wants(s.text(), "[one] ended")
	s.output("ssh", "two", "touch go-on")
	s.eventuallyClean()
	if got := strings.Count(s.output("ps", "-a"), " succeeded "); got != 2 {
		t.Errorf("%d jobs succeeded, want 2:\n%s", got, s.output("ps", "-a"))
	}
}

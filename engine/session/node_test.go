package session_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bifrost-run/bifrost/engine/session"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A node is a machine of a test's own: a home folder and a shell. Unlike enginetest.Shell it hands
// Private over on a descriptor, as a connection does, so that tests may look for it in ps.
type node struct {
	t    *testing.T
	home string
	argv []string
	path string
	env  []string
	root string // of everything that belongs to the node
}

// kinds are the shells that run.sh must work under, with the commands that each brings.
var kinds = []string{"dash", "bash", "busybox"}

// eachKind runs a test once per kind of node.
func eachKind(t *testing.T, test func(t *testing.T, n *node)) {
	t.Helper()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, newNode(t, kind))
		})
	}
}

func newNode(t *testing.T, kind string) *node {
	t.Helper()
	root, err := os.MkdirTemp("", "bfn")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, root: root, home: filepath.Join(root, "a home"), path: os.Getenv("PATH")}
	bin := filepath.Join(root, "bin")
	for _, dir := range []string{n.home, bin, filepath.Join(root, "tmux")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	link := func(name, to string) {
		if err := os.Symlink(to, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	switch kind {
	case "busybox":
		busybox := need(t, "busybox")
		list, err := exec.Command(busybox, "--list").Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, applet := range strings.Fields(string(list)) {
			link(applet, busybox)
		}
		n.path = bin
	case "bash":
		link("sh", need(t, "bash"))
		n.path = bin + ":" + n.path
	case "dash":
		link("sh", need(t, "dash"))
		n.path = bin + ":" + n.path
	}
	n.argv = []string{filepath.Join(bin, "sh")}
	n.env = []string{"HOME=" + n.home, "PATH=" + n.path, "LANG=C.UTF-8", "TMUX_TMPDIR=" + filepath.Join(root, "tmux")}
	t.Cleanup(func() {
		if kind != "busybox" {
			cmd := exec.Command("tmux", "-L", "bifrost", "kill-server")
			cmd.Env = n.env
			cmd.Run() // there is none in most tests
		}
		for deadline := time.Now().Add(10 * time.Second); len(n.processes()) > 0 && time.Now().Before(deadline) && !t.Failed(); {
			time.Sleep(5 * time.Millisecond)
		}
		for _, pid := range n.processes() {
			if !t.Failed() {
				t.Errorf("left behind: process %s: %s", pid, procFile(pid, "cmdline"))
			}
			if p := atoi(pid); p > 1 {
				unix.Kill(p, unix.SIGKILL)
			}
		}
		os.RemoveAll(root)
	})
	return n
}

func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("this test needs %s", program)
		}
		t.Skipf("this test needs %s", program)
	}
	return path
}

// without removes programs from the node's PATH.
func (n *node) without(programs ...string) {
	n.t.Helper()
	bin := filepath.Join(n.root, "less")
	if err := os.Mkdir(bin, 0o700); err != nil {
		n.t.Fatal(err)
	}
	for dir := range strings.SplitSeq(n.path, ":") {
		entries, _ := os.ReadDir(dir)
		for _, entry := range entries {
			os.Symlink(filepath.Join(dir, entry.Name()), filepath.Join(bin, entry.Name()))
		}
	}
	for _, program := range programs {
		os.Remove(filepath.Join(bin, program))
	}
	n.path = bin
	n.env[1] = "PATH=" + bin
}

// Run implements ssh.Runner.
func (n *node) Run(ctx context.Context, cmd ssh.Command) error {
	private, err := os.CreateTemp(n.root, "private")
	if err != nil {
		return err
	}
	defer private.Close()
	os.Remove(private.Name())
	private.WriteString(cmd.Private)
	private.Seek(0, 0)
	argv := append(n.argv[:len(n.argv):len(n.argv)], "-c", `eval "$(cat <&3)"; exec 3<&-`+"\n"+cmd.Script)
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Dir, c.Env = n.home, n.env
	c.Stdin, c.Stdout, c.Stderr = cmd.Stdin, cmd.Stdout, cmd.Stderr
	c.ExtraFiles = []*os.File{private}
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	err = c.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
		return &ssh.ExitError{Code: 128 + int(status.Signal()), Signal: status.Signal().String()}
	}
	return &ssh.ExitError{Code: exit.ExitCode()}
}

// processes lists the pids of those that run with this node's home.
func (n *node) processes() (pids []string) {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		if atoi(entry.Name()) == 0 {
			continue
		}
		if bytes.Contains([]byte(procFile(entry.Name(), "environ")), []byte("HOME="+n.home+"\x00")) {
			pids = append(pids, entry.Name())
		}
	}
	return pids
}

// settle waits until nothing runs on the node any more.
func (n *node) settle() {
	n.t.Helper()
	n.until("the node's processes have ended", func() bool { return len(n.processes()) == 0 })
}

func procFile(pid, name string) string {
	data, _ := os.ReadFile(filepath.Join("/proc", pid, name))
	return string(data)
}

func atoi(s string) int {
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// until waits for a condition.
func (n *node) until(what string, condition func() bool) {
	n.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			for _, pid := range n.processes() {
				n.t.Logf("process %s: %q", pid, procFile(pid, "cmdline"))
			}
			n.t.Fatalf("still not true: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (n *node) job(id string, parts ...string) string {
	return filepath.Join(append([]string{n.home, ".bifrost/jobs", id}, parts...)...)
}

func (n *node) read(name string) string {
	n.t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		n.t.Fatal(err)
	}
	return string(data)
}

// start starts a job without tmux unless the spec was made for it.
func (n *node) start(spec session.Spec) session.Started {
	n.t.Helper()
	if spec.ID == "" {
		spec.ID = "j"
	}
	if spec.Name == "" {
		spec.Name = spec.ID
	}
	started, err := session.Start(n.t.Context(), n, spec)
	if err != nil {
		n.t.Fatalf("start: %v", err)
	}
	return started
}

func (n *node) status(id string) session.Status {
	n.t.Helper()
	status, err := session.Read(n.t.Context(), n, id)
	if err != nil {
		n.t.Fatalf("read: %v", err)
	}
	return status
}

// end waits for the final status.
func (n *node) end(id string) session.Status {
	n.t.Helper()
	var status session.Status
	n.until("the status of "+id+" is final", func() bool {
		status = n.status(id)
		return status.Final()
	})
	return status
}

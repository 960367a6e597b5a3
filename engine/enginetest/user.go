//go:build unix

package enginetest

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A User names the kind of account that commands run under on a test server.
type User string

// The kinds of users. All but Current and Root are made for one server and removed with it, under
// names of the form bifrost-test-<process id>-<n>; their home is named "home of <name>". What a
// test process that was killed left behind is removed by the next one.
const (
	Current User = ""       // whoever runs the tests, with $HOME in a folder of the test's own
	Root    User = "root"   // root, with its home there; login shell bash
	Plain   User = "plain"  // login shell bash, nothing special but the space in the home
	Fish    User = "fish"   // login shell fish
	Csh     User = "csh"    // login shell tcsh
	Chatty  User = "chatty" // login shell bash, whose .bashrc prints to stdout and stderr
)

const (
	userPrefix = "bifrost-test-"
	userLock   = "/tmp/bifrost-test-users.lock"
)

var userCount atomic.Int64 // makes names unique within the process

// An account is a user of the machine, made for a test.
type account struct {
	name  string
	home  string
	shell string
	uid   int
	gid   int
}

// newAccount makes a user of the kind with its home beneath dir, and removes it when t ends.
func newAccount(t testing.TB, kind User, dir string) account {
	t.Helper()
	Need(t, "root", "useradd", "userdel")
	shell := map[User]string{Plain: "bash", Fish: "fish", Csh: "tcsh", Chatty: "bash"}[kind]
	if shell == "" {
		t.Fatalf("no such kind of user: %q", kind)
	}
	Need(t, shell)
	path, err := program(shell)
	if err != nil {
		t.Fatal(err)
	}
	a := account{
		name:  fmt.Sprintf("%s%d-%d", userPrefix, os.Getpid(), userCount.Add(1)),
		shell: path,
	}
	a.home = filepath.Join(dir, "home of "+a.name)
	locked(t, func() {
		removeStale()
		// "*" as the password: nobody logs in by one, and sshd does not take the account for locked.
		out, err := exec.Command("useradd", "-M", "-N", "-d", a.home, "-s", a.shell, "-p", "*", a.name).CombinedOutput()
		if err != nil {
			t.Fatalf("useradd: %v: %s", err, out)
		}
	})
	u, err := user.Lookup(a.name)
	if err != nil {
		t.Fatal(err)
	}
	a.uid, _ = strconv.Atoi(u.Uid)
	a.gid, _ = strconv.Atoi(u.Gid)
	t.Cleanup(func() { locked(t, func() { removeUser(a.name, a.uid) }) })

	if err := os.Mkdir(a.home, 0o755); err != nil {
		t.Fatal(err)
	}
	if kind == Chatty {
		// Not behind the usual check for an interactive shell: bash reads this file when sshd starts it.
		rc := "echo Welcome to the machine\necho 'it is chatty, bifrost- and all' >&2\nprintf 'no newline here'\n"
		if err := os.WriteFile(filepath.Join(a.home, ".bashrc"), []byte(rc), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	chown(t, a.home, a)
	return a
}

func chown(t testing.TB, path string, a account) {
	t.Helper()
	err := filepath.Walk(path, func(p string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, a.uid, a.gid)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// locked runs f while no other test process changes users.
func locked(t testing.TB, f func()) {
	t.Helper()
	lock, err := os.OpenFile(userLock, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	f()
}

// removeStale removes the users of test processes that are gone.
func removeStale() {
	data, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		f := strings.Split(line, ":")
		rest, ok := strings.CutPrefix(f[0], userPrefix)
		if !ok || len(f) < 4 {
			continue
		}
		owner, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(owner)
		if err != nil || syscall.Kill(pid, 0) != syscall.ESRCH {
			continue
		}
		if uid, err := strconv.Atoi(f[2]); err == nil && uid != 0 {
			removeUser(f[0], uid)
		}
	}
}

// removeUser ends the user's processes and removes the user.
func removeUser(name string, uid int) {
	killWhere(func(pid int) bool {
		st, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
		return err == nil && int(st.Sys().(*syscall.Stat_t).Uid) == uid
	})
	exec.Command("userdel", "-f", name).Run()
}

// killWhere kills the processes that match, and those that they start meanwhile.
func killWhere(match func(pid int) bool) {
	deadline := time.Now().Add(3 * time.Second)
	for time.Now().Before(deadline) {
		found := false
		for _, pid := range processes() {
			if match(pid) {
				found = true
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if !found {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// processes lists the process ids of this machine, but for this process and zombies.
func processes() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || pid == 1 {
			continue
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		if i := strings.LastIndexByte(string(stat), ')'); i >= 0 && strings.HasPrefix(string(stat[i:]), ") Z") {
			continue
		}
		pids = append(pids, pid)
	}
	return pids
}

package enginetest

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// busyboxRoot makes a root folder beneath dir in which a statically linked busybox is every program.
func busyboxRoot(t testing.TB, dir string) string {
	t.Helper()
	Need(t, "root", "busybox")
	root := filepath.Join(dir, "root")
	for _, d := range []string{"bin", "usr", "dev", "proc", "etc", "root", "tmp", "var"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(root, "tmp"), 0o1777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../bin", filepath.Join(root, "usr", "bin")); err != nil {
		t.Fatal(err)
	}
	from, err := program("busybox")
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(root, "bin", "busybox")
	copyProgram(t, from, to)
	cmd := exec.Command("/bin/busybox", "--install", "-s", "/bin")
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	cmd.Dir = "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("busybox in a root folder of its own (is it statically linked?): %v: %s", err, out)
	}
	writeFile(t, filepath.Join(root, "etc", "passwd"), "root:x:0:0:root:/root:/bin/sh\n")
	writeFile(t, filepath.Join(root, "etc", "group"), "root:x:0:\n")
	return root
}

// etcFolder makes an /etc for a server in which root has another home and login shell. (One file
// mounted over /etc/passwd would be lost when another test adds a user.)
func etcFolder(t testing.TB, dir, home, shell string) {
	t.Helper()
	etc := filepath.Join(dir, "etc")
	if err := os.Mkdir(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	names := []string{"passwd", "group", "shadow", "nsswitch.conf", "ld.so.cache", "hosts", "localtime", "environment", "bash.bashrc", "profile"}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join("/etc", name))
		if err != nil {
			continue // what the system lacks, sshd does without
		}
		if name == "passwd" {
			lines := strings.Split(string(data), "\n")
			for i, l := range lines {
				if strings.HasPrefix(l, "root:") {
					lines[i] = "root:x:0:0:root:" + home + ":" + shell
				}
			}
			data = []byte(strings.Join(lines, "\n"))
		}
		writeFile(t, filepath.Join(etc, name), string(data))
	}
	// Debian has awk and pager there.
	if err := os.CopyFS(filepath.Join(etc, "alternatives"), os.DirFS("/etc/alternatives")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

// copyProgram copies a program that runs next. No other test starts one while it is open here: that process would have it
// open for writing until it is a program of its own, and what is open for writing cannot be run (ETXTBSY).
func copyProgram(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

// mountArgv is a command that mounts what the server in dir needs and runs what follows it: the
// server's own /etc, and /proc and /dev in the root folder if there is one. The mounts live in a
// namespace of the server's own and vanish with its processes.
func mountArgv(dir, root string) []string {
	return []string{"/bin/sh", "-ec", `mount --make-rprivate /
if [ "$2" ]; then
mount -t proc proc "$2/proc"
mount --rbind /dev "$2/dev"
fi
mount --bind "$1/etc" /etc
shift 2
exec "$@"`, "sh", dir, root}
}

func ownMounts() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
}

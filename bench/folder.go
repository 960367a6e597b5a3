//go:build linux

package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// folderMark is the setting in the environment of every process that a bench starts, here or on its node,
// with the path of its folder: by it is found what has outlived its parent.
const folderMark = "BIFROST_BENCH"

// A folder is in memory where it can be. It is locked while its bench lives, so that the next one finds what
// another that was killed could not remove.
type folder struct {
	path string
	lock *os.File
}

// newFolder makes a folder, and removes those whose bench is no more.
func newFolder() (*folder, error) {
	base := os.TempDir()
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		base = "/dev/shm"
	}
	left, err := filepath.Glob(filepath.Join(base, "bifrost-bench-*"))
	if err != nil {
		return nil, err
	}
	for _, path := range left {
		if dead, err := lockFolder(path); err == nil {
			dead.remove()
		}
	}
	path, err := os.MkdirTemp(base, "bifrost-bench-")
	if err != nil {
		return nil, err
	}
	f, err := lockFolder(path)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return f, os.Setenv(folderMark, path)
}

// lockFolder fails if somebody has it.
func lockFolder(path string) (*folder, error) {
	lock, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, err
	}
	return &folder{path: path, lock: lock}, nil
}

// remove ends every process with the folder's mark, and removes it.
func (f *folder) remove() {
	defer f.lock.Close()
	for range 100 { // what is killed may still write, or start another
		killed := killMarked(folderMark + "=" + f.path)
		if os.RemoveAll(f.path) == nil && !killed {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// killMarked kills the other processes that have a setting in their environment, and reports whether there
// were any.
func killMarked(setting string) bool {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	found, want := false, []byte("\x00"+setting+"\x00")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err == nil && bytes.Contains(append(append([]byte{0}, env...), 0), want) {
			found = syscall.Kill(pid, syscall.SIGKILL) == nil || found
		}
	}
	return found
}

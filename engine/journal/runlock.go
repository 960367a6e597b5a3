package journal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// A RunLock says that a process attends to a run. The system takes it away when the process ends,
// however it ends; programs that the process starts do not inherit it.
type RunLock struct {
	path string
	file *os.File
}

// errLocked is what lockFile returns for a file that somebody else has locked.
var errLocked = errors.New("locked")

// lockPatience is how long LockRun waits for somebody who only looks (TryRun).
const lockPatience = time.Second

// LockRun takes the lock of a run. Kind conflict means that another process, or another RunLock of
// this one, has it.
func (j *Journal) LockRun(runID string) (*RunLock, error) {
	path, err := j.runPath(runID)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, j.unusable("lock", err)
	}
	for deadline := time.Now().Add(lockPatience); ; {
		lock, err := lockPath(path, os.O_RDWR|os.O_CREATE)
		switch {
		case err == nil:
			return lock, nil
		case !errors.Is(err, errLocked) && !errors.Is(err, fs.ErrNotExist):
			return nil, j.unusable("lock", err)
		case time.Now().After(deadline):
			return nil, &fault.Error{
				Kind: fault.Conflict, Op: "lock", Target: "run " + runID, Err: errors.New("another bifrost process attends to it"),
				Hint: "watch it with bifrost attach, or stop that process first",
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Release gives the lock back. A second call does nothing.
func (l *RunLock) Release() error {
	if l.file == nil {
		return nil
	}
	err := removeLocked(l.path, l.file)
	l.file = nil
	return err
}

// TryRun reports whether nobody holds the lock of a run: the process that attended to it is gone.
func (j *Journal) TryRun(runID string) (free bool, err error) {
	path, err := j.runPath(runID)
	if err != nil {
		return false, err
	}
	lock, err := lockPath(path, os.O_RDWR)
	switch {
	case err == nil:
		return true, lock.Release() // with the file that a killed process left
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case errors.Is(err, errLocked):
		return false, nil
	}
	return false, j.unusable("lock", err)
}

func (j *Journal) runPath(runID string) (string, error) {
	if runID == "" || runID[0] == '.' || strings.ContainsAny(runID, `/\:`) || len(runID) > 200 {
		return "", defect("lock", "run "+runID, "this is no run id")
	}
	return filepath.Join(filepath.Dir(j.path), "runs", runID+".lock"), nil
}

// lockPath opens and locks the file at path. Whoever holds the lock may remove the file, so the
// lock counts only while the path still leads to the file that was locked.
func lockPath(path string, flags int) (*RunLock, error) {
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, err
	}
	mine, err := f.Stat()
	if err == nil {
		var there os.FileInfo
		if there, err = os.Stat(path); err == nil && !os.SameFile(mine, there) {
			err = fs.ErrNotExist
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &RunLock{path: path, file: f}, nil
}

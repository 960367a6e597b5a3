//go:build unix

package journal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func lockFile(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return errLocked
		default:
			return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
	}
}

// removeLocked removes the file while its lock is still held, so that nobody's new file is hit.
func removeLocked(path string, f *os.File) error {
	err := os.Remove(path)
	if closed := f.Close(); err == nil || os.IsNotExist(err) {
		return closed
	}
	return err
}

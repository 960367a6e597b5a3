//go:build unix

package transfer

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// isDiskFull says whether err means that there is no room, on the disk or in the user's quota.
func isDiskFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

// freeBytes returns the room that is left for this user where folder is, -1 when unknown.
func freeBytes(folder string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(folder, &st) != nil {
		return -1
	}
	return int64(st.Bavail) * int64(st.Bsize)
}

// lockFile takes the file for this process until it is closed; false: somebody else has it.
func lockFile(f *os.File) (locked bool, err error) {
	raw, err := f.SyscallConn() // Fd would make the file a blocking one, with two more system calls
	if err != nil {
		return false, err
	}
	if failed := raw.Control(func(fd uintptr) { locked, err = lock(int(fd)) }); failed != nil {
		return false, failed
	}
	return locked, err
}

// lock is lockFile for what has no *os.File.
func lock(fd int) (bool, error) {
	err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return false, nil
	case errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOLCK), errors.Is(err, unix.ENOSYS):
		return true, nil // a file system without locks: as safe as it gets there
	}
	return err == nil, err
}

// openToRead is os.Open without what that does for files that can wait, which takes as long as to read a small one.
func openToRead(name string) (io.ReadCloser, error) {
	fd, err := ignoringInterrupts(func() (int, error) { return unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return plainFile(fd), nil
}

type plainFile int

func (f plainFile) Read(b []byte) (int, error) {
	n, err := ignoringInterrupts(func() (int, error) { return unix.Read(int(f), b) })
	switch {
	case err != nil:
		return 0, err
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return n, nil
}

func (f plainFile) Close() error { return unix.Close(int(f)) }

func ignoringInterrupts(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

//go:build linux || darwin

package push

import (
	"io/fs"
	"os"
	"syscall"
)

// openPlain opens a file to read, not through a link, and without waiting for the other end of a pipe. It takes
// half of the system calls of os.Open, which asks of each file whether one could wait for it.
func openPlain(name string) (*os.File, error) {
	for {
		fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), name), nil
		case syscall.EINTR:
		default:
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

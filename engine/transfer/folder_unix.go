//go:build unix

package transfer

import (
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// An openFolder is the folder of the last file: in it a file takes one system call for each step, each with one name.
type openFolder struct {
	fetch *fetch
	where string
	dir   *os.File
	fd    int // of dir
}

// open says whether the folder can be opened.
func (f *openFolder) open(dir string) bool {
	if f.dir == nil || f.where != dir {
		f.close()
		f.where = dir
		var err error
		if f.dir, err = f.fetch.root.Open(dir); err != nil {
			f.dir = nil
			return false
		}
		f.fd = int(f.dir.Fd())
	}
	return true
}

// write places a file, whose content was verified. It says no where something is in the way: then that needs a
// closer look.
func (f *openFolder) write(e *entry, content []byte) bool {
	name := path.Base(e.name)
	part := partName(name, e.hash)
	fd, err := unix.Openat(f.fd, part, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if locked, err := lock(fd); err != nil || !locked {
		return false // somebody else has found it
	}
	mtime := unix.Timespec{Sec: e.mtime}
	n, err := unix.Write(fd, content)
	if err == nil && n == len(content) &&
		unix.Fchmod(fd, uint32(e.perm())) == nil &&
		unix.UtimesNanoAt(f.fd, part, []unix.Timespec{mtime, mtime}, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		unix.Renameat(f.fd, part, f.fd, name) == nil {
		return true
	}
	_ = unix.Unlinkat(f.fd, part, 0)
	return false
}

func (f *openFolder) close() {
	if f.dir != nil {
		f.dir.Close()
		f.dir = nil
	}
}

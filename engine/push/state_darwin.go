package push

import (
	"io/fs"
	"syscall"
)

// stateOf returns the state of a file; ok is false where the system does not tell when it changed.
func stateOf(info fs.FileInfo) (state fileState, ok bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileState{}, false
	}
	return fileState{size: s.Size, modified: s.Mtimespec.Nano(), changed: s.Ctimespec.Nano(), inode: s.Ino, device: uint64(s.Dev)}, true
}

package follow

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// overlapSize is how many bytes before the offset are compared when a stream goes on.
const overlapSize = 4096

// A Copy is what this machine has of a job's log: a file that only grows. Several processes may
// hold copies of one file at the same time: what they write at an offset is the same bytes. A Copy
// itself is for one goroutine.
type Copy struct {
	path string
	file *os.File
	size int64
}

// OpenCopy opens the copy at path, which is made where it is missing, with its folder.
func OpenCopy(path string) (*Copy, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, copyFault("open", path, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, copyFault("open", path, err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, copyFault("open", path, err)
	}
	return &Copy{path: path, file: f, size: info.Size()}, nil
}

// Size is the number of bytes that the copy has.
func (c *Copy) Size() int64 { return c.size }

// Close closes the file.
func (c *Copy) Close() error { return c.file.Close() }

// WriteTo writes the copy to w, from an offset to its end.
func (c *Copy) WriteTo(w io.Writer, from int64) error {
	_, err := io.Copy(w, io.NewSectionReader(c.file, from, max(0, c.size-from)))
	return err
}

// append adds the bytes that follow in the log.
func (c *Copy) append(p []byte) error {
	n, err := c.file.WriteAt(p, c.size)
	c.size += int64(n)
	if err != nil {
		return copyFault("write", c.path, err)
	}
	return nil
}

// overlap is the last block before the end.
func (c *Copy) overlap() ([]byte, error) {
	block := make([]byte, min(overlapSize, c.size))
	if _, err := c.file.ReadAt(block, c.size-int64(len(block))); err != nil && !errors.Is(err, io.EOF) {
		return nil, copyFault("read", c.path, err)
	}
	return block, nil
}

func copyFault(op, path string, err error) error {
	f := &fault.Error{Kind: fault.Transfer, Op: op + " log copy", Target: path, Err: err, Hint: "make the state folder readable and writable for you"}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		f.Kind, f.Hint = fault.DiskFull, "free space on this machine, then bifrost attach goes on where it stopped"
	}
	return f
}

// differs reports whether what the node has at the place of the last block is something else.
func differs(block, node []byte) bool { return !bytes.Equal(block[:len(node)], node) }

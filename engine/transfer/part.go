package transfer

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"
	"time"
)

const (
	partSuffix = ".bifrost-part"
	partHash   = 8         // hex digits of the content's hash in the name of a part
	maxBase    = 255 - 24  // bytes of a file's name that fit into the name of its part
	minResume  = 64 << 10  // bytes; to fetch less again is cheaper than to ask for the rest
	copyBuffer = 256 << 10 // bytes
)

// partName returns the name, beside name, under which content travels. It is the same for the same
// content, so that the next download finds it.
func partName(name string, content digest) string {
	dir, base := path.Split(name)
	return dir + "." + partBase(base) + "." + hex.EncodeToString(content[:partHash/2]) + partSuffix
}

func partBase(base string) string {
	if len(base) <= maxBase {
		return base
	}
	sum := sha256.Sum256([]byte(base))
	return strings.ToValidUTF8(base[:maxBase-17], "") + "~" + hex.EncodeToString(sum[:8])
}

// partOf returns the partBase of the file that a part in a folder belongs to.
func partOf(name string) (base string, ok bool) {
	s, ok := strings.CutSuffix(name, partSuffix)
	n := len(s) - partHash - 1
	if !ok || n < 2 || s[0] != '.' || s[n] != '.' || strings.Trim(s[n+1:], "0123456789abcdef") != "" {
		return "", false
	}
	return s[1:n], true
}

// A part is a file on its way: the bytes so far, under a temporary name.
type part struct {
	root     *os.Root
	name     string
	file     *os.File
	sum      hash.Hash
	size     int64 // bytes in it
	private  bool  // nobody can resume it
	unlinked bool  // it has no name any more
}

// openPart opens the part for a file's content, or makes it. Only one process at a time writes to a
// part; another one gets a private part that is not resumed.
func openPart(root *os.Root, name string, content digest) (*part, error) {
	partName := partName(name, content)
	for range 10 {
		f, err := root.OpenFile(partName, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			// A link that leads outside or a folder of that name is nobody's part.
			if info, lerr := root.Lstat(partName); lerr == nil && info.Mode()&fs.ModeSymlink != 0 {
				if root.Remove(partName) == nil {
					continue
				}
			}
			return nil, err
		}
		locked, err := lockFile(f)
		if err != nil {
			f.Close()
			return nil, err
		}
		if !locked {
			f.Close()
			return privatePart(root, partName)
		}
		// While this waited, the one who held it may have renamed it to its real name.
		info, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		there, err := root.Lstat(partName)
		if err == nil && os.SameFile(info, there) && info.Mode().IsRegular() {
			return &part{root: root, name: partName, file: f, sum: sha256.New(), size: info.Size()}, nil
		}
		f.Close()
		if err == nil && !there.Mode().IsRegular() {
			if err := root.Remove(partName); err != nil {
				return nil, err
			}
		}
	}
	return nil, fmt.Errorf("%s is in the way", partName)
}

func privatePart(root *os.Root, name string) (*part, error) {
	dir, base := path.Split(name)
	name = dir + ".~" + rand.Text()[:12] + partSuffix
	f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", base, err)
	}
	return &part{root: root, name: name, file: f, sum: sha256.New(), private: true}, nil
}

// resume makes ready to append after the bytes that are there, which it reads for the sum.
func (p *part) resume() error {
	p.sum.Reset()
	n, err := io.CopyBuffer(struct{ io.Writer }{p.sum}, struct{ io.Reader }{p.file}, make([]byte, copyBuffer))
	p.size = n
	return err
}

// restart makes ready to write from the beginning.
func (p *part) restart() error {
	p.sum.Reset()
	p.size = 0
	if err := p.file.Truncate(0); err != nil {
		return err
	}
	_, err := p.file.Seek(0, io.SeekStart)
	return err
}

func (p *part) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	p.sum.Write(b[:n])
	p.size += int64(n)
	return n, err
}

// matches says whether the bytes so far are content.
func (p *part) matches(content digest) bool { return digest(p.sum.Sum(nil)) == content }

// publish gives the part its real name, with mode and time. The part is closed in any case.
func (p *part) publish(name string, mode fs.FileMode, mtime time.Time) error {
	if runtime.GOOS == "windows" {
		// Renaming needs the file closed there. Attributes come last: a read-only file is not renamed.
		if err := p.close(); err != nil {
			return err
		}
	} else {
		defer p.file.Close()
		if err := p.file.Chmod(mode); err != nil {
			return err
		}
	}
	if err := p.root.Chtimes(p.name, mtime, mtime); err != nil {
		return err
	}
	if runtime.GOOS == "windows" {
		if err := p.root.Chmod(p.name, mode); err != nil {
			return err
		}
	}
	return p.root.Rename(p.name, name)
}

// keep closes the part and leaves it for the next download, if that can find it.
func (p *part) keep() {
	if p.private || p.size == 0 {
		p.discard()
		return
	}
	p.close()
}

// unlink removes the name of a part that goes when it is closed, where the system can; discard does the rest.
func (p *part) unlink() {
	if runtime.GOOS != "windows" {
		p.root.Remove(p.name)
		p.unlinked = true
	}
}

func (p *part) discard() {
	if !p.unlinked {
		p.root.Remove(p.name)
	}
	p.close()
	if runtime.GOOS == "windows" {
		p.root.Remove(p.name)
	}
}

func (p *part) close() error {
	err := p.file.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// removeStale removes a part whose content nobody asks for any more, unless somebody writes to it.
func removeStale(root *os.Root, name string) {
	info, err := root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	f, err := root.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return
	}
	locked, err := lockFile(f)
	if err == nil && locked {
		root.Remove(name)
	}
	f.Close()
	if runtime.GOOS == "windows" && locked {
		root.Remove(name)
	}
}

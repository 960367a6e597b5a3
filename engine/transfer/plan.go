package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// A plan is what one round asks the node for.
type plan struct {
	rests []*rest      // of files that are partly here, in the order in which they are sent
	small pool[*entry] // whole files and links
	large []*rest      // that commands of their own bring, from their offset on, in the order in which they are written

	smallBytes int64 // of small
	bytes      int64 // that further connections can bring
}

// A rest is the end of a file whose beginning is here. The part is locked as long as it is open.
type rest struct {
	entry  *entry
	part   *part
	offset int64
	spill  *part // where its pieces wait; nil without any
}

const maxRests = 64 // parts that are open at the same time

func (p *plan) close() {
	if p == nil {
		return
	}
	for _, r := range append(p.rests, p.large...) {
		if r.part != nil {
			r.part.keep()
		}
		r.endSpill()
	}
}

// plan compares the listing with what is here, makes the folders, and decides what to ask for.
func (d *fetch) plan(ctx context.Context) (*plan, error) {
	p := &plan{}
	d.progress = progress{sink: d.req.Report, step: d.req.Step}
	d.checkNames()
	d.checkProtected()
	for i := range d.list.entries {
		e := &d.list.entries[i]
		if ctx.Err() != nil {
			return p, context.Cause(ctx)
		}
		if d.hasFailed(e.name) {
			continue
		}
		switch {
		case e.isDir():
			if err := d.makeFolder(e); err != nil {
				return p, err
			}
		case e.isLink():
			if !d.isDone(e) {
				p.small.add(e)
			}
		case !e.isFile():
			d.warn(e.name, "is "+e.describe()+": not fetched")
		case !d.isDone(e):
			if err := d.planFile(p, e); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

// checkNames gives up the names that this system cannot hold. Where it does not tell capitals apart,
// that is also the second of two names that differ in nothing else.
func (d *fetch) checkNames() {
	if d.head.kind == 'f' {
		return
	}
	folded := make(map[string]string)
	foldedDirs := runtime.GOOS == "windows" || runtime.GOOS == "darwin"
	for i := range d.list.entries {
		name := d.list.entries[i].name
		if d.hasFailed(name) {
			continue
		}
		if !canHold(name) {
			d.failed[name] = "this system cannot hold that name"
			continue
		}
		if !foldedDirs {
			continue
		}
		low := strings.ToLower(name)
		if other, ok := folded[low]; ok && other != name {
			d.failed[name] = "this system cannot hold it beside " + show(other)
			continue
		}
		folded[low] = name
	}
}

// checkProtected gives up what must not be written here.
func (d *fetch) checkProtected() {
	if d.req.Protect == nil {
		return
	}
	for i := range d.list.entries {
		name := d.list.entries[i].name
		if d.hasFailed(name) {
			continue
		}
		if reason := d.req.Protect(filepath.Join(d.root.Name(), filepath.FromSlash(name))); reason != "" {
			d.failed[name] = "it is not written here: " + reason
		}
	}
}

// canHold says whether a file of this system can have the name. Unix takes any bytes; what a file
// system refuses is found out when the file is made.
func canHold(name string) bool {
	if runtime.GOOS != "windows" {
		return true
	}
	_, err := filepath.Localize(name)
	return err == nil
}

// ask plans to fetch an entry from an offset on.
func (d *fetch) ask(p *plan, e *entry, part *part) {
	r := &rest{entry: e, part: part}
	if part != nil {
		r.offset = part.size
	}
	d.progress.total += e.size - r.offset
	switch {
	case d.isLarge(e):
		p.large = append(p.large, r)
		p.bytes += e.size - r.offset
	case part != nil:
		p.rests = append(p.rests, r)
	default:
		p.small.add(e)
		p.smallBytes += e.cost()
	}
}

func (d *fetch) makeFolder(e *entry) error {
	info, err := d.root.Lstat(e.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = d.root.MkdirAll(e.name, 0o777)
	case err == nil && info.Mode()&fs.ModeSymlink != 0:
		err = errors.New("a link is here where a folder must go")
	case err == nil && !info.IsDir():
		err = errors.New("a file is here where a folder must go")
	case err == nil && info.Mode().Perm()&0o700 != 0o700:
		err = d.root.Chmod(e.name, info.Mode().Perm()|0o700)
	}
	if err != nil {
		return d.fileError(e, err)
	}
	return nil
}

// planFile decides whether a file is here already, as a whole or in part.
func (d *fetch) planFile(p *plan, e *entry) error {
	here := d.contentsBeside(e)
	dir, base := path.Split(e.name)
	info, err := d.present(e)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		d.failed[e.name] = reasonOf(err)
		return nil
	case info.IsDir():
		d.failed[e.name] = "a folder is here where a file must go"
		return nil
	case info.Mode().IsRegular() && info.Size() == e.size && e.hashed && d.hashFile(e.name) == e.hash:
		d.done[e.name] = e.version()
		d.result.Skipped++
		d.steps++
		mtime := time.Unix(e.mtime, 0)
		if runtime.GOOS != "windows" && info.Mode().Perm() != e.perm() {
			_ = d.root.Chmod(e.name, e.perm())
		}
		if !info.ModTime().Equal(mtime) {
			_ = d.root.Chtimes(e.name, mtime, mtime)
		}
		return nil
	}

	resumable := false
	for _, name := range here.parts[partBase(base)] {
		if dir+name == partName(e.name, e.key()) {
			resumable = true
		} else {
			removeStale(d.root, dir+name)
		}
	}
	if resumable {
		taken, err := d.planRest(p, e)
		if err != nil || taken {
			return err
		}
	}
	d.ask(p, e, nil)
	return nil
}

// planRest looks at the part of a file that an earlier attempt left. taken says that nothing else
// is to be asked for.
func (d *fetch) planRest(p *plan, e *entry) (taken bool, err error) {
	part, err := openPart(d.root, e.name, e.key())
	if err != nil {
		return false, nil // asked for as a whole, which meets the same error and tells it
	}
	if part.private || part.size > e.size || part.size < e.size && part.size < minResume || len(p.rests) == maxRests {
		if part.private {
			part.discard()
		} else {
			part.close()
		}
		return false, nil
	}
	if err := part.resume(); err != nil {
		part.close()
		return false, &localError{d.root.Name(), err}
	}
	if part.size == e.size && e.hashed {
		if !part.matches(e.hash) {
			part.discard()
			return false, nil
		}
		return true, d.publish(part, e)
	}
	d.ask(p, e, part)
	return true, nil
}

// contentsBeside returns what lies in the folder of an entry, as it was when that was first asked for in this round.
func (d *fetch) contentsBeside(e *entry) *contents {
	dir, _ := path.Split(e.name)
	if d.folders[dir] == nil {
		d.folders[dir] = d.contentsOf(dir)
	}
	return d.folders[dir]
}

// present returns what has the name of an entry here.
func (d *fetch) present(e *entry) (fs.FileInfo, error) {
	if !d.contentsBeside(e).names[path.Base(e.name)] {
		return nil, fs.ErrNotExist
	}
	return d.root.Lstat(e.name)
}

// Contents are what lies in a folder of this machine.
type contents struct {
	names map[string]bool
	parts map[string][]string // by the partBase of the file that they belong to
}

func (d *fetch) contentsOf(dir string) *contents {
	found := &contents{make(map[string]bool), make(map[string][]string)}
	if dir == "" {
		dir = "."
	}
	f, err := d.root.Open(strings.TrimSuffix(dir, "/"))
	if err != nil {
		return found
	}
	defer f.Close()
	for {
		names, err := f.Readdirnames(1000)
		for _, name := range names {
			found.names[name] = true
			if base, ok := partOf(name); ok {
				found.parts[base] = append(found.parts[base], name)
			}
		}
		if err != nil {
			return found
		}
	}
}

// hashFile returns the sha256 of a file that is here, or nothing when it cannot be read, which
// makes it one that differs.
func (d *fetch) hashFile(name string) (sum digest) {
	if sum, ok := d.here[name]; ok {
		return sum
	}
	f, err := d.root.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return sum
	}
	defer f.Close()
	buf := d.buffer()
	defer d.buffers.Put(buf)
	h := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, *buf); err != nil {
		return sum
	}
	return digest(h.Sum(nil))
}

// perm is the mode that a file gets here: without setuid and the like, and always readable.
func (e *entry) perm() fs.FileMode { return fs.FileMode(e.mode&0o777 | 0o400) }

// reasonOf leaves out the operation and the path of an error: the message names the file already.
func reasonOf(err error) string {
	var pathErr *fs.PathError
	var linkErr *os.LinkError
	switch {
	case errors.As(err, &pathErr):
		return pathErr.Err.Error()
	case errors.As(err, &linkErr):
		return linkErr.Err.Error()
	}
	return err.Error()
}

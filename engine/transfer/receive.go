package transfer

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// receive reads what the node sends in answer to a feed: rests, then archives.
func (d *fetch) receive(ctx context.Context, r *bufio.Reader, rests []*rest, f *feed) error {
	for _, rest := range rests {
		if err := d.receiveRest(ctx, r, rest); err != nil {
			return err
		}
	}
	w := d.newWriters()
	err := d.receiveArchives(ctx, r, f, w)
	if failed := w.finish(); failed != nil {
		return failed
	}
	return err
}

func (d *fetch) receiveArchives(ctx context.Context, r *bufio.Reader, f *feed, w *writers) error {
	for {
		more, err := nextArchive(r)
		switch {
		case err != nil:
			return &streamError{err}
		case !more:
			return nil
		}
		if err := readSums(r, func(name string, sum digest) {
			if e, ok := f.entryOf(name); ok && e.isFile() {
				e.hash, e.hashed = sum, true
			}
		}); err != nil {
			return &streamError{err}
		}
		if err := d.receiveArchive(ctx, tar.NewReader(r), f, w); err != nil {
			return err
		}
		f.chunkEnds()
	}
}

// nextArchive skips what is left of an archive, which is filled up with zeros to blocks of 512
// bytes, and says whether another one follows.
func nextArchive(r *bufio.Reader) (bool, error) {
	const block = 512
	for {
		b, err := r.Peek(block)
		if len(b) == 0 && errors.Is(err, io.EOF) {
			return false, nil
		}
		for i := range b {
			if b[i] != 0 {
				return true, nil
			}
		}
		if err != nil {
			return false, io.ErrUnexpectedEOF
		}
		_, _ = r.Discard(block)
	}
}

func (d *fetch) receiveRest(ctx context.Context, r io.Reader, rest *rest) error {
	part, e := rest.part, rest.entry
	n, err := d.copy(ctx, part, io.LimitReader(r, e.size-rest.offset), d.count)
	if err == nil && n < e.size-rest.offset {
		err = &streamError{io.ErrUnexpectedEOF}
	}
	if err != nil {
		return err // the plan's owner keeps the part
	}
	rest.part = nil
	return d.complete(part, rest)
}

// complete gives a file whose end has arrived its name, if it is the one that was listed. If not, either
// the beginning was not what it seemed or the end is new: the next round starts over.
func (d *fetch) complete(part *part, rest *rest) error {
	if rest.entry.hashed && part.matches(rest.entry.hash) {
		return d.publish(part, rest.entry)
	}
	part.discard()
	if rest.offset == 0 {
		d.attempt(rest.entry.name)
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steps++
	return nil
}

func (d *fetch) receiveArchive(ctx context.Context, archive *tar.Reader, f *feed, w *writers) error {
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &streamError{err}
		}
		e, ok := f.take(strings.TrimPrefix(h.Name, "./"))
		if !ok {
			continue // not asked for
		}
		switch {
		case e.isLink() && h.Typeflag == tar.TypeSymlink:
			d.mu.Lock()
			d.links = append(d.links, link{e.name, h.Linkname})
			d.done[e.name] = e.version()
			d.steps++
			d.mu.Unlock()
		case e.isFile() && e.hashed && h.Typeflag == tar.TypeReg && h.Size == e.size:
			if e.size < minResume {
				err = w.receive(archive, e)
			} else {
				err = d.receiveFile(ctx, archive, e, d.count)
			}
		case e.isFile() && e.hashed && h.Typeflag == tar.TypeLink:
			w.flush() // what it is the same as
			err = d.receiveHardLink(ctx, h.Linkname, e)
		default:
			d.attempt(e.name)
		}
		if err != nil {
			return err
		}
		f.deliver(e)
	}
}

// receiveFile writes one file of an archive.
func (d *fetch) receiveFile(ctx context.Context, r io.Reader, e *entry, count func(int)) error {
	part, err := d.newPart(e)
	if part == nil {
		return err
	}
	n, err := d.copy(ctx, part, r, count)
	if err == nil && n < e.size {
		err = &streamError{io.ErrUnexpectedEOF}
	}
	if err != nil {
		part.keep()
		return err
	}
	if !part.matches(e.hash) {
		part.discard()
		d.attempt(e.name)
		return nil
	}
	return d.publish(part, e)
}

// receiveHardLink makes a file that is the same as another one of the archive, which is sent once.
func (d *fetch) receiveHardLink(ctx context.Context, linkname string, e *entry) error {
	name := strings.TrimPrefix(linkname, "./")
	if have, ok := d.versionOf(name); !ok || have.hash != e.hash {
		d.attempt(e.name)
		return nil
	}
	f, err := d.root.Open(name)
	if err != nil {
		d.attempt(e.name)
		return nil
	}
	defer f.Close()
	err = d.receiveFile(ctx, f, e, func(int) {}) // nothing travels
	d.mu.Lock()
	defer d.mu.Unlock()
	d.progress.total -= e.size
	return err
}

// versionOf returns that of a file that is complete here.
func (d *fetch) versionOf(name string) (version, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := d.done[name]
	return v, ok
}

// newPart opens an empty part for a file. Without a part and without an error the file has failed,
// and the others go on.
func (d *fetch) newPart(e *entry) (*part, error) {
	part, err := openPart(d.root, e.name, e.key())
	if err == nil {
		if err = part.restart(); err == nil {
			return part, nil
		}
		part.discard()
	}
	return nil, d.fileError(e, err)
}

// fileError decides whether what this machine says about one file ends the download.
func (d *fetch) fileError(e *entry, err error) error {
	if isDiskFull(err) {
		return &localError{filepath.Join(d.root.Name(), filepath.FromSlash(path.Dir(e.name))), err}
	}
	d.fail(e.name, reasonOf(err))
	return nil
}

func (d *fetch) writeError(part *part, err error) error {
	return &localError{filepath.Join(d.root.Name(), filepath.Dir(filepath.FromSlash(part.name))), err}
}

func (d *fetch) publish(part *part, e *entry) error {
	if err := part.publish(e.name, e.perm(), time.Unix(e.mtime, 0)); err != nil {
		return d.fileError(e, err)
	}
	d.published(e)
	return nil
}

// published notes that a file is here.
func (d *fetch) published(e *entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done[e.name] = e.version()
	d.result.Files++
	d.steps++
}

// copy moves bytes into a part and counts them. Errors say which side they are of: *streamError is
// the node's, *localError this machine's.
func (d *fetch) copy(ctx context.Context, part *part, r io.Reader, count func(int)) (n int64, err error) {
	buf := d.buffer()
	defer d.buffers.Put(buf)
	for {
		m, err := r.Read(*buf)
		if m > 0 {
			if _, err := part.Write((*buf)[:m]); err != nil {
				return n, d.writeError(part, err)
			}
			n += int64(m)
			count(m)
		}
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, &streamError{fmt.Errorf("read: %w", err)}
		case ctx.Err() != nil:
			return n, context.Cause(ctx)
		}
	}
}

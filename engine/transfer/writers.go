package transfer

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"sync"
	"time"
)

// Writers write small files, each whole in memory, while the next ones arrive. What a file costs is its
// system calls, and those of several files can be made at the same time.
type writers struct {
	fetch *fetch
	queue chan smallFile
	ends  sync.WaitGroup // of writers
	under sync.WaitGroup // files

	mu  sync.Mutex
	err error
}

type smallFile struct {
	entry   *entry
	content *[]byte
}

// newWriters starts them. finish must be called.
func (d *fetch) newWriters() *writers {
	n := min(runtime.NumCPU(), 4)
	w := &writers{fetch: d, queue: make(chan smallFile, 4*n)}
	for range n {
		w.ends.Go(w.work)
	}
	return w
}

// receive reads a small file and has it written.
func (w *writers) receive(r io.Reader, e *entry) error {
	buf := w.fetch.buffer()
	if _, err := io.ReadFull(r, (*buf)[:e.size]); err != nil {
		w.fetch.buffers.Put(buf)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return &streamError{fmt.Errorf("read: %w", err)}
	}
	w.fetch.count(int(e.size))
	w.under.Add(1)
	w.queue <- smallFile{e, buf}
	return w.failure()
}

// flush waits until what has been received is written.
func (w *writers) flush() { w.under.Wait() }

// finish waits for the writers. The error is what ends the download.
func (w *writers) finish() error {
	close(w.queue)
	w.ends.Wait()
	return w.failure()
}

func (w *writers) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *writers) work() {
	in := &openFolder{fetch: w.fetch}
	defer in.close()
	for f := range w.queue {
		if w.failure() == nil {
			if err := w.fetch.write(in, f.entry, (*f.content)[:f.entry.size]); err != nil {
				w.mu.Lock()
				w.err = err
				w.mu.Unlock()
			}
		}
		w.fetch.buffers.Put(f.content)
		w.under.Done()
	}
}

// write verifies a small file and gives it its name.
func (d *fetch) write(in *openFolder, e *entry, content []byte) error {
	if sha256.Sum256(content) != e.hash {
		d.attempt(e.name)
		return nil
	}
	if in.open(path.Dir(e.name)) && in.write(e, content) {
		d.published(e)
		return nil
	}
	part, err := d.newPart(e)
	if part == nil {
		return err
	}
	if _, err := part.Write(content); err != nil {
		part.discard()
		return d.writeError(part, err)
	}
	return d.publish(part, e)
}

// An openFolder is the folder of the last file: a path of one name is looked up in one step.
type openFolder struct {
	fetch *fetch
	where string
	root  *os.Root
}

// open says whether the folder can be opened, and gains something.
func (f *openFolder) open(dir string) bool {
	if f.root == nil || f.where != dir {
		f.close()
		if runtime.GOOS == "windows" {
			return false
		}
		f.where = dir
		f.root, _ = f.fetch.root.OpenRoot(dir)
	}
	return f.root != nil
}

// write places a file in as few steps as there are. It says no where something is in the way: then that
// needs a closer look.
func (f *openFolder) write(e *entry, content []byte) bool {
	name := path.Base(e.name)
	part := newPart(f.root, name, e.hash)
	if part == nil {
		return false
	}
	if _, err := part.file.Write(content); err != nil {
		part.discard()
		return false
	}
	return part.publish(name, e.perm(), time.Unix(e.mtime, 0)) == nil
}

func (f *openFolder) close() {
	if f.root != nil {
		f.root.Close()
		f.root = nil
	}
}

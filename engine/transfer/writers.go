package transfer

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"sync"
)

// Writers write small files, each whole in memory, while the next ones arrive. What a file costs is its
// system calls, and those of several files can be made at the same time. What it costs to hand a file over is
// shared by a batch.
type writers struct {
	fetch *fetch
	queue chan *batch
	next  *batch         // what has been received since the last one was handed over; nil is nothing
	ends  sync.WaitGroup // of writers
	under sync.WaitGroup // batches

	mu  sync.Mutex
	err error
}

// A batch is small files one after the other.
type batch struct {
	entries []*entry
	content *[]byte
	used    int64 // bytes of it
}

// newWriters starts them. finish must be called.
func (d *fetch) newWriters() *writers {
	n := min(runtime.NumCPU(), 4)
	w := &writers{fetch: d, queue: make(chan *batch, n)}
	for range n {
		w.ends.Go(w.work)
	}
	return w
}

// receive reads a small file and has it written.
func (w *writers) receive(r io.Reader, e *entry) error {
	if b := w.next; b != nil && (b.used+e.size > int64(len(*b.content)) || len(b.entries) == cap(b.entries)) {
		w.handOver()
	}
	if w.next == nil {
		w.next = &batch{make([]*entry, 0, batchFiles), w.fetch.buffer(), 0}
	}
	b := w.next
	if _, err := io.ReadFull(r, (*b.content)[b.used:][:e.size]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return &streamError{fmt.Errorf("read: %w", err)}
	}
	b.entries, b.used = append(b.entries, e), b.used+e.size
	w.fetch.count(int(e.size))
	return w.failure()
}

const batchFiles = 64

func (w *writers) handOver() {
	if w.next != nil {
		w.under.Add(1)
		w.queue <- w.next
		w.next = nil
	}
}

// flush waits until what has been received is written.
func (w *writers) flush() {
	w.handOver()
	w.under.Wait()
}

// finish waits for the writers. The error is what ends the download.
func (w *writers) finish() error {
	w.handOver()
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
	for b := range w.queue {
		content := *b.content
		for _, e := range b.entries {
			if w.failure() != nil {
				break
			}
			if err := w.fetch.write(in, e, content[:e.size]); err != nil {
				w.mu.Lock()
				w.err = err
				w.mu.Unlock()
			}
			content = content[e.size:]
		}
		w.fetch.buffers.Put(b.content)
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

package transfer

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
)

// chunkNames is how many names are in a chunk at most.
const chunkNames = 1024

// A feed has one command send small files, in chunks. Where the node is far, several feeds share a pool, and each
// asks for its next chunk as the ones before arrive.
type feed struct {
	fetch *fetch
	pool  *pool[*entry]

	mu        sync.Mutex
	moved     sync.Cond
	want      map[string]*entry // asked for and not arrived, by name on the node
	asked     int64             // bytes
	delivered int64             // of them, or left out
	ends      []int64           // of the chunks that have not arrived, in bytes that were asked for
	stopped   bool
}

func (d *fetch) newFeed(from *pool[*entry]) *feed {
	f := &feed{fetch: d, pool: from, want: make(map[string]*entry)}
	f.moved.L = &f.mu
	return f
}

// ask writes what sendScript reads. stop ends it.
func (f *feed) ask(ctx context.Context, w *bufio.Writer, rests []*rest) error {
	defer context.AfterFunc(ctx, f.stop)()
	most := chunkNames
	if !f.fetch.far {
		most = sumsAtOnce
	}
	fmt.Fprintf(w, "%d\n", most)
	for _, r := range rests {
		fmt.Fprintf(w, "+%d:%d:./%s\x00", r.offset, r.entry.size-r.offset, f.fetch.nodeName(r.entry))
	}
	padding := len(rests) % most // of a chunk that is not full
	for f.room() {
		chunk := f.next(most - padding)
		if len(chunk) == 0 {
			break
		}
		if f.fetch.far {
			w.WriteString(strings.Repeat("\x00", most-padding-len(chunk)))
		}
		padding = 0
		for _, e := range chunk {
			fmt.Fprintf(w, "./%s\x00", f.fetch.nodeName(e))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return w.Flush()
}

// next takes the next chunk, of so many names at most.
func (f *feed) next(most int) []*entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	chunk := f.pool.take(most, f.nextBytes())
	if len(chunk) == 0 {
		return nil
	}
	for _, e := range chunk {
		f.want[f.fetch.nodeName(e)] = e
		f.asked += e.cost()
	}
	f.ends = append(f.ends, f.asked)
	return chunk
}

// nextBytes is the size of the next chunk. What a connection carries grows with each round trip while it is fresh, and so
// does what is asked of it, and towards the end it is less: the others would have to wait for all that it was given.
// But each chunk costs the node half a dozen processes.
func (f *feed) nextBytes() int64 {
	if !f.fetch.far {
		return math.MaxInt64
	}
	const others = 8 // for which something is left, each with half of its share
	most, least := f.fetch.width.asked/4, f.fetch.width.asked/16
	return min(most, max(least, min(f.delivered, f.pool.bytesLeft()/others)))
}

// room waits until more may be asked for, and says no when that makes no sense any more.
func (f *feed) room() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.fetch.far && !f.stopped && f.asked-f.delivered > min(3*f.delivered, f.fetch.width.asked*3/4) {
		f.moved.Wait()
	}
	return !f.stopped
}

// entryOf returns the entry that a name on the node means, if it was asked for and has not arrived.
func (f *feed) entryOf(name string) (*entry, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.want[name]
	return e, ok
}

// take is entryOf for a name in an archive, which comes once.
func (f *feed) take(name string) (*entry, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.want[name]
	delete(f.want, name)
	return e, ok
}

// deliver notes that an entry has arrived.
func (f *feed) deliver(e *entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delivered += e.cost()
	f.moved.Signal()
}

// chunkEnds notes that what of a chunk has not arrived never will.
func (f *feed) chunkEnds() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ends) > 0 {
		f.delivered, f.ends = f.ends[0], f.ends[1:]
	}
	f.moved.Signal()
}

// stop ends the asking.
func (f *feed) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
	f.moved.Signal()
}

// giveBack leaves what has not arrived to others.
func (f *feed) giveBack() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.want {
		if !f.fetch.isOver(e) {
			f.pool.add(e)
		}
	}
	clear(f.want)
}

// giveUp counts what has not arrived as an attempt.
func (f *feed) giveUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.want {
		if e.isFile() {
			f.fetch.miss(e)
		}
	}
	clear(f.want)
}

package transfer

import "sync"

// A pool has the small things that a transfer has given to no connection yet. Those that are fast take more.
type pool[T thing] struct {
	mu   sync.Mutex
	all  []T
	next int
}

type thing interface {
	cost() int64 // bytes in an archive, about
}

func (e *entry) cost() int64 {
	if e.isLink() {
		return fileOverhead
	}
	return e.size + fileOverhead
}

func (it *item) cost() int64 { return it.info.Size() + fileOverhead }

// fileOverhead is about what a file costs in an archive beside its content, in bytes.
const fileOverhead = 768

func (p *pool[T]) add(things ...T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, things...)
}

// take returns the next things, as many as make so many bytes; none when there are no more.
func (p *pool[T]) take(most int, bytes int64) []T {
	p.mu.Lock()
	defer p.mu.Unlock()
	from := p.next
	for ; p.next < len(p.all) && p.next-from < most && bytes > 0; p.next++ {
		bytes -= p.all[p.next].cost()
	}
	return p.all[from:p.next]
}

func (p *pool[T]) isEmpty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next == len(p.all)
}

package transfer

import "sync"

// A pool has the small things that a transfer has given to no connection yet. Those that are fast take more.
type pool[T thing] struct {
	mu   sync.Mutex
	all  []T
	next int
	left int64 // cost of all[next:]
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
	for _, t := range things {
		p.left += t.cost()
	}
}

// take returns the next things, so many and of so many bytes at most, but one in any case. There are none when there are
// no more.
func (p *pool[T]) take(most int, bytes int64) []T {
	p.mu.Lock()
	defer p.mu.Unlock()
	from := p.next
	for p.next < len(p.all) && p.next-from < most {
		cost := p.all[p.next].cost()
		if bytes -= cost; bytes < 0 && p.next > from {
			break
		}
		p.left -= cost
		p.next++
	}
	return p.all[from:p.next]
}

// bytesLeft is the cost of what nobody has taken.
func (p *pool[T]) bytesLeft() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left
}

func (p *pool[T]) isEmpty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next == len(p.all)
}

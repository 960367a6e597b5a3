package starlark

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"time"
)

// Limits are what one run may use. Of every field, zero means the default and NoLimit that there is
// none.
type Limits struct {
	// Steps are those of the interpreter in all threads of the run together, about 2e8 a second.
	Steps uint64
	// Heap is how many bytes of objects the process may hold more than it held when the run began. It is
	// watched, not enforced: a run ends some milliseconds after it went beyond. Where several runs go on
	// in one process, each is charged with what all of them hold.
	Heap uint64
	// Value is how many bytes one value may have that a builtin returns or makes text of.
	Value int64
	// Wall is how long the run may take. What a script holds is released after it has passed.
	Wall time.Duration
}

// NoLimit lifts a limit of Limits.
const NoLimit = math.MaxInt64

// The defaults of Limits. There is none for Wall.
const (
	DefaultSteps = 1_000_000_000
	DefaultHeap  = 1 << 30  // bytes
	DefaultValue = 64 << 20 // bytes
)

func (l Limits) withDefaults() Limits {
	if l.Steps == 0 {
		l.Steps = DefaultSteps
	}
	if l.Heap == 0 {
		l.Heap = DefaultHeap
	}
	if l.Value <= 0 {
		l.Value = DefaultValue
	}
	if l.Wall <= 0 {
		l.Wall = NoLimit
	}
	return l
}

// A LimitError ends a run that used more than it may. A script cannot catch it.
type LimitError struct {
	Limit string // "steps", "heap", "value", "wall" or "nesting"
	Max   int64  // the limit: steps, bytes, nanoseconds, levels
	Got   int64  // how far it got; 0 where nobody counted on
	What  string // of "value" and "nesting": what went beyond, "node.exec"
}

func (e *LimitError) Error() string {
	switch e.Limit {
	case "steps":
		return fmt.Sprintf("the script took %s steps, all that it may: this is likely an endless loop", thousands(e.Max))
	case "heap":
		return fmt.Sprintf("the script holds %s of memory, and may hold %s", Bytes(e.Got), Bytes(e.Max))
	case "wall":
		return fmt.Sprintf("the script ran for %s, as long as it may", time.Duration(e.Max))
	case "nesting":
		return fmt.Sprintf("%s: the value is nested more than %s levels deep", e.What, thousands(e.Max))
	}
	return fmt.Sprintf("%s: the value has %s or more, and one value may have %s", e.What, Bytes(e.Got), Bytes(e.Max))
}

// Hint is the way out.
func (e *LimitError) Hint() string {
	switch e.Limit {
	case "steps":
		return fmt.Sprintf("if it is no mistake, --max-steps %d allows more", max(e.Max, e.Max*10))
	case "heap":
		return "keep large data in files; or allow more: --max-heap " + Bytes(max(e.Max, e.Max*4))
	case "wall":
		return fmt.Sprintf("allow more: --max-wall %s", 2*time.Duration(e.Max))
	case "nesting":
		return "make it flatter"
	}
	return "keep large data in files; or allow more: --max-value " + Bytes(max(e.Max, e.Max*4))
}

// Bytes is a size for people: "64MiB", as the flags of the limits take it.
func Bytes(n int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= unit.size {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/float64(unit.size)), ".0") + unit.name
		}
	}
	return fmt.Sprintf("%dB", n)
}

// thousands is a number with a comma at every thousand.
func thousands(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// A budget is the steps that the threads of a run share.
type budget struct {
	max   uint64
	slice uint64 // what a thread takes at once
	left  atomic.Uint64
}

// mostAtOnce is how many steps a thread takes from the budget before it has used them.
const mostAtOnce = 1 << 16

func newBudget(steps uint64) *budget {
	b := &budget{max: steps, slice: min(mostAtOnce, max(1, steps/64))}
	b.left.Store(steps)
	return b
}

// take takes at most most steps, and returns 0 when none are left.
func (b *budget) take(most uint64) uint64 {
	for {
		left := b.left.Load()
		n := min(left, most, b.slice)
		if b.left.CompareAndSwap(left, left-n) {
			return n
		}
	}
}

func (b *budget) giveBack(steps uint64) { b.left.Add(steps) }

func (b *budget) exceeded() *LimitError {
	return &LimitError{Limit: "steps", Max: int64(b.max), Got: int64(b.max)}
}

const (
	heapInterval = 5 * time.Millisecond // between two looks at the heap
	mostGarbage  = 48 << 20             // bytes beyond a small limit that may be garbage
)

// limit ends the run, with a *LimitError as the cause, when it goes on for too long or holds too
// much, until stop is called.
func (r *Run) limit(ctx context.Context) (limited context.Context, stop func()) {
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	var timer *time.Timer
	if r.limits.Wall < NoLimit {
		timer = time.AfterFunc(r.limits.Wall, func() {
			r.end(&LimitError{Limit: "wall", Max: int64(r.limits.Wall), Got: int64(r.limits.Wall)})
		})
	}
	done := make(chan struct{})
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		if r.limits.Heap < NoLimit {
			r.watchHeap(done)
		}
	}()
	return r.ctx, func() {
		if timer != nil {
			timer.Stop()
		}
		close(done)
		<-joined
		r.cancel(nil)
	}
}

func (r *Run) watchHeap(done <-chan struct{}) {
	base := heapObjects()
	tick := time.NewTicker(heapInterval)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		if heapObjects() <= base+r.limits.Heap {
			continue
		}
		// Most of it may be garbage: the collector lets the heap grow to twice what is in use, and beyond when
		// it is not given the time. While it collects the script goes on, so that there is an amount that is
		// too much whatever it is.
		if heapObjects() <= max(2*(base+r.limits.Heap), base+r.limits.Heap+mostGarbage) {
			runtime.GC()
		}
		if now := heapObjects(); now > base+r.limits.Heap {
			r.end(&LimitError{Limit: "heap", Max: int64(r.limits.Heap), Got: int64(now - base)})
			return
		}
	}
}

// heapObjects is how many bytes the objects of the process have, those that nobody uses any more and
// that are not yet collected included.
func heapObjects() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

package transfer

import (
	"time"

	"github.com/bifrost-run/bifrost/engine/report"
)

// A progress counts the content that moves and tells so, a few times a second. Its user locks it.
type progress struct {
	sink  report.Sink
	step  string
	moved int64
	total int64
	told  time.Time
}

const tellEvery = 100 * time.Millisecond

func (p *progress) add(n int) {
	p.moved += int64(n)
	if now := time.Now(); now.Sub(p.told) >= tellEvery {
		p.told = now
		p.tell()
	}
}

func (p *progress) tell() {
	p.sink.Emit(report.Event{Kind: report.Progress, Step: p.step, Bytes: p.moved, Total: p.total})
}

// end tells the last state, if there was any movement.
func (p *progress) end() {
	if p.moved > 0 {
		p.tell()
	}
}

func (p *progress) rest() int64 { return max(0, p.total-p.moved) }

package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

const (
	mendTime     = 2 * time.Minute // how long a step is tried again without a connection
	mendAttempts = 20              // most attempts, for a connection that breaks at the same place each time
	mendPause    = 200 * time.Millisecond
	mendMaxPause = 10 * time.Second
)

// mend calls do again while the connection breaks beneath it, for a bounded time; do must be safe to
// repeat. A node that has never answered is not waited for here: connecting has patience of its
// own. The error of a connection that stays broken is of kind lost or unreachable.
func (n *Node) mend(ctx context.Context, what string, do func() error) error {
	limit := min(mendTime, n.engine.patience())
	sink := n.engine.cfg.Report
	var since time.Time // of the first failure after which nothing lasted
	pause := mendPause
	for attempt := 1; ; attempt++ {
		began := time.Now()
		err := do()
		switch {
		case err == nil:
			if attempt > 1 {
				sink.Emit(report.Event{Kind: report.Notice, Text: "connection is back: " + what + " went on"})
			}
			return nil
		case ctx.Err() != nil || !isLost(err):
			return err
		case !isBroken(err) && attempt == 1 && !n.hasAnswered():
			return err
		case n.engine.machineDead(ctx, n.record()) != "": // somebody released it: no attempt will help
			return n.lost(what, err)
		}
		if since.IsZero() || isBroken(err) && time.Since(began) > limit/4 {
			since, pause = time.Now(), mendPause // it worked for a while
		}
		if attempt == mendAttempts || time.Since(since)+pause > limit {
			return n.lost(what, err)
		}
		if attempt == 1 {
			text := err.Error()
			if isBroken(err) {
				text = "the connection broke"
			}
			sink.Emit(report.Event{Kind: report.Notice, Text: fmt.Sprintf("%s: %s; trying again", what, text)})
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, mendMaxPause)
	}
}

// lost makes the error that users see of one that says that the connection broke; others stay.
func (n *Node) lost(what string, err error) error {
	if !isBroken(err) || fault.KindOf(err) == fault.Lost {
		return err
	}
	return &fault.Error{
		Kind: fault.Lost, Op: what + " on", Target: n.ID(), Err: err,
		Hint: "see that this machine's network works and that the node runs, then run it again",
	}
}

// isBroken reports whether a connection broke beneath a command that may have run.
func isBroken(err error) bool {
	var broken *ssh.LostError
	return errors.As(err, &broken)
}

// isLost reports whether an error says that contact was lost or could not be made.
func isLost(err error) bool {
	if err == nil {
		return false
	}
	kind := fault.KindOf(err)
	return isBroken(err) || kind == fault.Lost || kind == fault.Unreachable
}

// patience is how long a node may be silent before this process gives up waiting for a job on it.
func (e *Engine) patience() time.Duration {
	if e.cfg.Patience > 0 {
		return e.cfg.Patience
	}
	return DefaultPatience
}

package engine

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/engine/ssh"
	"github.com/bifrost-run/bifrost/gpu"
)

//go:embed switch.sh
var switchScript string

// switchLimit bounds how long a switch may take to be set: the machine may not answer.
const switchLimit = time.Minute

// switchOf is what is known of a machine's switch before it was armed.
func switchOf(p gpu.Provider) journal.Switch {
	if _, ok := p.(gpu.SelfEnder); ok {
		return ""
	}
	return journal.SwitchNone
}

// ender is the provider of a machine that can end itself; nil for others.
func (n *Node) ender() gpu.SelfEnder {
	rec := n.record()
	p, err := n.engine.provider(rec.Provider)
	if err != nil || rec.Keep || rec.Switch == journal.SwitchNone {
		return nil
	}
	ender, _ := p.(gpu.SelfEnder)
	return ender
}

// vouch sets the node's own switch and moves its end on while this process uses the machine: when the
// process is gone the machine ends itself after Timing.NoJob, or at the limit of the job that runs there.
// The function that it returns stops that, and leaves the switch as it is.
func (n *Node) vouch(ctx context.Context) (stop func()) {
	if n.ender() == nil {
		return func() {}
	}
	n.setSwitch(ctx)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for sleep(ctx, n.engine.cfg.Timing.NoJob/3) == nil {
			n.setSwitch(ctx)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// setSwitch arms the switch for as long as the machine is needed now. A job without a limit has none.
func (n *Node) setSwitch(ctx context.Context) {
	e := n.engine
	jobs, err := e.journal.Jobs(ctx, journal.JobFilter{NodeID: n.ID()})
	if err != nil {
		return // the switch stays as it is
	}
	left := e.cfg.Timing.NoJob
	if slices.ContainsFunc(jobs, func(j journal.Job) bool { return j.State == journal.JobRunning }) {
		limit := hardLimit(n.record(), jobs)
		if limit.IsZero() {
			n.disarm(ctx)
			return
		}
		left = max(left, limit.Sub(e.now())+e.cfg.Timing.Grace)
	}
	n.arm(ctx, left)
}

// arm sets the switch to end the machine after d, and records what was read back of it. Where it cannot be
// set, that is said once: the machine is as good as any other, and only bifrost ends it.
func (n *Node) arm(ctx context.Context, d time.Duration) {
	n.switching.Lock()
	defer n.switching.Unlock()
	ender := n.ender()
	if ender == nil {
		return
	}
	e := n.engine
	_, id, _ := strings.Cut(n.ID(), ":")
	token := rand.Text()
	until := e.now().Add(d)
	answer, err := n.switchRun(ctx, armScript(ender.EndScript(id), token, int(d.Seconds())))
	state := journal.SwitchArmed
	if err == nil && !strings.HasPrefix(answer, "armed ") {
		err = errors.New(strings.TrimPrefix(answer, "refused "))
		state, until = journal.SwitchNone, time.Time{}
	}
	if err != nil && state == journal.SwitchArmed {
		return // nobody knows: what was read back before stands
	}
	if err != nil {
		e.cfg.Report.Emit(report.Event{Kind: report.Notice, Text: fmt.Sprintf("%s cannot end itself, only bifrost ends it: %s", n.ID(), firstLine(err.Error()))})
	}
	n.recordSwitch(ctx, state, until)
}

// disarm makes sure that the machine does not end itself.
func (n *Node) disarm(ctx context.Context) {
	n.switching.Lock()
	defer n.switching.Unlock()
	if n.record().Switch != journal.SwitchArmed {
		return
	}
	answer, err := n.switchRun(ctx, `cd "$HOME/.bifrost/switch" && echo off >token.new && mv token.new token && cat token`)
	if err == nil && answer != "off" {
		err = errors.New(answer)
	}
	if err != nil {
		rec := n.record()
		n.engine.warn(fmt.Errorf("%s may end itself at %s, which could not be undone: %w", rec.ID, rec.SwitchUntil.Local().Format("15:04"), err))
		return
	}
	n.recordSwitch(ctx, journal.SwitchOff, time.Time{})
}

func (n *Node) recordSwitch(ctx context.Context, state journal.Switch, until time.Time) {
	n.mu.Lock()
	n.rec.Switch, n.rec.SwitchUntil = state, until
	n.mu.Unlock()
	n.engine.warn(n.engine.journal.SetNode(context.WithoutCancel(ctx), n.ID(), func(rec *journal.Node) error {
		rec.Switch, rec.SwitchUntil = state, until
		return nil
	}))
}

func (n *Node) switchRun(ctx context.Context, script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), switchLimit)
	defer cancel()
	if n.runner == nil {
		return "", errors.New("the machine has no address")
	}
	var out strings.Builder
	err := n.runner.Run(ctx, ssh.Command{Script: script, Stdout: &out})
	return strings.TrimSpace(out.String()), err
}

// armScript puts the switch into its folder, starts it, and reads it back: the process that it says it is
// lives, has the time that it was given, and could end the machine.
func armScript(end, token string, seconds int) string {
	return `umask 077
dir=$HOME/.bifrost/switch
mkdir -p "$dir" && cd "$dir" || exit 1
put() { printf '%s\n' "$2" >"$1.new" && mv "$1.new" "$1"; }
put end ` + ssh.Quote(end) + ` && put loop ` + ssh.Quote(switchScript) + ` || exit 1
why=$(sh ./end check 2>&1) || { printf 'refused %s\n' "$why"; exit 0; }
put token ` + token + ` || exit 1
set -- sh ./loop "$dir" ` + token + fmt.Sprintf(" %d\n", seconds) +
		`if command -v setsid >/dev/null 2>&1; then setsid "$@" </dev/null >/dev/null 2>&1 & else nohup "$@" </dev/null >/dev/null 2>&1 & fi
tries=0
while read -r token pid left <armed && [ "$token" != ` + token + ` ] || [ ! -e armed ]; do
	tries=$((tries + 1))
	[ $tries -lt 100 ] || { echo "refused the switch did not start"; exit 0; }
	sleep 0.1 2>/dev/null || sleep 1
done
if kill -0 "$pid" && [ "$left" = ` + fmt.Sprint(seconds) + ` ]; then echo "armed $left"; else echo "refused the switch is not as it was set"; fi
`
}

package engine

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// patient returns a runner that gives up on a node which has not answered for Config.Patience, or
// whose machine is dead. Follow, which tries for ever, ends by it.
func (h *Handle) patient() ssh.Runner { return &patientRunner{node: h.node} }

type patientRunner struct {
	node *Node

	mu    sync.Mutex
	since time.Time // of the first failure after which the node said nothing; zero while it speaks
}

func (p *patientRunner) Run(ctx context.Context, cmd ssh.Command) error {
	cmd.Stdout, cmd.Stderr = p.heard(cmd.Stdout), p.heard(cmd.Stderr)
	return p.judge(ctx, p.node.runner.Run(ctx, cmd))
}

// judge makes the last error of one after which nobody tries again.
func (p *patientRunner) judge(ctx context.Context, err error) error {
	if !isLost(err) || ctx.Err() != nil {
		p.speaks()
		return err
	}
	rec := p.node.record()
	if dead := p.node.engine.machineDead(ctx, rec); dead != "" {
		return &fault.Error{
			Kind: fault.Lost, Op: "reach", Target: rec.ID, Err: fmt.Errorf("%s: what ran on it is over", dead),
			Hint: "what arrived before is kept: bifrost logs JOB; results that are not here are gone with the machine",
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since.IsZero() {
		p.since = time.Now()
	}
	if time.Since(p.since) > p.node.engine.patience() {
		return &fault.Error{
			Kind: fault.Lost, Op: "reach", Target: rec.ID, Err: fmt.Errorf("no answer since %s: %v", p.since.Format("15:04:05"), err),
			Hint: "the job may still run; bifrost attach goes on when the machine answers",
		}
	}
	return err
}

// RoundTrip, FirstAnswer and Beside are the client's: what is large goes over several connections.
func (p *patientRunner) RoundTrip(ctx context.Context) (time.Duration, error) {
	trip, err := p.node.runner.RoundTrip(ctx)
	if err != nil {
		err = p.judge(ctx, err)
	}
	return trip, err
}

func (p *patientRunner) FirstAnswer(ctx context.Context) (time.Duration, error) {
	return p.node.runner.FirstAnswer(ctx)
}

func (p *patientRunner) Beside() (*ssh.Client, error) { return p.node.runner.Beside() }

func (p *patientRunner) speaks() {
	p.mu.Lock()
	p.since = time.Time{}
	p.mu.Unlock()
}

// heard notes that the node speaks whenever it writes to w.
func (p *patientRunner) heard(w io.Writer) io.Writer {
	if w == nil {
		return nil
	}
	return heardWriter{p, w}
}

type heardWriter struct {
	runner *patientRunner
	w      io.Writer
}

func (h heardWriter) Write(p []byte) (int, error) {
	h.runner.speaks()
	return h.w.Write(p)
}

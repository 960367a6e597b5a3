package fake

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
)

// A server is a job that answers HTTP, or would.
type server struct {
	*job
	port int
}

// serve waits until a server is ready. Its outcome's duration is how long that takes; with an exit
// code it ends then instead.
func (w *World) serve(ctx context.Context, j *job, s engine.Serve) (builtins.Server, error) {
	ready, timeout := j.outcome.duration, s.Ready
	if timeout == 0 {
		timeout = 10 * time.Minute
	}
	j.outcome.duration = endless // it runs until it is stopped
	failed := func(kind fault.Kind, cause error, code int) error {
		if len(j.outcome.logs) > 0 {
			cause = fmt.Errorf("%w\n%s", cause, strings.Join(j.outcome.logs, "\n"))
		}
		return &fault.Error{Kind: kind, Op: "serve", Target: fmt.Sprintf("%s port %d", j.id, s.Port), Err: cause, ExitCode: code}
	}
	switch code := j.outcome.exitCode; {
	case ready > timeout || ready < 0:
		err := w.clock.Sleep(ctx, timeout)
		if err == nil {
			err = failed(fault.Timeout, fmt.Errorf("not healthy after %s", timeout), 124)
		}
		return nil, errors.Join(err, j.cancel(context.WithoutCancel(ctx), "not healthy"))
	case code != 0:
		j.outcome.duration = ready
		if err := w.clock.Sleep(ctx, ready); err != nil {
			return nil, err
		}
		return nil, failed(fault.JobFailed, fmt.Errorf("it ended with code %d before it was healthy", code), code)
	}
	if err := w.clock.Sleep(ctx, ready); err != nil {
		return nil, errors.Join(err, j.cancel(context.WithoutCancel(ctx), "interrupted"))
	}
	return &server{job: j, port: s.Port}, nil
}

func (s *server) URL() string { return fmt.Sprintf("http://127.0.0.1:%d", 40000+s.port%10000) }
func (s *server) Port() int   { return s.port }

// Healthy implements builtins.Server: a server is healthy while it runs.
func (s *server) Healthy(ctx context.Context) bool {
	state, err := s.state(ctx)
	return err == nil && state == "running"
}

// Stop implements builtins.Server.
func (s *server) Stop(ctx context.Context) error { return s.cancel(ctx, "stopped") }

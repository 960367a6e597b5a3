package builtins

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/bifrost-run/bifrost/engine"
)

// leftOpen is how long the output of a program that has ended is waited for, where a process that it
// left behind holds it open.
const leftOpen = 2 * time.Second

// RunProgram runs a program on this machine, for Options.RunProgram. When ctx ends it kills the program
// and the processes of its group. An exit code is a result; the error is that it could not start, or
// wrote too much.
func RunProgram(ctx context.Context, p Program) (engine.ExecResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := exec.CommandContext(ctx, p.Path, p.Argv[1:]...)
	cmd.Args[0] = p.Argv[0]
	cmd.Dir, cmd.Env, cmd.WaitDelay = p.Dir, p.Env, leftOpen
	inGroup(cmd)
	room := &room{left: p.MaxOutput, full: func() { cancel(fmt.Errorf("it wrote more than %d MiB", p.MaxOutput>>20)) }}
	stdout, stderr := &roomWriter{room: room}, &roomWriter{room: room}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := cmd.Run()
	r := engine.ExecResult{Stdout: stdout.b.String(), Stderr: stderr.b.String()}
	if cause := context.Cause(ctx); cause != nil {
		return r, cause
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.ExitCode = exitCode(exit)
		return r, nil
	case errors.Is(err, exec.ErrWaitDelay): // it has ended well, and what it left behind is not its output
		return r, nil
	}
	return r, err
}

// A room is what both outputs of a program may fill.
type room struct {
	mu   sync.Mutex
	left int64
	full func()
}

type roomWriter struct {
	room *room
	b    strings.Builder
}

func (w *roomWriter) Write(p []byte) (int, error) {
	w.room.mu.Lock()
	defer w.room.mu.Unlock()
	if w.room.left -= int64(len(p)); w.room.left < 0 {
		w.room.full()
		return 0, errors.New("no room")
	}
	return w.b.Write(p)
}

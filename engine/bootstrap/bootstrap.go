// Package bootstrap decides which setup steps of a workspace have to run again: a step is done when
// the same command already succeeded there with the same inputs and the same steps before it. The
// records live on the node, beside what the steps made. Running a step is the caller's.
//
//	keys, err := bootstrap.Keys(steps, pushed)
//	done := bootstrap.Done(keys, pushed.StepKeys)
package bootstrap

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/push"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A Step is one command and the files of the source tree that it depends on.
type Step struct {
	Command string
	Inputs  []string // patterns as of push.Result.InputsID; nil means the whole tree
}

// Keys returns the key of each step: it changes with the step's command, with the content of its
// inputs, with the workspace, and with everything before it.
func Keys(steps []Step, r push.Result) ([]string, error) {
	keys := make([]string, len(steps))
	before := ""
	for i, s := range steps {
		inputs, err := r.InputsID(s.Inputs)
		if err != nil {
			return nil, fmt.Errorf("bootstrap step %d: %w", i+1, err)
		}
		h := sha256.New()
		for _, part := range []string{"bifrost step 1", s.Command, before, inputs, r.Workspace} {
			fmt.Fprintf(h, "%d %s\n", len(part), part) // the length keeps neighbours apart
		}
		before = hex.EncodeToString(h.Sum(nil))
		keys[i] = before
	}
	return keys, nil
}

// Done says for each key whether it is the one recorded at its place.
func Done(keys, recorded []string) []bool {
	done := make([]bool, len(keys))
	for i, k := range keys {
		done[i] = k != "" && i < len(recorded) && recorded[i] == k
	}
	return done
}

// Forget removes the records of step n, counted from 0, and of those after it. It must have
// succeeded before the step runs, so that a step that fails half-way does not count as done.
func Forget(ctx context.Context, runner ssh.Runner, workspace string, n int) error {
	script := fmt.Sprintf(`cd %s || exit
for f in .bifrost/steps/*; do
i=${f##*/}
[ ! -e "$f" ] || [ "$i" -lt %d ] 2>/dev/null || rm -f "$f" || exit
done`, ssh.QuotePath(workspace), n)
	return run(ctx, runner, "forget", workspace, n, script)
}

// Record says that step n, counted from 0, succeeded with the key.
func Record(ctx context.Context, runner ssh.Runner, workspace string, n int, key string) error {
	if key == "" || strings.ContainsAny(key, " \n") {
		return &fault.Error{Kind: fault.Internal, Op: "record", Target: workspace, Err: fmt.Errorf("%q is no key", key)}
	}
	script := fmt.Sprintf(`cd %s && mkdir -p .bifrost/steps && cd .bifrost/steps || exit
printf '%%s\n' %s >.new && mv -f .new %d`, ssh.QuotePath(workspace), ssh.Quote(key), n)
	return run(ctx, runner, "record", workspace, n, script)
}

func run(ctx context.Context, runner ssh.Runner, op, workspace string, n int, script string) error {
	var stderr bytes.Buffer
	err := runner.Run(ctx, ssh.Command{Script: script, Stderr: &limited{&stderr}})
	var exit *ssh.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	said := strings.Join(strings.Fields(stderr.String()), " ")
	e := &fault.Error{Kind: fault.Bootstrap, Op: fmt.Sprintf("%s bootstrap step %d in", op, n+1), Target: workspace, Err: fmt.Errorf("%w: %s", err, said)}
	if strings.Contains(said, "No space left") || strings.Contains(said, "quota exceeded") {
		e.Kind, e.Hint = fault.DiskFull, "free space on the node and run it again"
	}
	return e
}

// A limited writer keeps the first kilobytes of an error message.
type limited struct{ b *bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.b.Len() < 4<<10 {
		l.b.Write(p)
	}
	return len(p), nil
}

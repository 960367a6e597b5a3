package follow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/session"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// Tail writes the last count lines that the job's log has now.
func Tail(ctx context.Context, node ssh.Runner, jobID string, count int, w io.Writer) error {
	return once(ctx, node, jobID, fmt.Sprintf("tail -n %d log", count), w)
}

// Read writes the job's log as far as it goes now.
func Read(ctx context.Context, node ssh.Runner, jobID string, w io.Writer) error {
	return once(ctx, node, jobID, "cat log", w)
}

// Size returns how many bytes the job's log has now.
func Size(ctx context.Context, node ssh.Runner, jobID string) (int64, error) {
	var out strings.Builder
	if err := once(ctx, node, jobID, `sh ./run.sh read "$PWD"`, &out); err != nil {
		return 0, err
	}
	size := session.ParseLogSize(out.String())
	if size < 0 {
		return 0, &fault.Error{Kind: fault.Internal, Op: "measure log of", Target: jobID, Err: fmt.Errorf("the supervisor said %q", out.String())}
	}
	return size, nil
}

// once runs a command in the job's folder.
func once(ctx context.Context, node ssh.Runner, jobID, script string, w io.Writer) error {
	var said strings.Builder
	err := node.Run(ctx, ssh.Command{Script: "cd " + session.Dir(jobID) + " && " + script, Stdout: w, Stderr: &said})
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		return &fault.Error{
			Kind: fault.NotFound, Op: "read log of", Target: jobID, Err: errors.New(strings.TrimSpace(said.String())),
			Hint: "its folder on the node is gone; bifrost ps -a says what became of the job",
		}
	}
	return err
}

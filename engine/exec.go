package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/follow"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// maxOutput bounds what Exec keeps of each stream, in bytes.
const maxOutput = 64 << 20

// An Exec is a command that runs on a node while the caller waits. For what must survive a broken
// connection use Submit.
type Exec struct {
	Command    Command
	Env        []Var
	WorkingDir string // "" means where relative paths start: the pushed workspace, else the home
	Timeout    time.Duration
	Stdin      []byte
}

// An ExecResult is what a command wrote and how it ended.
type ExecResult struct {
	Stdout, Stderr string
	ExitCode       int
}

// OK reports whether the command exited with 0.
func (r ExecResult) OK() bool { return r.ExitCode == 0 }

// Exec runs a command and returns what it wrote. Another exit code than 0 is a result, not an
// error; output of more than 64 MiB is an error.
func (n *Node) Exec(ctx context.Context, x Exec) (ExecResult, error) {
	var stdout, stderr bounded
	code, err := n.exec(ctx, x, &stdout, &stderr)
	return ExecResult{Stdout: stdout.String(), Stderr: stderr.String(), ExitCode: code}, err
}

// ExecStream runs a command and yields its lines, stdout and stderr together, as they come. The
// last pair holds the error of a command that did not exit with 0.
func (n *Node) ExecStream(ctx context.Context, x Exec) iter.Seq2[string, error] {
	return lines(ctx, func(ctx context.Context, w io.Writer) error {
		shared := &lockedWriter{w: w}
		code, err := n.exec(ctx, x, shared, shared)
		if err == nil && code != 0 {
			err = CommandFailed(x.Command, n.ID(), code, "")
		}
		return err
	})
}

// CommandFailed is the error of a command whose exit code was checked; stderr is quoted at its end.
func CommandFailed(c Command, nodeID string, code int, stderr string) error {
	cause := fmt.Errorf("exit code %d", code)
	if tail := lastLines(stderr, 20); tail != "" {
		cause = fmt.Errorf("exit code %d\n%s", code, tail)
	}
	return &fault.Error{Kind: fault.CommandFail, Op: "exec", Target: fmt.Sprintf("%q on %s", c.String(), nodeID), Err: cause, ExitCode: code}
}

func lastLines(text string, count int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(all) > count {
		all = all[len(all)-count:]
	}
	return strings.Join(all, "\n")
}

func (n *Node) exec(ctx context.Context, x Exec, stdout, stderr io.Writer) (int, error) {
	if err := n.check(); err != nil {
		return 0, err
	}
	if x.Command.empty() {
		return 0, invalid("exec", "", errors.New("the command is empty"), "")
	}
	if err := checkVars(x.Env); err != nil {
		return 0, err
	}
	if x.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, x.Timeout, &fault.Error{
			Kind: fault.Timeout, Op: "exec", Target: fmt.Sprintf("%q on %s", x.Command.String(), n.ID()), Err: fmt.Errorf("not done after %s", x.Timeout), ExitCode: 124,
		})
		defer cancel()
	}
	cmd := ssh.Command{
		Script: execScript(x, join(n.base(), x.WorkingDir)), Private: exports(x.Env), Stdout: stdout, Stderr: stderr,
	}
	if len(x.Stdin) > 0 {
		cmd.Stdin = bytes.NewReader(x.Stdin)
	}
	err := n.runner.Run(ctx, cmd)
	var exit *ssh.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.Code, nil
	case err != nil && errors.Is(err, errTooLong):
		return 0, &fault.Error{
			Kind: fault.Invalid, Op: "exec", Target: x.Command.String(), Err: fmt.Errorf("it wrote more than %d MiB", maxOutput>>20),
			Hint: "write it to a file on the node and download that, or use exec_stream",
		}
	case isBroken(err):
		return 0, &fault.Error{
			Kind: fault.Lost, Op: "exec", Target: fmt.Sprintf("%q on %s", x.Command.String(), n.ID()), Err: err,
			Hint: "nobody knows how far it came, so it is not run again; what must survive a broken connection is started with submit",
		}
	case err != nil:
		return 0, fmt.Errorf("exec %q on %s: %w", x.Command.String(), n.ID(), err)
	}
	return 0, nil
}

// execScript changes to the working folder and becomes the command. A folder that is not there is
// code 2 with a message on stderr, as a shell has it.
func execScript(x Exec, dir string) string {
	return "cd " + ssh.QuotePath(dir) + " || exit 2\n" + shellWords(x.Command) + "\n"
}

// shellWords is the command as shell text that ends in an exec of it. Beneath sshd even bash -c
// reads the rc file of many systems, so it is told not to.
func shellWords(c Command) string {
	if c.Shell != "" {
		text := ssh.Quote(c.Shell)
		return "if command -v bash >/dev/null 2>&1; then exec bash --norc -c " + text + "; else exec sh -c " + text + "; fi"
	}
	words := make([]string, len(c.Argv))
	for i, word := range c.Argv {
		words[i] = ssh.Quote(word)
	}
	return "exec " + strings.Join(words, " ")
}

// exports is shell text that sets the variables. It is secret.
func exports(vars []Var) string {
	var b strings.Builder
	for _, v := range vars {
		b.WriteString(v.Name + "=" + ssh.Quote(v.Value))
		if v.Prepend {
			b.WriteString("${" + v.Name + ":+:$" + v.Name + "}")
		}
		b.WriteString("; export " + v.Name + "\n")
	}
	return b.String()
}

// lines runs produce in the background and yields the lines of what it writes, then its error.
func lines(ctx context.Context, produce func(ctx context.Context, w io.Writer) error) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		pr, pw := io.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			pw.CloseWithError(produce(ctx, pw))
		}()
		defer func() { // a loop that was left early must leave no goroutine behind
			cancel()
			pr.Close()
			<-done
		}()
		for line, err := range follow.Lines(pr) {
			if !yield(line, err) || err != nil {
				return
			}
		}
	}
}

var errTooLong = errors.New("too much output")

// bounded keeps up to maxOutput bytes.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxOutput {
		return 0, errTooLong
	}
	return b.Buffer.Write(p)
}

// A lockedWriter lets two streams of one command share a writer.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"
	star "go.starlark.net/starlark"
	"golang.org/x/term"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

func newRepl(a *app) *cobra.Command {
	var may *permissions
	var limits starlark.Limits
	cmd := &cobra.Command{
		Use:     "repl [-i KEY] [--trace] [--yes] [--allow-env=NAMES]...",
		Short:   "Try out the script language",
		GroupID: groupScripts,
		Long: `Reads a statement, runs it, and shows its value; then the next one. The builtins are the real ones: what
is rented here costs money, and is released at the end. Paths and modules start at the current folder.
A function keeps the values that the names around it had when it was defined.

On a terminal Ctrl-C drops the line, or stops what runs; Ctrl-D ends. Without one it reads the
statements from standard input, shows no prompt, and ends at the first error.

EXIT STATUS
  0 at the end of the input, or what exit(n) says; of the first error that of bifrost exec, without a
  terminal`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkIdentity(cmd, a.identity); err != nil {
				return err
			}
			return a.repl(cmd.Context(), may, limits)
		},
	}
	cmd.Flags().StringVarP(&a.identity, "identity", "i", "", "SSH private `KEY` file to log in with")
	addTrace(cmd, a)
	addYes(cmd, a)
	may = addPolicyFlags(cmd)
	addLimitFlags(cmd, &limits)
	return cmd
}

// repl runs the prompt until its end. What scripts hold is released when the engine closes, which every
// command does at its end.
func (a *app) repl(ctx context.Context, may *permissions, limits starlark.Limits) error {
	root, err := starlark.RootOfFolder(".")
	if err != nil {
		return err
	}
	judge, err := a.judgeIn(root, "repl", may)
	if err != nil {
		return err
	}
	eng, err := a.engine()
	if err != nil {
		return err
	}
	defer surviveHangup()() // what is rented is released first
	out := &jobWriter{
		open:   func() io.WriteCloser { return a.jobOutput(false) },
		broken: func(err error) { a.screen.Warn("standard output cannot be written to: " + reason(err).Error()) },
	}
	host := a.host(builtins.New(builtins.Wrap(eng), builtins.Options{
		JobOutput: out, Getenv: a.env.Lookup, Confirm: a.confirm, Stderr: stderr{a.screen}, Report: a.screen.Event,
		Left: func(h builtins.Handle, finish bool) { a.screen.Note(leftRunning(h.JobID(), finish)) },
	}))
	host.Gate, host.Limits = policy.NewGate(judge.Decide), limits
	session, err := host.NewSession(ctx, ".")
	if err != nil {
		return err
	}
	defer session.Close()
	p := a.newPrompt()
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	defer signal.Stop(terminated)
	for {
		source, err := p.await(session, terminated)
		if errors.Is(err, errTerminated) {
			return exitError(exitTerminated)
		}
		if errors.Is(err, errInterrupted) {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if strings.TrimSpace(source) == "" {
			if err == nil {
				continue
			}
			return nil
		}
		running, stop := a.interruptible(ctx)
		value, evalErr := session.Eval(running, source)
		text := ""
		if evalErr == nil && value != star.None {
			text, evalErr = session.Show(value)
		}
		stop()
		evalErr = errors.Join(evalErr, out.Flush())
		var exit *starlark.ExitError
		switch {
		case errors.As(evalErr, &exit):
			return exitOf(exit.Code)
		case errors.Is(context.Cause(running), errTerminated), errors.Is(evalErr, syscall.EPIPE):
			return quietInterrupt(running, evalErr)
		case evalErr != nil && p.terminal == nil:
			return evalErr
		case evalErr != nil:
			_ = a.say(evalErr)
		case value != star.None:
			if _, err := fmt.Fprintln(a.screen.Stdout(), text); err != nil {
				return err
			}
		}
	}
}

// A prompt reads statements from a terminal or from a pipe.
type prompt struct {
	app      *app
	lines    *bufio.Reader  // of a pipe
	terminal *term.Terminal // nil: a pipe
	keys     *keyReader
	before   atomic.Pointer[term.State] // the terminal's, while a line is read
}

func (a *app) newPrompt() *prompt {
	p := &prompt{app: a}
	if term.IsTerminal(int(a.in.Fd())) && term.IsTerminal(int(a.out.Fd())) {
		p.keys = &keyReader{in: a.in}
		p.terminal = term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{p.keys, a.out}, "")
		return p
	}
	p.lines = bufio.NewReader(a.in)
	return p
}

// await is statement, which ends with errTerminated when the process is asked to end.
func (p *prompt) await(s *starlark.Session, terminated <-chan os.Signal) (string, error) {
	type read struct {
		source string
		err    error
	}
	done := make(chan read, 1)
	go func() { // ends with the line, or with the process: nothing wakes up who reads a terminal
		source, err := p.statement(s)
		done <- read{source, err}
	}()
	select {
	case r := <-done:
		return r.source, r.err
	case <-terminated:
		p.restore()
		return "", errTerminated
	}
}

// statement reads as many lines as a statement has. The error is io.EOF at the end of the input, with
// what was read before it, and errInterrupted when the user dropped the line.
func (p *prompt) statement(s *starlark.Session) (string, error) {
	var source bytes.Buffer
	var end error
	s.Complete(func() ([]byte, error) {
		line, err := p.line(source.Len() > 0)
		source.Write(line)
		if err != nil {
			end = err
			if len(line) == 0 {
				return nil, err
			}
		}
		return line, nil
	})
	if errors.Is(end, errInterrupted) {
		return "", end
	}
	return source.String(), end
}

// line reads one line, with its newline.
func (p *prompt) line(more bool) ([]byte, error) {
	if p.terminal == nil {
		line, err := p.lines.ReadBytes('\n')
		if err == io.EOF && len(line) > 0 {
			return append(line, '\n'), nil
		}
		return line, err
	}
	p.terminal.SetPrompt(">>> ")
	if more {
		p.terminal.SetPrompt("... ")
	}
	fd := int(p.app.in.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("read the terminal: %w", err)
	}
	p.before.Store(before)
	defer p.restore()
	if width, height, err := term.GetSize(fd); err == nil && width > 0 {
		_ = p.terminal.SetSize(width, height) // of a terminal that has none, a line is not wrapped
	}
	p.keys.ahead = typedAhead(p.app.in)
	line, err := p.terminal.ReadLine()
	switch {
	case p.keys.interrupted:
		p.keys.interrupted = false
		return nil, errInterrupted
	case errors.Is(err, io.EOF):
		fmt.Fprint(p.app.out, "\r\n")
		return nil, io.EOF
	case errors.Is(err, term.ErrPasteIndicator):
		err = nil
	}
	return []byte(line + "\n"), err
}

// restore sets the terminal as it was.
func (p *prompt) restore() {
	if before := p.before.Swap(nil); before != nil {
		_ = term.Restore(int(p.app.in.Fd()), before) // or it is gone
	}
}

// What a terminal sends for keys.
const (
	interruptKey = 3 // Ctrl-C
	eofKey       = 4 // Ctrl-D
	endKey       = 5
	killKey      = 21 // drops what is left of the cursor
)

// A keyReader makes of Ctrl-C an empty line, where term.Terminal has the end of the input.
type keyReader struct {
	in          io.Reader
	pending     []byte
	ahead       bool // what comes next was typed while nothing was read
	interrupted bool // since the last line
}

func (k *keyReader) Read(b []byte) (int, error) {
	if len(k.pending) == 0 {
		buf := make([]byte, len(b))
		n, err := k.in.Read(buf)
		if err != nil {
			return 0, err
		}
		k.pending = buf[:n]
		if k.ahead { // Linux keeps such a Ctrl-D as a NUL, see __DISABLED_CHAR in its n_tty.c
			k.pending = bytes.ReplaceAll(k.pending, []byte{0}, []byte{eofKey})
		}
		k.ahead = false
	}
	switch i := bytes.IndexByte(k.pending, interruptKey); {
	case i < 0:
		n := copy(b, k.pending)
		k.pending = k.pending[n:]
		return n, nil
	case i > 0:
		n := copy(b, k.pending[:i])
		k.pending = k.pending[n:]
		return n, nil
	}
	k.pending, k.interrupted = k.pending[1:], true
	return copy(b, []byte{endKey, killKey, '\r'}), nil
}

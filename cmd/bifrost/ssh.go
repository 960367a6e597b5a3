package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

func newSSH(a *app) *cobra.Command {
	var tmux, pty bool
	cmd := &cobra.Command{
		Use:     "ssh [--tmux] JOB|NODE [COMMAND...]",
		Short:   "Open a shell on a machine, or run a command there",
		GroupID: groupWatch,
		Long: `Without a command, opens a login shell. With one, runs it as ssh does: the words are joined and read by
/bin/sh on the machine. --tmux attaches to the tmux session in which a job runs; leave it with
Ctrl-b d.

EXIT STATUS
  that of the remote command; 202 the connection broke before it ended`,
		Example: `  bifrost ssh @last
  bifrost ssh @last nvidia-smi
  bifrost ssh --tmux train-7f3k
  bifrost ssh local:7f3k9q 'tail -f out.log | grep loss'`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 || args[0] == "":
				return usage(cmd, "", "JOB or NODE is missing")
			case tmux && len(args) > 1:
				return usage(cmd, "give one of them", "--tmux and a command were given together")
			}
			return nil
		},
		ValidArgsFunction: a.jobIDs(true, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			if tmux && !a.attended() {
				return usage(cmd, "the job's output without a terminal: bifrost logs -f "+args[0], "--tmux needs a terminal")
			}
			return a.ssh(cmd.Context(), args[0], args[1:], tmux, pty)
		},
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().BoolVar(&tmux, "tmux", false, "attach to the job's tmux session")
	cmd.Flags().BoolVarP(&pty, "tty", "t", false, "give the command a terminal")
	return cmd
}

func (a *app) ssh(ctx context.Context, id string, words []string, tmux, pty bool) error {
	eng, err := a.engine()
	if err != nil {
		return err
	}
	cmd := ssh.Command{Script: strings.Join(words, " "), Stdin: a.in, Stdout: a.out, Stderr: a.err}
	node, err := eng.OpenNode(ctx, id)
	if err != nil {
		return err
	}
	switch {
	case tmux:
		h, err := eng.Attach(ctx, id)
		if err != nil {
			return err
		}
		if cmd.Script = h.TmuxCommand(); cmd.Script == "" {
			return &fault.Error{
				Kind: fault.NotFound, Op: "attach", Target: h.JobID(), Err: errors.New("it runs without tmux, which its machine does not have"),
				Hint: "bifrost logs -f " + h.JobID() + " shows what it writes",
			}
		}
		cmd.Script = "exec " + cmd.Script
		pty = true
	case len(words) == 0:
		cmd.Script = `exec "${SHELL:-/bin/sh}" -l`
		pty = term.IsTerminal(int(a.in.Fd()))
		if !pty {
			cmd.Script = "exec /bin/sh -s"
		}
	}
	if pty && !a.attended() {
		pty = false // as ssh does: there is no terminal to give
	}
	if pty {
		err = a.interactive(ctx, func(ctx context.Context, p *ssh.Pty) error {
			cmd.Pty = p
			return node.Interactive(ctx, cmd)
		})
	} else {
		watched, stop := a.interruptible(ctx)
		err = quietInterrupt(watched, node.Interactive(watched, cmd))
		stop()
	}
	return remoteEnd(id, err)
}

// remoteEnd is the error for the end of a command on a machine: its exit code needs no words.
func remoteEnd(id string, err error) error {
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		return exitError(exit.Code)
	}
	var lost *ssh.LostError
	if errors.As(err, &lost) {
		return &fault.Error{Kind: fault.Lost, Op: "ssh", Target: id, Err: err, Hint: "what ran may go on; run the same command again"}
	}
	return err
}

// interactive runs fn with the terminal in raw mode: every key is the remote side's.
func (a *app) interactive(ctx context.Context, fn func(ctx context.Context, p *ssh.Pty) error) (err error) {
	fd := int(a.in.Fd())
	cols, rows, err := term.GetSize(int(a.err.Fd()))
	if err != nil {
		cols, rows = 80, 24
	}
	was, err := term.MakeRaw(fd)
	if err != nil {
		return fmt.Errorf("prepare terminal: %w", err)
	}
	defer func() { err = errors.Join(err, term.Restore(fd, was)) }()
	sizes, stop := resizes(a.err)
	defer stop()
	name := a.env.Term
	if name == "" {
		name = "xterm"
	}
	return fn(ctx, &ssh.Pty{Term: name, Cols: cols, Rows: rows, Resize: sizes})
}

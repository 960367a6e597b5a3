package ssh

import (
	"context"
	"fmt"
	"io"
)

// A Command is one program run on a node, described as text for a POSIX shell. Whatever the login
// shell of the user is, Script is run by /bin/sh, and what rc files print first is not part of its
// output.
type Command struct {
	// Script is POSIX sh. It travels in the exec request, so it is visible in ps on the node: it
	// must contain no secret. Values are put into it with Quote only.
	Script string

	// Private is POSIX sh too, evaluated before Script in the same shell. It travels over stdin,
	// ahead of Stdin, and appears in no argument list: secrets and long texts go here.
	Private string

	// Stdin is what the command reads; nil is empty. A Read that blocks does not hold Run up: Run may
	// return while one is still waiting, and what it then returns is lost.
	Stdin  io.Reader
	Stdout io.Writer // nil: discarded
	Stderr io.Writer // nil: discarded

	// Pty, if not nil, asks for a terminal. Stderr is then part of Stdout, as terminals are.
	Pty *Pty
}

// A Pty describes the terminal of an interactive command.
type Pty struct {
	Term       string // $TERM
	Cols, Rows int
	Resize     <-chan Size // nil: never
}

// A Size is that of a terminal, in characters.
type Size struct{ Cols, Rows int }

// A Runner runs commands on one node. It is safe for concurrent use; commands run at the same time
// share one connection.
//
// Run returns when the command has ended and its output has been written, or when ctx is done; then
// the remote process is given the signal TERM where the server supports it and its streams are
// closed. Errors: nil for exit code 0; *ExitError for any other end of the process; *LostError when
// the connection broke after the command was sent, so that nobody knows how far it got, which over a
// distance includes one that broke in the seconds before and had not been noticed; a
// *fault.Error of kind Unreachable, Auth or HostKey when no connection could be made and nothing
// was sent; the context's cause when ctx is done; the error of a Stdout or Stderr writer or of the
// Stdin reader, wrapped.
type Runner interface {
	Run(ctx context.Context, cmd Command) error
}

// An ExitError says how a command on the node ended.
type ExitError struct {
	Code   int    // 0 to 255; 128 + n when a signal ended it
	Signal string // "TERM" without "SIG", empty when it exited by itself
}

func (e *ExitError) Error() string {
	if e.Signal != "" {
		return "killed by signal " + e.Signal
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

// A LostError says that the connection broke before the command's exit status arrived.
type LostError struct{ Err error }

func (e *LostError) Error() string { return "connection lost: " + e.Err.Error() }
func (e *LostError) Unwrap() error { return e.Err }

//go:build unix

package enginetest

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A Shell is an ssh.Runner without a network: it runs commands with a shell on this machine, in a
// home folder of the test's own. It is for tests of what is sent to a node; what a connection does
// is tested on real servers.
type Shell struct {
	Home string   // becomes $HOME and the working folder
	Argv []string // the shell; nil means {"/bin/sh"}; {"busybox", "sh"} is the other one that counts
	Path string   // becomes $PATH; empty means the one of this process
}

// Run implements ssh.Runner.
func (s *Shell) Run(ctx context.Context, cmd ssh.Command) error {
	argv := s.Argv
	if argv == nil {
		argv = []string{"/bin/sh"}
	}
	c := exec.CommandContext(ctx, argv[0], append(argv[1:len(argv):len(argv)], "-c", cmd.Private+"\n"+cmd.Script)...)
	c.Dir = s.Home
	path := s.Path
	if path == "" {
		path = os.Getenv("PATH")
	}
	c.Env = []string{"HOME=" + s.Home, "PATH=" + path, "USER=" + os.Getenv("USER"), "LANG=C.UTF-8"}
	c.Stdout, c.Stderr = cmd.Stdout, cmd.Stderr
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	var stdin io.WriteCloser
	if cmd.Stdin != nil {
		var err error
		if stdin, err = c.StdinPipe(); err != nil {
			return err
		}
	}
	err := c.Start()
	if err == nil {
		if stdin != nil {
			// As with a session: it ends the command's stdin when the client goes, and a reader
			// here that blocks does not hold it up.
			defer context.AfterFunc(ctx, func() { stdin.Close() })()
			go func() {
				io.Copy(stdin, cmd.Stdin)
				stdin.Close()
			}()
		}
		err = c.Wait()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	status := exit.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		name := strings.TrimPrefix(unix.SignalName(status.Signal()), "SIG")
		return &ssh.ExitError{Code: 128 + int(status.Signal()), Signal: name}
	}
	return &ssh.ExitError{Code: status.ExitStatus()}
}

//go:build unix

package ssh_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// TestAhead runs every kind of command in shells that were opened before it.
func TestAhead(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	p := enginetest.NewProxy(t, s.Addr)
	c := s.ClientVia(t, p)
	c.SetFar(0)
	run(t, c, ssh.Command{Script: "true"})
	ready := func() bool { return c.Ahead() == 2 }
	until(t, "two shells", ready)

	before := sessions(s)
	for i, cmd := range []ssh.Command{
		{Script: "printf %s " + ssh.Quote(allBytes())},
		{Script: `printf %s "$a"`, Private: "a=" + ssh.Quote(allBytes())},
		{Script: "cat", Stdin: strings.NewReader(allBytes())},
		{Script: `printf %s "$(cat)"`, Private: ": " + strings.Repeat("long", 20_000), Stdin: strings.NewReader(allBytes())},
	} {
		if got := run(t, c, cmd); got != allBytes() {
			t.Errorf("command %d: got %q", i, got)
		}
		until(t, "a shell for the one that was used", ready)
	}
	if got := sessions(s) - before; got != 4 {
		t.Errorf("4 commands with shells that wait: %d sessions were opened, want one to replace each", got)
	}
	var out, errs bytes.Buffer
	err := c.Run(t.Context(), ssh.Command{Script: "echo out; echo err >&2; exit 7", Stdout: &out, Stderr: &errs})
	var exit *ssh.ExitError
	if !errors.As(err, &exit) || exit.Code != 7 || out.String() != "out\n" || errs.String() != "err\n" {
		t.Errorf("got %v, %q, %q", err, &out, &errs)
	}

	// Shells that end by themselves, and those of a dead connection, are not used.
	until(t, "shells again", ready)
	run(t, c, ssh.Command{Script: "kill -9 $(pgrep -P $PPID | grep -v $$)"})
	if got := run(t, c, ssh.Command{Script: "echo still"}); got != "still\n" {
		t.Errorf("after the shells were killed: got %q", got)
	}
	until(t, "shells again", ready)
	p.Cut()
	until(t, "the end of the connection", func() bool { return c.Connections() == 0 || c.Ahead() == 0 })
	if got := run(t, c, ssh.Command{Script: "echo again"}); got != "again\n" {
		t.Errorf("after the cut: got %q", got)
	}
}

// sessions counts those that the server has started.
func sessions(s *enginetest.Server) int { return strings.Count(s.Log(), "Starting session") }

// TestAheadLimited leaves the places of a server that has few to commands.
func TestAheadLimited(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			t.Parallel()
			c := enginetest.OpenSSH(t, enginetest.Options{MaxSessions: most}).Client(t)
			c.SetFar(0)
			for range 5 {
				if got := run(t, c, ssh.Command{Script: "echo yes"}); got != "yes\n" {
					t.Errorf("got %q", got)
				}
			}
		})
	}
}

//go:build unix

package ssh_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// servers are what every command must work on.
func servers() map[string]func(testing.TB) *enginetest.Server {
	open := func(o enginetest.Options) func(testing.TB) *enginetest.Server {
		return func(t testing.TB) *enginetest.Server { return enginetest.OpenSSH(t, o) }
	}
	return map[string]func(testing.TB) *enginetest.Server{
		"current": open(enginetest.Options{}),
		"root":    open(enginetest.Options{User: enginetest.Root}),
		"plain":   open(enginetest.Options{User: enginetest.Plain}),
		"fish":    open(enginetest.Options{User: enginetest.Fish}),
		"csh":     open(enginetest.Options{User: enginetest.Csh}),
		"chatty":  open(enginetest.Options{User: enginetest.Chatty}),
		"busybox": open(enginetest.Options{Busybox: true}),
		"dropbear": func(t testing.TB) *enginetest.Server {
			return enginetest.Dropbear(t, enginetest.Options{})
		},
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	for name, start := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			c := s.Client(t)
			var out, errs bytes.Buffer
			err := c.Run(t.Context(), ssh.Command{Script: "echo out; echo err >&2; exit 7", Stdout: &out, Stderr: &errs})
			var exit *ssh.ExitError
			if !errors.As(err, &exit) || exit.Code != 7 {
				t.Fatalf("Run: got %v, want exit code 7", err)
			}
			if out.String() != "out\n" || errs.String() != "err\n" {
				t.Errorf("got stdout %q, stderr %q", out.String(), errs.String())
			}
		})
	}
}

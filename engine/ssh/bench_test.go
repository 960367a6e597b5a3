//go:build unix

package ssh_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// quiet keeps the client's events out of a benchmark's output.
func quiet(c *ssh.Config) { c.Report = func(report.Event) {} }

func BenchmarkConnect(b *testing.B) {
	s := enginetest.OpenSSH(b, enginetest.Options{})
	for b.Loop() {
		c := s.Client(b, quiet)
		if err := c.Run(b.Context(), ssh.Command{Script: ":"}); err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

func BenchmarkRun(b *testing.B) {
	for _, delay := range []time.Duration{0, 20 * time.Millisecond} {
		b.Run((2 * delay).String(), func(b *testing.B) {
			s := enginetest.OpenSSH(b, enginetest.Options{})
			p := enginetest.NewProxy(b, s.Addr)
			p.Delay(delay)
			c := s.ClientVia(b, p, quiet)
			for b.Loop() {
				if err := c.Run(b.Context(), ssh.Command{Script: ":"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	const size = 256 << 20
	s := enginetest.OpenSSH(b, enginetest.Options{})
	c := s.Client(b, quiet)
	b.SetBytes(size)
	for b.Loop() {
		if err := c.Run(b.Context(), ssh.Command{Script: "head -c 268435456 /dev/zero", Stdout: io.Discard}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	const size = 256 << 20
	s := enginetest.OpenSSH(b, enginetest.Options{})
	c := s.Client(b, quiet)
	data := make([]byte, size)
	b.SetBytes(size)
	for b.Loop() {
		if err := c.Run(b.Context(), ssh.Command{Script: "cat >/dev/null", Stdin: bytes.NewReader(data)}); err != nil {
			b.Fatal(err)
		}
	}
}

//go:build unix

package ssh_test

import (
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

func TestBeside(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	proxy := enginetest.NewProxy(t, s.Addr)
	c := s.ClientVia(t, proxy)
	if _, err := c.Beside(); fault.KindOf(err) != fault.Unreachable {
		t.Errorf("before the first connection: got %v, want that there is none", err)
	}
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, err := c.Beside()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got := run(t, b, ssh.Command{Script: "echo beside"}); got != "beside\n" || proxy.Accepted() != 2 {
		t.Errorf("got %q on %d connections, want one of its own", got, proxy.Accepted())
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	run(t, c, ssh.Command{Script: "true"}) // which is not touched by that

	// A server that takes no more is said so at once.
	proxy.Refuse(true)
	b, err = c.Beside()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Connect(t.Context()); fault.KindOf(err) != fault.Unreachable {
		t.Errorf("refused: got %v", err)
	}

	// Another machine at the same address is not the same node.
	proxy.Refuse(false)
	other := enginetest.OpenSSH(t, enginetest.Options{})
	proxy.SetTarget(other.Addr)
	if err := b.Connect(t.Context()); fault.KindOf(err) != fault.HostKey {
		t.Errorf("another machine: got %v, want that its key is another one", err)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	proxy := enginetest.NewProxy(t, s.Addr)
	c := s.ClientVia(t, proxy)
	proxy.Delay(15 * time.Millisecond)
	if got, err := c.RoundTrip(t.Context()); err != nil || got < 30*time.Millisecond {
		t.Errorf("got %v, %v; want two delays", got, err)
	}
}

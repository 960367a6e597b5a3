//go:build unix

package ssh_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

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

// firstAnswer has a client connect and returns once the node has said its first word, with the network stalled: nothing
// more happens before the test resumes it.
func firstAnswer(t *testing.T, c *ssh.Client, p *enginetest.Proxy) (connected <-chan error) {
	t.Helper()
	p.Delay(10 * time.Millisecond)
	done := make(chan error, 1)
	go func() { done <- c.Connect(t.Context()) }()
	if took, err := c.FirstAnswer(t.Context()); err != nil || took < 10*time.Millisecond {
		t.Fatalf("first answer: got %v, %v; want a delay", took, err)
	}
	p.Stall()
	return done
}

func TestBesideALogin(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	other := enginetest.OpenSSH(t, enginetest.Options{})
	wrong := enginetest.OpenSSH(t, enginetest.Options{}).ClientKey
	trust := func(c *ssh.Config) { c.HostKey, c.TrustFirst = "", true }
	tests := []struct {
		name         string
		config       func(*ssh.Config)
		besides      string // address of what answers to the second connection
		first, other fault.Kind
	}{
		{"takes part", nil, s.Addr, "", ""},
		{"first contact", trust, s.Addr, "", ""},
		{"another machine", trust, other.Addr, "", fault.HostKey},
		{"a wrong key", func(c *ssh.Config) { c.IdentityFile = wrong }, s.Addr, fault.Auth, fault.Unreachable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := enginetest.NewProxy(t, s.Addr)
			var mutate []func(*ssh.Config)
			if tt.config != nil {
				mutate = append(mutate, tt.config)
			}
			c := s.ClientVia(t, p, mutate...)
			connected := firstAnswer(t, c, p)
			b, err := c.Beside()
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			p.SetTarget(tt.besides)
			beside := make(chan error, 1)
			go func() { beside <- b.Connect(t.Context()) }()
			until(t, "it connects before the first one has logged in", func() bool { return p.Accepted() == 2 })
			p.Resume()
			if err := <-connected; (err == nil) != (tt.first == "") || err != nil && fault.KindOf(err) != tt.first {
				t.Errorf("the first one: got %v want %q", err, tt.first)
			}
			if err := <-beside; (err == nil) != (tt.other == "") || err != nil && fault.KindOf(err) != tt.other {
				t.Errorf("beside it: got %v want %q", err, tt.other)
			}
			if took, err := c.FirstAnswer(t.Context()); tt.first == "" && (err != nil || took != 0) {
				t.Errorf("first answer after the login: got %v, %v; want 0", took, err)
			}
		})
	}
	t.Cleanup(func() {
		// A server counts refused keys, and locks out who has too many.
		if n := strings.Count(s.Log(), "Failed publickey"); n != 1 {
			t.Errorf("%d keys were refused, want the one of the first connection", n)
		}
	})
}

// A host that is new is remembered once.
func TestBesideANewHost(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	p := enginetest.NewProxy(t, s.Addr)
	known := filepath.Join(t.TempDir(), "known_hosts")
	c := s.ClientVia(t, p, func(c *ssh.Config) {
		c.HostKey, c.KnownHosts = "", known
		c.Confirm = func(context.Context, string) (bool, error) { return true, nil }
	})
	connected := firstAnswer(t, c, p)
	b, err := c.Beside()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	beside := make(chan error, 1)
	go func() { beside <- b.Connect(t.Context()) }()
	until(t, "it connects", func() bool { return p.Accepted() == 2 })
	p.Resume()
	if err := <-connected; err != nil {
		t.Fatal(err)
	}
	if err := <-beside; err != nil {
		t.Errorf("beside it: %v", err)
	}
	if text, err := os.ReadFile(known); err != nil || strings.Count(string(text), "\n") != 1 {
		t.Errorf("known hosts: got %q, %v; want one line", text, err)
	}
}

// Where a touch or a click confirms a login, there is one.
func TestBesideAConfirmedLogin(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	p := enginetest.NewProxy(t, s.Addr)
	text, err := os.ReadFile(s.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := gossh.ParseRawPrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	ring := &slowRing{Agent: newRing(t, key), pause: 600 * time.Millisecond}
	socket := serveAgent(t, ring)
	c := s.ClientVia(t, p, func(c *ssh.Config) { c.IdentityFile, c.AgentSocket = "", socket })
	connected := firstAnswer(t, c, p)
	b, err := c.Beside()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p.Resume()
	if err := b.Connect(t.Context()); fault.KindOf(err) != fault.Unreachable || !strings.Contains(err.Error(), "confirms") {
		t.Errorf("during the login: got %v", err)
	}
	if err := <-connected; err != nil {
		t.Fatal(err)
	}
	if _, err := c.Beside(); fault.KindOf(err) != fault.Unreachable || !strings.Contains(err.Error(), "confirms") {
		t.Errorf("after the login: got %v", err)
	}
	if n := ring.signed.Load(); n != 1 {
		t.Errorf("the agent was asked for %d signatures, want 1", n)
	}
}

// A slowRing waits before it signs, as long as a person needs.
type slowRing struct {
	agent.Agent
	pause  time.Duration
	signed atomic.Int32
}

func (r *slowRing) Sign(key gossh.PublicKey, data []byte) (*gossh.Signature, error) {
	r.signed.Add(1)
	time.Sleep(r.pause) // what is tested is how long it takes
	return r.Agent.Sign(key, data)
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

//go:build unix

package ssh_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// wantFault checks the kind of an error, that it has a hint, and what error and hint say.
func wantFault(t *testing.T, err error, kind fault.Kind, says ...string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Errorf("got %v, want a fault of kind %s", err, kind)
		return
	}
	if f.Kind != kind {
		t.Errorf("got kind %s (%v), want %s", f.Kind, err, kind)
	}
	if fault.HintOf(err) == "" {
		t.Errorf("no hint: %v", err)
	}
	for _, s := range says {
		if !strings.Contains(err.Error()+"\n"+fault.HintOf(err), s) {
			t.Errorf("%q is missing in: %v\nhint: %s", s, err, fault.HintOf(err))
		}
	}
}

func open(t *testing.T, cfg ssh.Config) *ssh.Client {
	t.Helper()
	if cfg.Home == "" {
		cfg.Home = t.TempDir()
	}
	c, err := ssh.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// silent listens and never says a word; it returns its port.
func silent(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

func closedPort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	tests := []struct {
		name   string
		target ssh.Target
		says   string
	}{
		{"name", ssh.Target{Host: "no-such-host.invalid"}, "does not resolve"},
		{"refused", ssh.Target{Host: "127.0.0.1", Port: closedPort(t)}, "connection refused"},
		{"not ssh", ssh.Target{Host: "127.0.0.1", Port: web.Listener.Addr().(*net.TCPAddr).Port}, `not an SSH server; it says "HTTP/1.1 400`},
		{"silent", ssh.Target{Host: "127.0.0.1", Port: silent(t)}, "does not answer as an SSH server"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			patience := time.Duration(0)
			if test.name == "name" || test.name == "not ssh" {
				patience = 10 * time.Minute // changes nothing
			}
			c := open(t, ssh.Config{Target: test.target, TrustFirst: true, Patience: patience})
			c.SetTimes(time.Second, 3*time.Second, 300*time.Millisecond)
			start := time.Now()
			err := c.Connect(t.Context())
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("it took %v", took)
			}
			if test.name == "name" && strings.Contains(fmt.Sprint(err), "could not be looked up") {
				return // no name server here: as good as it gets
			}
			wantFault(t, err, fault.Unreachable, test.says, test.target.Host)
		})
	}
}

func TestContextEndsDialling(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]ssh.Config{
		"handshake": {Target: ssh.Target{Host: "127.0.0.1", Port: silent(t)}},
		"patience":  {Target: ssh.Target{Host: "127.0.0.1", Port: closedPort(t)}, Patience: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg.TrustFirst = true
			c := open(t, cfg)
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(200*time.Millisecond, func() { cancel(errStop) })
			start := time.Now()
			if err := c.Connect(ctx); err != errStop {
				t.Errorf("got %v, want the cause", err)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
	t.Run("close", func(t *testing.T) {
		t.Parallel()
		c := open(t, ssh.Config{Target: ssh.Target{Host: "127.0.0.1", Port: closedPort(t)}, Patience: time.Hour, TrustFirst: true})
		done := make(chan error, 1)
		go func() { done <- c.Connect(t.Context()) }()
		time.AfterFunc(100*time.Millisecond, func() { c.Close() })
		if err := <-done; err == nil {
			t.Error("no error")
		}
	})
}

// events is a Sink that keeps the texts.
type events struct {
	mu    sync.Mutex
	texts []string
}

func (e *events) sink(v report.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.texts = append(e.texts, v.Text)
}

func (e *events) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.texts, "\n")
}

func TestPatience(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	p := enginetest.NewProxy(t, s.Addr)
	p.Refuse(true)
	var seen events
	c := s.ClientVia(t, p, func(cfg *ssh.Config) { cfg.Patience, cfg.Report = time.Minute, seen.sink })
	time.AfterFunc(time.Second, func() { p.Refuse(false) })
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(seen.String(), "trying for another 1m0s") || !strings.Contains(seen.String(), "answers") {
		t.Errorf("the wait was not told: %q", seen.String())
	}

	impatient := s.ClientVia(t, p)
	p.Refuse(true)
	wantFault(t, impatient.Connect(t.Context()), fault.Unreachable, "closed the connection")
}

// TestConcurrentFailure checks that commands which wait for one attempt share its failure.
func TestConcurrentFailure(t *testing.T) {
	t.Parallel()
	c := open(t, ssh.Config{Target: ssh.Target{Host: "127.0.0.1", Port: silent(t)}, TrustFirst: true})
	c.SetTimes(time.Second, 3*time.Second, 300*time.Millisecond)
	start := time.Now()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { wantFault(t, c.Run(t.Context(), ssh.Command{Script: ":"}), fault.Unreachable) })
	}
	wg.Wait()
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("20 commands failed one after another: %v", took)
	}
}

func TestHostKeys(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	p := s.Port
	other := authorizedKey(t)
	parsed, _, _, _, err := gossh.ParseAuthorizedKey([]byte(s.HostKey))
	if err != nil {
		t.Fatal(err)
	}
	fingerprint := gossh.FingerprintSHA256(parsed)
	wrong, _, _, _, err := gossh.ParseAuthorizedKey([]byte(other))
	if err != nil {
		t.Fatal(err)
	}
	plain := fmt.Sprintf("[127.0.0.1]:%d %s\n", p, s.HostKey)
	hashed := fmt.Sprintf("%s %s\n", knownhosts.HashHostname(knownhosts.Normalize(s.Addr)), s.HostKey)
	ecdsa := publicKey(t, "ecdsa")

	tests := []struct {
		name  string
		known string
		set   func(*ssh.Config)
		kind  fault.Kind // "" means that it connects
		says  []string
	}{
		{"listed", plain, nil, "", nil},
		{"hashed", hashed, nil, "", nil},
		{"bad lines around", "nonsense\n# comment\n" + plain + "host ssh-quantum AAAA\n", nil, "", nil},
		{"known by another type too", fmt.Sprintf("[127.0.0.1]:%d %s\n", p, ecdsa) + plain, nil, "", nil},
		{"unknown", "", nil, fault.HostKey, []string{fingerprint, "ssh-ed25519", "ssh -p", "--yes"}},
		{"unknown file", "-", nil, fault.HostKey, []string{fingerprint}},
		{"listed for another port", fmt.Sprintf("127.0.0.1 %s\n", s.HostKey), nil, fault.HostKey, []string{"not known"}},
		{"changed", fmt.Sprintf("# one\n[127.0.0.1]:%d %s\n", p, other), nil, fault.HostKey, []string{"has changed", fingerprint, gossh.FingerprintSHA256(wrong), "line 2", "ssh-keygen -R", "known_hosts"}},
		{"changed, lenient file", fmt.Sprintf("nonsense\n[127.0.0.1]:%d %s\n", p, other), nil, fault.HostKey, []string{"has changed", "line 2", "known_hosts"}},
		{"revoked", "@revoked * " + s.HostKey + "\n", nil, fault.HostKey, []string{"revoked", "line 1"}},
		{"pinned", "", func(c *ssh.Config) { c.HostKey = s.HostKey }, "", nil},
		{"pinned to another", plain, func(c *ssh.Config) { c.HostKey = other }, fault.HostKey, []string{"another machine", fingerprint}},
		{"pinned to another type", plain, func(c *ssh.Config) { c.HostKey = ecdsa }, fault.Unreachable, []string{"algorithm"}},
		{"trusted at first", "", func(c *ssh.Config) { c.TrustFirst = true }, "", nil},
		{"refused by the user", "", func(c *ssh.Config) {
			c.Confirm = func(context.Context, string) (bool, error) { return false, nil }
		}, fault.HostKey, []string{"not accepted"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := s.Client(t, func(cfg *ssh.Config) {
				cfg.KnownHosts = filepath.Join(cfg.Home, "known_hosts")
				if test.known != "-" {
					write(t, cfg.KnownHosts, test.known)
				}
				if test.set != nil {
					test.set(cfg)
				}
			})
			err := c.Connect(t.Context())
			if test.kind == "" {
				if err != nil {
					t.Fatal(err)
				}
				if c.HostKeySeen() != s.HostKey {
					t.Errorf("HostKeySeen: got %q, want %q", c.HostKeySeen(), s.HostKey)
				}
				return
			}
			wantFault(t, err, test.kind, test.says...)
		})
	}
}

func TestConfirmOnce(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	home := t.TempDir()
	var asked []string
	cfg := func(c *ssh.Config) {
		c.Home, c.KnownHosts = home, ""
		c.Confirm = func(_ context.Context, q string) (bool, error) {
			asked = append(asked, q)
			return true, nil
		}
	}
	for range 2 {
		c := s.Client(t, cfg)
		run(t, c, ssh.Command{Script: ":"})
		c.Close()
	}
	if len(asked) != 1 || !strings.Contains(asked[0], "SHA256:") || !strings.Contains(asked[0], "ssh-ed25519") {
		t.Errorf("asked %q, want one question with type and fingerprint", asked)
	}
	st, err := os.Stat(filepath.Join(home, ".ssh", "known_hosts"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("known_hosts: %v, %v", st, err)
	}
	// A file without a newline at its end keeps its last line.
	write(t, filepath.Join(home, ".ssh", "known_hosts"), "example.com "+s.HostKey)
	run(t, s.Client(t, cfg), ssh.Command{Script: ":"})
	data, err := os.ReadFile(filepath.Join(home, ".ssh", "known_hosts"))
	if err != nil || strings.Count(string(data), "\n") != 2 || !strings.HasPrefix(string(data), "example.com ") {
		t.Errorf("got %q, %v", data, err)
	}
}

// TestTrustFirstPins exchanges the machine behind an address.
func TestTrustFirstPins(t *testing.T) {
	t.Parallel()
	one := enginetest.OpenSSH(t, enginetest.Options{})
	two := enginetest.OpenSSH(t, enginetest.Options{})
	p := enginetest.NewProxy(t, one.Addr)
	c := one.Client(t, func(cfg *ssh.Config) { cfg.Target.Port, cfg.TrustFirst, cfg.KnownHosts = p.Port, true, "" })
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.SetTarget(two.Addr)
	p.Cut()
	wantFault(t, c.Run(t.Context(), ssh.Command{Script: ":"}), fault.HostKey, "at first contact")
}

func TestKeys(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	good, err := os.ReadFile(s.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	private, err := gossh.ParseRawPrivateKey(good)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := gossh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKeyWithPassphrase(private, "", []byte("open"))
	if err != nil {
		t.Fatal(err)
	}
	locked := string(pem.EncodeToMemory(block))
	bad := string(privateKey(t))
	holding := startAgent(t, private)
	empty := startAgent(t)

	tests := []struct {
		name  string
		files map[string]string // in the home folder
		set   func(*ssh.Config)
		kind  fault.Kind
		says  []string
	}{
		{"usual file", map[string]string{".ssh/id_ed25519": string(good)}, nil, "", nil},
		{"second usual file", map[string]string{".ssh/id_ed25519": bad, ".ssh/id_rsa": string(good)}, nil, "", nil},
		{"usual file is nonsense", map[string]string{".ssh/id_ed25519": "hello"}, nil, fault.Auth, []string{"not a private key", "id_ed25519"}},
		{"-i", map[string]string{"key": string(good)}, identity("key"), "", nil},
		{"-i with ~", map[string]string{"key": string(good)}, func(c *ssh.Config) { c.IdentityFile = "~/key" }, "", nil},
		{"-i missing", nil, identity("nowhere"), fault.Auth, []string{"nowhere", "no such file", "-i"}},
		{"-i nonsense", map[string]string{"key": "hello"}, identity("key"), fault.Auth, []string{"key", "not a private key"}},
		{"-i wrong key", map[string]string{"key": bad, ".ssh/id_ed25519": string(good)}, identity("key"), fault.Auth, []string{s.User + "@127.0.0.1", "/key", "SHA256:", "authorized_keys"}},
		{"-i locked", map[string]string{"key": locked}, identity("key"), fault.Auth, []string{"passphrase", "ssh-add", "/key", "ssh-agent"}},
		{"-i locked, agent without it", map[string]string{"key": locked}, both(identity("key"), socket(empty)), fault.Auth, []string{"passphrase", "ssh-add"}},
		{"-i locked, agent with it", map[string]string{"key": locked}, both(identity("key"), socket(holding)), "", nil},
		{"-i wrong, agent right", map[string]string{"key": bad}, both(identity("key"), socket(holding)), "", nil},
		{"usual file locked", map[string]string{".ssh/id_ed25519": locked}, nil, fault.Auth, []string{"passphrase", "id_ed25519", "ssh-add"}},
		{"agent", nil, socket(holding), "", nil},
		{"agent gone", nil, socket("/nowhere/agent"), fault.Auth, []string{"agent does not answer"}},
		{"nothing", nil, nil, fault.Auth, []string{"no key", "ssh-keygen"}},
		{"signer", nil, func(c *ssh.Config) { c.Signer = signer }, "", nil},
		{"signer alone", map[string]string{".ssh/id_ed25519": string(good)}, func(c *ssh.Config) {
			other, err := gossh.ParsePrivateKey([]byte(bad))
			if err != nil {
				t.Error(err)
			}
			c.Signer = other
		}, fault.Auth, []string{"bifrost's own key"}},
		{"public key and agent", map[string]string{"key.pub": string(gossh.MarshalAuthorizedKey(signer.PublicKey()))}, both(identity("key.pub"), socket(holding)), "", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := s.Client(t, func(cfg *ssh.Config) {
				cfg.IdentityFile = ""
				for name, text := range test.files {
					write(t, filepath.Join(cfg.Home, name), text)
				}
				if test.set != nil {
					test.set(cfg)
				}
			})
			err := c.Connect(t.Context())
			if test.kind == "" {
				if err != nil {
					t.Fatalf("%v\nhint: %s", err, fault.HintOf(err))
				}
				return
			}
			wantFault(t, err, test.kind, test.says...)
		})
	}
}

func TestTooManyKeys(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	var keys []any
	for range 8 {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	c := s.Client(t, func(cfg *ssh.Config) { cfg.IdentityFile, cfg.AgentSocket = "", startAgent(t, keys...) })
	wantFault(t, c.Connect(t.Context()), fault.Auth, "too many keys", "-i")
}

func identity(name string) func(*ssh.Config) {
	return func(c *ssh.Config) { c.IdentityFile = filepath.Join(c.Home, name) }
}

func socket(path string) func(*ssh.Config) {
	return func(c *ssh.Config) { c.AgentSocket = path }
}

func both(a, b func(*ssh.Config)) func(*ssh.Config) {
	return func(c *ssh.Config) { a(c); b(c) }
}

// startAgent serves an agent that holds the keys and returns its socket.
func startAgent(t *testing.T, keys ...any) string {
	t.Helper()
	return serveAgent(t, newRing(t, keys...))
}

func newRing(t *testing.T, keys ...any) agent.Agent {
	t.Helper()
	ring := agent.NewKeyring()
	for _, k := range keys {
		if err := ring.Add(agent.AddedKey{PrivateKey: k, Comment: "test key"}); err != nil {
			t.Fatal(err)
		}
	}
	return ring
}

func serveAgent(t *testing.T, ring agent.Agent) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // short: socket paths are limited
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				agent.ServeAgent(ring, c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
		os.RemoveAll(dir)
	})
	return path
}

func TestUserConfig(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	jump := enginetest.OpenSSH(t, enginetest.Options{})
	// Only the jump host reaches this address's counterpart; the key of each is another one.
	base := fmt.Sprintf("Host gpu\n  HostName 127.0.0.1\n  Port %d\n  User %s\n  IdentityFile %s\n", s.Port, s.User, s.ClientKey)
	jumpBlock := fmt.Sprintf("Host jump\n  HostName 127.0.0.1\n  Port %d\n  User %s\n  IdentityFile %s\n", jump.Port, jump.User, jump.ClientKey)
	known := fmt.Sprintf("[127.0.0.1]:%d %s\n[127.0.0.1]:%d %s\n", s.Port, s.HostKey, jump.Port, jump.HostKey)
	tests := []struct {
		name   string
		config string
		files  map[string]string
		warns  string
		via    bool // through the jump host
		kind   fault.Kind
		says   []string
	}{
		{name: "alias", config: base},
		{name: "quotes, tabs and equal signs", config: fmt.Sprintf("Host=\"gpu\"\n\tHostName=127.0.0.1\n\tport = %d\n\tUSER %s\n\tIdentityFile \"%s\"\n", s.Port, s.User, s.ClientKey)},
		{name: "match all", config: base + "Match all\n  ServerAliveInterval 3\n"},
		{name: "match exec", config: "Match exec \"test -f /etc/x\"\n  HostName elsewhere\nHost *\n" + base, warns: "Match exec"},
		{name: "match host with a list", config: "Match originalhost other,gpu\n" + strings.TrimPrefix(base, "Host gpu\n")},
		{name: "unknown words", config: "Host *\n  FlyingCarpet yes\n  UseKeychain yes\n" + base},
		{name: "include", config: "Include extra/*.conf\n", files: map[string]string{"extra/a.conf": base}},
		{name: "include in a block", config: "Host gpu\n  Include extra.conf\n  HostName 127.0.0.1\n", files: map[string]string{"extra.conf": strings.Replace(base, "  HostName 127.0.0.1\n", "", 1)}},
		{name: "jump", config: base + "  ProxyJump jump\n" + jumpBlock, via: true},
		{name: "jump over two", config: base + "  ProxyJump jump,jump\n" + jumpBlock, via: true},
		{name: "jump typed out", config: base + fmt.Sprintf("  ProxyJump %s@127.0.0.1:%d\nHost 127.0.0.1\n  IdentityFile %s\n", jump.User, jump.Port, jump.ClientKey), via: true},
		{name: "jump in a circle", config: base + "  ProxyJump gpu\n", kind: fault.Invalid, says: []string{"circle"}},
		{name: "jump host unknown", config: base + "  ProxyJump nojump.invalid\n", kind: fault.Unreachable, says: []string{"nojump.invalid"}},
		{name: "bad port", config: "Host gpu\n  Port many\n", kind: fault.Invalid, says: []string{"Port"}},
		{name: "strict checking off", config: base + "  StrictHostKeyChecking accept-new\n  UserKnownHostsFile ~/mine\n"},
		{name: "missing identity", config: fmt.Sprintf("Host gpu\n  HostName 127.0.0.1\n  Port %d\n  User %s\n  IdentityFile ~/.ssh/gone\n", s.Port, s.User), kind: fault.Auth, says: []string{".ssh/gone", "does not exist"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			write(t, filepath.Join(home, ".ssh/config"), test.config)
			write(t, filepath.Join(home, ".ssh/known_hosts"), known)
			for name, text := range test.files {
				write(t, filepath.Join(home, ".ssh", name), text)
			}
			var seen events
			c := open(t, ssh.Config{Target: ssh.Target{Host: "gpu"}, Home: home, Report: seen.sink})
			before := strings.Count(jump.Log(), "Accepted publickey")
			err := c.Connect(t.Context())
			if !strings.Contains(seen.String(), test.warns) || test.warns == "" && seen.String() != "" {
				t.Errorf("got warnings %q, want %q", seen.String(), test.warns)
			}
			if test.kind != "" {
				wantFault(t, err, test.kind, test.says...)
				return
			}
			if err != nil {
				t.Fatalf("%v\nhint: %s", err, fault.HintOf(err))
			}
			if got := run(t, c, ssh.Command{Script: "echo $SSH_CONNECTION"}); !strings.Contains(got, fmt.Sprint(s.Port)) {
				t.Errorf("connected to %q", got)
			}
			if test.via && strings.Count(jump.Log(), "Accepted publickey") == before {
				t.Error("not through the jump host")
			}
			if strings.Contains(test.config, "~/mine") {
				if data, err := os.ReadFile(filepath.Join(home, "mine")); err != nil || len(data) == 0 {
					t.Errorf("the key was not remembered: %v", err)
				}
			}
		})
	}
}

func TestJumpLost(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	jump := enginetest.OpenSSH(t, enginetest.Options{})
	p := enginetest.NewProxy(t, jump.Addr)
	home := t.TempDir()
	write(t, filepath.Join(home, ".ssh/config"), fmt.Sprintf("Host *\n  IdentityFile %s\n  IdentityFile %s\n  StrictHostKeyChecking no\nHost 127.0.0.1\n  Port %d\nHost gpu\n  HostName 127.0.0.1\n  Port %d\n  ProxyJump 127.0.0.1\n",
		s.ClientKey, jump.ClientKey, p.Port, s.Port))
	c := open(t, ssh.Config{Target: ssh.Target{Host: "gpu", User: s.User}, Home: home})
	done := begin(t, c, "sleep 100")
	p.Cut()
	if err := <-done; !errors.As(err, new(*ssh.LostError)) {
		t.Errorf("got %v, want LostError", err)
	}
	if got := run(t, c, ssh.Command{Script: "echo again"}); got != "again\n" {
		t.Errorf("got %q", got)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func privateKey(t *testing.T) []byte {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKey(k, "")
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

func authorizedKey(t *testing.T) string {
	t.Helper()
	s, err := gossh.ParsePrivateKey(privateKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(gossh.MarshalAuthorizedKey(s.PublicKey())))
}

// publicKey makes a key of a type that ssh-keygen knows.
func publicKey(t *testing.T, kind string) string {
	t.Helper()
	enginetest.Need(t, "ssh-keygen")
	path := filepath.Join(t.TempDir(), "k")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

//go:build unix

package enginetest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// Options say how a test server differs from a plain one.
type Options struct {
	User    User     // who logs in; Busybox allows only Current (as root) and Root
	NoSFTP  bool     // no sftp subsystem
	Without []string // programs that are not in the PATH of commands: "tmux", "git", "rsync"

	// Busybox gives commands a root folder of their own in which busybox is everything: /bin/sh,
	// tar, find, tail. It needs root. Home is the folder on this machine; on the node it is /root.
	Busybox bool

	MaxSessions int      // per connection; 0 is the server's default
	Config      []string // further lines for sshd_config
}

// A Server is an SSH server on 127.0.0.1 that belongs to one test.
type Server struct {
	Addr       string // "127.0.0.1:port"
	Port       int
	User       string
	HostKey    string // in the form of authorized_keys
	ClientKey  string // path of a private key that it accepts
	KnownHosts string // path of a file that lists the server
	Home       string // of the user, on this machine
	Dir        string // of everything that belongs to the server, on this machine

	log *logBuffer
}

// Log returns what the server has logged so far.
func (s *Server) Log() string { return s.log.String() }

// Target returns how a client calls the server.
func (s *Server) Target() ssh.Target {
	return ssh.Target{User: s.User, Host: "127.0.0.1", Port: s.Port}
}

// Config returns the configuration of a client for the server.
func (s *Server) Config(t testing.TB) ssh.Config {
	return ssh.Config{
		Target: s.Target(), IdentityFile: s.ClientKey, KnownHosts: s.KnownHosts, Home: t.TempDir(),
		Report: func(e report.Event) {
			if e.Text != "" {
				t.Logf("report: %s", e.Text)
			}
		},
	}
}

// Client opens a client for the server and closes it when the test ends.
func (s *Server) Client(t testing.TB, mutate ...func(*ssh.Config)) *ssh.Client {
	t.Helper()
	cfg := s.Config(t)
	for _, m := range mutate {
		m(&cfg)
	}
	c, err := ssh.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ClientVia is Client through a proxy to the server, whose host key is pinned.
func (s *Server) ClientVia(t testing.TB, p *Proxy, mutate ...func(*ssh.Config)) *ssh.Client {
	t.Helper()
	via := func(cfg *ssh.Config) {
		cfg.Target.Port = p.Port
		cfg.HostKey = s.HostKey
	}
	return s.Client(t, append([]func(*ssh.Config){via}, mutate...)...)
}

var serverCount atomic.Int64

// marker is the environment variable by which the processes of a server are found.
const marker = "BIFROST_TEST_SERVER"

// OpenSSH starts an sshd and stops it, with all that its sessions have started, when the test ends.
// Without root it serves only the present user.
func OpenSSH(t testing.TB, o Options) *Server {
	t.Helper()
	Need(t, "sshd")
	if o.User != Current || o.Busybox {
		Need(t, "root")
	}
	sshd, err := program("sshd")
	if err != nil {
		t.Fatal(err)
	}
	s, a, id := newServer(t, o)
	hostKey := writeKey(t, filepath.Join(s.Dir, "host_key"))
	s.HostKey = authorized(hostKey)

	var conf strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&conf, format+"\n", args...) }
	line("ListenAddress 127.0.0.1")
	line("HostKey %s", filepath.Join(s.Dir, "host_key"))
	line("PidFile none")
	line("AuthorizedKeysFile %s", filepath.Join(s.Dir, "authorized_keys"))
	line("StrictModes no")
	line("UsePAM no")
	line("PasswordAuthentication no")
	line("KbdInteractiveAuthentication no")
	line("PermitRootLogin yes")
	line("PrintMotd no")
	line("PrintLastLog no")
	line("LogLevel VERBOSE")
	line("MaxStartups 100")
	if o.MaxSessions > 0 {
		line("MaxSessions %d", o.MaxSessions)
	}
	if !o.NoSFTP {
		line("Subsystem sftp internal-sftp")
	}
	env := marker + "=" + id
	switch {
	case o.Busybox:
		line("ChrootDirectory %s", a.root)
		env += " PATH=/bin:/usr/bin HOME=/root"
	default:
		if len(o.Without) > 0 {
			env += " PATH=" + pathWithout(t, s.Dir, o.Without)
		}
		if o.User == Current && os.Geteuid() != 0 {
			env += fmt.Sprintf(" \"HOME=%s\"", a.home)
		}
	}
	line("SetEnv %s", env)
	for _, l := range o.Config {
		line("%s", l)
	}
	if os.Geteuid() == 0 {
		// The folder that sshd changes its root to before the login.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(s.Dir, "sshd_config")
	writeFile(t, config, conf.String())
	start(t, s, id, func(port int) *exec.Cmd {
		argv := []string{sshd, "-D", "-e", "-f", config, "-p", strconv.Itoa(port)}
		if !a.mounts {
			return exec.Command(argv[0], argv[1:]...)
		}
		argv = append(mountArgv(s.Dir, a.root), argv...)
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.SysProcAttr = ownMounts()
		return cmd
	})
	return s
}

// Dropbear starts a dropbear and stops it when the test ends. It needs root, for it reads keys from
// the home of a user made for the test; Options.User Current and Root mean Plain.
func Dropbear(t testing.TB, o Options) *Server {
	t.Helper()
	Need(t, "dropbear", "dropbearkey", "root")
	if o.User == Current || o.User == Root {
		o.User = Plain
	}
	s, a, id := newServer(t, o)
	writeKeyDropbear(t, s)
	dir := filepath.Join(a.home, ".ssh")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	keys, err := os.ReadFile(filepath.Join(s.Dir, "authorized_keys"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "authorized_keys"), string(keys))
	if err := os.Chmod(filepath.Join(dir, "authorized_keys"), 0o600); err != nil {
		t.Fatal(err)
	}
	chown(t, dir, a.account)
	dropbear, err := program("dropbear")
	if err != nil {
		t.Fatal(err)
	}
	start(t, s, id, func(port int) *exec.Cmd {
		return exec.Command(dropbear, "-F", "-E", "-s", "-p", fmt.Sprintf("127.0.0.1:%d", port),
			"-r", filepath.Join(s.Dir, "host_key"), "-P", filepath.Join(s.Dir, "pid"))
	})
	return s
}

func writeKeyDropbear(t testing.TB, s *Server) {
	t.Helper()
	path := filepath.Join(s.Dir, "host_key")
	out, err := exec.Command("dropbearkey", "-t", "ed25519", "-f", path).CombinedOutput()
	if err != nil {
		t.Fatalf("dropbearkey: %v: %s", err, out)
	}
	for line := range strings.SplitSeq(string(out), "\n") {
		if key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(line)); err == nil {
			s.HostKey = authorized(key)
			return
		}
	}
	t.Fatalf("dropbearkey printed no key: %s", out)
}

// A place is where the sessions of a server live.
type place struct {
	account
	root   string // folder that is their /, "" where it is the machine's
	mounts bool   // the server runs in a mount namespace, with an /etc of its own
}

func newServer(t testing.TB, o Options) (*Server, place, string) {
	t.Helper()
	base := os.TempDir()
	if o.Busybox {
		base = "/var/lib" // sshd wants no parent of a root folder that others can write to
	}
	dir, err := os.MkdirTemp(base, "bifrost-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeAll(t, dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // the user reads what is in it
		t.Fatal(err)
	}
	id := fmt.Sprintf("%d-%d", os.Getpid(), serverCount.Add(1))
	s := &Server{Dir: dir, ClientKey: filepath.Join(dir, "client_key"), KnownHosts: filepath.Join(dir, "known_hosts"), log: &logBuffer{}}
	a := place{}
	switch {
	case o.Busybox:
		a.root = busyboxRoot(t, dir)
		a.name, a.home, a.mounts = "root", filepath.Join(a.root, "root"), true
		etcFolder(t, dir, "/root", "/bin/sh")
	case o.User == Current, o.User == Root:
		u, err := user.Current()
		if err != nil {
			t.Fatal(err)
		}
		a.name, a.home = u.Username, filepath.Join(dir, "home")
		if err := os.Mkdir(a.home, 0o755); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() == 0 {
			a.mounts = true
			etcFolder(t, dir, a.home, "/bin/bash")
		}
	default:
		a.account = newAccount(t, o.User, dir)
	}
	s.User, s.Home = a.name, a.home
	key := writeKey(t, s.ClientKey)
	writeFile(t, filepath.Join(dir, "authorized_keys"), authorized(key)+"\n")
	return s, a, id
}

// pathWithout makes a folder with links to every program of the machine but the named ones.
func pathWithout(t testing.TB, dir string, names []string) string {
	t.Helper()
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	drop := map[string]bool{}
	for _, n := range names {
		drop[n] = true
	}
	for _, from := range []string{"/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"} {
		entries, err := os.ReadDir(from)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if !drop[e.Name()] {
				os.Symlink(filepath.Join(from, e.Name()), filepath.Join(bin, e.Name())) // the first one wins
			}
		}
	}
	return bin
}

// writeKey makes a key pair, writes the private one and returns the public one.
func writeKey(t testing.TB, path string) gossh.PublicKey {
	t.Helper()
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := gossh.MarshalPrivateKey(private, "bifrost test")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := gossh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func authorized(key gossh.PublicKey) string {
	return strings.TrimSpace(string(gossh.MarshalAuthorizedKey(key)))
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// removeAll removes a folder into which processes that were just killed may still have written.
func removeAll(t testing.TB, dir string) {
	var err error
	for range 20 {
		if err = os.RemoveAll(dir); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("remove %s: %v", dir, err)
}

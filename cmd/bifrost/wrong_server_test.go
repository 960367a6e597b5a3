//go:build unix

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine/enginetest"
)

// reaches lets the session's user log in to a server and returns what stands behind ssh = then.
func (s *session) reaches(server *enginetest.Server) string {
	s.t.Helper()
	s.copies(server.KnownHosts, "known_hosts")
	s.copies(server.ClientKey, "id_ed25519")
	return server.User + "@" + server.Addr
}

// copies puts a file into the ~/.ssh of the session's user.
func (s *session) copies(path, name string) {
	s.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.sshFile(name, string(data))
}

// sshFile writes a file of the session's ~/.ssh.
func (s *session) sshFile(name, text string) {
	s.t.Helper()
	dir := filepath.Join(s.home, ".ssh")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// forgets removes a file of the session's ~/.ssh.
func (s *session) forgets(name string) {
	s.t.Helper()
	if err := os.Remove(filepath.Join(s.home, ".ssh", name)); err != nil {
		s.t.Fatal(err)
	}
}

// ends runs bifrost, which must exit with the code and say all of these texts on stderr. It returns
// what it printed on stdout.
func (s *session) ends(code int, args []string, want ...string) string {
	s.t.Helper()
	cmd := s.command(args...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the code says it
	failed := false
	if got := cmd.ProcessState.ExitCode(); got != code {
		failed = true
		s.t.Errorf("%q: got exit code %d want %d", args, got, code)
	}
	for _, w := range want {
		if !strings.Contains(errs.String(), w) {
			failed = true
			s.t.Errorf("%q: stderr has no %q", args, w)
		}
	}
	if failed {
		s.t.Logf("$ bifrost %s\n%s%s", strings.Join(args, " "), out.String(), errs.String())
	}
	return out.String()
}

// leavesNothing checks that no job and no machine is open, and nothing of a local node here.
func (s *session) leavesNothing() {
	s.t.Helper()
	s.wants(s.output("ps"), "no jobs and no machines")
	if left, err := filepath.Glob(filepath.Join(s.state, "bifrost/local/[^.]*")); err != nil || len(left) > 0 {
		s.t.Errorf("local nodes are left: %v, %v", left, err)
	}
}

// leavesNothingOn checks that a server has no session and no file but those of bifrost's own folder.
func (s *session) leavesNothingOn(server *enginetest.Server) {
	s.t.Helper()
	s.leavesNothing()
	entries, err := os.ReadDir(server.Home)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != ".bifrost" {
			s.t.Errorf("%s is left in the home", e.Name())
		}
	}
	parts, err := filepath.Glob(filepath.Join(server.Home, ".bifrost/workspace/.bifrost/*"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range parts {
		switch filepath.Base(p) {
		case "manifest", "index", "owner", "provenance.json", "bootstrap":
		default:
			s.t.Errorf("%s is left in the workspace", p)
		}
	}
}

func deployTo(target string) string {
	return fmt.Sprintf("with_job(remote_job(ssh = %q, name = \"job\", command = \"echo ran\"))\n", target)
}

var execDeploy = []string{"exec", "deploy.star"}

func TestWrongHostKey(t *testing.T) {
	t.Parallel()
	server, other := enginetest.OpenSSH(t, enginetest.Options{}), enginetest.OpenSSH(t, enginetest.Options{})
	s := newFolder(t)
	s.script("deploy.star", deployTo(s.reaches(server)))

	s.forgets("known_hosts")
	s.ends(1, execDeploy,
		"deploy.star:1: host_key: connect to "+server.Addr+": its host key ssh-ed25519 SHA256:",
		" is not known\n", "hint: connect once with: ssh -p ", "or pass --yes to accept it now", "machine  not reached")
	if _, err := os.Stat(filepath.Join(s.home, ".ssh/known_hosts")); err == nil {
		t.Error("a key that nobody accepted was recorded")
	}
	if out := s.ends(0, []string{"exec", "--yes", "deploy.star"}, "yes (--yes)"); out != "ran\n" {
		t.Errorf("with --yes: got %q", out)
	}
	s.ends(0, execDeploy) // it was remembered

	s.sshFile("known_hosts", fmt.Sprintf("# mine\n[127.0.0.1]:%d %s\n", server.Port, other.HostKey))
	s.ends(1, []string{"exec", "--yes", "deploy.star"}, "its host key has changed", "/.ssh/known_hosts line 2 says", "hint: nothing was sent", "ssh-keygen -R ")
	s.leavesNothingOn(server)
}

func TestWrongKey(t *testing.T) {
	t.Parallel()
	enginetest.Need(t, "ssh-keygen")
	server, other := enginetest.OpenSSH(t, enginetest.Options{}), enginetest.OpenSSH(t, enginetest.Options{})
	s := newFolder(t)
	s.script("deploy.star", deployTo(s.reaches(server)))
	s.copies(other.ClientKey, "id_ed25519")
	own := filepath.Join(s.home, ".ssh/id_ed25519")
	s.ends(1, execDeploy, "auth: log in to "+server.User+"@"+server.Addr+": the server refuses the key "+own+" (SHA256:", "hint: check the user name", "authorized_keys", "-i")

	locked := filepath.Join(s.home, "locked key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", locked).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	s.ends(1, []string{"exec", "-i", locked, "deploy.star"}, "auth: read key "+locked+": it has a passphrase and no agent holds it", "ssh-agent", "ssh-add '"+locked+"'")
	s.copies(locked, "id_ed25519")
	s.ends(1, execDeploy, "not tried, because it has a passphrase and no agent holds it: "+own, "ssh-add "+own)

	s.forgets("id_ed25519")
	s.ends(1, execDeploy, "no key to offer", "hint: name a key with -i")

	s.ends(2, []string{"exec", "-i", "missing", "deploy.star"}, "exec: -i missing: it does not exist", "hint: name the private key file")
	s.ends(2, []string{"exec", "-i", ".", "deploy.star"}, "-i .: it is a folder")
	s.leavesNothingOn(server)
}

// A key that -i names by a relative path serves attach in another folder too.
func TestRelativeIdentity(t *testing.T) {
	t.Parallel()
	server := enginetest.OpenSSH(t, enginetest.Options{})
	s := newFolder(t)
	s.script("deploy.star", deployTo(s.reaches(server)))
	s.forgets("id_ed25519")
	key, err := os.ReadFile(server.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	s.script("key", string(key))
	s.ends(0, []string{"exec", "-i", "key", "deploy.star"})
	s.dir = t.TempDir()
	if out := s.ends(0, []string{"ssh", "@last", "echo there"}); out != "there\n" {
		t.Errorf("got %q", out)
	}
}

func TestInterruptWhileNoServerAnswers(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, by its backlog, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for _, c := range []struct {
		name, addr, says string
		signal           syscall.Signal
		code             int
	}{
		{"silent", silent.Addr().String(), "connect: root@", syscall.SIGINT, 130},
		{"silent, SIGTERM", silent.Addr().String(), "connect: root@", syscall.SIGTERM, 143},
		{"refuses", gone.Addr().String(), "refuses connections; trying for another", syscall.SIGINT, 130},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newFolder(t)
			s.script("deploy.star", deployTo("root@"+c.addr))
			s.start("exec", "deploy.star")
			s.await(c.says)
			begun := time.Now()
			s.signal(c.signal)
			s.exits(c.code)
			if took := time.Since(begun); took > 10*time.Second { // the handshake alone may take 30
				t.Errorf("it took %v to end", took)
			}
			s.wants(s.text(), " cancelled\n")
			s.wants(s.text(), "machine  not reached")
			s.leavesNothing()
		})
	}
}

// A machine of one's own is not ended: what bifrost began on it must be.
func TestInterruptStopsTheBootstrapOnAServer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		code   int
	}{
		{"interrupted", syscall.SIGINT, 130},
		{"killed", syscall.SIGKILL, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Plain})
			s := newFolder(t)
			s.script("deploy.star", fmt.Sprintf(`with_job(remote_job(ssh = %q, name = "job", bootstrap = "echo preparing; sleep 600", command = "true"))`, s.reaches(server)))
			s.start("exec", "deploy.star")
			s.await("  preparing")
			s.signal(c.signal)
			s.exits(c.code)
			s.eventuallyClean()
			out, err := exec.Command("ps", "-u", server.User, "-o", "stat=,args=").CombinedOutput()
			if err != nil && len(out) > 0 {
				t.Fatalf("ps: %v: %s", err, out)
			}
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, "sleep 600") && !strings.HasPrefix(line, "Z") {
					t.Errorf("it still runs there: %s", line)
				}
			}
			s.leavesNothingOn(server)
		})
	}
}

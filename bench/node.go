//go:build linux

package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// A node is an OpenSSH server on loopback with the limits that Debian ships: MaxStartups 10:30:100 and
// MaxSessions 10. Commands on it run as the present user, with a home of their own.
type node struct {
	addr    string
	user    string
	home    string // what $HOME is there; a folder of this machine
	key     string // path of a private key that it accepts
	hostKey string // in the form of authorized_keys

	sshd   *exec.Cmd
	exited chan struct{}
	log    bytes.Buffer
}

// startNode starts a server whose files are in dir.
func startNode(dir string) (*node, error) {
	u, err := user.Current()
	if err != nil {
		return nil, err
	}
	n := &node{user: u.Username, home: filepath.Join(dir, "home"), key: filepath.Join(dir, "client_key"), exited: make(chan struct{})}
	sockets := filepath.Join(dir, "tmux")
	if err := errors.Join(os.MkdirAll(n.home, 0o755), os.MkdirAll(sockets, 0o700)); err != nil {
		return nil, err
	}
	public, err := writeKey(n.key)
	if err != nil {
		return nil, err
	}
	if n.hostKey, err = writeKey(filepath.Join(dir, "host_key")); err != nil {
		return nil, err
	}
	sftp := "internal-sftp"
	if _, err := os.Stat("/usr/lib/openssh/sftp-server"); err == nil {
		sftp = "/usr/lib/openssh/sftp-server" // as Debian configures it
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	n.addr = fmt.Sprintf("127.0.0.1:%d", port)
	config := strings.Join([]string{
		"ListenAddress " + n.addr,
		"HostKey " + filepath.Join(dir, "host_key"),
		"AuthorizedKeysFile " + filepath.Join(dir, "authorized_keys"),
		"PidFile none",
		"StrictModes no",
		"UsePAM no",
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
		"PermitRootLogin yes",
		"PrintMotd no",
		"PrintLastLog no",
		"Subsystem sftp " + sftp,
		fmt.Sprintf("SetEnv %s=%s \"HOME=%s\" \"TMUX_TMPDIR=%s\"", folderMark, os.Getenv(folderMark), n.home, sockets),
	}, "\n") + "\n"
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "authorized_keys"), []byte(public+"\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "sshd_config"), []byte(config), 0o600),
	); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // which sshd wants to be there
			return nil, err
		}
	}
	n.sshd = exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	n.sshd.Stdout, n.sshd.Stderr = &n.log, &n.log
	n.sshd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := n.sshd.Start(); err != nil {
		return nil, fmt.Errorf("start the node: %w (make bench-deps installs what is needed)", err)
	}
	go func() {
		n.sshd.Wait()
		close(n.exited)
	}()
	if err := n.await(); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// await returns once the server greets.
func (n *node) await() error {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		select {
		case <-n.exited:
			return fmt.Errorf("sshd ended: %s", n.log.String())
		default:
		}
		c, err := net.Dial("tcp", n.addr)
		if err != nil {
			continue
		}
		b := make([]byte, 4)
		c.SetDeadline(time.Now().Add(2 * time.Second))
		c.Read(b)
		c.Close()
		if string(b) == "SSH-" {
			return nil
		}
	}
	return errors.New("sshd does not answer")
}

// close ends the server. What its sessions have started has the mark of the bench's folder, and ends with that.
func (n *node) close() {
	syscall.Kill(-n.sshd.Process.Pid, syscall.SIGKILL)
	<-n.exited
}

// writeKey makes a key pair, writes the private one to path, and returns the public one in the form of
// authorized_keys.
func writeKey(path string) (string, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	block, err := gossh.MarshalPrivateKey(private, "bifrost bench")
	if err != nil {
		return "", err
	}
	key, err := gossh.NewPublicKey(public)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(gossh.MarshalAuthorizedKey(key))), os.WriteFile(path, pem.EncodeToMemory(block), 0o600)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

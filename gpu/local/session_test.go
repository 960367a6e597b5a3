//go:build unix

package local

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

func TestExec(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	home, err := filepath.EvalSymlinks(filepath.Join(n.dir, homeDir))
	must(t, err)
	for _, tt := range []struct {
		name, command, stdin string
		stdout, stderr       string
		code                 int
		signal               string
	}{
		{name: "output", command: "echo out; echo err >&2", stdout: "out\n", stderr: "err\n"},
		{name: "exit code", command: "exit 37", code: 37},
		{name: "empty command", command: ""},
		{name: "not found", command: "/no/such 2>/dev/null", code: 127},
		{name: "home", command: "pwd -P; cd; pwd -P", stdout: home + "\n" + home + "\n"},
		{name: "stdin to its end", command: "cat; echo end", stdin: "a\x00b\xff", stdout: "a\x00b\xffend\n"},
		{name: "stdin not read", command: "exit 3", stdin: strings.Repeat("x", 1<<20), code: 3},
		{name: "no stdin", command: "cat"},
		{name: "killed", command: "kill -KILL $$", signal: "KILL"},
		{name: "terminated", command: "kill -TERM $$", signal: "TERM"},
		{name: "odd signal", command: "kill -BUS $$", signal: "BUS@bifrost"},
		{name: "quotes", command: `printf '%s|' "a b" 'c"d' $'e' é`, stdout: `a b|c"d|$e|é|`},
		{name: "newlines", command: "if true\nthen\necho yes\nfi", stdout: "yes\n"},
		{name: "no terminal", command: "tty; test -t 0", stdout: "not a tty\n", code: 1},
		{name: "default signals", command: "trap 'echo caught' HUP INT QUIT; kill -HUP $$; kill -INT $$; kill -QUIT $$", stdout: "caught\ncaught\ncaught\n"},
		{name: "descriptors", command: "for f in 3 4 5 6 7 8 9; do ls -l /dev/fd/$f 2>/dev/null | grep -v /proc; done; true"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := n.session()
			var stdout, stderr bytes.Buffer
			s.Stdout, s.Stderr = &stdout, &stderr
			if tt.stdin != "" {
				s.Stdin = strings.NewReader(tt.stdin)
			}
			err := s.Run(tt.command)
			var exit *ssh.ExitError
			if err != nil && !errors.As(err, &exit) && tt.name != "stdin not read" {
				t.Fatal(err)
			}
			if exit != nil && (exit.Signal() != tt.signal || tt.signal == "" && exit.ExitStatus() != tt.code) {
				t.Errorf("got %v, want code %d, signal %q", exit, tt.code, tt.signal)
			} else if exit == nil && (tt.code != 0 && err == nil || tt.signal != "") {
				t.Errorf("got success, want code %d, signal %q", tt.code, tt.signal)
			}
			if stdout.String() != tt.stdout && tt.name != "quotes" || stderr.String() != tt.stderr {
				t.Errorf("got %q and %q, want %q and %q", stdout.String(), stderr.String(), tt.stdout, tt.stderr)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.session()
	for k, v := range map[string]string{"LC_ALL": "C", "LANG": "C.UTF-8", "MY_VAR": "a b\n'", markEnv: "forged"} {
		must(t, s.Setenv(k, v))
	}
	for _, bad := range []string{"A-B", "", "A=B"} {
		if err := s.Setenv(bad, "x"); err == nil {
			t.Errorf("got a variable %q granted", bad)
		}
	}
	out, err := s.Output("env -0")
	must(t, err)
	got := map[string]string{}
	for kv := range strings.SplitSeq(string(out), "\x00") {
		if k, v, ok := strings.Cut(kv, "="); ok {
			got[k] = v
		}
	}
	want := map[string]string{
		"HOME": filepath.Join(n.dir, homeDir), "PWD": filepath.Join(n.dir, homeDir), "SHELL": "/bin/sh", "USER": userName(), "LOGNAME": userName(),
		"TMPDIR": filepath.Join(n.dir, tmpDir), "TMUX_TMPDIR": socketDir(n.inst.ID), "PATH": os.Getenv("PATH"),
		markEnv: n.inst.ID, "LC_ALL": "C", "LANG": "C.UTF-8", "MY_VAR": "a b\n'",
	}
	for k := range got {
		if _, ok := want[k]; !ok && !strings.HasPrefix(k, "SSH_") && !strings.HasPrefix(k, "CUDA_") &&
			!strings.HasPrefix(k, "NVIDIA_") && !strings.HasPrefix(k, "LC_") && k != "TZ" && k != "LD_LIBRARY_PATH" && k != "_" && k != "OLDPWD" {
			t.Errorf("got %s, which nobody set", k)
		}
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: got %q, want %q", k, got[k], v)
		}
	}
	if len(socketDir(n.inst.ID)) > 80 {
		t.Errorf("got %s, too long for a socket's path", socketDir(n.inst.ID))
	}
}

func TestBigOutput(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.session()
	out, err := s.StdoutPipe()
	must(t, err)
	must(t, s.Start("head -c 50000000 /dev/zero; head -c 1000000 /dev/zero >&2"))
	got, err := io.Copy(io.Discard, out)
	if err != nil || got != 50000000 {
		t.Errorf("got %d bytes, %v, want 50000000", got, err)
	}
	must(t, s.Wait())
}

func TestEchoOfStdin(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	data := make([]byte, 5<<20)
	_, err := rand.Read(data)
	must(t, err)
	s := n.session()
	s.Stdin = bytes.NewReader(data)
	out, err := s.Output("cat")
	if err != nil || sha256.Sum256(out) != sha256.Sum256(data) {
		t.Errorf("got %d bytes, %v, want the same %d", len(out), err, len(data))
	}
}

func TestManySessions(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			s, err := n.NewSession()
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			out, err := s.Output(fmt.Sprintf("echo %d; exit 0", i))
			if err != nil || string(out) != fmt.Sprintln(i) {
				t.Errorf("got %q, %v", out, err)
			}
		})
	}
	wg.Wait()
}

// The status comes when the command ends, not when its background children do.
func TestBackgroundHoldsOutput(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	ch, requests, err := n.OpenChannel("session", nil)
	must(t, err)
	defer ch.Close()
	if ok, err := ch.SendRequest("exec", true, ssh.Marshal(struct{ C string }{"sleep 1000 & exit 5"})); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for req := range requests {
		if req.Type == "exit-status" {
			if diff := cmp.Diff([]byte{0, 0, 0, 5}, req.Payload); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
			return
		}
	}
	t.Error("got no exit status")
}

func TestSignalRequest(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for sig, want := range map[ssh.Signal]string{ssh.SIGTERM: "TERM", ssh.SIGKILL: "KILL", ssh.SIGHUP: "HUP", ssh.SIGUSR1: "USR1"} {
		s := n.session()
		out, err := s.StdoutPipe()
		must(t, err)
		must(t, s.Start("echo ready; sleep 1000; true")) // the shell and its child are signalled; dash may lose a SIGINT here, so none of that
		buf := make([]byte, 6)
		_, err = io.ReadFull(out, buf)
		must(t, err)
		must(t, s.Signal(sig))
		err = s.Wait()
		var exit *ssh.ExitError
		if !errors.As(err, &exit) || exit.Signal() != want {
			t.Errorf("%s: got %v, want signal %s", sig, err, want)
		}
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.session()
	must(t, s.RequestPty("xterm-256color", 33, 111, ssh.TerminalModes{ssh.ECHO: 0}))
	in, err := s.StdinPipe()
	must(t, err)
	out, err := s.StdoutPipe()
	must(t, err)
	must(t, s.Start(`stty size; echo $TERM; test -t 0 && test -t 1 && test -t 2 && test "$(tty)" = "$SSH_TTY" && echo tty
		while read line; do echo "got $line"; stty size; done; echo eof`))
	read := newLines(out)
	read.want(t, "33 111", "xterm-256color", "tty")
	fmt.Fprint(in, "hello\n") // not echoed
	read.want(t, "got hello", "33 111")
	must(t, s.WindowChange(44, 222))
	for size := ""; size != "44 222"; { // a request and the data behind it may overtake each other
		fmt.Fprint(in, "again\n")
		read.want(t, "got again")
		size = read.next(t, "a size")
	}
	fmt.Fprint(in, "\x04") // end of file, by the terminal
	read.want(t, "eof")
	must(t, s.Wait())
}

// lines reads a terminal's output line by line.
type lines struct {
	r   io.Reader
	buf []byte
}

func newLines(r io.Reader) *lines { return &lines{r: r} }

func (l *lines) want(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := l.next(t, w); got != w {
			t.Fatalf("got line %q, want %q", got, w)
		}
	}
}

// next returns a line; want says what is expected, for the failure.
func (l *lines) next(t *testing.T, want string) string {
	t.Helper()
	for !bytes.Contains(l.buf, []byte("\n")) {
		chunk := make([]byte, 4096)
		n, err := l.r.Read(chunk)
		l.buf = append(l.buf, chunk[:n]...)
		if err != nil {
			t.Fatalf("got %q and %v, want %q", l.buf, err, want)
		}
	}
	line, rest, _ := bytes.Cut(l.buf, []byte("\n"))
	l.buf = rest
	return strings.TrimRight(string(line), "\r")
}

func TestTerminalKeepsLastBytes(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for range 20 {
		s := n.session()
		must(t, s.RequestPty("dumb", 24, 80, ssh.TerminalModes{}))
		out, err := s.Output("seq 5000; sleep 1000 & exit 4")
		var exit *ssh.ExitError
		if !errors.As(err, &exit) || exit.ExitStatus() != 4 {
			t.Errorf("got %v, want exit status 4", err)
		}
		if !bytes.HasSuffix(out, []byte("\n5000\r\n")) || bytes.Count(out, []byte("\n")) != 5000 {
			t.Errorf("got %d lines, ending %q", bytes.Count(out, []byte("\n")), out[max(0, len(out)-20):])
		}
	}
}

func TestShell(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.session()
	var out bytes.Buffer
	s.Stdout, s.Stdin = &out, strings.NewReader("cd /; pwd\nexit 7\n")
	must(t, s.Shell())
	err := s.Wait()
	var exit *ssh.ExitError
	if !errors.As(err, &exit) || exit.ExitStatus() != 7 || out.String() != "/\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

// A terminal that goes away hangs its programs up.
func TestTerminalHangsUp(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	client := n.dial()
	s, err := client.NewSession()
	must(t, err)
	must(t, s.RequestPty("dumb", 24, 80, ssh.TerminalModes{}))
	must(t, s.Start(`echo $$ > pid.new; mv pid.new pid; exec sleep 1000`))
	pid := n.pidFile("pid")
	client.Close()
	eventually(t, "the terminal's program ends", func() bool { return !alive(pid) })
}

func TestSFTP(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	client, err := sftp.NewClient(n.Client)
	must(t, err)
	defer client.Close()
	wd, err := client.Getwd()
	if err != nil || wd != filepath.Join(n.dir, homeDir) {
		t.Errorf("got working folder %q, %v, want the home", wd, err)
	}
	data := make([]byte, 3<<20)
	_, err = rand.Read(data)
	must(t, err)
	must(t, client.MkdirAll("a b/c"))
	f, err := client.Create("a b/c/ü\n")
	must(t, err)
	_, err = f.Write(data)
	must(t, err)
	must(t, f.Close())
	must(t, client.PosixRename("a b/c/ü\n", "a b/d"))
	sum := sha256.Sum256(data)
	if got := n.sh(`sha256sum < 'a b/d' | cut -c 1-64`); got != hex.EncodeToString(sum[:])+"\n" {
		t.Errorf("got sum %q", got)
	}
	n.sh("echo from the node > back")
	back, err := client.Open("back")
	must(t, err)
	if got := readAll(t, back); got != "from the node\n" {
		t.Errorf("got %q", got)
	}
	if _, err := client.Stat("missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestUnknownRequests(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if err := n.session().RequestSubsystem("netconf"); err == nil {
		t.Error("got a subsystem that does not exist")
	}
	if ok, _, err := n.SendRequest("keepalive@openssh.com", true, nil); err != nil || !ok {
		t.Errorf("keepalive: got %v, %v, want an answer", ok, err)
	}
	if _, err := n.Listen("tcp", "127.0.0.1:0"); err == nil {
		t.Error("got a remote forward")
	}
	if _, _, err := n.OpenChannel("x11", nil); err == nil {
		t.Error("got a channel of type x11")
	}
	// A session runs one thing.
	ch, requests, err := n.OpenChannel("session", nil)
	must(t, err)
	go ssh.DiscardRequests(requests)
	defer ch.Close()
	for i, want := range []bool{true, false} {
		if ok, err := ch.SendRequest("exec", true, ssh.Marshal(struct{ C string }{"cat"})); err != nil || ok != want {
			t.Errorf("exec %d: got %v, %v, want %v", i, ok, err, want)
		}
	}
}

func TestForward(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				data, _ := io.ReadAll(conn) // until the client has closed its half
				fmt.Fprintf(conn, "got %d bytes", len(data))
			}()
		}
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	must(t, err)
	for _, host := range []string{"127.0.0.1", "localhost"} {
		conn, err := n.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		must(t, err)
		_, err = conn.Write(make([]byte, 3<<20))
		must(t, err)
		must(t, conn.(interface{ CloseWrite() error }).CloseWrite())
		if got := readAll(t, conn); got != "got 3145728 bytes" {
			t.Errorf("%s: got %q", host, got)
		}
		conn.Close()
	}
	for _, addr := range []string{"192.0.2.1:80", "example.com:80"} {
		_, err := n.DialContext(t.Context(), "tcp", addr)
		var refused *ssh.OpenChannelError
		if !errors.As(err, &refused) || refused.Reason != ssh.Prohibited {
			t.Errorf("%s: got %v, want it prohibited", addr, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	listener.Close()
	if _, err := n.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port)); err == nil {
		t.Error("got a connection to a closed port")
	}
}

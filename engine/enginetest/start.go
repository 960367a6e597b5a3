//go:build unix

package enginetest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// start runs the server on a free port until it answers, and stops it when the test ends.
func start(t testing.TB, s *Server, id string, command func(port int) *exec.Cmd) {
	t.Helper()
	for attempt := range 5 { // another process may take the port in between
		port := freePort(t)
		cmd := command(port)
		cmd.Stdout, cmd.Stderr = s.log, s.log
		cmd.Env = append(os.Environ(), marker+"="+id)
		if cmd.SysProcAttr == nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{}
		}
		cmd.SysProcAttr.Setpgid = true
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		exited := make(chan struct{})
		go func() {
			cmd.Wait()
			close(exited)
		}()
		stop := func() {
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-exited
			want := []byte(marker + "=" + id + "\x00")
			killWhere(func(pid int) bool {
				env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
				return err == nil && bytes.Contains(append(env, 0), want)
			})
		}
		if !answers(port, exited) {
			stop()
			if attempt == 4 {
				t.Fatalf("%s does not start:\n%s", cmd.Path, s.Log())
			}
			continue
		}
		t.Cleanup(func() {
			stop()
			if t.Failed() {
				t.Logf("the server's log:\n%s", tail(s.Log(), 40))
			}
		})
		s.Port, s.Addr = port, fmt.Sprintf("127.0.0.1:%d", port)
		key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(s.HostKey))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, s.KnownHosts, knownhosts.Line([]string{s.Addr}, key)+"\n")
		return
	}
}

// answers waits until an SSH server greets on the port.
func answers(port int, exited <-chan struct{}) bool {
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		select {
		case <-exited:
			return false
		default:
		}
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
		if err == nil {
			c.SetDeadline(time.Now().Add(2 * time.Second))
			b := make([]byte, 4)
			n, _ := c.Read(b)
			c.Close()
			if string(b[:n]) == "SSH-" {
				return true
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

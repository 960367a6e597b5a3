//go:build unix

package ssh_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// begin starts a script that prints "ready" and waits until it has.
func begin(t *testing.T, c ssh.Runner, script string) <-chan error {
	t.Helper()
	out := newWaiter("ready")
	done := make(chan error, 1)
	go func() { done <- c.Run(t.Context(), ssh.Command{Script: "echo ready; " + script, Stdout: out}) }()
	out.wait(t)
	return done
}

func TestCutIsLost(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	p := enginetest.NewProxy(t, s.Addr)
	c := s.ClientVia(t, p)
	c.SetFar(time.Hour) // what is sent to a shell that waits may be lost with it
	done := begin(t, c, "sleep 100")
	p.Cut()
	if err := <-done; !errors.As(err, new(*ssh.LostError)) {
		t.Errorf("cut: got %v, want LostError", err)
	}
	// The next one finds a new connection.
	if got := run(t, c, ssh.Command{Script: "echo again"}); got != "again\n" {
		t.Errorf("after the cut: got %q", got)
	}
	// A connection that died while nobody used it costs nothing.
	for range 5 {
		p.Cut()
		if got := run(t, c, ssh.Command{Script: "echo again"}); got != "again\n" {
			t.Errorf("after an idle cut: got %q", got)
		}
	}
}

func TestCutWithinOutput(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	p := enginetest.NewProxy(t, s.Addr)
	c := s.ClientVia(t, p)
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, after := range []int64{100, 1000, 10_000, 1_000_000, 5_000_000} {
		p.CutAfter(after)
		var out bytes.Buffer
		err := c.Run(t.Context(), ssh.Command{Script: "yes 0123456789 | head -c 8000000", Stdout: &out})
		p.CutAfter(-1)
		var f *fault.Error
		if !errors.As(err, new(*ssh.LostError)) && !(errors.As(err, &f) && f.Kind == fault.Unreachable && out.Len() == 0) {
			if err == nil && out.Len() == 8_000_000 && after <= 1000 {
				continue // the cut fell on the opening of the session, which is repeated
			}
			t.Errorf("cut after %d: got %v with %d bytes", after, err, out.Len())
		}
		if want := strings.Repeat("0123456789\n", out.Len()/11+1)[:out.Len()]; out.String() != want {
			t.Errorf("cut after %d: the bytes that arrived are wrong", after)
		}
	}
}

// What has arrived before the connection broke is read to its end: the exit status may be behind it. Until then
// each Read of the channel fails, because it can ask for no more.
func TestOutputAfterTheBreak(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	if err := ssh.CopyOutput(&got, &broken{left: 1_000_000}); err != nil || got.Len() != 1_000_000 {
		t.Errorf("got %d bytes, %v", got.Len(), err)
	}
}

// A broken channel has so many bytes.
type broken struct{ left int }

func (b *broken) Read(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.left -= n
	if n == 0 {
		return 0, io.EOF
	}
	return n, syscall.EPIPE
}

func TestStallIsLost(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	p := enginetest.NewProxy(t, s.Addr)
	c := s.ClientVia(t, p)
	c.SetTimes(100*time.Millisecond, 600*time.Millisecond, 10*time.Second)
	done := begin(t, c, "sleep 100")
	// Silence of the command is not silence of the node.
	select {
	case err := <-done:
		t.Fatalf("ended without a stall: %v", err)
	case <-time.After(1500 * time.Millisecond):
	}
	start := time.Now()
	p.Stall()
	err := <-done
	if !errors.As(err, new(*ssh.LostError)) || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("stall: got %v, want LostError", err)
	}
	if took := time.Since(start); took < 300*time.Millisecond || took > 5*time.Second {
		t.Errorf("noticed after %v", took)
	}
	p.Resume()
	if got := run(t, c, ssh.Command{Script: "echo again"}); got != "again\n" {
		t.Errorf("after the stall: got %q", got)
	}
	// A write that is stuck is noticed too, and so is a context.
	p.Stall()
	if err := c.Run(t.Context(), ssh.Command{Script: "cat >/dev/null", Stdin: zeros{}}); err == nil {
		t.Error("stalled write: no error")
	}
	p.Resume()
	run(t, c, ssh.Command{Script: ":"})
	p.Stall()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start = time.Now()
	err = c.Run(ctx, ssh.Command{Script: "cat >/dev/null", Stdin: zeros{}})
	if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 2*time.Second {
		t.Errorf("context: got %v after %v", err, took)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// TestRandomCuts runs commands while connections break at random, and checks that nothing but the
// truth comes back.
func TestRandomCuts(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	p := enginetest.NewProxy(t, s.Addr)
	c := s.ClientVia(t, p)
	p.Delay(2 * time.Millisecond)
	stop := p.CutRandomly(t, 1, 20*time.Millisecond, 300*time.Millisecond)
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := map[string]int{}
	for i := range 8 {
		wg.Go(func() {
			for j := range 15 {
				var out bytes.Buffer
				want := strconv.Itoa(i*100 + j)
				err := c.Run(t.Context(), ssh.Command{Private: "N=" + want, Script: "cat >/dev/null; echo $N; exit 5", Stdin: bytes.NewReader(make([]byte, 50_000)), Stdout: &out})
				var exit *ssh.ExitError
				what := "exit"
				switch {
				case errors.As(err, &exit):
					if exit.Code != 5 || out.String() != want+"\n" {
						t.Errorf("got %v with %q, want exit code 5 with %s", err, out.String(), want)
					}
				case errors.As(err, new(*ssh.LostError)):
					what = "lost"
				case fault.KindOf(err) == fault.Unreachable && out.Len() == 0:
					what = "unreachable"
				default:
					t.Errorf("got %v", err)
				}
				mu.Lock()
				count[what]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	stop()
	t.Logf("%v", count)
	if got := run(t, c, ssh.Command{Script: "echo still"}); got != "still\n" {
		t.Errorf("got %q", got)
	}
}

// TestManySessions uses a server that takes two sessions a connection.
func TestManySessions(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 2} {
		t.Run(strconv.Itoa(most), func(t *testing.T) {
			t.Parallel()
			s := enginetest.OpenSSH(t, enginetest.Options{MaxSessions: most})
			c := s.Client(t)
			var wg sync.WaitGroup
			for i := range 12 {
				wg.Go(func() {
					var out bytes.Buffer
					if err := c.Run(t.Context(), ssh.Command{Script: fmt.Sprintf("sleep 0.2; echo %d", i), Stdout: &out}); err != nil || out.String() != fmt.Sprintf("%d\n", i) {
						t.Errorf("command %d: %q, %v", i, out.String(), err)
					}
				})
			}
			wg.Wait()
			before := c.Connections()
			for range 5 {
				run(t, c, ssh.Command{Script: ":"})
			}
			if got := c.Connections(); got > before {
				t.Errorf("commands one after another opened connections: %d, then %d", before, got)
			}
		})
	}
}

func TestNoSessionsAtAll(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{Config: []string{"MaxSessions 0"}})
	err := s.Client(t).Run(t.Context(), ssh.Command{Script: ":"})
	if fault.KindOf(err) != fault.Unreachable || !strings.Contains(fault.HintOf(err), "MaxSessions") {
		t.Errorf("got %v (%s)", err, fault.HintOf(err))
	}
}

// TestNotStarted uses servers whose login does not lead to a shell.
func TestNotStarted(t *testing.T) {
	t.Parallel()
	for name, force := range map[string]string{
		"refuses": "echo This account is closed; echo on stderr >&2; exit 1",
		"floods":  "yes no shell for you",
		"silent":  "exit 0",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := enginetest.OpenSSH(t, enginetest.Options{Config: []string{"ForceCommand " + force}})
			var out bytes.Buffer
			err := s.Client(t).Run(t.Context(), ssh.Command{Script: "echo hi", Stdout: &out})
			if fault.KindOf(err) != fault.Unreachable || !strings.Contains(err.Error(), "login shell") || out.Len() > 0 {
				t.Fatalf("got %v and %q", err, out.String())
			}
			if name == "refuses" && !strings.Contains(err.Error(), "This account is closed\non stderr") {
				t.Errorf("the output is not quoted: %v", err)
			}
		})
	}
}

func TestCloseJoins(t *testing.T) {
	s := enginetest.OpenSSH(t, enginetest.Options{})
	before := runtime.NumGoroutine()
	c := s.Client(t)
	f, err := c.Forward(t.Context(), 0, 9)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 5 {
		done := begin(t, c, "sleep 100")
		wg.Go(func() {
			if err := <-done; !errors.As(err, new(*ssh.LostError)) {
				t.Errorf("got %v, want LostError", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancelled := make(chan error, 1)
	go func() { cancelled <- c.Run(ctx, ssh.Command{Script: "sleep 100"}) }()
	cancel()
	<-cancelled
	c.Close()
	wg.Wait()
	f.Close()
	until(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before+1 })
}

func TestForward(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	}))
	defer web.Close()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	p := enginetest.NewProxy(t, s.Addr)
	c := s.ClientVia(t, p)
	f, err := c.Forward(t.Context(), 0, web.Listener.Addr().(*net.TCPAddr).Port)
	if err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/", f.LocalPort)
	fetch := func() error {
		body := string(noise(1 << 20))
		r, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Post(url, "", strings.NewReader(body))
		if err != nil {
			return err
		}
		defer r.Body.Close()
		got, err := io.ReadAll(r.Body)
		if err == nil && string(got) != body {
			err = fmt.Errorf("got %d bytes back", len(got))
		}
		return err
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := fetch(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	p.Cut()
	if err := fetch(); err != nil {
		t.Errorf("after a cut: %v", err)
	}
	p.CutAfter(1) // the first thing that it shows on is what the next one sends
	if err := fetch(); err != nil {
		t.Errorf("with a cut: %v", err)
	}
	if _, err := c.Forward(t.Context(), f.LocalPort, 80); fault.KindOf(err) != fault.Conflict {
		t.Errorf("the same port twice: got %v", err)
	}
	open, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", f.LocalPort))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	f.Close()
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlives Close")
	}
	if err := fetch(); err == nil {
		t.Error("the port outlives Close")
	}
}

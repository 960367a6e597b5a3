//go:build unix

package ssh_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// servers are what every command must work on.
func servers() map[string]func(testing.TB) *enginetest.Server {
	open := func(o enginetest.Options) func(testing.TB) *enginetest.Server {
		return func(t testing.TB) *enginetest.Server { return enginetest.OpenSSH(t, o) }
	}
	return map[string]func(testing.TB) *enginetest.Server{
		"current": open(enginetest.Options{}),
		"root":    open(enginetest.Options{User: enginetest.Root}),
		"plain":   open(enginetest.Options{User: enginetest.Plain}),
		"fish":    open(enginetest.Options{User: enginetest.Fish}),
		"csh":     open(enginetest.Options{User: enginetest.Csh}),
		"chatty":  open(enginetest.Options{User: enginetest.Chatty}),
		"busybox": open(enginetest.Options{Busybox: true}),
		"nosftp":  open(enginetest.Options{NoSFTP: true}),
		"dropbear": func(t testing.TB) *enginetest.Server {
			return enginetest.Dropbear(t, enginetest.Options{})
		},
	}
}

// run runs a script and returns its stdout; any error fails the test.
func run(t testing.TB, c ssh.Runner, cmd ssh.Command) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := c.Run(t.Context(), cmd); err != nil {
		t.Fatalf("Run(%.80q): %v; stderr %q", cmd.Script, err, errs.String())
	}
	return out.String()
}

// allBytes holds every byte that a shell word can hold.
func allBytes() string {
	var b []byte
	for i := 1; i < 256; i++ {
		b = append(b, byte(i))
	}
	return string(b) + "\n\\0101 $HOME `id` !! !x \\n 'a' \"b\" \\\\ %s ~ {a,b} * \xff\xfe\x81\x82\x88 end"
}

// TestRunEverywhere is what a Runner promises, on every server that counts.
func TestRunEverywhere(t *testing.T) {
	t.Parallel()
	for name, start := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			c := s.Client(t)
			for _, part := range []struct {
				name string
				test func(*testing.T, *enginetest.Server, *ssh.Client)
			}{
				{"streams and exit code", testStreams},
				{"bytes", testBytes},
				{"large", testLarge},
				{"stdin after private", testStdinAfterPrivate},
				{"secret", testSecret},
				{"signal", testSignal},
				{"cancel", testCancel},
				{"concurrent", testConcurrent},
				{"blocked stdin", testBlockedStdin},
				{"unread stdin", testUnreadStdin},
				{"terminal", testTerminal},
			} {
				t.Run(part.name, func(t *testing.T) { part.test(t, s, c) })
			}
			if err := c.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if err := c.Run(t.Context(), ssh.Command{Script: ":"}); err == nil {
				t.Error("Run after Close: no error")
			}
		})
	}
}

func testStreams(t *testing.T, _ *enginetest.Server, c *ssh.Client) {
	for code := range 3 {
		var out, errs bytes.Buffer
		err := c.Run(t.Context(), ssh.Command{
			Script: fmt.Sprintf("echo out; echo err >&2; exit %d", code*127), Stdout: &out, Stderr: &errs,
		})
		var exit *ssh.ExitError
		switch {
		case code == 0 && err != nil:
			t.Errorf("exit 0: got %v", err)
		case code > 0 && (!errors.As(err, &exit) || exit.Code != code*127 || exit.Signal != ""):
			t.Errorf("exit %d: got %v", code*127, err)
		}
		if out.String() != "out\n" || errs.String() != "err\n" {
			t.Errorf("got stdout %q, stderr %q", out.String(), errs.String())
		}
	}
	if got := run(t, c, ssh.Command{Script: "cat; echo $#"}); got != "0\n" {
		t.Errorf("without Stdin: got %q, want an empty one", got)
	}
}

func testBytes(t *testing.T, _ *enginetest.Server, c *ssh.Client) {
	want := allBytes()
	script := "printf %s " + ssh.Quote(want)
	if got := run(t, c, ssh.Command{Script: script}); got != want {
		t.Errorf("inline: got %q, want %q", got, want)
	}
	if got := run(t, c, ssh.Command{Private: script}); got != want {
		t.Errorf("private: got %q, want %q", got, want)
	}
	// Around the length at which a script moves to stdin, and far beyond.
	for _, n := range []int{1000, 1500, 2000, 7000, 8000, 9000, 30_000, 200_000} {
		long := strings.Repeat("x'y$z\n", n/6)
		if got := run(t, c, ssh.Command{Script: "printf %s " + ssh.Quote(long)}); got != long {
			t.Errorf("%d bytes: got %d bytes back", len(long), len(got))
		}
	}
	// The longest request of each kind, and a byte more.
	for _, limit := range []int{ssh.ExecLimitBytes, ssh.ExecLimitOpenSSH} {
		exec, _, _ := ssh.Encode(ssh.Command{Script: "printf %s "}, limit)
		for _, n := range []int{limit - len(exec), limit - len(exec) + 1} {
			long := strings.Repeat("x", n)
			if got := run(t, c, ssh.Command{Script: "printf %s " + long}); got != long {
				t.Errorf("%d bytes, all plain: got %d bytes back", n, len(got))
			}
		}
	}
}

// noise returns n bytes that no compression or shell makes into something else.
func noise(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	r.Read(b)
	return b
}

func testLarge(t *testing.T, _ *enginetest.Server, c *ssh.Client) {
	data := noise(10 << 20)
	sum := sha256.Sum256(data)
	if got, want := run(t, c, ssh.Command{Script: "sha256sum", Stdin: bytes.NewReader(data)}), hex.EncodeToString(sum[:]); !strings.HasPrefix(got, want) {
		t.Errorf("up: got %q, want %q", got, want)
	}
	if got := run(t, c, ssh.Command{Script: "cat", Stdin: bytes.NewReader(data)}); got != string(data) {
		t.Errorf("up and down: %d bytes differ from %d", len(got), len(data))
	}
}

func testStdinAfterPrivate(t *testing.T, _ *enginetest.Server, c *ssh.Client) {
	data := append([]byte("\n\nend-\n\x00\x01"), noise(100_000)...)
	got := run(t, c, ssh.Command{
		Private: "A=" + ssh.Quote("secret\n'of mine'"), Script: `printf '%s|' "$A"; cat`, Stdin: bytes.NewReader(data),
	})
	if want := "secret\n'of mine'|" + string(data); got != want {
		t.Errorf("got %d bytes, want %d", len(got), len(want))
	}
	// A reader that gives one byte at a time.
	got = run(t, c, ssh.Command{Private: "A=1", Script: "cat", Stdin: iotestOneByte(data[:3000])})
	if got != string(data[:3000]) {
		t.Errorf("byte by byte: got %d bytes", len(got))
	}
}

type oneByte struct{ r io.Reader }

func iotestOneByte(b []byte) io.Reader { return oneByte{bytes.NewReader(b)} }

func (o oneByte) Read(b []byte) (int, error) { return o.r.Read(b[:min(1, len(b))]) }

// testSecret looks at the argument lists of all processes while the command runs.
func testSecret(t *testing.T, _ *enginetest.Server, c *ssh.Client) {
	// Written apart, so that this test's own binary does not count.
	secret := fmt.Sprintf("hush-%d-%d", os.Getpid(), rand.Uint64())
	out := newWaiter("ready")
	release, let := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- c.Run(t.Context(), ssh.Command{
			Private: "TOKEN=" + ssh.Quote(secret) + "; export TOKEN",
			Script:  `sh -c 'echo ready; read -r l; printf %s "$TOKEN"'`,
			Stdin:   release, Stdout: out,
		})
	}()
	out.wait(t)
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if b, err := os.ReadFile(l); err == nil && bytes.Contains(b, []byte(secret)) {
			t.Errorf("%s shows the secret: %q", l, b)
		}
	}
	io.WriteString(let, "go\n")
	let.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(out.String(), secret) {
		t.Errorf("the secret did not arrive: %q", out.String())
	}
}

// A waiter is a buffer on which one can wait for a text.
type waiter struct {
	text string
	seen chan struct{}

	mu  sync.Mutex
	buf bytes.Buffer
}

func newWaiter(text string) *waiter { return &waiter{text: text, seen: make(chan struct{})} }

func (w *waiter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := strings.Contains(w.buf.String(), w.text)
	w.buf.Write(b)
	if !before && strings.Contains(w.buf.String(), w.text) {
		close(w.seen)
	}
	return len(b), nil
}

func (w *waiter) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

func (w *waiter) wait(t testing.TB) {
	t.Helper()
	select {
	case <-w.seen:
	case <-time.After(20 * time.Second):
		t.Fatalf("%q did not come; got %q", w.text, w.String())
	}
}

func testSignal(t *testing.T, _ *enginetest.Server, c *ssh.Client) {
	err := c.Run(t.Context(), ssh.Command{Script: "kill -KILL $$"})
	var exit *ssh.ExitError
	if !errors.As(err, &exit) || exit.Code != 137 || exit.Signal != "KILL" {
		t.Errorf("got %#v, want signal KILL and code 137", err)
	}
}

var errStop = errors.New("stop it")

func testCancel(t *testing.T, _ *enginetest.Server, c *ssh.Client) {
	// The name makes the process one that this test finds.
	tag := strconv.Itoa(1_000_000 + rand.IntN(1_000_000))
	ctx, cancel := context.WithCancelCause(t.Context())
	out := newWaiter("ready")
	done := make(chan error, 1)
	go func() {
		done <- c.Run(ctx, ssh.Command{Script: "echo ready; sleep " + tag + " & sleep " + tag + "; :", Stdout: out})
	}()
	out.wait(t)
	until(t, "the process runs", func() bool { return running("sleep", tag) == 2 })
	begin := time.Now()
	cancel(errStop)
	if err := <-done; err != errStop {
		t.Errorf("got %v, want the context's cause", err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("Run returned after %v", took)
	}
	until(t, "the process has ended", func() bool { return running("sleep", tag) == 0 })
}

// running counts the processes with exactly these arguments.
func running(argv ...string) int {
	n := 0
	want := strings.Join(argv, "\x00") + "\x00"
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, l := range lines {
		if b, err := os.ReadFile(l); err == nil && string(b) == want {
			n++
		}
	}
	return n
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long until %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func testConcurrent(t *testing.T, _ *enginetest.Server, c *ssh.Client) {
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			var out bytes.Buffer
			err := c.Run(t.Context(), ssh.Command{
				Private: fmt.Sprintf("N=%d", i), Script: "sleep 0.05; cat; echo $N; exit $N",
				Stdin: strings.NewReader(fmt.Sprintf("in %d\n", i)), Stdout: &out,
			})
			var exit *ssh.ExitError
			if i > 0 && (!errors.As(err, &exit) || exit.Code != i) || i == 0 && err != nil {
				t.Errorf("command %d: %v", i, err)
			}
			if got, want := out.String(), fmt.Sprintf("in %d\n%d\n", i, i); got != want {
				t.Errorf("command %d: got %q, want %q", i, got, want)
			}
		})
	}
	wg.Wait()
}

func testBlockedStdin(t *testing.T, _ *enginetest.Server, c *ssh.Client) {
	r, w := io.Pipe()
	defer w.Close()
	if got := run(t, c, ssh.Command{Script: "echo done", Stdin: r}); got != "done\n" {
		t.Errorf("got %q", got)
	}
}

func testUnreadStdin(t *testing.T, _ *enginetest.Server, c *ssh.Client) {
	err := c.Run(t.Context(), ssh.Command{Script: "exit 3", Stdin: bytes.NewReader(make([]byte, 8<<20))})
	var exit *ssh.ExitError
	if !errors.As(err, &exit) || exit.Code != 3 {
		t.Errorf("got %v, want exit code 3", err)
	}
	boom := errors.New("boom")
	err = c.Run(t.Context(), ssh.Command{Script: "cat", Stdin: io.MultiReader(strings.NewReader("x"), failing{boom})})
	if !errors.Is(err, boom) {
		t.Errorf("a reader that fails: got %v", err)
	}
	err = c.Run(t.Context(), ssh.Command{Script: "yes", Stdout: failing{boom}})
	if !errors.Is(err, boom) {
		t.Errorf("a writer that fails: got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

func testTerminal(t *testing.T, s *enginetest.Server, c *ssh.Client) {
	if _, err := os.Stat("/dev/ptmx"); err != nil {
		t.Skip("no terminals here")
	}
	resize := make(chan ssh.Size, 1)
	in, typed := io.Pipe()
	out := newWaiter("got hello")
	done := make(chan error, 1)
	long := strings.Repeat("l'o\"n$g\x03\x04 ", 2000)
	go func() {
		done <- c.Run(t.Context(), ssh.Command{
			Private: "A=" + ssh.Quote(long),
			Script: `stty size; echo "$TERM ${#A}"; while [ "$(stty size)" != "40 100" ]; do sleep 0.02; done
				echo resized; read -r l; echo "got $l"; test -t 0 && test -t 2 && exit 9`,
			Stdin: in, Stdout: out,
			Pty: &ssh.Pty{Term: "vt100", Cols: 90, Rows: 30, Resize: resize},
		})
	}()
	start := fmt.Sprintf("30 90\r\nvt100 %d\r\n", len(long))
	until(t, "the terminal's size is printed", func() bool { return len(out.String()) >= len(start) })
	if got := out.String(); got != start {
		t.Errorf("got %q, want %q", got, start)
	}
	resize <- ssh.Size{Cols: 100, Rows: 40}
	until(t, "the terminal has its new size", func() bool { return strings.Contains(out.String(), "resized") })
	io.WriteString(typed, "hello\n")
	err := <-done
	var exit *ssh.ExitError
	if !errors.As(err, &exit) || exit.Code != 9 {
		t.Errorf("got %v, want exit code 9", err)
	}
	out.wait(t)
	if got := out.String(); strings.Contains(got, "l'o") {
		t.Errorf("the private part was echoed: %q", got)
	}
}

func TestClosedBeforeUse(t *testing.T) {
	t.Parallel()
	c, err := ssh.Open(ssh.Config{Target: ssh.Target{Host: "localhost"}, Home: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	c.Close()
	if err := c.Connect(t.Context()); fault.KindOf(err) != fault.Unreachable {
		t.Errorf("Connect: got %v", err)
	}
}

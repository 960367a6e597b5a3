package follow_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/follow"
	"github.com/bifrost-run/bifrost/engine/session"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// start runs a command as a job in a home of its own.
func start(t *testing.T, command string) (node *enginetest.Shell, id string) {
	t.Helper()
	node = &enginetest.Shell{Home: t.TempDir()}
	id = "job-test"
	if _, err := session.Start(t.Context(), node, session.Spec{ID: id, Name: id, Shell: command, NoTmux: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, err := session.Cancel(context.WithoutCancel(t.Context()), node, id, "the test ended")
		if err != nil {
			t.Errorf("cancel: %v", err)
		}
	})
	return node, id
}

func openCopy(t *testing.T, path string) *follow.Copy {
	t.Helper()
	c, err := follow.OpenCopy(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestFollow(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, command string
		want          func() []byte
		code          int
	}{
		{"nothing", "true", func() []byte { return nil }, 0},
		{"nothing, failed", "exit 3", func() []byte { return nil }, 3},
		{"no newline at the end", "printf 'a\\nb'", func() []byte { return []byte("a\nb") }, 0},
		{"both streams", "echo a; echo b >&2; echo c", func() []byte { return []byte("a\nb\nc\n") }, 0},
		{"binary and progress bars", `printf 'x\000\377\r10%%\r20%%\r\n'`, func() []byte { return []byte("x\x00\xff\r10%\r20%\r\n") }, 0},
		{"a million lines", "seq 1000000", func() []byte { return seq(1000000) }, 0},
		{"one line of 50 MB", "head -c 50000000 /dev/zero | tr '\\0' x", func() []byte { return bytes.Repeat([]byte("x"), 50000000) }, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			node, id := start(t, tt.command)
			path := filepath.Join(t.TempDir(), "log")
			var out bytes.Buffer
			status, err := follow.Follow(t.Context(), node, follow.Request{JobID: id, Log: openCopy(t, path)}, &out)
			if err != nil || status.State != session.Exited || status.ExitCode != tt.code {
				t.Fatalf("status %+v, %v", status, err)
			}
			want := tt.want()
			if !bytes.Equal(out.Bytes(), want) {
				t.Errorf("%d bytes differ from the %d that were written", out.Len(), len(want))
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the copy of %d bytes differs, %v", len(got), err)
			}
			// Once more: nothing is new, the status is there.
			out.Reset()
			status, err = follow.Follow(t.Context(), node, follow.Request{JobID: id, Log: openCopy(t, path)}, &out)
			if err != nil || !status.Final() || out.Len() > 0 {
				t.Errorf("again: %d bytes, %+v, %v", out.Len(), status, err)
			}
		})
	}
}

func seq(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		b.WriteString(itoa(i + 1))
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func itoa(n int) string {
	var d []byte
	for ; n > 0; n /= 10 {
		d = append([]byte{byte('0' + n%10)}, d...)
	}
	return string(d)
}

// A cutter is a node whose connections break after so many bytes of output.
type cutter struct {
	ssh.Runner
	after func() int64
	cuts  int
}

func (c *cutter) Run(ctx context.Context, cmd ssh.Command) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	left := c.after()
	broken := &ssh.LostError{Err: errors.New("cut by the test")}
	out := cmd.Stdout
	cmd.Stdout = writerFunc(func(p []byte) (int, error) {
		n := min(int64(len(p)), left)
		left -= n
		if _, err := out.Write(p[:n]); err != nil {
			return 0, err
		}
		if left == 0 {
			cancel(broken)
			return int(n), broken
		}
		return int(n), nil
	})
	err := c.Runner.Run(ctx, cmd)
	if errors.Is(context.Cause(ctx), broken) {
		c.cuts++
		return broken
	}
	return err
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestFollowAcrossCuts(t *testing.T) {
	t.Parallel()
	node, id := start(t, "seq 20000")
	rng := rand.New(rand.NewPCG(1, 2))
	broken := &cutter{Runner: node, after: func() int64 { return 1 + rng.Int64N(30000) }}
	path := filepath.Join(t.TempDir(), "log")
	var out bytes.Buffer
	status, err := follow.Follow(t.Context(), broken, follow.Request{JobID: id, Log: openCopy(t, path)}, &out)
	if err != nil || status.ExitCode != 0 {
		t.Fatalf("%+v, %v", status, err)
	}
	if !bytes.Equal(out.Bytes(), seq(20000)) {
		t.Error("bytes differ")
	}
	if broken.cuts < 5 {
		t.Errorf("only %d cuts", broken.cuts)
	}
}

func TestFollowChangedLog(t *testing.T) {
	t.Parallel()
	node, id := start(t, "echo the log")
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := follow.Follow(t.Context(), node, follow.Request{JobID: id, Log: openCopy(t, path)}, nil)
	if fault.KindOf(err) != fault.Lost || !strings.Contains(err.Error(), "another one") {
		t.Errorf("error %v", err)
	}
}

func TestFollowMissingJob(t *testing.T) {
	t.Parallel()
	node := &enginetest.Shell{Home: t.TempDir()}
	status, err := follow.Follow(t.Context(), node, follow.Request{JobID: "nope", Log: openCopy(t, filepath.Join(t.TempDir(), "log"))}, nil)
	if err != nil || status.State != session.Missing {
		t.Errorf("%+v, %v", status, err)
	}
}

func TestFollowStopsWithItsWriter(t *testing.T) {
	t.Parallel()
	node, id := start(t, "echo x; sleep 1000")
	gone := errors.New("reader is gone")
	_, err := follow.Follow(t.Context(), node, follow.Request{JobID: id, Log: openCopy(t, filepath.Join(t.TempDir(), "log"))},
		writerFunc(func([]byte) (int, error) { return 0, gone }))
	if !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
}

// TestFollowSupervisorKilled takes the only one away who could write how the job ended.
func TestFollowSupervisorKilled(t *testing.T) {
	t.Parallel()
	node, id := start(t, "echo x; kill -9 $PPID; kill -9 $$")
	path := filepath.Join(t.TempDir(), "log")
	var out bytes.Buffer
	status, err := follow.Follow(t.Context(), node, follow.Request{JobID: id, Log: openCopy(t, path)}, &out)
	if err != nil || status.State != session.Lost || out.String() != "x\n" {
		t.Errorf("%+v, %v, %q", status, err, out.String())
	}
}

// TestFollowLeavesNoProcess looks for what ran on the node after its client went away.
func TestFollowLeavesNoProcess(t *testing.T) {
	t.Parallel()
	node, id := start(t, "echo x; sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	_, err := follow.Follow(ctx, node, follow.Request{JobID: id, Log: openCopy(t, filepath.Join(t.TempDir(), "log"))},
		writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }))
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		var left []string
		dirs, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range dirs {
			cwd, _ := os.Readlink(d + "/cwd") // a process may have ended
			argv, _ := os.ReadFile(d + "/cmdline")
			if strings.HasPrefix(cwd, node.Home) && bytes.HasPrefix(argv, []byte("tail")) {
				left = append(left, string(argv))
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %q", left)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"a\nb\n", []string{"a", "b"}},
		{"a\r\nb", []string{"a", "b"}},
		{"\n\n", []string{"", ""}},
		{"10%\r20%\r30%\nend\n", []string{"30%", "end"}},
		{"10%\r20%\r", []string{"20%"}},
		{"10%\r\r\n", []string{"10%"}},
		{"\xff\n", []string{"\uFFFD"}},
	}
	for _, tt := range tests {
		for _, r := range []io.Reader{strings.NewReader(tt.in), oneByte{strings.NewReader(tt.in)}} {
			var got []string
			for line, err := range follow.Lines(r) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, line)
			}
			if strings.Join(got, "|") != strings.Join(tt.want, "|") || len(got) != len(tt.want) {
				t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
			}
		}
	}
}

type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:1]) }

func TestCollapseFrames(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"a\nb", "a\nb"},
		{"a\r\nb\r\n", "a\r\nb\r\n"},
		{"1%\r2%\r3%\nend\n", "3%\nend\n"},
		{"\x00\xff\n", "\x00\xff\n"},
		{strings.Repeat("x", 200000) + "\n", strings.Repeat("x", 200000) + "\n"},
	}
	for _, tt := range tests {
		for _, step := range []int{1, 1 << 20} {
			var out bytes.Buffer
			w := follow.CollapseFrames(&out)
			for p := []byte(tt.in); len(p) > 0; {
				n := min(step, len(p))
				if _, err := w.Write(p[:n]); err != nil {
					t.Fatal(err)
				}
				p = p[n:]
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if out.String() != tt.want {
				t.Errorf("%.20q in steps of %d: got %.40q, want %.40q", tt.in, step, out.String(), tt.want)
			}
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\nb\rc\n\xff"), 3)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		whole, parts := lines(bytes.NewReader(data)), lines(&stepper{data, 1 + abs(step)%7})
		if strings.Join(whole, "\n") != strings.Join(parts, "\n") || len(whole) != len(parts) {
			t.Errorf("%q: %q in one piece, %q in parts", data, whole, parts)
		}
	})
}

func abs(n int) int { return max(n, -(n + 1)) }

func lines(r io.Reader) (all []string) {
	for line := range follow.Lines(r) {
		all = append(all, line)
	}
	return all
}

type stepper struct {
	data []byte
	step int
}

func (s *stepper) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.data[:min(s.step, len(s.data))])
	s.data = s.data[n:]
	return n, nil
}

//go:build unix

package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// need is enginetest.Need for one program, and returns where it is.
func need(t *testing.T, program string) string {
	t.Helper()
	enginetest.Need(t, program)
	path, err := exec.LookPath(program)
	must(t, err)
	return path
}

// forNodes runs a test on a node with the system's shell and coreutils, and on one with busybox and
// nothing else.
func forNodes(t *testing.T, test func(t *testing.T, node *enginetest.Shell)) {
	t.Helper()
	t.Run("sh", func(t *testing.T) {
		t.Parallel()
		test(t, &enginetest.Shell{Home: t.TempDir()})
	})
	t.Run("bash", func(t *testing.T) {
		t.Parallel()
		test(t, &enginetest.Shell{Home: t.TempDir(), Argv: []string{need(t, "bash")}})
	})
	t.Run("busybox", func(t *testing.T) {
		t.Parallel()
		test(t, busyboxNode(t))
	})
}

func busyboxNode(t *testing.T) *enginetest.Shell {
	t.Helper()
	busybox := need(t, "busybox")
	list, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	links := t.TempDir()
	for name := range strings.FieldsSeq(string(list)) {
		if err := os.Symlink(busybox, filepath.Join(links, name)); err != nil {
			t.Fatal(err)
		}
	}
	return &enginetest.Shell{Home: t.TempDir(), Argv: []string{busybox, "sh"}, Path: links}
}

// A tree describes files: content by name; "/" at the end of a name makes a folder, "-> x" as
// content a link to x.
type tree map[string]string

func (tr tree) write(t *testing.T, dir string) {
	t.Helper()
	for name, content := range tr {
		full := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			must(t, os.MkdirAll(full, 0o755))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(full), 0o755))
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			must(t, os.Symlink(target, full))
			continue
		}
		must(t, os.WriteFile(full, []byte(content), 0o644))
	}
}

// readTree is the reverse of write; folders appear only where they are empty.
func readTree(t *testing.T, dir string) tree {
	t.Helper()
	tr := make(tree)
	err := filepath.WalkDir(dir, func(full string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, full)
		switch {
		case e.IsDir():
			names, err := os.ReadDir(full)
			if err == nil && len(names) == 0 && name != "." {
				tr[name+"/"] = ""
			}
			return err
		case e.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(full)
			tr[name] = "-> " + target
			return err
		case e.Type().IsRegular():
			b, err := os.ReadFile(full)
			tr[name] = string(b)
			return err
		}
		tr[name] = "special"
		return nil
	})
	must(t, err)
	return tr
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func diffTree(t *testing.T, dir string, want tree) {
	t.Helper()
	if diff := cmp.Diff(want, readTree(t, dir)); diff != "" {
		t.Errorf("files in %s (-want +got):\n%s", dir, diff)
	}
}

func wantKind(t *testing.T, err error, kind fault.Kind, texts ...string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != kind {
		t.Fatalf("got error %v, want one of kind %s", err, kind)
	}
	for _, text := range texts {
		if !strings.Contains(f.Error()+"\n"+f.Hint, text) {
			t.Errorf("got error %q (hint %q), want it to hold %q", f.Error(), f.Hint, text)
		}
	}
}

// A counter counts commands.
type counter struct {
	ssh.Runner
	mu   sync.Mutex
	runs int
}

func (c *counter) Run(ctx context.Context, cmd ssh.Command) error {
	c.mu.Lock()
	c.runs++
	c.mu.Unlock()
	return c.Runner.Run(ctx, cmd)
}

// A breaker loses the connection of each command after so many bytes of its output.
type breaker struct {
	ssh.Runner
	after []int64       // one for each command; after these the connection holds
	then  func(run int) // called when one broke
	runs  int
	sent  atomic.Int64
	mu    sync.Mutex // guards runs
}

type cutWriter struct {
	w      io.Writer
	left   int64
	sent   *atomic.Int64
	cancel context.CancelFunc
}

var errCut = errors.New("cut by the test")

func (c *cutWriter) Write(p []byte) (int, error) {
	n := min(int64(len(p)), c.left)
	m, err := c.w.Write(p[:n])
	c.left -= int64(m)
	c.sent.Add(int64(m))
	if err == nil && m < len(p) {
		c.cancel()
		err = errCut
	}
	return m, err
}

func (b *breaker) Run(ctx context.Context, cmd ssh.Command) error {
	left := int64(1) << 62
	b.mu.Lock()
	if b.runs < len(b.after) {
		left = b.after[b.runs]
	}
	b.runs++
	run := b.runs
	b.mu.Unlock()
	ctx2, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &cutWriter{w: cmd.Stdout, left: left, sent: &b.sent, cancel: cancel}
	cmd.Stdout = w
	stdin, in := io.Pipe()
	source := cmd.Stdin
	go func() {
		_, err := io.Copy(in, source)
		in.CloseWithError(err)
	}()
	context.AfterFunc(ctx2, func() { stdin.CloseWithError(errCut) })
	cmd.Stdin = stdin
	err := b.Runner.Run(ctx2, cmd)
	if ctx.Err() == nil && ctx2.Err() != nil {
		if b.then != nil {
			b.then(run)
		}
		return &ssh.LostError{Err: errCut}
	}
	return err
}

// events collects what is reported.
type events struct {
	mu   sync.Mutex
	list []report.Event
}

func (e *events) sink(ev report.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, ev)
}

func (e *events) texts(kind report.Kind) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var b bytes.Buffer
	for _, ev := range e.list {
		if ev.Kind == kind {
			b.WriteString(ev.Text + "\n")
		}
	}
	return b.String()
}

func quickRetry() retry {
	return retry{first: time.Millisecond, max: 5 * time.Millisecond, patience: 100 * time.Millisecond}
}

func patientRetry() retry {
	return retry{first: time.Millisecond, max: 5 * time.Millisecond, patience: time.Minute}
}

// A runnerFunc stands for a node that does whatever the function does.
type runnerFunc func(cmd *ssh.Command) error

func (f runnerFunc) Run(_ context.Context, cmd ssh.Command) error { return f(&cmd) }

// A listenRunner calls change in each command as soon as the node has listed what there is, before
// any content travels.
type listenRunner struct {
	ssh.Runner
	change func(run int)
	runs   int
}

func (l *listenRunner) Run(ctx context.Context, cmd ssh.Command) error {
	l.runs++
	run := l.runs
	cmd.Stdout = &listener{w: cmd.Stdout, fn: func() { l.change(run) }}
	return l.Runner.Run(ctx, cmd)
}

type listener struct {
	w    io.Writer
	seen []byte
	fn   func()
}

func (l *listener) Write(p []byte) (int, error) {
	if l.fn != nil {
		l.seen = append(l.seen, p...)
		if bytes.Contains(l.seen, []byte("end 0\x00")) {
			l.fn()
			l.fn = nil
		}
	}
	return l.w.Write(p)
}

// A shortStdin is a node that gets half of what is sent to it and then the end.
type shortStdin struct{ ssh.Runner }

func (s *shortStdin) Run(ctx context.Context, cmd ssh.Command) error {
	b, err := io.ReadAll(cmd.Stdin)
	if err != nil {
		return err
	}
	cmd.Stdin = bytes.NewReader(b[:len(b)/2])
	return s.Runner.Run(ctx, cmd)
}

// A cutStdin is a node whose connection breaks when so many bytes were sent to it, one number for
// each command; after these the connection holds.
type cutStdin struct {
	ssh.Runner
	after []int64
	runs  int
}

func (c *cutStdin) Run(ctx context.Context, cmd ssh.Command) error {
	c.runs++
	if c.runs > len(c.after) {
		return c.Runner.Run(ctx, cmd)
	}
	cmd.Stdin = io.LimitReader(cmd.Stdin, c.after[c.runs-1])
	_ = c.Runner.Run(ctx, cmd)
	return &ssh.LostError{Err: errCut}
}

//go:build unix

package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A cutter is a Runner whose stdin ends after so many bytes, as that of a connection that breaks.
type cutter struct {
	ssh.Runner
	after int64
	sent  int64 // of the last run, when it was not cut
}

func (c *cutter) Run(ctx context.Context, cmd ssh.Command) error {
	in := cmd.Stdin
	r, w := io.Pipe()
	cmd.Stdin = r
	done := make(chan struct{})
	cut := false
	go func() {
		defer close(done)
		n, err := io.CopyN(w, in, c.after)
		cut = err == nil
		c.sent = n
		w.Close()
		if cut {
			io.Copy(io.Discard, in) // what the client still sends goes nowhere
		}
	}()
	out := cmd.Stdout
	cmd.Stdout = writerFunc(func(p []byte) (int, error) {
		return out.Write(p)
	})
	err := c.Runner.Run(ctx, cmd)
	r.Close()
	if closer, ok := in.(io.Closer); ok {
		closer.Close()
	}
	<-done
	if cut {
		return &ssh.LostError{Err: errors.New("cut")}
	}
	return err
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestCut breaks the connection at many points of a push; the workspace stays as it was or is as it
// should be, and the next push settles it.
func TestCut(t *testing.T) {
	t.Parallel()
	shells(t, func(t *testing.T, node *enginetest.Shell) {
		before := tree{"a": "old", "b/c": "old", "goes": "1", "odd\n": "old", "l": "-> a"}
		after := tree{"a": "new", "b/c": "new", "d/e": strings.Repeat("x", 5000), "odd\n": "new", "l": "-> b/c"}
		src := t.TempDir()
		fill := func(content tree) {
			list, err := os.ReadDir(src)
			must(t, err)
			for _, d := range list {
				must(t, os.RemoveAll(filepath.Join(src, d.Name())))
			}
			write(t, src, content)
		}
		req := Request{Source: src, Workspace: "~/w", Client: who}
		ws := filepath.Join(node.Home, "w")
		fill(before)
		mustPush(t, node, req)
		write(t, ws, tree{"theirs": "1"})
		kept := filepath.Join(t.TempDir(), "w") // with its record: cheaper than the push again
		must(t, exec.Command("cp", "-a", ws, kept).Run())
		reset := func() {
			must(t, os.RemoveAll(ws))
			must(t, exec.Command("cp", "-a", kept, ws).Run())
			fill(after)
		}
		with := func(t tree) tree {
			out := tree{"theirs": "1"}
			for k, v := range t {
				out[k] = v
			}
			return out
		}
		reset()
		whole := &cutter{Runner: node, after: 1 << 40}
		mustPush(t, whole, req)
		for i := range int64(25) {
			at := int64(i)
			switch {
			case i >= 22: // the archive's own end: everything has arrived
				at = whole.sent - (i-21)*300
			case i >= 5:
				at = rand.Int64N(whole.sent)
			}
			reset()
			_, err := Push(t.Context(), &cutter{Runner: node, after: at}, req)
			got := read(t, ws)
			if err != nil && fmt.Sprint(got) != fmt.Sprint(with(before)) && fmt.Sprint(got) != fmt.Sprint(with(after)) {
				t.Errorf("cut after %d of %d bytes: %v, and the workspace is %v", at, whole.sent, err, got)
			}
			if err == nil {
				wantTree(t, ws, with(after))
			} else if k := fault.KindOf(err); k != fault.Lost && k != fault.Transfer {
				t.Errorf("cut after %d bytes: %v, of kind %s", at, err, k)
			}
			quiet(t, ws)
			mustPush(t, node, req)
			wantTree(t, ws, with(after))
		}
	})
}

// withWords returns a node whose shell finds the given programs first.
func withWords(t *testing.T, node *enginetest.Shell, programs map[string]string) *enginetest.Shell {
	t.Helper()
	bin := t.TempDir()
	path := node.Path
	if path == "" {
		path = os.Getenv("PATH")
	}
	for name, script := range programs {
		must(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\nPATH="+ssh.Quote(path)+"\n"+script), 0o755))
	}
	n := *node
	n.Path = bin + ":" + path
	return &n
}

// TestCrash kills the node's side while it applies, at every mv and rm in turn, without giving it
// a chance to clean up; what was placed stays known.
func TestCrash(t *testing.T) {
	t.Parallel()
	src, node := t.TempDir(), &enginetest.Shell{Home: t.TempDir()}
	ws := filepath.Join(node.Home, "w")
	req := Request{Source: src, Workspace: "~/w", Client: who}
	for n := 1; ; n++ {
		must(t, os.RemoveAll(ws))
		must(t, os.RemoveAll(src))
		write(t, src, tree{"a": "old", "goes": "1", "b/x": "1"})
		mustPush(t, node, req)
		write(t, ws, tree{"theirs": "1"})
		must(t, os.RemoveAll(src))
		write(t, src, tree{"a": "new", "c/d": "new", "odd\n": "1"})
		count := filepath.Join(t.TempDir(), "count")
		die := func(name string) string {
			return fmt.Sprintf("case \"$*\" in *.bifrost/lock*|*stage) exec %s \"$@\";; esac\necho x >>%s\n[ $(wc -l <%s) -lt %d ] || { kill -9 $PPID; exit 1; }\nexec %s \"$@\"\n", name, count, count, n, name)
		}
		crashing := withWords(t, node, map[string]string{"mv": die("mv"), "rm": die("rm")})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err := Push(ctx, &hasty{crashing}, req)
		cancel()
		data, _ := os.ReadFile(count)
		if len(data)/2 < n {
			must(t, err)
			if n < 5 {
				t.Errorf("there were only %d points to crash at", n)
			}
			return
		}
		if err == nil && n < 5 {
			t.Errorf("crash %d: no error", n)
		}
		// The tree changes again before the next push: what the crashed one placed must go.
		must(t, os.RemoveAll(filepath.Join(src, "c")))
		write(t, src, tree{"e": "1"})
		mustPush(t, node, req)
		wantTree(t, ws, tree{"a": "new", "odd\n": "1", "e": "1", "theirs": "1"})
		quiet(t, ws)
		if t.Failed() {
			t.Fatalf("after crash %d", n)
		}
	}
}

// A hasty runner is a Shell whose end is the end of the process, as on a real connection, even when
// nobody closes its stdin.
type hasty struct{ *enginetest.Shell }

func (h *hasty) Run(ctx context.Context, cmd ssh.Command) error {
	c := exec.CommandContext(ctx, "/bin/sh", "-c", cmd.Script)
	c.Dir, c.Env = h.Home, []string{"HOME=" + h.Home, "PATH=" + h.Path}
	c.Stdout, c.Stderr = cmd.Stdout, cmd.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	go func() { // ends when Push closes its end
		io.Copy(in, cmd.Stdin)
		in.Close()
	}()
	err = c.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &ssh.ExitError{Code: 137, Signal: "KILL"}
	}
	return err
}

// A gate is a Runner that holds back what the client sends until it is opened.
type gate struct {
	ssh.Runner
	open chan struct{}
	held chan struct{} // closed when the node has answered, so it holds the lock
}

func (g *gate) Run(ctx context.Context, cmd ssh.Command) error {
	in, out := cmd.Stdin, cmd.Stdout
	r, w := io.Pipe()
	cmd.Stdin = r
	go func() {
		<-g.open
		_, err := io.Copy(w, in)
		w.CloseWithError(err)
	}()
	var once sync.Once
	cmd.Stdout = writerFunc(func(p []byte) (int, error) {
		once.Do(func() { close(g.held) })
		return out.Write(p)
	})
	return g.Runner.Run(ctx, cmd)
}

func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	shells(t, func(t *testing.T, node *enginetest.Shell) {
		src := t.TempDir()
		write(t, src, tree{"a": "1"})
		req := Request{Source: src, Workspace: "~/w", Client: who}
		g := &gate{node, make(chan struct{}), make(chan struct{})}
		first := make(chan error, 1)
		go func() {
			_, err := Push(t.Context(), g, req)
			first <- err
		}()
		<-g.held
		second := req
		second.Client = "eve@desk 1"
		err := pushErr(t, node, second)
		if err.Kind != fault.Conflict || !strings.Contains(err.Error(), "dana@laptop since 20") {
			t.Errorf("second: got %v (%s)", err, err.Kind)
		}
		close(g.open)
		if err := <-first; err != nil {
			t.Errorf("first: %v", err)
		}
		wantTree(t, filepath.Join(node.Home, "w"), tree{"a": "1"})
		quiet(t, filepath.Join(node.Home, "w"))
	})
}

// TestNextAttempt pushes while the node still waits for an attempt whose connection is dead.
func TestNextAttempt(t *testing.T) {
	t.Parallel()
	shells(t, func(t *testing.T, node *enginetest.Shell) {
		src := t.TempDir()
		write(t, src, tree{"a": "1"})
		req := Request{Source: src, Workspace: "~/w", Client: who, Attempt: "mine"}
		g := &gate{node, make(chan struct{}), make(chan struct{})}
		first := make(chan error, 1)
		go func() {
			_, err := Push(t.Context(), g, req)
			first <- err
		}()
		<-g.held
		for _, other := range []string{"", "other"} {
			second := req
			second.Attempt = other
			if err := pushErr(t, node, second); err.Kind != fault.Conflict || !strings.Contains(err.Error(), "dana@laptop since 20") {
				t.Errorf("attempt %q: got %v (%s)", other, err, err.Kind)
			}
		}
		mustPush(t, node, req)
		close(g.open)
		if err := <-first; err == nil {
			t.Error("the attempt that was ended succeeded")
		}
		wantTree(t, filepath.Join(node.Home, "w"), tree{"a": "1"})
		quiet(t, filepath.Join(node.Home, "w"))
	})
}

func TestStaleLock(t *testing.T) {
	t.Parallel()
	bootID, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	boot := strings.TrimSpace(string(bootID))
	host, err := os.Hostname()
	must(t, err)
	now := time.Now().Unix()
	live := exec.Command("sleep", "60")
	must(t, live.Start())
	defer live.Wait()
	defer live.Process.Kill()
	shells(t, func(t *testing.T, node *enginetest.Shell) {
		src := t.TempDir()
		write(t, src, tree{"a": "1"})
		for i, tt := range []struct {
			name, lock string
			stale      bool
		}{
			{"process gone", fmt.Sprintf("4194303 1 %s %s %d eve@desk", boot, host, now), true},
			{"process number used again", fmt.Sprintf("%d 1 %s %s %d eve@desk", live.Process.Pid, boot, host, now), true},
			{"rebooted", fmt.Sprintf("1 1 other %s %d eve@desk", host, now), true},
			{"another machine, now", fmt.Sprintf("1 1 other elsewhere %d eve@desk", now), false},
			{"another machine, long ago", fmt.Sprintf("1 1 other elsewhere %d eve@desk", now-5000), true},
			{"nonsense", "x", true},
		} {
			ws := filepath.Join(node.Home, fmt.Sprint(i))
			must(t, os.MkdirAll(filepath.Join(ws, ".bifrost"), 0o755))
			must(t, os.Symlink(tt.lock, filepath.Join(ws, ".bifrost/lock")))
			_, err := Push(t.Context(), node, Request{Source: src, Workspace: ws, Client: who})
			if tt.stale && err != nil || !tt.stale && fault.KindOf(err) != fault.Conflict {
				t.Errorf("%s: got %v", tt.name, err)
			}
		}
	})
}

// TestManyAtOnce: whoever is told that the push is done finds it done.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	node := &enginetest.Shell{Home: t.TempDir()}
	src := t.TempDir()
	write(t, src, tree{"a": "1", "b/c": "1"})
	must(t, os.MkdirAll(filepath.Join(node.Home, "w/.bifrost"), 0o755))
	must(t, os.Symlink("4194303 1 x x 1 eve", filepath.Join(node.Home, "w/.bifrost/lock")))
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 8 {
		wg.Go(func() {
			_, err := Push(t.Context(), node, Request{Source: src, Workspace: "~/w", Client: who})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case fault.KindOf(err) != fault.Conflict:
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if won == 0 {
		t.Error("nobody pushed")
	}
	wantTree(t, filepath.Join(node.Home, "w"), tree{"a": "1", "b/c": "1"})
	quiet(t, filepath.Join(node.Home, "w"))
}

func TestCancel(t *testing.T) {
	t.Parallel()
	shells(t, func(t *testing.T, node *enginetest.Shell) {
		src := t.TempDir()
		write(t, src, tree{"a": "1"})
		ctx, cancel := context.WithCancelCause(t.Context())
		g := &gate{node, make(chan struct{}), make(chan struct{})}
		stop := errors.New("the user has had enough")
		go func() {
			<-g.held
			cancel(stop)
			close(g.open)
		}()
		if _, err := Push(ctx, g, Request{Source: src, Workspace: "~/w", Client: who}); err == nil || !errors.Is(err, stop) {
			t.Errorf("got %v, want the context's cause", err)
		}
		mustPush(t, node, Request{Source: src, Workspace: "~/w"})
		quiet(t, filepath.Join(node.Home, "w"))
	})
}

// TestRecordDamaged: the node's record is lost or nonsense; nothing of unknown origin is deleted.
func TestRecordDamaged(t *testing.T) {
	t.Parallel()
	for _, damage := range []string{"", "nonsense\n", manifestHeader + "\nd ./../../x\n", manifestHeader + "\nf 644 1 x"} {
		node := &enginetest.Shell{Home: t.TempDir()}
		src, ws := t.TempDir(), filepath.Join(node.Home, "w")
		write(t, src, tree{"a": "1", "b": "1"})
		req := Request{Source: src, Workspace: "~/w", Cache: t.TempDir()}
		mustPush(t, node, req)
		record := filepath.Join(ws, ".bifrost/manifest")
		if damage == "" {
			must(t, os.Remove(record))
		} else {
			must(t, os.WriteFile(record, []byte(damage), 0o644))
		}
		must(t, os.WriteFile(filepath.Join(ws, "a"), []byte("2"), 0o644))
		must(t, os.Remove(filepath.Join(src, "b")))
		mustPush(t, node, req)
		wantTree(t, ws, tree{"a": "1", "b": "1"})
		quiet(t, ws)
	}
}

func TestMissingPrograms(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	write(t, src, tree{"a": "1"})
	node := busyboxNode(t)
	node.Argv = nil // busybox's own shell finds its programs anywhere
	must(t, os.Remove(filepath.Join(node.Path, "tar")))
	if err := pushErr(t, node, Request{Source: src, Workspace: "~/w"}); err.Kind != fault.Invalid || !strings.Contains(err.Error(), "the node has no tar") {
		t.Errorf("got %v (%s)", err, err.Kind)
	}
}

// TestFileChanges: a file that is written to while it travels arrives whole or not at all.
func TestFileChanges(t *testing.T) {
	t.Parallel()
	node := &enginetest.Shell{Home: t.TempDir()}
	src, ws := t.TempDir(), filepath.Join(node.Home, "w")
	write(t, src, tree{"a": "first", "b": "1"})
	req := Request{Source: src, Workspace: "~/w"}
	mustPush(t, node, req)
	must(t, os.WriteFile(filepath.Join(src, "a"), []byte("other"), 0o644))
	tries := 0
	changing := runnerFunc(func(ctx context.Context, cmd ssh.Command) error {
		tries++
		in := cmd.Stdin
		cmd.Stdin = readerFunc(func(p []byte) (int, error) {
			n, err := in.Read(p)
			if bytes.HasPrefix(p[:n], []byte("is ")) && tries < 3 { // all has been read to be named, and nothing to be sent
				if err := os.WriteFile(filepath.Join(src, "a"), []byte(fmt.Sprintf("%05d", tries)), 0o644); err != nil {
					return 0, err
				}
			}
			return n, err
		})
		return node.Run(ctx, cmd)
	})
	mustPush(t, changing, req)
	if tries != 3 {
		t.Errorf("%d attempts, want 3", tries)
	}
	wantTree(t, ws, read(t, src))
	quiet(t, ws)
}

type runnerFunc func(ctx context.Context, cmd ssh.Command) error

func (f runnerFunc) Run(ctx context.Context, cmd ssh.Command) error { return f(ctx, cmd) }

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

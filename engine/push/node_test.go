//go:build unix

package push

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
)

// servers runs f on real SSH servers, each with its userland and its kind of user.
func servers(t *testing.T, f func(t *testing.T, node *enginetest.Server)) {
	t.Helper()
	for _, tt := range []struct {
		name  string
		start func(t *testing.T) *enginetest.Server
	}{
		{"openssh", func(t *testing.T) *enginetest.Server {
			return enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Plain})
		}},
		{"openssh fish", func(t *testing.T) *enginetest.Server {
			return enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Fish})
		}},
		{"openssh chatty", func(t *testing.T) *enginetest.Server {
			return enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Chatty})
		}},
		{"openssh busybox", func(t *testing.T) *enginetest.Server {
			return enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Root, Busybox: true})
		}},
		{"dropbear", func(t *testing.T) *enginetest.Server {
			return enginetest.Dropbear(t, enginetest.Options{User: enginetest.Root})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			enginetest.Need(t, "root")
			f(t, tt.start(t))
		})
	}
}

func TestServers(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, s *enginetest.Server) {
		node := s.Client(t)
		src := t.TempDir()
		want := tree{longName(): "long", "big": strings.Repeat("0123456789abcdef", 300_000)}
		for k, v := range names {
			want[k] = v
		}
		write(t, src, want)
		must(t, os.Chmod(filepath.Join(src, "plain.txt"), 0o755))
		ws := filepath.Join(s.Home, "w s", "it's")
		req := Request{Source: src, Workspace: "~/w s/it's", Cache: t.TempDir()}
		res := mustPush(t, node, req)
		if res.Workspace != ws || res.Home != s.Home {
			t.Logf("workspace %q, home %q; on this machine %q", res.Workspace, res.Home, ws)
		}
		wantTree(t, ws, want)
		quiet(t, ws)
		if info, err := os.Stat(filepath.Join(ws, "plain.txt")); err != nil || info.Mode() != 0o755 {
			t.Errorf("mode of plain.txt: %v, %v", info.Mode(), err)
		}
		delete(want, "plain.txt")
		must(t, os.Remove(filepath.Join(src, "plain.txt")))
		want["new"] = "1"
		write(t, src, tree{"new": "1"})
		must(t, os.WriteFile(filepath.Join(ws, "big"), []byte("spoilt"), 0o644))
		res = mustPush(t, node, req)
		if res.Sent != 2 || res.Deleted != 1 {
			t.Errorf("second push: got %+v, want 2 sent and 1 deleted", res)
		}
		wantTree(t, ws, want)
		if res = mustPush(t, node, req); res.Sent+res.Deleted != 0 {
			t.Errorf("third push: got %+v, want nothing done", res)
		}
		quiet(t, ws)
	})
}

// TestFullDisk needs a file system that is small.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	enginetest.Need(t, "root")
	shells(t, func(t *testing.T, node *enginetest.Shell) {
		ws, src := filepath.Join(node.Home, "w"), t.TempDir()
		must(t, os.Mkdir(ws, 0o755))
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", ws).CombinedOutput(); err != nil {
			t.Skipf("a tmpfs cannot be mounted here: %v: %s", err, out)
		}
		t.Cleanup(func() { exec.Command("umount", ws).Run() })
		write(t, src, tree{"a": "1"})
		req := Request{Source: src, Workspace: "~/w"}
		mustPush(t, node, req)
		write(t, src, tree{"b": strings.Repeat("x", 2<<20)})
		must(t, os.WriteFile(filepath.Join(src, "a"), []byte("2"), 0o644))
		err := pushErr(t, node, req)
		if err.Kind != fault.DiskFull || !strings.Contains(err.Error(), ws+" has ") || !strings.Contains(err.Error(), "1024 KiB") {
			t.Errorf("got %v (%s), want the folder and the numbers of df", err, err.Kind)
		}
		wantTree(t, ws, tree{"a": "1"})
		quiet(t, ws)
		must(t, os.Remove(filepath.Join(src, "b")))
		mustPush(t, node, req)
		wantTree(t, ws, tree{"a": "2"})
		// Full to the last byte: not even the lock's folder fits.
		fill, ferr := os.Create(filepath.Join(ws, "fill"))
		must(t, ferr)
		for {
			if _, err := fill.Write(make([]byte, 4096)); err != nil {
				break
			}
		}
		fill.Close()
		write(t, src, tree{"b": "1"})
		if err := pushErr(t, node, req); err.Kind != fault.DiskFull {
			t.Errorf("to the last byte: got %v (%s)", err, err.Kind)
		}
		must(t, os.Remove(filepath.Join(ws, "fill")))
		mustPush(t, node, req)
		wantTree(t, ws, tree{"a": "2", "b": "1"})
	})
}

// TestReadOnlyFolder: a job in a container left a folder that belongs to another user.
func TestReadOnlyFolder(t *testing.T) {
	t.Parallel()
	enginetest.Need(t, "root")
	s := enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Plain})
	node, src, ws := s.Client(t), t.TempDir(), filepath.Join(s.Home, "w")
	write(t, src, tree{"a": "1", "d/b": "1"})
	req := Request{Source: src, Workspace: "~/w"}
	mustPush(t, node, req)
	must(t, os.Chown(filepath.Join(ws, "d"), 0, 0))
	must(t, os.WriteFile(filepath.Join(src, "a"), []byte("2"), 0o644))
	must(t, os.WriteFile(filepath.Join(src, "d/b"), []byte("2"), 0o644))
	err := pushErr(t, node, req)
	if err.Kind != fault.Conflict || !strings.Contains(err.Error(), "the folder d is not writable") {
		t.Errorf("got %v (%s)", err, err.Kind)
	}
	wantTree(t, ws, tree{"a": "1", "d/b": "1"})
	err = pushErr(t, node, Request{Source: src, Workspace: "/usr/lib/w"})
	if err.Kind != fault.Invalid || !strings.Contains(err.Error(), "ermission denied") {
		t.Errorf("not writable: got %v (%s)", err, err.Kind)
	}
}

func TestLargeTree(t *testing.T) {
	t.Parallel()
	shells(t, func(t *testing.T, node *enginetest.Shell) {
		src := t.TempDir()
		all := tree{}
		for i := range 5000 {
			all[fmt.Sprintf("pkg%d/mod%d/file%d.py", i%10, i/10%25, i)] = fmt.Sprintf("content %d", i)
		}
		write(t, src, all)
		c := &counter{Runner: node}
		req := Request{Source: src, Workspace: "~/w", Cache: t.TempDir()}
		if res := mustPush(t, c, req); res.Sent != 5000 {
			t.Errorf("first push: sent %d, want 5000", res.Sent)
		}
		ws := filepath.Join(node.Home, "w")
		all["pkg3/new"], all["pkg1/mod0/file1.py"] = "new", "changed"
		write(t, src, tree{"pkg3/new": "new", "pkg1/mod0/file1.py": "changed"})
		must(t, os.Remove(filepath.Join(src, "pkg2/mod0/file2.py")))
		delete(all, "pkg2/mod0/file2.py")
		must(t, os.WriteFile(filepath.Join(ws, "pkg3/mod0/file3.py"), []byte("job"), 0o644))
		c.runs.Store(0)
		res := mustPush(t, c, req)
		if n := c.runs.Load(); n != 1 || res.Sent != 3 || res.Deleted != 1 {
			t.Errorf("second push: %d commands, %d sent, %d deleted; want 1, 3, 1", n, res.Sent, res.Deleted)
		}
		wantTree(t, ws, all)
	})
}

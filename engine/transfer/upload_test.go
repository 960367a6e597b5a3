//go:build unix

package transfer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

func TestUploadFollowsCp(t *testing.T) {
	t.Parallel()
	here := tree{"data/a": "A", "data/sub/b": "B", "data/empty/": "", "one.txt": "1"}
	under := func(dir string) tree {
		return tree{dir + "a": "A", dir + "sub/b": "B", dir + "empty/": ""}
	}
	plus := func(a tree, name, content string) tree {
		a[name] = content
		return a
	}
	tests := []struct {
		local, remote string
		before, want  tree // in the remote folder
	}{
		{"data", "new", nil, under("new/")},
		{"./data", "./new", nil, under("new/")},
		{"data", "new/", nil, under("new/data/")},
		{"data", "x/y/new", nil, under("x/y/new/")},
		{"data", "x/y/", nil, under("x/y/data/")},
		{"data", "old", tree{"old/x": "X"}, plus(under("old/data/"), "old/x", "X")},
		{"data", "", tree{"x": "X"}, plus(under("data/"), "x", "X")},
		{"data", ".", tree{"data/a": "older", "data/x": "X"}, plus(under("data/"), "data/x", "X")},
		{"data/", "new", nil, under("new/")},
		{"data/", "new/", nil, under("new/")},
		{"data/.", "new", nil, under("new/")},
		{"data/", "old", tree{"old/x": "X", "old/sub/c": "C"}, plus(plus(under("old/"), "old/x", "X"), "old/sub/c", "C")},
		{"data/", ".", tree{"x": "X"}, plus(under(""), "x", "X")},
		{"one.txt", "new", nil, tree{"new": "1"}},
		{"one.txt", "new", tree{"new": "older"}, tree{"new": "1"}},
		{"one.txt", "new/", nil, tree{"new/one.txt": "1"}},
		{"one.txt", "old", tree{"old/x": "X"}, tree{"old/x": "X", "old/one.txt": "1"}},
		{"one.txt", "", tree{"x": "X"}, tree{"x": "X", "one.txt": "1"}},
		{"data/sub/b", "x/../y/z", nil, tree{"y/z": "B"}},
		{"one.txt", "l", tree{"l": "-> f", "f": "F"}, tree{"l": "1", "f": "F"}},
	}
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		dir := t.TempDir()
		here.write(t, dir)
		for i, tt := range tests {
			ws := fmt.Sprintf("w s%d", i)
			must(t, os.Mkdir(filepath.Join(node.Home, ws), 0o755))
			tt.before.write(t, filepath.Join(node.Home, ws))
			runner := &counter{Runner: node}
			_, err := Upload(t.Context(), runner, UploadRequest{Local: tt.local, LocalDir: dir, Remote: tt.remote, RemoteDir: "~/" + ws})
			if err != nil || runner.runs != 1 {
				t.Errorf("upload %q to %q: %v in %d commands", tt.local, tt.remote, err, runner.runs)
				continue
			}
			t.Run(fmt.Sprintf("%q to %q", tt.local, tt.remote), func(t *testing.T) { diffTree(t, filepath.Join(node.Home, ws), tt.want) })
		}
	})
}

func TestUploadOddNames(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		node.Home = filepath.Join(node.Home, "ho me'\n\"$x")
		must(t, os.Mkdir(node.Home, 0o755))
		dir := t.TempDir()
		oddNames.write(t, filepath.Join(dir, "s rc\n'"))
		for range 2 { // as a new folder, then into the one that is there
			res, err := Upload(t.Context(), node, UploadRequest{Local: "s rc\n'/", LocalDir: dir, Remote: "to\n'"})
			must(t, err)
			if want := node.Home + "/to\n'"; res.Target != want {
				t.Errorf("got target %q, want %q", res.Target, want)
			}
			diffTree(t, node.Home, func() tree {
				want := make(tree)
				for name, content := range oddNames {
					want["to\n'/"+name] = content
				}
				return want
			}())
		}
		for name, content := range oddNames {
			if strings.HasSuffix(name, "/") || strings.HasPrefix(content, "-> ") {
				continue
			}
			_, err := Upload(t.Context(), node, UploadRequest{Local: "s rc\n'/" + name, LocalDir: dir, Remote: "one/"})
			must(t, err)
			got, err := os.ReadFile(filepath.Join(node.Home, "one", filepath.Base(name)))
			if err != nil || string(got) != content {
				t.Errorf("%q: got %q, %v; want %q", name, got, err, content)
			}
		}
	})
}

func TestUploadKeepsModesTimesAndLinks(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		dir := t.TempDir()
		src := filepath.Join(dir, "s")
		tree{"run.sh": "#!", "d/read": "x", "in": "-> d/read", "abs": "-> " + src + "/d", "dang": "-> none", strings.Repeat("long", 50) + "/" + strings.Repeat("name", 60): "L"}.write(t, src)
		must(t, os.Chmod(filepath.Join(src, "run.sh"), 0o755))
		must(t, os.Chmod(filepath.Join(src, "d/read"), 0o400))
		must(t, os.Chmod(filepath.Join(src, "d"), 0o700))
		must(t, syscall.Mkfifo(filepath.Join(src, "pipe"), 0o600))
		then := time.Unix(1_000_000_000, 0)
		must(t, os.Chtimes(filepath.Join(src, "run.sh"), then, then))
		var ev events
		for _, remote := range []string{"to", "have/"} {
			must(t, os.MkdirAll(filepath.Join(node.Home, "have/s"), 0o755))
			_, err := Upload(t.Context(), node, UploadRequest{Local: "s", LocalDir: dir, Remote: remote, Report: ev.sink})
			must(t, err)
		}
		for _, to := range []string{"to", "have/s"} {
			for name, want := range map[string]os.FileMode{"run.sh": 0o755, "d/read": 0o400, "d": 0o700} {
				info, err := os.Stat(filepath.Join(node.Home, to, name))
				must(t, err)
				if info.Mode().Perm() != want || name == "run.sh" && !info.ModTime().Equal(then) {
					t.Errorf("%s: got mode %o, time %v; want %o", name, info.Mode().Perm(), info.ModTime(), want)
				}
			}
			diffTree(t, filepath.Join(node.Home, to), tree{
				"run.sh": "#!", "d/read": "x", "in": "-> d/read", "abs": "-> d", "dang": "-> none", strings.Repeat("long", 50) + "/" + strings.Repeat("name", 60): "L",
			})
		}
		if got := ev.texts(report.Warning); !strings.Contains(got, "pipe is neither") {
			t.Errorf("got warnings %q", got)
		}
		for _, target := range []string{"/etc/passwd", "../x", "d/../../x"} {
			must(t, os.Symlink(target, filepath.Join(src, "out")))
			_, err := Upload(t.Context(), node, UploadRequest{Local: "s", LocalDir: dir, Remote: "refused"})
			wantKind(t, err, fault.Invalid, src+"/out", target)
			must(t, os.Remove(filepath.Join(src, "out")))
		}
		if _, err := os.Lstat(filepath.Join(node.Home, "refused")); err == nil {
			t.Error("a refused upload arrived")
		}
	})
}

func TestUploadThingsInTheWay(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		dir := t.TempDir()
		tree{"f": "F", "s/a": "A", "s/d/x": "X"}.write(t, dir)
		before := tree{"file": "old", "folder/f/": "", "m1/s/a/": "", "m2/s/d": "file"}
		before.write(t, node.Home)
		for _, tt := range []struct{ local, remote, want string }{
			{"s", "file", "a file is there where a folder must go"},
			{"f", "folder", "a folder is there where a file must go"},
			{"f", "file/x", "file"},
			{"s", "m1", "a folder is there where a file must go"},
			{"s", "m2", "a file is there where a folder must go"},
		} {
			_, err := Upload(t.Context(), node, UploadRequest{Local: tt.local, LocalDir: dir, Remote: tt.remote})
			wantKind(t, err, fault.Transfer, tt.want)
		}
		before["m1/s/d/x"] = "X" // what had room is there
		got := readTree(t, node.Home)
		delete(got, "m1/s/d/x")
		delete(before, "m1/s/d/x")
		if len(got) != len(before) {
			t.Errorf("got %v on the node, want %v", got, before)
		}

		_, err := Upload(t.Context(), node, UploadRequest{Local: "none", LocalDir: dir, Remote: "x"})
		wantKind(t, err, fault.NotFound, dir+"/none", dir)
		_, err = Upload(t.Context(), node, UploadRequest{Local: "f/", LocalDir: dir, Remote: "x"})
		wantKind(t, err, fault.Invalid, "is a file")
	})
}

// What does not arrive whole gets no name, and leaves nothing behind.
func TestUploadThatIsCut(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		dir := t.TempDir()
		want := tree{"a": noise(1, 200<<10), "b": "B", "d/c": noise(2, 50<<10)}
		want.write(t, filepath.Join(dir, "s"))
		for range 10 {
			short := &cutStdin{Runner: node, after: []int64{rand.Int64N(250 << 10), rand.Int64N(250 << 10)}}
			_, err := upload(t.Context(), short, UploadRequest{Local: "s", LocalDir: dir, Remote: "to"}, retry{patience: 1})
			wantKind(t, err, fault.Lost)
			diffTree(t, node.Home, tree{})
		}
		var ev events
		short := &cutStdin{Runner: node, after: []int64{0, 100 << 10, 230 << 10}}
		res, err := upload(t.Context(), short, UploadRequest{Local: "s", LocalDir: dir, Remote: "to", Report: ev.sink}, patientRetry())
		must(t, err)
		if res.Files != 3 || res.Bytes != 250<<10+1 {
			t.Errorf("got %+v, want 3 files", res)
		}
		diffTree(t, filepath.Join(node.Home, "to"), want)
		if n := ev.texts(report.Notice); !strings.Contains(n, "reconnecting") || !strings.Contains(n, "reconnected") {
			t.Errorf("got notices %q", n)
		}
	})
}

// The answer to a finished upload may be lost. The next attempt must not put the folder into itself.
func TestUploadWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	node := &enginetest.Shell{Home: t.TempDir()}
	dir := t.TempDir()
	tree{"s/a": "A"}.write(t, dir)
	runs := 0
	late := runnerFunc(func(cmd *ssh.Command) error {
		err := node.Run(t.Context(), *cmd)
		if runs++; runs == 1 && err == nil {
			return &ssh.LostError{Err: errors.New("reset")}
		}
		return err
	})
	_, err := upload(t.Context(), late, UploadRequest{Local: "s", LocalDir: dir, Remote: "to"}, patientRetry())
	must(t, err)
	if runs != 2 {
		t.Errorf("got %d commands, want 2", runs)
	}
	diffTree(t, node.Home, tree{"to/a": "A"})
}

func TestUploadOfAChangingFile(t *testing.T) {
	t.Parallel()
	node := &enginetest.Shell{Home: t.TempDir()}
	dir := t.TempDir()
	tree{"f": noise(1, 1000)}.write(t, dir)
	u := &sending{runner: node, req: UploadRequest{Local: "f", LocalDir: dir}, remote: resolveRemote("", "to")}
	must(t, u.collect())
	must(t, os.WriteFile(filepath.Join(dir, "f"), []byte("short"), 0o600))
	wantKind(t, u.attempts(t.Context(), newCrew(t.Context(), u.width, node), quickRetry()), fault.Transfer, "it changed while it was sent")
	must(t, os.WriteFile(filepath.Join(dir, "f"), make([]byte, 5000), 0o600))
	wantKind(t, u.attempts(t.Context(), newCrew(t.Context(), u.width, node), quickRetry()), fault.Transfer, "it changed while it was sent")
	diffTree(t, node.Home, tree{})
}

func TestUploadManyFiles(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		dir := t.TempDir()
		want := make(tree)
		for i := range 2000 {
			want[fmt.Sprintf("d%d/f%d", i%20, i)] = fmt.Sprint(i)
		}
		want.write(t, filepath.Join(dir, "s"))
		must(t, os.MkdirAll(filepath.Join(node.Home, "to/d3"), 0o755))
		runner := &counter{Runner: node}
		res, err := Upload(t.Context(), runner, UploadRequest{Local: "s/", LocalDir: dir, Remote: "to"})
		must(t, err)
		if res.Files != 2000 || runner.runs != 1 {
			t.Errorf("got %+v in %d commands, want 2000 files in 1", res, runner.runs)
		}
		diffTree(t, filepath.Join(node.Home, "to"), want)
	})
}

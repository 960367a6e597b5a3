//go:build unix

package transfer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/report"
)

func TestDownloadFollowsCp(t *testing.T) {
	t.Parallel()
	remote := tree{"ws/results/a": "A", "ws/results/sub/b": "B", "ws/one.txt": "1", "top": "T"}
	inside := tree{"a": "A", "sub/b": "B"}
	under := func(dir string, tr tree) tree {
		out := make(tree)
		for name, content := range tr {
			out[dir+name] = content
		}
		return out
	}
	plus := func(a, b tree) tree {
		out := under("", a)
		for name, content := range b {
			out[name] = content
		}
		return out
	}
	tests := []struct {
		remote, local string
		before, want  tree
	}{
		// A folder.
		{"results", "new", nil, under("new/", inside)},
		{"./results", "new", nil, under("new/", inside)},
		{"foo/../results", "new", nil, under("new/", inside)},
		{"~/ws/results", "new", nil, under("new/", inside)},
		{"results", "new/", nil, under("new/results/", inside)},
		{"results", "deep/er/new", nil, under("deep/er/new/", inside)},
		{"results", "deep/er/", nil, under("deep/er/results/", inside)},
		{"results", "old", tree{"old/x": "X"}, plus(under("old/results/", inside), tree{"old/x": "X"})},
		{"results", "old/", tree{"old/x": "X"}, plus(under("old/results/", inside), tree{"old/x": "X"})},
		{"results", ".", nil, under("results/", inside)},
		{"results", "", nil, under("results/", inside)},
		{"results", "./", nil, under("results/", inside)},
		{"results", ".", tree{"results/a": "old", "results/x": "X"}, plus(under("results/", inside), tree{"results/x": "X"})},
		// Its contents.
		{"results/", "new", nil, under("new/", inside)},
		{"results/", "new/", nil, under("new/", inside)},
		{"./results/", "./new/", nil, under("new/", inside)},
		{"results/", "old", tree{"old/x": "X"}, plus(under("old/", inside), tree{"old/x": "X"})},
		{"results/", ".", tree{"x": "X"}, plus(inside, tree{"x": "X"})},
		{"results/.", "new", nil, under("new/", inside)},
		{"", "new", nil, plus(under("new/results/", inside), tree{"new/one.txt": "1"})},
		{".", "new", nil, plus(under("new/results/", inside), tree{"new/one.txt": "1"})},
		{"./", "old/", tree{"old/": ""}, plus(under("old/results/", inside), tree{"old/one.txt": "1"})},
		// A file.
		{"one.txt", "new", nil, tree{"new": "1"}},
		{"./one.txt", "new", tree{"new": "old"}, tree{"new": "1"}},
		{"one.txt", "new/", nil, tree{"new/one.txt": "1"}},
		{"one.txt", "deep/er/new", nil, tree{"deep/er/new": "1"}},
		{"one.txt", "old", tree{"old/x": "X"}, tree{"old/x": "X", "old/one.txt": "1"}},
		{"one.txt", "./", nil, tree{"one.txt": "1"}},
		{"one.txt", "", nil, tree{"one.txt": "1"}},
		{"results/sub/b", ".", nil, tree{"b": "B"}},
		{"~/top", "new", nil, tree{"new": "T"}},
		{"../top", "new", nil, tree{"new": "T"}},
	}
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		remote.write(t, node.Home)
		for _, tt := range tests {
			dir := t.TempDir()
			tt.before.write(t, dir)
			_, err := Download(t.Context(), node, Request{Remote: tt.remote, RemoteDir: "~/ws", Local: tt.local, LocalDir: dir})
			if err != nil {
				t.Errorf("download %q to %q: %v", tt.remote, tt.local, err)
				continue
			}
			t.Run(fmt.Sprintf("%q to %q", tt.remote, tt.local), func(t *testing.T) { diffTree(t, dir, tt.want) })
		}
	})
}

func TestDownloadAbsolute(t *testing.T) {
	t.Parallel()
	node := &enginetest.Shell{Home: t.TempDir()}
	tree{"x y/f": "F"}.write(t, node.Home)
	dir := t.TempDir()
	res, err := Download(t.Context(), node, Request{Remote: filepath.Join(node.Home, "x y"), RemoteDir: "/", Local: filepath.Join(dir, "to"), LocalDir: "/nowhere"})
	must(t, err)
	if want := filepath.Join(dir, "to"); res.Target != want || res.Files != 1 || res.Bytes != 1 {
		t.Errorf("got %+v, want one file of one byte in %s", res, want)
	}
	diffTree(t, dir, tree{"to/f": "F"})
}

var oddNames = tree{
	"sp ace": "1", "quo'te": "2", `dou"ble`: "3", "new\nline": "4", "a\\nb": "5", "back\\slash\\": "6",
	"bad\xff\xfe": "7", "-dash": "8", "*star?[x]": "9", "$HOME`id`": "10", "tab\there": "11",
	"di r\n/in\nner": "12", "di r\n/plain": "13", "cr\rx": "14", "é€": "15", ".hidden": "16", "~": "17",
	"end 0": "18", "  lead": "19", "trail  ": "20", "empty dir\n/": "", "empty/": "", "zero": "",
	"+1:2:x": "21", "x;rm -rf y": "22", strings.Repeat("n", 255): "23", "#c": "24", "ln k": "-> sp ace",
	"ln\nk": "-> new\nline", "bad\xff\n": "25", "\\x\nb": "26",
}

func TestDownloadOddNames(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		node.Home = filepath.Join(node.Home, "ho me'\n\"$x")
		oddNames.write(t, filepath.Join(node.Home, "r es\n'"))
		dir := t.TempDir()
		res, err := Download(t.Context(), node, Request{Remote: "r es\n'", RemoteDir: "~", Local: "to", LocalDir: dir})
		must(t, err)
		diffTree(t, filepath.Join(dir, "to"), oddNames)
		if res.Skipped != 0 {
			t.Errorf("got %d skipped, want 0", res.Skipped)
		}
		again, err := Download(t.Context(), node, Request{Remote: "r es\n'/", RemoteDir: "~", Local: "to", LocalDir: dir})
		must(t, err)
		if again.Files != 0 || again.Bytes != 0 || again.Skipped != res.Files {
			t.Errorf("second time got %+v, want %d skipped and nothing else", again, res.Files)
		}
		for name := range oddNames {
			if strings.HasSuffix(name, "/") || strings.HasPrefix(oddNames[name], "-> ") {
				continue
			}
			_, err := Download(t.Context(), node, Request{Remote: "~/r es\n'/" + name, Local: "one", LocalDir: dir})
			if err != nil {
				t.Errorf("download %q: %v", name, err)
				continue
			}
			if got, _ := os.ReadFile(filepath.Join(dir, "one")); string(got) != oddNames[name] {
				t.Errorf("file %q: got %q, want %q", name, got, oddNames[name])
			}
		}
	})
}

func TestDownloadKeepsModesAndTimes(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		src := filepath.Join(node.Home, "r")
		tree{"run.sh": "#!", "read": "x", "d/f": "y", "same": "z"}.write(t, src)
		must(t, os.Chmod(filepath.Join(src, "run.sh"), 0o755))
		must(t, os.Chmod(filepath.Join(src, "read"), 0o444))
		must(t, os.Chmod(filepath.Join(src, "d"), 0o550))
		defer os.Chmod(filepath.Join(src, "d"), 0o755)
		then := time.Unix(1_000_000_000, 0)
		for _, name := range []string{"run.sh", "read", "d/f", "d", "same"} {
			must(t, os.Chtimes(filepath.Join(src, name), then, then))
		}
		dir := t.TempDir()
		tree{"r/same": "z"}.write(t, dir)
		_, err := Download(t.Context(), node, Request{Remote: "r", RemoteDir: "~", Local: ".", LocalDir: dir})
		must(t, err)
		for name, want := range map[string]os.FileMode{"run.sh": 0o755, "read": 0o444, "d": 0o750, "d/f": 0o644, "same": 0o644} {
			info, err := os.Stat(filepath.Join(dir, "r", name))
			must(t, err)
			if info.Mode().Perm() != want || !info.ModTime().Equal(then) {
				t.Errorf("%s: got mode %o, time %v; want %o, %v", name, info.Mode().Perm(), info.ModTime(), want, then)
			}
		}
		// A file that is read-only here is replaced all the same.
		must(t, os.Remove(filepath.Join(src, "read")))
		tree{"read": "new"}.write(t, src)
		_, err = Download(t.Context(), node, Request{Remote: "r", RemoteDir: "~", Local: ".", LocalDir: dir})
		must(t, err)
		if got, _ := os.ReadFile(filepath.Join(dir, "r/read")); string(got) != "new" {
			t.Errorf("got %q, want the new content", got)
		}
	})
}

func TestDownloadMissing(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		tree{"ws/out put": "x", "ws/logs/": ""}.write(t, node.Home)
		dir := t.TempDir()
		req := Request{Remote: "results/x", RemoteDir: "~/ws", Local: "to/", LocalDir: dir}
		_, err := Download(t.Context(), node, req)
		wantKind(t, err, fault.NotFound, node.Home+"/ws/results/x", "logs", "out put", node.Home+"/ws ")
		req.MissingOK = true
		res, err := Download(t.Context(), node, req)
		must(t, err)
		if !res.Missing || res.Files != 0 {
			t.Errorf("got %+v, want missing", res)
		}
		diffTree(t, dir, tree{})

		_, err = Download(t.Context(), node, Request{Remote: "out put/", RemoteDir: "~/ws", Local: "to", LocalDir: dir})
		wantKind(t, err, fault.Transfer, "is a file, not a folder")
		must(t, syscall.Mkfifo(filepath.Join(node.Home, "pipe"), 0o600))
		_, err = Download(t.Context(), node, Request{Remote: "~/pipe", Local: "to", LocalDir: dir})
		wantKind(t, err, fault.Transfer, "fifo")
		must(t, os.Symlink("nowhere", filepath.Join(node.Home, "dangling")))
		_, err = Download(t.Context(), node, Request{Remote: "~/dangling", Local: "to", LocalDir: dir})
		wantKind(t, err, fault.Transfer, "a link to nothing")
	})
}

func TestDownloadLinks(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		home := node.Home
		tree{
			"real/f": "F", "real/d/g": "G", "by name": "-> real", "one": "-> real/f",
			"real/in": "-> f", "real/d/up": "-> ../f", "real/abs": "-> " + home + "/real/d", "real/d/absup": "-> " + home + "/real/f",
			"real/self": "-> .", "real/out": "-> ../secret", "real/etc": "-> /etc/passwd", "real/d/far": "-> ../../x",
			"real/d/tricky": "-> ../self/../x", "real/dang": "-> nothing here", "real/absroot": "-> " + home + "/real",
			"real/sibling": "-> " + home + "/real2/x",
		}.write(t, home)
		must(t, syscall.Mkfifo(filepath.Join(home, "real/pipe"), 0o600))
		dir := t.TempDir()
		var ev events
		_, err := Download(t.Context(), node, Request{Remote: "by name", RemoteDir: "~", Local: "to", LocalDir: dir, Report: ev.sink})
		must(t, err)
		diffTree(t, filepath.Join(dir, "to"), tree{
			"f": "F", "d/g": "G", "in": "-> f", "d/up": "-> ../f", "abs": "-> d", "d/absup": "-> ../f", "self": "-> .",
			"dang": "-> nothing here", "absroot": "-> .",
		})
		warnings := ev.texts(report.Warning)
		for _, want := range []string{"out is a link to ../secret", "etc is a link to /etc/passwd", "d/far is", "d/tricky is", "pipe is a fifo", "sibling is"} {
			if !strings.Contains(warnings, want) {
				t.Errorf("got warnings %q, want %q among them", warnings, want)
			}
		}
		_, err = Download(t.Context(), node, Request{Remote: "one", RemoteDir: "~", Local: "got", LocalDir: dir})
		must(t, err)
		if info, err := os.Lstat(filepath.Join(dir, "got")); err != nil || !info.Mode().IsRegular() || info.Size() != 1 {
			t.Errorf("a link to a file, asked for by name: got %v, %v; want the file", info, err)
		}
	})
}

func TestDownloadThingsInTheWay(t *testing.T) {
	t.Parallel()
	node := &enginetest.Shell{Home: t.TempDir()}
	tree{"r/a": "A", "r/b": "B", "r/d/x": "X", "r/e/y": "Y", "r/l": "L"}.write(t, node.Home)
	dir, outside := t.TempDir(), t.TempDir()
	tree{"to/a/": "", "to/d": "file", "to/e": "-> " + outside, "to/l": "-> " + outside + "/l"}.write(t, dir)
	tree{"l": "safe"}.write(t, outside)
	_, err := Download(t.Context(), node, Request{Remote: "r/", RemoteDir: "~", Local: "to", LocalDir: dir})
	wantKind(t, err, fault.Transfer, "a: a folder is here where a file must go", "d: a file is here where a folder", "e: a link is here where a folder")
	diffTree(t, filepath.Join(dir, "to"), tree{"a/": "", "b": "B", "d": "file", "e": "-> " + outside, "l": "L"})
	diffTree(t, outside, tree{"l": "safe"})

	tree{"file": "f"}.write(t, dir)
	_, err = Download(t.Context(), node, Request{Remote: "r", RemoteDir: "~", Local: "file", LocalDir: dir})
	wantKind(t, err, fault.Transfer, dir+"/file", "not a directory")
	_, err = Download(t.Context(), node, Request{Remote: "r/a", RemoteDir: "~", Local: "file/x", LocalDir: dir})
	wantKind(t, err, fault.Transfer, dir+"/file", "not a directory")
	_, err = Download(t.Context(), node, Request{Remote: "r/a", RemoteDir: "~", Local: "to/", LocalDir: dir})
	wantKind(t, err, fault.Transfer, "a: a folder is here")
}

func TestDownloadIsOneCommand(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		want := make(tree)
		for i := range 2000 {
			want[fmt.Sprintf("d%d/f%d", i%20, i)] = strings.Repeat(fmt.Sprint(i), i%100)
		}
		want.write(t, filepath.Join(node.Home, "many"))
		dir := t.TempDir()
		runner := &counter{Runner: node}
		res, err := Download(t.Context(), runner, Request{Remote: "many/", RemoteDir: "~", Local: "to", LocalDir: dir})
		must(t, err)
		diffTree(t, filepath.Join(dir, "to"), want)
		if runner.runs != 1 || res.Files != 2000 {
			t.Errorf("got %d commands for %d files, want 1 for 2000", runner.runs, res.Files)
		}
	})
}

func TestDownloadHardLinks(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		tree{"r/a": strings.Repeat("x", 1000), "r/d/": ""}.write(t, node.Home)
		must(t, os.Link(filepath.Join(node.Home, "r/a"), filepath.Join(node.Home, "r/d/b")))
		must(t, os.Link(filepath.Join(node.Home, "r/a"), filepath.Join(node.Home, "r/c")))
		dir := t.TempDir()
		runner := &counter{Runner: node}
		res, err := Download(t.Context(), runner, Request{Remote: "r", RemoteDir: "~", Local: "to", LocalDir: dir})
		must(t, err)
		x := strings.Repeat("x", 1000)
		diffTree(t, filepath.Join(dir, "to"), tree{"a": x, "c": x, "d/b": x})
		if res.Bytes != 1000 || res.Files != 3 || runner.runs != 1 {
			t.Errorf("got %+v in %d commands, want 3 files for 1000 bytes in one", res, runner.runs)
		}
	})
}

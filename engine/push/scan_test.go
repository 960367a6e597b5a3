//go:build unix

package push

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/report"
)

// runGit runs git with no configuration but the test's.
func runGit(t testing.TB, dir string, args ...string) {
	t.Helper()
	enginetest.Need(t, "git")
	cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always"}, args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v: %s", args, err, out)
	}
}

func commit(t testing.TB, dir string) {
	t.Helper()
	runGit(t, dir, "add", "-A")
	runGit(t, dir, "commit", "-q", "-m", "x")
}

// paths scans and returns the paths, and what was noticed.
func paths(t testing.TB, src string, exclude ...string) (got, notices []string) {
	t.Helper()
	real, err := filepath.EvalSymlinks(src)
	must(t, err)
	survey, err := scanTree(t.Context(), real, exclude, nil, "", func(n string) { notices = append(notices, n) }, nil, nil)
	must(t, err)
	for _, e := range survey.entries {
		p := e.path
		if e.typ == folder {
			p += "/"
		}
		got = append(got, p)
	}
	slices.Sort(got)
	return got, notices
}

func wantPaths(t testing.TB, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths differ (-want +got):\n%s", diff)
	}
}

func TestScanRepository(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	runGit(t, src, "init", "-q")
	write(t, src, tree{
		".gitignore": "*.log\nbuild/\n", "kept": "1", "changed": "1", "deleted": "1", "gone/with/its/folder": "1",
		"forced.log": "1", "becomes a folder": "1", "becomes a link/kept": "1", "sub/in": "1", "sub/.gitignore": "local\n",
	})
	runGit(t, src, "add", "-f", "forced.log")
	commit(t, src)
	write(t, src, tree{"changed": "2", "new": "1", "x.log": "1", "build/out": "1", "sub/local": "1", "sub/new": "1", "sub/new line\n": "1"})
	must(t, os.Remove(filepath.Join(src, "deleted")))
	must(t, os.RemoveAll(filepath.Join(src, "gone")))
	must(t, os.WriteFile(filepath.Join(src, "gone"), nil, 0o644))
	must(t, os.Remove(filepath.Join(src, "becomes a folder")))
	must(t, os.RemoveAll(filepath.Join(src, "becomes a link")))
	write(t, src, tree{"becomes a folder/file": "1", "becomes a link": "-> .", "linked": "-> becomes a link/kept"})

	got, notices := paths(t, src)
	wantPaths(t, got, ".gitignore", "kept", "changed", "gone", "forced.log", "becomes a folder/file", "becomes a link", "linked", "sub/in", "sub/.gitignore", "new", "sub/new", "sub/new line\n")
	if len(notices) != 0 {
		t.Errorf("notices %q, want none", notices)
	}
	// A folder within a repository.
	got, _ = paths(t, filepath.Join(src, "sub"))
	wantPaths(t, got, "in", ".gitignore", "new", "new line\n")
	// .bifrostignore on top: tracked, untracked, re-included.
	write(t, src, tree{".bifrostignore": "kept\n/sub/\n*.log\n!forced.log\n"})
	got, _ = paths(t, src)
	wantPaths(t, got, ".bifrostignore", ".gitignore", "changed", "gone", "forced.log", "becomes a folder/file", "becomes a link", "linked", "new")
	// Downloads, unless git tracks them.
	must(t, os.Remove(filepath.Join(src, ".bifrostignore")))
	got, _ = paths(t, src, filepath.Join(src, "sub"), filepath.Join(src, "new"), filepath.Join(src, "changed"))
	wantPaths(t, got, ".gitignore", "kept", "changed", "gone", "forced.log", "becomes a folder/file", "becomes a link", "linked", "sub/in", "sub/.gitignore")
}

func TestScanNestedRepositories(t *testing.T) {
	t.Parallel()
	lib := t.TempDir()
	runGit(t, lib, "init", "-q")
	write(t, lib, tree{"lib.c": "1", ".gitignore": "*.o\n"})
	commit(t, lib)
	src := t.TempDir()
	runGit(t, src, "init", "-q")
	write(t, src, tree{"main.c": "1"})
	runGit(t, src, "submodule", "--quiet", "add", lib, "deps/lib")
	runGit(t, src, "submodule", "--quiet", "add", lib, "deps/absent")
	commit(t, src)
	runGit(t, src, "submodule", "--quiet", "deinit", "-f", "deps/absent")
	write(t, src, tree{"deps/lib/new.c": "1", "deps/lib/new.o": "1"})
	nested := filepath.Join(src, "nested")
	must(t, os.Mkdir(nested, 0o755))
	runGit(t, nested, "init", "-q")
	write(t, nested, tree{"n.c": "1", ".gitignore": "*.o\n", "n.o": "1"})
	write(t, src, tree{".bifrostignore": "nested/.gitignore\nnew.c\n"})
	got, notices := paths(t, src)
	wantPaths(t, got, ".bifrostignore", ".gitmodules", "main.c", "deps/lib/lib.c", "deps/lib/.gitignore", "nested/n.c")
	if len(notices) != 1 || !strings.Contains(notices[0], "deps/absent") {
		t.Errorf("notices %q, want one about deps/absent", notices)
	}
}

func TestScanFolder(t *testing.T) {
	t.Parallel()
	enginetest.Need(t, "git")
	src := t.TempDir()
	write(t, src, tree{
		"a": "1", "b.log": "1", "void/": "", "skip/x": "1", "skip2/": "", "deep/.bifrost/x": "1", ".bifrost/x": "1", "p/.git/config": "1", "p/q": "1",
		".bifrostignore": "# comment\n*.log\nskip*/\n", "down/loaded": "1", "bytes\xff": "1", "x\n.log": "1", "back\\slash": "1",
	})
	must(t, syscall.Mkfifo(filepath.Join(src, "pipe"), 0o644))
	l, err := net.Listen("unix", filepath.Join(src, "sock"))
	must(t, err)
	defer l.Close()
	got, notices := paths(t, src, filepath.Join(src, "down"))
	wantPaths(t, got, "a", "void/", ".bifrostignore", "p/q", "bytes\xff", "back\\slash")
	if len(notices) != 2 {
		t.Errorf("notices %q, want one about the pipe and one about the socket", notices)
	}
}

func TestScanRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		files tree
		make  func(t *testing.T, src string)
		want  string
	}{
		{"absolute link", tree{"a": "1", "etc": "-> /etc/passwd"}, nil, "push etc: the symbolic link leads out of the tree, to /etc/passwd"},
		{"climbing link", tree{"a/b": "-> ../../x"}, nil, "push a/b: the symbolic link leads out of the tree, to ../../x"},
		{"empty", tree{}, nil, "there is no file to push"},
		{"all ignored", tree{".gitignore": "*\n", "x": "1"}, func(t *testing.T, src string) { runGit(t, src, "init", "-q") }, "git shows no file there"},
		{"broken repository", tree{"x": "1", ".git": "gitdir: /no/such/folder\n"}, nil, "git ls-files"},
		{"unreadable", tree{"x": "1", "secret": "1"}, func(t *testing.T, src string) {
			if os.Geteuid() == 0 {
				t.Skip("root can read everything")
			}
			must(t, os.Chmod(filepath.Join(src, "secret"), 0))
		}, "read secret: permission denied"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			enginetest.Need(t, "git")
			src := t.TempDir()
			write(t, src, tt.files)
			if tt.make != nil {
				tt.make(t, src)
			}
			_, err := scanTree(t.Context(), src, nil, nil, "", func(string) {}, nil, nil)
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error of kind invalid with %q", err, tt.want)
			}
		})
	}
}

func TestScanWithoutGit(t *testing.T) {
	src := t.TempDir()
	write(t, src, tree{"a": "1"})
	repo := t.TempDir()
	write(t, repo, tree{"a": "1"})
	runGit(t, repo, "init", "-q")
	t.Setenv("PATH", t.TempDir())
	got, _ := paths(t, src)
	wantPaths(t, got, "a")
	_, err := scanTree(context.Background(), repo, nil, nil, "", func(string) {}, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "git is not installed") {
		t.Errorf("repository without git: got %v", err)
	}
}

func TestScanInHook(t *testing.T) {
	src := t.TempDir()
	write(t, src, tree{"a": "1", "b": "1", ".gitignore": "b\n"})
	runGit(t, src, "init", "-q")
	t.Setenv("GIT_DIR", "/no/such/folder")
	t.Setenv("GIT_INDEX_FILE", "/no/such/file")
	got, _ := paths(t, src)
	wantPaths(t, got, "a", ".gitignore")
}

func TestProvenance(t *testing.T) {
	t.Parallel()
	node := &enginetest.Shell{Home: t.TempDir()}
	src := t.TempDir()
	runGit(t, src, "init", "-q")
	runGit(t, src, "remote", "add", "origin", "https://dana:s3cret@example.com/x.git?token=s3cret")
	write(t, src, tree{"a \"quoted\"": "1"})
	commit(t, src)
	look := func() string {
		mustPush(t, node, Request{Source: src, Workspace: "~/w"})
		data, err := os.ReadFile(filepath.Join(node.Home, "w/.bifrost/provenance.json"))
		must(t, err)
		return string(data)
	}
	got := look()
	for _, want := range []string{`"branch":"main"`, `"dirty":false`, `"remote":"https://example.com/x.git"`, `"client":"dana@laptop"`, `"commit":"`} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %s in it", got, want)
		}
	}
	if strings.Contains(got, "s3cret") {
		t.Errorf("got %s, which holds a secret", got)
	}
	runGit(t, src, "commit", "-q", "--allow-empty", "-m", "y")
	again := look() // no file differs, but the commit does
	if again == got {
		t.Error("the provenance is still that of the commit before")
	}
	write(t, src, tree{"new": "1"})
	if got := look(); !strings.Contains(got, `"dirty":true`) {
		t.Errorf("got %s, want it dirty", got)
	}
}

func TestNotices(t *testing.T) {
	t.Parallel()
	node := &enginetest.Shell{Home: t.TempDir()}
	src := t.TempDir()
	write(t, src, tree{"a": "123"})
	must(t, syscall.Mkfifo(filepath.Join(src, "pipe"), 0o644))
	var notices, progress []report.Event
	mustPush(t, node, Request{Source: src, Workspace: "~/w", Report: func(e report.Event) {
		switch e.Kind {
		case report.Notice:
			notices = append(notices, e)
		case report.Progress:
			progress = append(progress, e)
		}
	}})
	if len(notices) != 1 || notices[0].Text != "pipe: a named pipe, not pushed" {
		t.Errorf("notices: got %+v", notices)
	}
	if n := len(progress); n == 0 || progress[n-1].Bytes != 3 || progress[n-1].Total != 3 {
		t.Errorf("progress: got %+v, want it to end at 3 of 3 bytes", progress)
	}
}

func TestScanOfAnotherUser(t *testing.T) {
	t.Parallel()
	enginetest.Need(t, "root")
	src := t.TempDir()
	runGit(t, src, "init", "-q")
	write(t, src, tree{"a": "1"})
	must(t, filepath.WalkDir(src, func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, 12345, 12345)
	}))
	_, err := scanTree(t.Context(), src, nil, nil, "", func(string) {}, nil, nil)
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.HintOf(err), "safe.directory "+src) {
		t.Errorf("got %v (%s), want the way out in the hint", err, fault.HintOf(err))
	}
}

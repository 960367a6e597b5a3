//go:build unix

package push

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

const who = "dana@laptop 5f2c"

// shells runs f on each kind of node that counts: coreutils under /bin/sh, and busybox alone.
func shells(t *testing.T, f func(t *testing.T, node *enginetest.Shell)) {
	t.Helper()
	t.Run("sh", func(t *testing.T) {
		t.Parallel()
		f(t, &enginetest.Shell{Home: t.TempDir()})
	})
	t.Run("busybox", func(t *testing.T) {
		t.Parallel()
		f(t, busyboxNode(t))
	})
}

// busyboxNode has no program but busybox's.
func busyboxNode(t *testing.T) *enginetest.Shell {
	t.Helper()
	enginetest.Need(t, "busybox")
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if out, err := exec.Command(busybox, "--install", "-s", bin).CombinedOutput(); err != nil {
		t.Fatalf("busybox --install: %v: %s", err, out)
	}
	return &enginetest.Shell{Home: t.TempDir(), Argv: []string{busybox, "sh"}, Path: bin}
}

// A tree is what a folder holds: content by path; "-> x" is a link to x, a path with a trailing
// slash a folder with nothing in it.
type tree map[string]string

func write(t testing.TB, dir string, files tree) {
	t.Helper()
	for name, content := range files {
		p := filepath.Join(dir, name)
		if name[len(name)-1] == '/' {
			must(t, os.MkdirAll(p, 0o755))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		if len(content) > 3 && content[:3] == "-> " {
			must(t, os.Symlink(content[3:], p))
			continue
		}
		must(t, os.WriteFile(p, []byte(content), 0o644))
	}
}

// read returns what a folder holds, without .git and .bifrost.
func read(t testing.TB, dir string) tree {
	t.Helper()
	got := tree{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		switch {
		case d.Name() == ".git" || d.Name() == ".bifrost":
			return fs.SkipDir
		case d.IsDir():
			if list, err := os.ReadDir(p); err != nil || len(list) > 0 || rel == "." {
				return err
			}
			got[rel+"/"] = ""
		case d.Type() == fs.ModeSymlink:
			to, err := os.Readlink(p)
			got[rel] = "-> " + to
			return err
		default:
			data, err := os.ReadFile(p)
			got[rel] = string(data)
			return err
		}
		return nil
	})
	must(t, err)
	return got
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustPush(t testing.TB, node ssh.Runner, req Request) Result {
	t.Helper()
	if req.Client == "" {
		req.Client = who
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	res, err := Push(ctx, node, req)
	if err != nil {
		t.Fatalf("push: %v (%s)", err, fault.HintOf(err))
	}
	return res
}

func pushErr(t testing.TB, node ssh.Runner, req Request) *fault.Error {
	t.Helper()
	if req.Client == "" {
		req.Client = who
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := Push(ctx, node, req)
	var fe *fault.Error
	if !errors.As(err, &fe) {
		t.Fatalf("push: error %v, want a *fault.Error", err)
	}
	return fe
}

func wantTree(t testing.TB, dir string, want tree) {
	t.Helper()
	if diff := cmp.Diff(want, read(t, dir)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", dir, diff)
	}
}

// quiet checks that nothing of a push is left running or lying about.
func quiet(t testing.TB, workspace string) {
	t.Helper()
	for _, name := range []string{"lock", "stage", "pending", "unlock", "index.new"} {
		if _, err := os.Lstat(filepath.Join(workspace, ".bifrost", name)); err == nil {
			t.Errorf(".bifrost/%s is left behind", name)
		}
	}
}

// counter counts the commands that are run.
type counter struct {
	ssh.Runner
	runs atomic.Int64
}

func (c *counter) Run(ctx context.Context, cmd ssh.Command) error {
	c.runs.Add(1)
	return c.Runner.Run(ctx, cmd)
}

var names = tree{
	"plain.txt":                   "plain",
	"with space/and more .txt":    "space",
	" leading":                    "l",
	"trailing ":                   "t",
	"-rf":                         "dash",
	"-dir/-file":                  "dash",
	"new\nline":                   "newline",
	"new\ndir/x\ny":               "newline",
	"ends\n":                      "newline",
	"back\\slash":                 "backslash",
	"car\rriage\r":                "cr",
	"quote'd \"twice\" $HOME `x`": "quotes",
	"*?[a]":                       "glob",
	"%s%d\\n":                     "percent",
	"bytes\xff\xfe\x80":           "not UTF-8",
	"ünïcode":                     "utf8",
	".hidden/.deep/.file":         "dot",
	"a/b/c/d/e/f/g/h/i/j":         "deep",
	"a: OK":                       "looks fine",
	"a: FAILED":                   "looks bad",
	"empty":                       "",
	"tab\there":                   "tab",
	"link":                        "-> plain.txt",
	"links/up":                    "-> ../a/b",
	"links/dangling":              "-> no where\nat all",
	"links/-dash":                 "-> -dash",
	"links/odd\nname":             "-> x",
	"void/":                       "",
	"a/also void/":                "",
}

func longName() string {
	b := make([]byte, 250)
	for i := range b {
		b[i] = 'n'
	}
	return string(b) + "/" + string(b) + "/" + string(b)
}

func TestNames(t *testing.T) {
	t.Parallel()
	shells(t, func(t *testing.T, node *enginetest.Shell) {
		src := t.TempDir()
		want := tree{longName(): "long"}
		for k, v := range names {
			want[k] = v
		}
		write(t, src, want)
		must(t, os.Chmod(filepath.Join(src, "plain.txt"), 0o755))
		must(t, os.Chmod(filepath.Join(src, "new\nline"), 0o600))
		ws := filepath.Join(node.Home, "w s", "it's")
		req := Request{Source: src, Workspace: "~/w s/it's"}
		res := mustPush(t, node, req)
		wantTree(t, ws, want)
		quiet(t, ws)
		if res.Workspace != ws || res.Home != node.Home || res.Files != len(want) {
			t.Errorf("got %+v", res)
		}
		for name, mode := range map[string]fs.FileMode{"plain.txt": 0o755, "new\nline": 0o600, "empty": 0o644} {
			info, err := os.Lstat(filepath.Join(ws, name))
			must(t, err)
			if info.Mode() != mode {
				t.Errorf("mode of %q: got %v, want %v", name, info.Mode(), mode)
			}
		}
		// Nothing has changed, and the node knows it.
		for _, cache := range []string{"", t.TempDir()} {
			req.Cache = cache
			if res := mustPush(t, node, req); res.Sent != 0 || res.Deleted != 0 || res.Bytes != 0 {
				t.Errorf("second push: got %+v, want nothing sent", res)
			}
		}
		// Everything is damaged in one way or another, and comes back.
		for name, content := range want {
			p := filepath.Join(ws, name)
			must(t, os.RemoveAll(p))
			if content == "-> x" || name == "empty" {
				must(t, os.WriteFile(p, []byte("damaged"), 0o644))
			}
		}
		must(t, os.Remove(filepath.Join(ws, "empty")))
		must(t, os.Symlink("plain.txt", filepath.Join(ws, "empty")))
		mustPush(t, node, req)
		wantTree(t, ws, want)
		// Everything but one goes.
		for name := range want {
			if name != "plain.txt" {
				must(t, os.RemoveAll(filepath.Join(src, name)))
			}
		}
		src2 := t.TempDir()
		write(t, src2, tree{"plain.txt": "plain"})
		must(t, os.RemoveAll(src))
		must(t, os.Rename(src2, src))
		req.Confirm = func(context.Context, string) (bool, error) { return true, nil }
		mustPush(t, node, req)
		wantTree(t, ws, tree{"plain.txt": "plain"})
	})
}

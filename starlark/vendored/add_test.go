package vendored

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSource(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"https://example.com/a.git", "ssh://git@host:22/a", "file:///srv/a", "git@github.com:a/b.git"} {
		if got, err := Source(from); err != nil || got != from {
			t.Errorf("Source(%q) = %q, %v, want it as it is", from, got, err)
		}
	}
	for _, from := range []string{
		"", "-x", "--upload-pack=sh", "ext::sh -c id", "ext::sh", "fd::3", "http://x/y", "git://x/y", "ftp://x", "javascript://x",
		"ssh://-oProxyCommand=id/x", "https:///x", "https://u:p@h/x", "a b", "x\ny", "x\x00", "/nosuch/folder", "-a@host:x", "a@-host:x",
	} {
		got, err := Source(from)
		var input *InputError
		if !errors.As(err, &input) {
			t.Errorf("Source(%q) = %q, %v, want an *InputError", from, got, err)
		}
	}
	for _, ref := range []string{"-x", "--exec=sh", "a b", "a:b", "a..b", "a~1", "^a", "\x00"} {
		if checkRef(ref) == nil {
			t.Errorf("checkRef(%q) = nil", ref)
		}
	}
}

// git runs git in a folder with a configuration of its own.
func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=A", "-c", "user.email=a@example.com"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// TestAdd vendors repositories with all kinds of entries.
func TestAdd(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T, repo string)
		want    []string // files; nil for an error
		err     string
	}{
		{"plain", func(t *testing.T, repo string) {
			write(t, filepath.Join(repo, "a.star"), "a = 1\n")
			write(t, filepath.Join(repo, "lib/ä b.star"), "")
		}, []string{"a.star", "lib/ä b.star"}, ""},
		{"link to a file", func(t *testing.T, repo string) {
			write(t, filepath.Join(repo, "lib/a.star"), "a = 1\n")
			if err := os.Symlink("lib/a.star", filepath.Join(repo, "b.star")); err != nil {
				t.Fatal(err)
			}
		}, []string{"b.star", "lib/a.star"}, ""},
		{"link out", func(t *testing.T, repo string) {
			write(t, filepath.Join(repo, "a.star"), "")
			if err := os.Symlink("../../etc/passwd", filepath.Join(repo, "b.star")); err != nil {
				t.Fatal(err)
			}
		}, nil, `b.star is a symbolic link to "../../etc/passwd"`},
		{"absolute link", func(t *testing.T, repo string) {
			write(t, filepath.Join(repo, "a.star"), "")
			if err := os.Symlink("/a.star", filepath.Join(repo, "b.star")); err != nil {
				t.Fatal(err)
			}
		}, nil, "is a symbolic link"},
		{"link to a folder", func(t *testing.T, repo string) {
			write(t, filepath.Join(repo, "lib/a.star"), "")
			if err := os.Symlink("lib", filepath.Join(repo, "b")); err != nil {
				t.Fatal(err)
			}
		}, nil, "b is a symbolic link"},
		{"submodule", func(t *testing.T, repo string) {
			write(t, filepath.Join(repo, "a.star"), "")
			git(t, repo, "update-index", "--add", "--cacheinfo", "160000,0123456789012345678901234567890123456789,sub")
		}, nil, "sub is a submodule"},
		{"case", func(t *testing.T, repo string) {
			write(t, filepath.Join(repo, "a.star"), "")
			write(t, filepath.Join(repo, "A.star"), "")
		}, nil, "are one file where case does not count"},
		{"backslash", func(t *testing.T, repo string) {
			write(t, filepath.Join(repo, "a.star"), "")
			write(t, filepath.Join(repo, `..\x.star`), "")
		}, nil, "is no name of a file"},
		{"no scripts", func(t *testing.T, repo string) { write(t, filepath.Join(repo, "README"), "") }, nil, "it has no .star file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			repo, root := t.TempDir(), t.TempDir()
			git(t, repo, "init", "-q")
			test.prepare(t, repo)
			git(t, repo, "add", "-A")
			if test.name == "submodule" {
				git(t, repo, "update-index", "--add", "--cacheinfo", "160000,0123456789012345678901234567890123456789,sub")
			}
			git(t, repo, "commit", "-qm", "one")
			pin, err := Add(t.Context(), root, "acme", repo, "")
			if test.want == nil {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("Add = %v, want %q", err, test.err)
				}
				if left, _ := filepath.Glob(filepath.Join(root, "*")); len(left) > 1 {
					t.Errorf("left %v", left)
				}
				if left, _ := os.ReadDir(filepath.Join(root, Folder)); len(left) > 0 {
					t.Errorf("left %v", left)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, file := range test.want {
				if pin.Files[file] != "" {
					got = append(got, file)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" || len(pin.Files) != len(test.want) {
				t.Errorf("%d files, -want +got:\n%s", len(pin.Files), diff)
			}
			if wrong, err := VerifyAll(root); err != nil || len(wrong) > 0 {
				t.Errorf("VerifyAll = %v, %v", wrong, err)
			}
			first, err := os.ReadFile(filepath.Join(root, LockFile))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Add(t.Context(), root, "acme", repo, ""); err != nil {
				t.Fatal(err)
			}
			if again, err := os.ReadFile(filepath.Join(root, LockFile)); err != nil || string(again) != string(first) {
				t.Errorf("the lock differs the second time:\n%s\n%s, %v", first, again, err)
			}
			if _, err := Add(t.Context(), root, "part", repo, pin.Commit[:10]); err != nil {
				t.Errorf("by part of a hash: %v", err)
			}
			if _, err := Add(t.Context(), root, "whole", repo, pin.Commit); err != nil {
				t.Errorf("by a hash: %v", err)
			}
		})
	}
}

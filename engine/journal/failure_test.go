package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// wantFault checks that err is of this kind, names the file, says all the words, and offers a way
// out.
func wantFault(t *testing.T, err error, kind fault.Kind, file string, words ...string) {
	t.Helper()
	var e *fault.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *fault.Error", err)
	}
	t.Logf("%s: %v\n  hint: %s", e.Kind, err, e.Hint)
	if e.Kind != kind || e.Hint == "" {
		t.Errorf("got kind %s and hint %q, want %s and a hint", e.Kind, e.Hint, kind)
	}
	for _, w := range append(words, file) {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("got %q, want it to contain %q", err, w)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		make  func(t *testing.T, path string)
		kind  fault.Kind
		words string
	}{
		{"folder in the way", func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) }, fault.Invalid, "directory"},
		{"text file", func(t *testing.T, path string) {
			must(t, os.WriteFile(path, []byte(strings.Repeat("no database\n", 1000)), 0o600))
		}, fault.Invalid, "damaged"},
		{"first page overwritten", func(t *testing.T, path string) {
			must(t, reopen(t, path).Close())
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			must(t, err)
			_, err = f.WriteAt([]byte(strings.Repeat("\xff", 3000)), 100)
			must(t, err)
			must(t, f.Close())
		}, fault.Invalid, "damaged"},
		{"another program's", func(t *testing.T, path string) {
			db, err := sql.Open("sqlite", path)
			must(t, err)
			_, err = db.Exec("CREATE TABLE bookmarks (url TEXT)")
			must(t, err)
			must(t, db.Close())
		}, fault.Invalid, "another program"},
		{"newer", func(t *testing.T, path string) {
			j := reopen(t, path)
			_, err := j.db.Exec("PRAGMA user_version = 99")
			must(t, err)
			must(t, j.Close())
		}, fault.Conflict, "newer bifrost (schema 99"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "journal.db")
			tt.make(t, path)
			_, err := Open(t.Context(), path)
			wantFault(t, err, tt.kind, path, tt.words)
		})
	}
	t.Run("file where the folder should be", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "state")
		must(t, os.WriteFile(file, nil, 0o600))
		_, err := Open(t.Context(), filepath.Join(file, "journal.db"))
		wantFault(t, err, fault.Invalid, file, "not a directory")
	})
	t.Run("relative path", func(t *testing.T) {
		t.Parallel()
		_, err := Open(t.Context(), "journal.db")
		wantFault(t, err, fault.Invalid, "journal.db", "not absolute")
	})
}

// A page in the middle is bad: found only when it is read.
func TestDamagedPage(t *testing.T) {
	t.Parallel()
	j := openTest(t)
	for i := range 200 {
		must(t, j.PutJob(t.Context(), Job{ID: fmt.Sprint("j-", i), Command: strings.Repeat("x", 500)}))
	}
	must(t, j.Close())
	info, err := os.Stat(j.Path())
	must(t, err)
	f, err := os.OpenFile(j.Path(), os.O_RDWR, 0)
	must(t, err)
	for at := int64(4096); at < info.Size(); at += 4096 {
		_, err = f.WriteAt([]byte(strings.Repeat("\xee", 4096)), at)
		must(t, err)
	}
	must(t, f.Close())
	j, err = Open(t.Context(), j.Path())
	if err == nil {
		defer j.Close()
		_, err = j.Jobs(t.Context(), JobFilter{All: true})
	}
	wantFault(t, err, fault.Invalid, "journal.db", "damaged")
}

func TestLockedForLong(t *testing.T) {
	t.Parallel()
	j := openTest(t)
	tx, err := j.db.BeginTx(t.Context(), nil)
	must(t, err)
	defer tx.Rollback()
	other, err := open(t.Context(), j.Path(), 100*time.Millisecond)
	must(t, err)
	defer other.Close()
	wantFault(t, other.PutJob(t.Context(), Job{ID: "a"}), fault.Conflict, j.Path(), "another process")
	if _, err := other.Jobs(t.Context(), JobFilter{}); err != nil {
		t.Errorf("reading while another writes: %v", err)
	}
}

func TestFull(t *testing.T) {
	t.Parallel()
	j := openTest(t)
	j.db.SetMaxOpenConns(1) // the limit is one connection's
	_, err := j.db.Exec("PRAGMA max_page_count = 1")
	must(t, err)
	for i := range 1000 {
		if err = j.PutJob(t.Context(), Job{ID: fmt.Sprint("j-", i), Command: strings.Repeat("x", 4000)}); err != nil {
			break
		}
	}
	wantFault(t, err, fault.DiskFull, j.Path(), "no space")
}

// Read-only files and folders, and a device that is full, as another user and in a file system of
// their own; both need root.
func TestSystemRefuses(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("becoming an ordinary user needs root on Linux")
	}
	base, err := os.MkdirTemp("", "journal-test-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(base) })
	must(t, os.Chmod(base, 0o755))
	exe := filepath.Join(base, "test")
	self, err := os.Executable()
	must(t, err)
	data, err := os.ReadFile(self)
	must(t, err)
	must(t, os.WriteFile(exe, data, 0o755))

	open := func(t *testing.T, path string) string {
		cmd := process(t, "open", path)
		cmd.Path = exe
		cmd.SysProcAttr = asNobody()
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	dirs := func(t *testing.T) (dir, path string) {
		dir = filepath.Join(base, filepath.Base(t.Name()))
		path = filepath.Join(dir, "journal.db")
		must(t, os.Mkdir(dir, 0o755))
		must(t, os.Chown(dir, nobody, nobody))
		return dir, path
	}
	wantText := func(t *testing.T, got, kind string, words ...string) {
		t.Helper()
		t.Log(got)
		if !strings.HasPrefix(got, kind+"\n") || strings.HasSuffix(got, "\n\n") {
			t.Errorf("got %q, want kind %s and a hint", got, kind)
		}
		for _, w := range words {
			if !strings.Contains(got, w) {
				t.Errorf("got %q, want it to contain %q", got, w)
			}
		}
	}
	t.Run("file", func(t *testing.T) {
		_, path := dirs(t)
		wantText(t, open(t, path), "opened")
		must(t, os.Chmod(path, 0o400))
		wantText(t, open(t, path), "invalid", path, "permission denied", "XDG_STATE_HOME")
	})
	t.Run("folder", func(t *testing.T) {
		dir, path := dirs(t)
		wantText(t, open(t, path), "opened")
		must(t, os.Chmod(dir, 0o500))
		wantText(t, open(t, path), "invalid", path, "permission denied", "XDG_STATE_HOME")
	})
	t.Run("new", func(t *testing.T) {
		dir, path := dirs(t)
		must(t, os.Chmod(dir, 0o500))
		wantText(t, open(t, path), "invalid", path, "permission denied", "XDG_STATE_HOME")
	})
	t.Run("full", func(t *testing.T) {
		dir, path := dirs(t)
		mount(t, dir, "size=64k")
		must(t, os.Chown(dir, nobody, nobody))
		fill(t, filepath.Join(dir, "ballast"))
		wantText(t, open(t, path), "disk_full", path, "no space left")
	})
	t.Run("full later", func(t *testing.T) {
		dir, path := dirs(t)
		mount(t, dir, "size=1m")
		j := reopen(t, path)
		must(t, j.PutIntent(t.Context(), Node{Name: "n", Provider: "local"}))
		fill(t, filepath.Join(dir, "ballast"))
		var err error
		for i := 0; i < 100 && err == nil; i++ {
			err = j.PutJob(t.Context(), Job{ID: fmt.Sprint("j-", i), Command: strings.Repeat("x", 10000)})
		}
		wantFault(t, err, fault.DiskFull, path, "no space left")
		must(t, os.Remove(filepath.Join(dir, "ballast")))
		must(t, j.PutJob(t.Context(), Job{ID: "after"}))
		if _, err := j.Node(t.Context(), IntentID("n")); err != nil {
			t.Error(err)
		}
		must(t, j.Close()) // before the file system goes
	})
	t.Run("read-only file system", func(t *testing.T) {
		dir, path := dirs(t)
		mount(t, dir, "")
		must(t, reopen(t, path).Close())
		remountReadOnly(t, dir)
		_, err := Open(t.Context(), path)
		wantFault(t, err, fault.Invalid, path, "read-only")
	})
}

func TestContextEnded(t *testing.T) {
	t.Parallel()
	j := openTest(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.PutJob(ctx, Job{ID: "a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	if _, err := j.Jobs(ctx, JobFilter{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	if _, err := Open(ctx, filepath.Join(t.TempDir(), "journal.db")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

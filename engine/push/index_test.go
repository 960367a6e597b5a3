//go:build unix

package push

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bifrost-run/bifrost/engine/enginetest"
)

// TestIndex: what has been found to be as recorded is not read again, until anything about it changes.
func TestIndex(t *testing.T) {
	t.Parallel()
	shells(t, func(t *testing.T, node *enginetest.Shell) {
		src, ws := t.TempDir(), filepath.Join(node.Home, "w")
		want := tree{"a": "1", "b c": "22", "d/e": "333", "d/f": "4444", "odd\n": "5", "l": "-> a"}
		write(t, src, want)
		read := filepath.Join(t.TempDir(), "read")
		counting := withWords(t, node, map[string]string{"sha256sum": fmt.Sprintf("case $* in\n-c) tee -a %s | sha256sum -c ;;\n*) exec sha256sum \"$@\" ;;\nesac\n", read)})
		req := Request{Source: src, Workspace: "~/w"}
		busybox := node.Argv != nil // whose shell is sha256sum itself
		// hashed pushes and returns how many files the node read to compare them.
		hashed := func() int {
			t.Helper()
			must(t, os.RemoveAll(read))
			index, _ := os.ReadFile(filepath.Join(ws, ".bifrost/index"))
			if res := mustPush(t, counting, req); res.Sent != 0 {
				t.Errorf("sent %d files, want none", res.Sent)
			}
			if busybox {
				return 4 - strings.Count(string(index), " ./")
			}
			data, _ := os.ReadFile(read)
			return strings.Count(string(data), "\n")
		}
		mustPush(t, counting, req)
		if n := hashed(); n != 4 {
			t.Errorf("%d files were read after the first push, want all with plain names", n)
		}
		// What has changed a moment ago may be changing still.
		enginetest.Until(t, "nothing is read again", func() bool { return hashed() == 0 })

		for name, spoil := range map[string]func(p string) error{
			"content, with size and time as before": func(p string) error {
				info, err := os.Stat(p)
				must(t, err)
				must(t, os.WriteFile(p, []byte("9999"), 0o644))
				return os.Chtimes(p, info.ModTime(), info.ModTime())
			},
			"size":        func(p string) error { return os.WriteFile(p, []byte("55555"), 0o644) },
			"type":        func(p string) error { must(t, os.Remove(p)); return os.Mkdir(p, 0o755) },
			"a link":      func(p string) error { must(t, os.Remove(p)); return os.Symlink("../a", p) },
			"gone":        os.Remove,
			"moved away":  func(p string) error { return os.Rename(p, p+".old") },
			"another one": func(p string) error { return os.Rename(filepath.Join(ws, "b c"), p) },
		} {
			enginetest.Until(t, "nothing is read again", func() bool { return hashed() == 0 })
			must(t, spoil(filepath.Join(ws, "d/f")))
			if res := mustPush(t, counting, req); res.Sent == 0 {
				t.Errorf("%s: nothing was sent", name)
			}
			must(t, os.RemoveAll(filepath.Join(ws, "d/f.old")))
			wantTree(t, ws, want)
		}
		enginetest.Until(t, "nothing is read again", func() bool { return hashed() == 0 })
		must(t, os.Chmod(filepath.Join(ws, "a"), 0o600))
		mustPush(t, counting, req)
		if info, err := os.Stat(filepath.Join(ws, "a")); err != nil || info.Mode() != 0o644 {
			t.Errorf("mode on the node: %v, %v", info.Mode(), err)
		}

		// After a crash of the machine everything is read again.
		enginetest.Until(t, "nothing is read again", func() bool { return hashed() == 0 })
		index := filepath.Join(ws, ".bifrost/index")
		data, err := os.ReadFile(index)
		must(t, err)
		_, lines, _ := strings.Cut(string(data), "\n")
		must(t, os.WriteFile(index, []byte("index another-boot\n"+lines), 0o644))
		if n := hashed(); n != 4 && !busybox {
			t.Errorf("%d files were read after a boot, want all", n)
		}
		must(t, os.WriteFile(index, []byte(strings.Repeat("\x00\xff nonsense", 100)), 0o644))
		if n := hashed(); n != 4 && !busybox {
			t.Errorf("%d files were read when the index was damaged, want all", n)
		}
	})
}

// TestDelta: a few changes of a large tree travel as such.
func TestDelta(t *testing.T) {
	t.Parallel()
	shells(t, func(t *testing.T, node *enginetest.Shell) {
		src := t.TempDir()
		all := tree{"odd\\name": "1", "link": "-> a"}
		for i := range 1000 { // enough that no round of chance changes too much of them
			all[fmt.Sprintf("pkg %d/file%d", i%9, i)] = fmt.Sprint(i)
		}
		write(t, src, all)
		c := &cutter{Runner: node, after: 1 << 40}
		req := Request{Source: src, Workspace: "~/w"}
		mustPush(t, c, req)
		manifest := int64(len(all) * 80)
		for round := range 5 {
			changes := tree{}
			for name := range all {
				if name == "zz last" {
					continue // it goes in the last round
				}
				switch rand.IntN(100) {
				case 0:
					must(t, os.Remove(filepath.Join(src, name)))
					delete(all, name)
				case 1:
					changes[name+" more"] = "new"
				case 2:
					if all[name][0] != '-' {
						changes[name] = fmt.Sprint("changed ", round)
					}
				}
			}
			changes["0 first"], changes["zz last"] = fmt.Sprint(round), fmt.Sprint(round)
			if round == 4 {
				must(t, os.Remove(filepath.Join(src, "zz last")))
				delete(all, "zz last")
				delete(changes, "zz last")
			}
			write(t, src, changes)
			for name, content := range changes {
				all[name] = content
			}
			mustPush(t, c, req)
			wantTree(t, filepath.Join(node.Home, "w"), all)
			if c.sent > manifest {
				t.Errorf("%d changes took %d bytes", len(changes), c.sent)
			}
		}
	})
}

// TestLocalIndex: files of this machine are not read again either.
func TestLocalIndex(t *testing.T) {
	t.Parallel()
	src, cached := t.TempDir(), cache(t.TempDir())
	write(t, src, tree{"a": "1", "d/b\n": "22", "c": "333"})
	names := []string{"a", "c", "d/b\n"}
	sums := func() map[string]string {
		t.Helper()
		survey, err := scanTree(t.Context(), src, nil, nil, cached, func(string) {}, nil, nil)
		must(t, err)
		got := map[string]string{}
		for _, e := range survey.entries {
			got[e.path] = e.sum
		}
		return got
	}
	// known waits until the index has files that nothing is done to.
	known := func() {
		t.Helper()
		enginetest.Until(t, "all files are in the index", func() bool {
			sums()
			return len(cached.index(src)) == len(names)
		})
	}
	known()
	for name, change := range map[string]func(p string) error{
		"content, with size and time as before": func(p string) error {
			info, err := os.Stat(p)
			must(t, err)
			must(t, os.WriteFile(p, []byte("999"), 0o644))
			return os.Chtimes(p, info.ModTime(), info.ModTime())
		},
		"replaced": func(p string) error {
			must(t, os.WriteFile(p+".new", []byte("888"), 0o644))
			return os.Rename(p+".new", p)
		},
	} {
		p := filepath.Join(src, "c")
		before := sums()
		must(t, change(p))
		if after := sums(); after["c"] == before["c"] || after["a"] != before["a"] {
			t.Errorf("%s: %v became %v", name, before, after)
		}
		known()
	}
	if want := sum256([]byte("22")); sums()["d/b\n"] != want {
		t.Errorf("got %v, want %s for d/b", sums(), want)
	}
	// Damage and other versions cost time only.
	files, err := filepath.Glob(filepath.Join(string(cached), "index-*"))
	must(t, err)
	if len(files) != 1 {
		t.Fatalf("index files: %v", files)
	}
	for _, damage := range []string{"", "nonsense", strings.Repeat("\xff", 1000)} {
		must(t, os.WriteFile(files[0], []byte(damage), 0o600))
		if got := sums(); got["a"] != sum256([]byte("1")) {
			t.Errorf("index %q: got %v", damage, got)
		}
	}
}

//go:build unix

package push

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
)

func TestUsersOwnFiles(t *testing.T) {
	t.Parallel()
	shells(t, func(t *testing.T, node *enginetest.Shell) {
		ws, src := filepath.Join(node.Home, "w"), t.TempDir()
		write(t, ws, tree{"theirs": "1", "dir/theirs": "1", "both": "theirs", "x/venv/bin": "1"})
		write(t, src, tree{"dir/ours": "1", "both": "ours", "y/z/only ours": "1"})
		req := Request{Source: src, Workspace: "~/w"}
		mustPush(t, node, req)
		wantTree(t, ws, tree{"theirs": "1", "dir/theirs": "1", "both": "ours", "x/venv/bin": "1", "dir/ours": "1", "y/z/only ours": "1"})
		must(t, os.RemoveAll(filepath.Join(src, "dir")))
		must(t, os.RemoveAll(filepath.Join(src, "y")))
		write(t, ws, tree{"dir/job": "made by the job"})
		res := mustPush(t, node, req)
		wantTree(t, ws, tree{"theirs": "1", "dir/theirs": "1", "both": "ours", "x/venv/bin": "1", "dir/job": "made by the job"})
		if res.Deleted != 2 {
			t.Errorf("deleted %d, want 2", res.Deleted)
		}
		quiet(t, ws)
	})
}

// TestTypeChanges turns files into folders into links and back, on either side. All changes are one push,
// each in a folder of its own; one that the node's own work is in the way of is named and changes nothing
// anywhere, and is pushed once it has been moved away.
func TestTypeChanges(t *testing.T) {
	t.Parallel()
	shapes := []tree{
		{"x": "file", "k": "1"},
		{"x/a": "1", "x/b/c": "1", "k": "1"},
		{"x": "-> k", "k": "1"},
		{"x/": "", "k": "1"},
		{"k": "1"},
		{"x/b": "file", "k": "1"},
	}
	changes := map[string][2]tree{} // by folder
	for i, from := range shapes {
		for j, to := range shapes {
			changes[fmt.Sprintf("%d-%d", i, j)] = [2]tree{from, to}
		}
	}
	shells(t, func(t *testing.T, node *enginetest.Shell) {
		for n, job := range []tree{nil, shapes[1], shapes[2]} { // job is what the node's own work leaves in the same place
			src, name := filepath.Join(t.TempDir(), "s"), fmt.Sprint("w", n)
			ws, req := filepath.Join(node.Home, name), Request{Source: src, Workspace: "~/" + name, Client: who}
			for folder, change := range changes {
				write(t, filepath.Join(src, folder), change[0])
			}
			mustPush(t, node, req)
			must(t, os.RemoveAll(src))
			for folder, change := range changes {
				write(t, filepath.Join(src, folder), change[1])
				if job != nil {
					must(t, os.RemoveAll(filepath.Join(ws, folder)))
					write(t, filepath.Join(ws, folder), job)
				}
			}
			before, moved := read(t, ws), map[string]bool{}
			_, err := Push(t.Context(), node, req)
			for err != nil {
				blocked := inTheWay.FindStringSubmatch(err.Error())
				if job == nil || fault.KindOf(err) != fault.Conflict || blocked == nil || moved[blocked[1]] {
					t.Fatalf("%v on the node: %v", job, err)
				}
				wantTree(t, ws, before)
				quiet(t, ws)
				moved[blocked[1]] = true
				must(t, os.RemoveAll(filepath.Join(ws, blocked[1], "x")))
				before = read(t, ws)
				_, err = Push(t.Context(), node, req)
			}
			quiet(t, ws)
			for folder, change := range changes {
				ws := filepath.Join(ws, folder)
				got := read(t, ws)
				for p, want := range change[1] {
					if c, ok := got[p]; !ok || c != want {
						if _, isDir := got[strings.TrimSuffix(p, "/")]; !strings.HasSuffix(p, "/") || isDir {
							t.Errorf("%v, then %v on the node, then %v: got %v", change[0], job, change[1], got)
						}
					}
				}
				if job == nil || moved[folder] {
					wantTree(t, ws, change[1])
				}
			}
			if len(moved) > len(changes)/2 {
				t.Errorf("%v on the node is in the way of %d of %d changes", job, len(moved), len(changes))
			}
		}
	})
}

// inTheWay has the folder of what a push could not replace.
var inTheWay = regexp.MustCompile(`([0-9]-[0-9])/\S+ is in the way`)

func TestConflicts(t *testing.T) {
	t.Parallel()
	shells(t, func(t *testing.T, node *enginetest.Shell) {
		for _, tt := range []struct {
			name        string
			theirs, src tree
			want        string
		}{
			{"folder in the way of a file", tree{"x/theirs": "1"}, tree{"a": "1", "x": "1"}, "x is in the way"},
			{"folder in the way of a link", tree{"x/theirs": "1"}, tree{"a": "1", "x": "-> a"}, "x is in the way"},
			{"file in the way of a folder", tree{"x y": "1"}, tree{"a": "1", "x y/z": "1"}, "x y is in the way"},
			{"link in the way of a folder", tree{"x": "-> /tmp"}, tree{"a": "1", "x/z": "1"}, "x is in the way"},
		} {
			ws, src := filepath.Join(node.Home, tt.name), t.TempDir()
			write(t, ws, tt.theirs)
			write(t, src, tt.src)
			err := pushErr(t, node, Request{Source: src, Workspace: "~/" + tt.name})
			if err.Kind != fault.Conflict || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: got %v (%s), want %q", tt.name, err, err.Kind, tt.want)
			}
			wantTree(t, ws, tt.theirs)
			quiet(t, ws)
		}
	})
}

// TestThroughLink: a folder that was placed became a link on the node; nothing beyond it is touched.
func TestThroughLink(t *testing.T) {
	t.Parallel()
	shells(t, func(t *testing.T, node *enginetest.Shell) {
		ws, src, away := filepath.Join(node.Home, "w"), t.TempDir(), t.TempDir()
		write(t, src, tree{"data/a": "1", "data/b": "1"})
		req := Request{Source: src, Workspace: "~/w"}
		mustPush(t, node, req)
		must(t, os.RemoveAll(filepath.Join(ws, "data")))
		write(t, away, tree{"a": "theirs", "b": "1"})
		must(t, os.Symlink(away, filepath.Join(ws, "data")))
		if err := pushErr(t, node, req); err.Kind != fault.Conflict {
			t.Errorf("changed file behind the link: got %v", err)
		}
		must(t, os.Remove(filepath.Join(src, "data/b")))
		write(t, src, tree{"c": "1"})
		if err := pushErr(t, node, req); err.Kind != fault.Conflict {
			t.Errorf("removed file behind the link: got %v", err)
		}
		wantTree(t, away, tree{"a": "theirs", "b": "1"})
	})
}

func TestModes(t *testing.T) {
	t.Parallel()
	shells(t, func(t *testing.T, node *enginetest.Shell) {
		ws, src := filepath.Join(node.Home, "w"), t.TempDir()
		modes := map[string]fs.FileMode{"a": 0o755, "b": 0o600, "c": 0o644, "d": 0o400, "e": 0o777, "f\n": 0o711, "g": 0o444}
		for name, m := range modes {
			write(t, src, tree{name: name})
			must(t, os.Chmod(filepath.Join(src, name), m))
		}
		req := Request{Source: src, Workspace: "~/w"}
		check := func(when string) {
			t.Helper()
			for name, m := range modes {
				info, err := os.Lstat(filepath.Join(ws, name))
				must(t, err)
				if info.Mode() != m {
					t.Errorf("%s: mode of %q: got %v, want %v", when, name, info.Mode(), m)
				}
			}
		}
		mustPush(t, node, req)
		check("first push")
		modes["a"], modes["b"], modes["f\n"] = 0o644, 0o640, 0o600
		for name, m := range modes {
			must(t, os.Chmod(filepath.Join(src, name), m))
		}
		if res := mustPush(t, node, req); res.Sent != 0 {
			t.Errorf("only modes differ: sent %d files", res.Sent)
		}
		check("changed here")
		for name := range modes {
			must(t, os.Chmod(filepath.Join(ws, name), 0o666))
		}
		if res := mustPush(t, node, req); res.Sent != 0 {
			t.Errorf("only modes differ on the node: sent %d files", res.Sent)
		}
		check("changed there")
		if os.Geteuid() == 0 { // a file that only root can read here
			modes["c"] = 0
			must(t, os.Chmod(filepath.Join(src, "c"), 0))
			must(t, os.WriteFile(filepath.Join(src, "c"), []byte("new"), 0))
			mustPush(t, node, req)
			check("unreadable")
		}
	})
}

func TestMassDelete(t *testing.T) {
	t.Parallel()
	node := &enginetest.Shell{Home: t.TempDir()}
	ws, src := filepath.Join(node.Home, "w"), t.TempDir()
	all := tree{"keep": "1"}
	for i := range 30 {
		all[fmt.Sprintf("d%d/f", i%3+i)] = "1"
	}
	write(t, src, all)
	placed := len(read(t, src))
	req := Request{Source: src, Workspace: "~/w"}
	mustPush(t, node, req)
	for name := range all {
		if name != "keep" {
			must(t, os.RemoveAll(filepath.Join(src, filepath.Dir(name))))
		}
	}
	err := pushErr(t, node, req)
	if want := fmt.Sprintf("delete %d of the %d files", placed-1, placed); err.Kind != fault.Denied || !strings.Contains(err.Error(), want) || !strings.Contains(err.Hint, "--yes") {
		t.Errorf("without Confirm: got %v (%s), want %q", err, err.Hint, want)
	}
	asked := ""
	req.Confirm = func(_ context.Context, q string) (bool, error) { asked = q; return false, nil }
	if err := pushErr(t, node, req); err.Kind != fault.Denied || asked == "" {
		t.Errorf("refused: got %v, asked %q", err, asked)
	}
	if got := len(read(t, ws)); got != placed {
		t.Errorf("refused: %d files left, want %d", got, placed)
	}
	quiet(t, ws)
	req.Confirm = func(context.Context, string) (bool, error) { return true, nil }
	mustPush(t, node, req)
	wantTree(t, ws, tree{"keep": "1"})
}

func TestRoots(t *testing.T) {
	t.Parallel()
	node := &enginetest.Shell{Home: t.TempDir()}
	one, two := t.TempDir(), t.TempDir()
	write(t, one, tree{"a": "1"})
	write(t, two, tree{"b": "1"})
	mustPush(t, node, Request{Source: one, Workspace: "~/w"})
	err := pushErr(t, node, Request{Source: two, Workspace: "~/w"})
	if err.Kind != fault.Conflict || !strings.Contains(err.Error(), one) || !strings.Contains(err.Error(), two) || !strings.Contains(err.Hint, "~/.bifrost/workspaces/") {
		t.Errorf("another folder: got %v (%s)", err, err.Hint)
	}
	err = pushErr(t, node, Request{Source: one, Workspace: "~/w", Client: "eve@desk 7"})
	if err.Kind != fault.Conflict || !strings.Contains(err.Error(), "dana@laptop") || !strings.Contains(err.Error(), "eve@desk") {
		t.Errorf("another client: got %v", err)
	}
	wantTree(t, filepath.Join(node.Home, "w"), tree{"a": "1"})
	mustPush(t, node, Request{Source: one, Workspace: "~/w"})
}

func TestWorkspaces(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	write(t, src, tree{"a": "1"})
	shells(t, func(t *testing.T, node *enginetest.Shell) {
		must(t, os.WriteFile(filepath.Join(node.Home, "file"), nil, 0o644))
		for _, tt := range []struct {
			workspace, want string // want: relative to home
			kind            fault.Kind
		}{
			{"~", "", ""},
			{"~/", "", ""},
			{"~/x y/z", "x y/z", ""},
			{"~/-x", "-x", ""},
			{"~/$(touch x)`\"'\\", "$(touch x)`\"'\\", ""},
			{filepath.Join(node.Home, "abs"), "abs", ""},
			{"~/file", "", fault.Conflict},
			{"~/file/below", "", fault.Invalid},
			{"relative", "", fault.Invalid},
			{"~other/x", "", fault.Invalid},
			{"", "", fault.Invalid},
			{"~/x\ny", "", fault.Invalid},
			{"/proc/no", "", fault.Invalid},
		} {
			req := Request{Source: src, Workspace: tt.workspace}
			if tt.kind != "" {
				if err := pushErr(t, node, req); err.Kind != tt.kind {
					t.Errorf("%q: got %v (%s), want kind %s", tt.workspace, err, err.Kind, tt.kind)
				}
				continue
			}
			res := mustPush(t, node, req)
			if want := filepath.Join(node.Home, tt.want); filepath.Clean(res.Workspace) != want {
				t.Errorf("%q: workspace %q, want %q", tt.workspace, res.Workspace, want)
			}
			if _, err := os.Stat(filepath.Join(node.Home, tt.want, "a")); err != nil {
				t.Errorf("%q: %v", tt.workspace, err)
			}
		}
	})
}

func TestSources(t *testing.T) {
	t.Parallel()
	node := &enginetest.Shell{Home: t.TempDir()}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o755))
	for _, name := range []string{"missing", "file", "empty"} {
		if err := pushErr(t, node, Request{Source: filepath.Join(dir, name), Workspace: "~/w"}); err.Kind != fault.Invalid || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v (%s)", name, err, err.Kind)
		}
	}
	quiet(t, filepath.Join(node.Home, "w"))
}

func TestInputsID(t *testing.T) {
	t.Parallel()
	r := Result{Manifest: "m"}
	for _, p := range []string{"a", "src/x.c", "src/deep/y.c", "src/deep/z.h", "x/deep/q"} {
		r.entries = append(r.entries, entry{path: p, typ: file, sum: sum256([]byte(p))})
	}
	id := func(patterns ...string) string {
		t.Helper()
		got, err := r.InputsID(patterns)
		must(t, err)
		return got
	}
	for _, tt := range []struct {
		a, b []string
		same bool
	}{
		{[]string{"src"}, []string{"src/**"}, true},
		{[]string{"src/"}, []string{"./src"}, true},
		{[]string{"src/**/*.c"}, []string{"src/x.c", "src/deep/y.c"}, true},
		{[]string{"**/*.c"}, []string{"src/deep/y.c", "src/x.c"}, true},
		{[]string{"src/*.c"}, []string{"src/x.c"}, true},
		{[]string{"**/deep"}, []string{"src/deep", "x/deep/q"}, true},
		{[]string{"*"}, []string{"."}, true},
		{[]string{"a"}, []string{"src"}, false},
	} {
		if got := id(tt.a...) == id(tt.b...); got != tt.same {
			t.Errorf("%q and %q: same is %v, want %v", tt.a, tt.b, got, tt.same)
		}
	}
	if got, _ := r.InputsID(nil); got != "m" {
		t.Errorf("nil: got %q, want the manifest", got)
	}
	for _, bad := range []string{"nothing", "[", "src/x.c/y"} {
		if _, err := r.InputsID([]string{bad}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: got %v, want an error of kind invalid", bad, err)
		}
	}
}

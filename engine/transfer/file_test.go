//go:build unix

package transfer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

func TestReadAndWriteFile(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		ctx := t.Context()
		for name, content := range oddNames {
			if strings.HasSuffix(name, "/") || strings.HasPrefix(content, "-> ") {
				continue
			}
			content += "\x00\r\n\xff"
			must(t, WriteFile(ctx, node, "~/w s", "new/"+name, []byte(content), 0))
			got, err := ReadFile(ctx, node, "~/w s", "./new/"+name, 100)
			must(t, err)
			if string(got) != content {
				t.Errorf("%q: got %q, want %q", name, got, content)
			}
		}
		big := []byte(noise(1, 1<<20))
		must(t, WriteFile(ctx, node, "", "big", big, 0o755))
		info, err := os.Stat(filepath.Join(node.Home, "big"))
		must(t, err)
		if info.Mode().Perm() != 0o755 {
			t.Errorf("got mode %o, want 755", info.Mode().Perm())
		}
		must(t, WriteFile(ctx, node, "", "~/big", []byte("less"), 0))
		must(t, os.Symlink("big", filepath.Join(node.Home, "link")))
		must(t, WriteFile(ctx, node, "~", "link", nil, 0))
		if got, err := ReadFile(ctx, node, "/", filepath.Join(node.Home, "big"), 0); err != nil || len(got) != 0 {
			t.Errorf("through a link: got %q, %v; want nothing", got, err)
		}
		info, err = os.Stat(filepath.Join(node.Home, "big"))
		must(t, err)
		if info.Mode().Perm() != 0o755 {
			t.Errorf("rewritten file: got mode %o, want 755", info.Mode().Perm())
		}
		if names, _ := filepath.Glob(filepath.Join(node.Home, ".bifrost-write*")); len(names) != 0 {
			t.Errorf("left behind: %v", names)
		}

		must(t, WriteFile(ctx, node, "", "ten", []byte("0123456789"), 0))
		if got, err := ReadFile(ctx, node, "", "ten", 10); err != nil || len(got) != 10 {
			t.Errorf("at the limit: got %q, %v", got, err)
		}
		_, err = ReadFile(ctx, node, "", "ten", 9)
		wantKind(t, err, fault.Invalid, "more than 9 B", "download it")
		must(t, WriteFile(ctx, node, "", "large", make([]byte, 3<<20), 0))
		_, err = ReadFile(ctx, node, "", "large", 9)
		wantKind(t, err, fault.Invalid, "more than 9 B")
		_, err = ReadFile(ctx, node, "", "none", 9)
		wantKind(t, err, fault.NotFound, "none", "big")
		_, err = ReadFile(ctx, node, "", "w s", 9)
		wantKind(t, err, fault.Invalid, "it is a folder")
		wantKind(t, WriteFile(ctx, node, "", "w s", nil, 0), fault.Transfer, "it is a folder")
		wantKind(t, WriteFile(ctx, node, "", "x/", nil, 0), fault.Invalid, "slash")
		wantKind(t, WriteFile(ctx, node, "", "ten/x", nil, 0), fault.Transfer, "ten")
	})
}

// A connection that breaks while a file is written leaves the old one.
func TestWriteFileIsAtomic(t *testing.T) {
	t.Parallel()
	node := &enginetest.Shell{Home: t.TempDir()}
	tree{"f": "old"}.write(t, node.Home)
	short := &shortStdin{node}
	err := WriteFile(t.Context(), short, "", "f", []byte("a new content"), 0)
	wantKind(t, err, fault.Transfer, "did not arrive whole")
	diffTree(t, node.Home, tree{"f": "old"})
}

func TestExistsAndExpandPath(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		tree{"w s/f": "F", "w s/d/": "", "w s/dang": "-> none", "w s/l": "-> f"}.write(t, node.Home)
		for name, want := range map[string]bool{
			"f": true, "d": true, "d/": true, "dang": false, "l": true, "none": false, "": true, ".": true,
			"~/w s/f": true, "~": true, "~/f": false, "/": true, node.Home + "/w s/f": true, "../w s": true,
		} {
			got, err := Exists(t.Context(), node, "~/w s", name)
			if err != nil || got != want {
				t.Errorf("Exists(%q) = %v, %v; want %v", name, got, err, want)
			}
		}
		for name, want := range map[string]string{
			"f": node.Home + "/w s/f", "./d/": node.Home + "/w s/d", "~": node.Home, "~/x": node.Home + "/x",
			"/a/../b": "/b", "": node.Home + "/w s", "~/..": filepath.Dir(node.Home), "~x": node.Home + "/w s/~x", "$HOME": node.Home + "/w s/$HOME",
		} {
			got, err := ExpandPath(t.Context(), node, "~/w s", name)
			if err != nil || got != want {
				t.Errorf("ExpandPath(%q) = %q, %v; want %q", name, got, err, want)
			}
		}
	})
}

func TestGlob(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		tree{
			"w s/a b.pt": "", "w s/abc": "", "w s/a-c": "", "w s/a*c": "", "w s/a]c": "", "w s/.hid": "", "w s/$x'y": "",
			"w s/new\nline": "", "w s/d/1.pt": "", "w s/d/2.pt": "", "w s/e/1.pt": "", "w s/\xff.z": "", "w s/-n": "", "w s/dang": "-> no",
		}.write(t, node.Home)
		home := node.Home
		tests := []struct {
			pattern string
			want    []string
		}{
			{"*.pt", []string{"a b.pt"}},
			{"./*.pt", []string{"./a b.pt"}},
			{"*/*.pt", []string{"d/1.pt", "d/2.pt", "e/1.pt"}},
			{"d/[!1].pt", []string{"d/2.pt"}},
			{"[de]/1.pt", []string{"d/1.pt", "e/1.pt"}},
			{"a?c", []string{"a*c", "a-c", "a]c", "abc"}},
			{"a[b-d]c", []string{"abc"}},
			{"a[-b]c", []string{"a-c", "abc"}},
			{"a[]]c", []string{"a]c"}},
			{"a[*]c", []string{"a*c"}},
			{`a\*c`, []string{"a*c"}},
			{"a[[:alpha:]]c", []string{"abc"}},
			{"a[b", nil},
			{"$x*", []string{"$x'y"}},
			{"$(id)*", nil},
			{"*'y", []string{"$x'y"}},
			{"*new*", []string{"new\nline"}},
			{"*.z", []string{"\xff.z"}},
			{"-*", []string{"-n"}},
			{".h*", []string{".hid"}},
			{"dan*", []string{"dang"}},
			{"abc", []string{"abc"}},
			{"none*", nil},
			{"*/", []string{"d/", "e/"}},
			{"~/w*/d/*", []string{home + "/w s/d/1.pt", home + "/w s/d/2.pt"}},
			{home + "/w s/e/*", []string{home + "/w s/e/1.pt"}},
			{"../w s/e/*", []string{"../w s/e/1.pt"}},
		}
		for _, tt := range tests {
			got, err := Glob(t.Context(), node, "~/w s", tt.pattern)
			if err != nil {
				t.Errorf("Glob(%q): %v", tt.pattern, err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Glob(%q) (-want +got):\n%s", tt.pattern, diff)
			}
		}
		for _, pattern := range []string{"**/x", "", "a/**", "a\x00"} {
			_, err := Glob(t.Context(), node, "", pattern)
			wantKind(t, err, fault.Invalid, "glob")
		}
		_, err := Glob(t.Context(), node, "~/none", "*")
		wantKind(t, err, fault.Transfer, "none")
	})
}

func TestSmallThingsSayWhatTheConnectionSays(t *testing.T) {
	t.Parallel()
	lost := &ssh.LostError{Err: errors.New("reset")}
	node := runnerFunc(func(*ssh.Command) error { return lost })
	ctx := t.Context()
	_, read := ReadFile(ctx, node, "", "x", 1)
	write := WriteFile(ctx, node, "", "x", nil, 0)
	_, exists := Exists(ctx, node, "", "x")
	_, glob := Glob(ctx, node, "", "x")
	_, expand := ExpandPath(ctx, node, "", "x")
	for i, err := range []error{read, write, exists, glob, expand} {
		if !errors.Is(err, lost) {
			t.Errorf("%d: got %v, want %v", i, err, lost)
		}
	}
	mute := runnerFunc(func(*ssh.Command) error { return nil })
	_, read = ReadFile(ctx, mute, "", "x", 1)
	_, exists = Exists(ctx, mute, "", "x")
	_, expand = ExpandPath(ctx, mute, "", "x")
	for _, err := range []error{read, exists, expand} {
		wantKind(t, err, fault.Transfer)
	}
}

func FuzzQuotePattern(f *testing.F) {
	for _, s := range []string{"a[b-c]*", "[!x]", `\[`, "[[:alpha:]", "a'b", "[]", "[a/b]", "$(x)`y`"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		// Outside quotes nothing may be left that means more to a shell than matching.
		word, quoted := quotePattern(pattern), false
		for i := 0; i < len(word); i++ {
			switch c := word[i]; {
			case c == '\'':
				quoted = !quoted
			case quoted:
			case c == '\\' && i+1 < len(word) && word[i+1] == '\'':
				i++
			case strings.ContainsRune("*?[]!-/", rune(c)), c == ':', c >= 'a' && c <= 'z' && strings.Contains(word, "[:"):
			default:
				t.Fatalf("quotePattern(%q) = %q leaves %q open", pattern, word, fmt.Sprint(string(c)))
			}
		}
		if quoted {
			t.Fatalf("quotePattern(%q) = %q has an open quote", pattern, word)
		}
	})
}

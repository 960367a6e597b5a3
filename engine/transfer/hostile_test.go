//go:build unix

package transfer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A liar is a node that answers with what the test wrote, whatever it is asked.
type liar struct {
	list  []string // lines of the first section, "MODE SIZE MTIME NAME"
	sums  map[string]string
	odd   []string // records of the last section
	files []tar.Header
	data  map[string]string
	raw   string // instead of all this
}

func (l *liar) Run(_ context.Context, cmd ssh.Command) error {
	w := bufio.NewWriter(cmd.Stdout)
	if l.raw != "" {
		fmt.Fprint(w, l.raw)
		return w.Flush()
	}
	fmt.Fprint(w, "d\x00/home/r\x00/home/r\x00\x00")
	for _, line := range l.list {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w, "end 0")
	for _, rec := range l.odd {
		fmt.Fprint(w, rec+"\x00")
	}
	fmt.Fprint(w, "end 0\x00")
	if err := w.Flush(); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, cmd.Stdin)
	for name, content := range l.sums {
		fmt.Fprintf(w, "%s  %s\n", sumOf(content), name)
	}
	fmt.Fprint(w, "end\nend\x00")
	tw := tar.NewWriter(w)
	for _, h := range l.files {
		content := l.data[h.Name]
		h.Size, h.Mode = int64(len(content)), 0o644
		if err := tw.WriteHeader(&h); err != nil {
			return err
		}
		_, _ = io.WriteString(tw, content)
	}
	tw.Close()
	return w.Flush()
}

func sumOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

func TestDownloadFromAHostileNode(t *testing.T) {
	t.Parallel()
	reg := func(names ...string) (hs []tar.Header) {
		for _, name := range names {
			hs = append(hs, tar.Header{Typeflag: tar.TypeReg, Name: name})
		}
		return hs
	}
	lnk := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
	}
	listed := func(names ...string) *liar {
		l := &liar{sums: map[string]string{}, data: map[string]string{}}
		for _, name := range names {
			l.list = append(l.list, "81a4 4 0 "+name)
			l.sums[name], l.data[name] = "EVIL", "EVIL"
		}
		l.files = reg(names...)
		return l
	}
	tests := []struct {
		name string
		node *liar
		want tree   // in the target
		err  string // empty: none
	}{
		{"parent in the listing", listed("./../evil"), nil, "makes no sense"},
		{"parent in the middle", listed("./a/../../evil"), nil, "makes no sense"},
		{"absolute", listed("/tmp/evil"), nil, "makes no sense"},
		{"absolute behind a dot", listed(".//tmp/evil"), nil, "makes no sense"},
		{"no dot", listed("evil"), nil, "makes no sense"},
		{"parent itself", listed("./.."), nil, "makes no sense"},
		{"empty", listed("./"), nil, "makes no sense"},
		{"twice", listed("./a", "./a"), nil, "listed twice"},
		{"odd name with parent", &liar{odd: []string{"81a4 4 0 ./\n/../../evil"}}, nil, "makes no sense"},
		{"odd name absolute", &liar{odd: []string{"81a4 4 0 /\nevil"}}, nil, "makes no sense"},
		{"checksum of a name outside", &liar{list: []string{"81a4 4 0 ./a"}, sums: map[string]string{"./../a": "x"}}, nil, "makes no sense"},
		{"names in the archive that were not asked for", &liar{
			list: []string{"81a4 4 0 ./good"}, sums: map[string]string{"./good": "GOOD"},
			files: append(reg("../evil", "/tmp/evil", "./../evil", "evil", "./good"), lnk("./more", "/etc")),
			data:  map[string]string{"./good": "GOOD"},
		}, tree{"good": "GOOD"}, ""},
		{"a link, then a file through it", &liar{
			list: []string{"a1ff 4 0 ./l", "81a4 4 0 ./l/evil"}, sums: map[string]string{"./l/evil": "EVIL"},
			files: append([]tar.Header{lnk("./l", "OUTSIDE")}, reg("./l/evil")...), data: map[string]string{"./l/evil": "EVIL"},
		}, nil, "which is no folder"},
		{"a folder that arrives as a link", &liar{
			list: []string{"41ed 4 0 ./l", "81a4 4 0 ./l/evil"}, sums: map[string]string{"./l/evil": "EVIL"},
			files: append([]tar.Header{lnk("./l", "OUTSIDE")}, reg("./l/evil")...), data: map[string]string{"./l/evil": "EVIL"},
		}, tree{"l/evil": "EVIL"}, ""},
		{"a file that arrives as a link", &liar{
			list: []string{"81a4 4 0 ./f"}, sums: map[string]string{"./f": "EVIL"}, files: []tar.Header{lnk("./f", "OUTSIDE/x")},
		}, tree{}, "it changed on the node"},
		{"a file that arrives as a hard link to outside", &liar{
			list: []string{"81a4 4 0 ./f"}, sums: map[string]string{"./f": "safe"},
			files: []tar.Header{{Typeflag: tar.TypeLink, Name: "./f", Linkname: "../outside/safe"}},
		}, tree{}, "it changed on the node"},
		{"links outside", &liar{
			list:  []string{"a1ff 4 0 ./l", "a1ff 4 0 ./m", "a1ff 4 0 ./n", "a1ff 4 0 ./s"},
			files: []tar.Header{lnk("./l", "OUTSIDE"), lnk("./m", ".."), lnk("./n", "s/../.."), lnk("./s", ".")},
		}, tree{"s": "-> ."}, ""},
		{"other content than listed", &liar{
			list: []string{"81a4 4 0 ./f"}, sums: map[string]string{"./f": "GOOD"}, files: reg("./f"), data: map[string]string{"./f": "EVIL"},
		}, tree{}, "it changed on the node"},
		{"more content than listed", &liar{
			list: []string{"81a4 4 0 ./f"}, sums: map[string]string{"./f": "GOOD"}, files: reg("./f"), data: map[string]string{"./f": strings.Repeat("EVIL", 1000)},
		}, tree{}, "it changed on the node"},
		{"never sent", &liar{list: []string{"81a4 4 0 ./f"}, sums: map[string]string{"./f": "GOOD"}}, tree{}, "changed on the node while it was sent, twice"},
		{"nothing at all", &liar{raw: "x"}, nil, "unexpected EOF"},
		{"a name without end", &liar{raw: "d\x00/\x00/\x00\x00" + strings.Repeat("x", 10*maxRecord)}, nil, "a name of more than"},
		{"negative size", &liar{list: []string{"81a4 -4 0 ./f"}}, nil, "makes no sense"},
		{"noise", &liar{list: []string{"hello"}}, nil, "makes no sense"},
		{"no archive", &liar{raw: "d\x00/\x00/\x00\x0081a4 4 0 ./f\nend 0\nend 0\x00" + sumOf("GOOD") + "  ./f\nend\nend\x00" + strings.Repeat("garbage ", 500)}, tree{}, "did not send it"},
		{"half a block", &liar{raw: "d\x00/\x00/\x00\x0081a4 4 0 ./f\nend 0\nend 0\x00" + sumOf("GOOD") + "  ./f\nend\nend\x00\x00\x00"}, tree{}, "did not send it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tree{"outside/safe": "safe"}.write(t, dir)
			for i := range tt.node.files {
				tt.node.files[i].Linkname = strings.Replace(tt.node.files[i].Linkname, "OUTSIDE", dir+"/outside", 1)
			}
			_, err := Download(t.Context(), tt.node, Request{Remote: "r/", Local: "to", LocalDir: dir})
			if tt.err == "" {
				must(t, err)
			} else {
				wantKind(t, err, fault.Transfer, tt.err)
			}
			diffTree(t, filepath.Join(dir, "outside"), tree{"safe": "safe"})
			names, err := os.ReadDir(dir)
			must(t, err)
			for _, e := range names {
				if e.Name() != "outside" && e.Name() != "to" {
					t.Errorf("%s appeared beside the target", e.Name())
				}
			}
			if tt.want != nil {
				diffTree(t, filepath.Join(dir, "to"), tt.want)
			}
		})
	}
}

// A link that was here before and leads outside is not followed, not even by a part.
func TestDownloadDoesNotFollowLocalLinks(t *testing.T) {
	t.Parallel()
	node := &enginetest.Shell{Home: t.TempDir()}
	content := noise(1, 100<<10)
	tree{"r/f": content, "r/d/g": "G"}.write(t, node.Home)
	dir := t.TempDir()
	out := filepath.Join(dir, "outside")
	key := keyOf(t, filepath.Join(node.Home, "r/f"))
	tree{"outside/x": "safe", "to/" + partName("f", key): "-> ../outside/x", "to/d": "-> ../outside"}.write(t, dir)
	_, err := Download(t.Context(), node, Request{Remote: "r/", RemoteDir: "~", Local: "to", LocalDir: dir})
	wantKind(t, err, fault.Transfer, "d: a link is here where a folder must go")
	diffTree(t, out, tree{"x": "safe"})
	diffTree(t, filepath.Join(dir, "to"), tree{"f": content, "d": "-> ../outside"})

	// The same with a link that stays inside, which the system would follow.
	must(t, os.Remove(filepath.Join(dir, "to/f")))
	tree{"to/other": "mine", "to/" + partName("f", key): "-> other"}.write(t, dir)
	_, err = Download(t.Context(), node, Request{Remote: "r/f", RemoteDir: "~", Local: "to/f", LocalDir: dir})
	must(t, err)
	diffTree(t, filepath.Join(dir, "to"), tree{"f": content, "d": "-> ../outside", "other": "mine"})
}

func TestDownloadAnswersToItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	node := &listenRunner{Runner: &enginetest.Shell{Home: t.TempDir()}, change: func(int) { cancel(why) }}
	tree{"r/f": noise(1, 1<<20)}.write(t, node.Runner.(*enginetest.Shell).Home)
	_, err := Download(ctx, node, Request{Remote: "r", RemoteDir: "~", Local: "to", LocalDir: t.TempDir()})
	if !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
}

func FuzzReadListing(f *testing.F) {
	f.Add([]byte("41ed 4096 1 .\n81a4 1 2 ./a b\nend 0\n81a4 1 2 ./n\nl\x00end 0\x00"))
	f.Add([]byte("end 1\nend 1\x00"))
	f.Add([]byte("81a4 1 2 ./../x\n"))
	f.Add([]byte("a1ff 1 2 ./x\n81a4 1 2 ./x/y\nend 0\nend 0\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := readListing(bufio.NewReader(bytes.NewReader(data)), len(data)%2 == 0)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, e := range l.entries {
			if !filepath.IsLocal(e.name) || e.name == "." || filepath.Clean(e.name) != e.name || seen[e.name] || e.size < 0 {
				t.Errorf("accepted %q", e.name)
			}
			seen[e.name] = true
		}
	})
}

func FuzzReadSums(f *testing.F) {
	f.Add([]byte(sumOf("x") + "  ./a b\nend\n" + sumOf("x") + "  ./n\nl\x00end\x00"))
	f.Add([]byte("\\" + sumOf("x") + " *./a\\\\\nend\nend\x00"))
	f.Add([]byte(sumOf("x") + "  ./../x\nend\nend\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = readSums(bufio.NewReader(bytes.NewReader(data)), func(name string, _ digest) {
			if !filepath.IsLocal(name) || filepath.Clean(name) != name {
				t.Errorf("accepted %q", name)
			}
		})
	})
}

func FuzzLinkInside(f *testing.F) {
	f.Add("a/b", "../c", "/home/r")
	f.Add("l", "/home/r/x/..", "/home/r")
	f.Fuzz(func(t *testing.T, name, target, root string) {
		if name, err := cleanName("./" + name); err == nil && name != "." {
			got, ok := link{name, target}.inside(root)
			if ok && (filepath.IsAbs(got) || !filepath.IsLocal(filepath.Join(filepath.Dir(name), got))) {
				t.Errorf("link %q to %q (root %q) became %q", name, target, root, got)
			}
		}
	})
}

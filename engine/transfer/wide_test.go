//go:build unix

package transfer

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// smallWidth makes of a few megabytes what defaultWidth makes of many.
func smallWidth() width {
	return width{
		trip: time.Millisecond, first: 256 << 10, part: 256 << 10, large: 1 << 20, each: 1 << 20,
		most: 4, greet: 2, at: 2, memory: 1 << 20,
	}
}

// wideTree has large files, many small ones, links, and names that shells must be told of with care.
func wideTree() tree {
	want := tree{
		"large": noise(1, 5<<20+12345), "d/lar ge'\n\\": noise(2, 1<<20+1), "empty": "", "l": "-> large",
	}
	for i := range 300 {
		want[fmt.Sprintf("many/%d/%d", i%7, i)] = noise(uint64(i), 9000)
	}
	return want
}

// distantNode is a server at a distance whose client has connected.
func distantNode(t *testing.T, o enginetest.Options) (*enginetest.Server, *enginetest.Proxy, *ssh.Client) {
	t.Helper()
	s := enginetest.OpenSSH(t, o)
	proxy := enginetest.NewProxy(t, s.Addr)
	proxy.Delay(2 * time.Millisecond)
	node := s.ClientVia(t, proxy)
	must(t, node.Connect(t.Context()))
	return s, proxy, node
}

func TestWideDownload(t *testing.T) {
	t.Parallel()
	want := wideTree()
	tests := []struct {
		name     string
		options  enginetest.Options
		refuse   bool
		min, max int // connections
	}{
		{"several connections", enginetest.Options{}, false, 3, 5},
		{"busybox", enginetest.Options{Busybox: true}, false, 3, 5},
		{"no more than one connection", enginetest.Options{}, true, 1, 1},
		{"one session on each", enginetest.Options{MaxSessions: 1}, false, 3, 30},
		{"two programs less", enginetest.Options{Without: []string{"openssl", "gzip"}}, false, 3, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, proxy, node := distantNode(t, tt.options)
			want.write(t, filepath.Join(s.Home, "r"))
			proxy.Refuse(tt.refuse)
			dir := t.TempDir()
			res, err := downloadOver(t.Context(), node, Request{Remote: "r", Local: "to", LocalDir: dir}, patientRetry(), smallWidth())
			must(t, err)
			diffTree(t, dir, under("to", want))
			if total := want.bytes(); res.Files != len(want) || res.Bytes != total {
				t.Errorf("got %+v, want %d files of %d bytes", res, len(want), total)
			}
			if n := proxy.Accepted(); n < tt.min || n > tt.max {
				t.Errorf("got %d connections, want %d to %d", n, tt.min, tt.max)
			}
			one, err := downloadOver(t.Context(), node, Request{Remote: "r/large", Local: "one", LocalDir: dir}, patientRetry(), smallWidth())
			must(t, err)
			if b, err := os.ReadFile(filepath.Join(dir, "one")); string(b) != want["large"] || err != nil || one.Files != 1 {
				t.Errorf("one file: got %d bytes, %+v, %v", len(b), one, err)
			}
		})
	}
}

func under(dir string, tr tree) tree {
	moved := make(tree)
	for name, content := range tr {
		moved[filepath.Join(dir, name)] = content
	}
	return moved
}

// bytes counts content as a transfer does.
func (tr tree) bytes() (total int64) {
	for _, content := range tr {
		if len(content) < 3 || content[:3] != "-> " {
			total += int64(len(content))
		}
	}
	return total
}

// Connections that break cost no more than what was under way, and a part is always a beginning.
func TestWideDownloadWithCuts(t *testing.T) {
	t.Parallel()
	s, proxy, node := distantNode(t, enginetest.Options{})
	want := wideTree()
	delete(want, "l")
	want.write(t, filepath.Join(s.Home, "r"))
	dir := t.TempDir()
	req := Request{Remote: "r/", Local: "to", LocalDir: dir}
	for _, cut := range []int64{300_000, 1 << 20, 2 << 20, 3 << 20} {
		proxy.CutAfter(cut)
		_, err := downloadOver(t.Context(), node, req, retry{patience: 1}, smallWidth())
		if err != nil {
			wantKind(t, err, fault.Lost, "goes on from there") // else it was a further connection
		}
		if _, err := os.Stat(filepath.Join(dir, "to")); err == nil {
			noHalf(t, filepath.Join(dir, "to"), want)
		}
		parts, _ := filepath.Glob(filepath.Join(dir, "to", ".large.*"+partSuffix))
		for _, part := range parts {
			b, err := os.ReadFile(part)
			if err != nil || len(b) > len(want["large"]) || string(b) != want["large"][:len(b)] {
				t.Errorf("a part of %d bytes is not the beginning of its file, %v", len(b), err)
			}
		}
	}
	proxy.CutAfter(2 << 20)
	_, err := downloadOver(t.Context(), node, req, patientRetry(), smallWidth())
	must(t, err)
	diffTree(t, dir, under("to", want))
}

// What is in a part already does not travel, wherever it ends.
func TestWideDownloadGoesOn(t *testing.T) {
	t.Parallel()
	s, proxy, node := distantNode(t, enginetest.Options{})
	content := noise(3, 4<<20+77)
	tree{"f": content}.write(t, s.Home)
	for _, tt := range []struct {
		name, part string
		bytes      int
	}{
		{"odd", content[:1_000_001], 4<<20 + 77 - 1_000_001},
		{"at a block", content[:2<<20], 2<<20 + 77},
		{"wrong", noise(4, 1<<20), 3<<20 + 77 + 4<<20 + 77},
	} {
		dir := t.TempDir()
		tree{partName("f", digestOf(content)): tt.part}.write(t, dir)
		res, err := downloadOver(t.Context(), node, Request{Remote: "f", Local: "f", LocalDir: dir}, patientRetry(), smallWidth())
		must(t, err)
		diffTree(t, dir, tree{"f": content})
		if res.Bytes != int64(tt.bytes) {
			t.Errorf("%s: got %d bytes, want %d", tt.name, res.Bytes, tt.bytes)
		}
	}
	if proxy.Accepted() < 2 {
		t.Error("got one connection: this tests nothing")
	}
}

// A large file that changes while its pieces travel is fetched anew, and is whole in the end.
func TestWideDownloadOfAChangingFile(t *testing.T) {
	t.Parallel()
	for name, newer := range map[string]string{"other": noise(5, 4<<20), "shorter": noise(6, 1<<20+5), "longer": noise(7, 6<<20)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _, node := distantNode(t, enginetest.Options{})
			file := filepath.Join(s.Home, "r/f")
			tree{"r/f": noise(8, 4<<20), "r/g": "g"}.write(t, s.Home)
			far := &changing{Client: node, change: func() { must(t, os.WriteFile(file, []byte(newer), 0o644)) }}
			dir := t.TempDir()
			_, err := downloadOver(t.Context(), far, Request{Remote: "r", Local: "to", LocalDir: dir}, patientRetry(), smallWidth())
			must(t, err)
			diffTree(t, dir, tree{"to/f": newer, "to/g": "g"})
		})
	}
}

// A changing node does something when it is first asked for a piece.
type changing struct {
	*ssh.Client
	once   sync.Once
	change func()
}

func (c *changing) Run(ctx context.Context, cmd ssh.Command) error {
	if strings.Contains(cmd.Script, "dd bs=") {
		c.once.Do(c.change)
	}
	return c.Client.Run(ctx, cmd)
}

func digestOf(content string) digest { return digest(sha256.Sum256([]byte(content))) }

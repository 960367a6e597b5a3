//go:build unix

package transfer

import (
	"context"
	"errors"
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
		trip: time.Millisecond, first: 128 << 10, part: 128 << 10, asked: 256 << 10, large: 256 << 10, stretch: 256 << 10, each: 128 << 10,
		most: 3, greet: 2, early: 2, late: time.Minute, at: 2, spill: 512 << 10,
	}
}

// wideTree has large files, many small ones, links, and names that shells must be told of with care.
func wideTree() tree {
	want := tree{
		"large": noise(1, 1<<20+12345), "d/lar ge'\n\\": noise(2, 256<<10+1), "empty": "", "l": "-> large",
	}
	for i := range 80 {
		want[fmt.Sprintf("many/%d/%d", i%7, i)] = noise(uint64(i), 9000)
	}
	return want
}

// distantNode is a server at a distance whose client has connected.
func distantNode(t *testing.T, o enginetest.Options) (*enginetest.Server, *enginetest.Proxy, *ssh.Client) {
	t.Helper()
	s, proxy, node := newNode(t, o, 2*time.Millisecond)
	must(t, node.Connect(t.Context()))
	return s, proxy, node
}

// newNode is a server at a distance, with a delay in each direction, whose client has not connected.
func newNode(t *testing.T, o enginetest.Options, delay time.Duration) (*enginetest.Server, *enginetest.Proxy, *ssh.Client) {
	t.Helper()
	s := enginetest.OpenSSH(t, o)
	proxy := enginetest.NewProxy(t, s.Addr)
	proxy.Delay(delay)
	return s, proxy, s.ClientVia(t, proxy)
}

// earlyDelay makes of a node one that seems far before there is a connection.
const earlyDelay = 5 * time.Millisecond

func TestWideDownload(t *testing.T) {
	t.Parallel()
	want := wideTree()
	tests := []struct {
		name     string
		options  enginetest.Options
		refuse   bool
		min, max int // connections
	}{
		{"several connections", enginetest.Options{}, false, 2, 4},
		{"without gzip", enginetest.Options{Without: []string{"gzip"}}, false, 2, 4},
		{"busybox", enginetest.Options{Busybox: true}, false, 2, 4},
		{"no more than one connection", enginetest.Options{}, true, 1, 1},
		{"one session on each", enginetest.Options{MaxSessions: 1}, false, 3, 30},
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

// Where the names of a chunk are too long for one command on the node, the rest of them waits for those of the next chunk.
func TestWideDownloadOfLongNames(t *testing.T) {
	t.Parallel()
	want := make(tree)
	for i := range 700 {
		want[fmt.Sprintf("%s/%0230d", strings.Repeat("d", 100), i)] = fmt.Sprint(i)
	}
	for name, o := range map[string]enginetest.Options{"coreutils": {}, "busybox": {Busybox: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _, node := distantNode(t, o)
			want.write(t, filepath.Join(s.Home, "r"))
			wide := defaultWidth()
			wide.trip = time.Millisecond
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			dir := t.TempDir()
			_, err := downloadOver(ctx, node, Request{Remote: "r/", Local: "to", LocalDir: dir}, patientRetry(), wide)
			must(t, err)
			diffTree(t, filepath.Join(dir, "to"), want)
		})
	}
}

// Further connections are made while the first one still logs in, for a download before there is a listing.
func TestEarlyConnections(t *testing.T) {
	t.Parallel()
	want := wideTree()
	for _, up := range []bool{false, true} {
		t.Run(fmt.Sprintf("up %t", up), func(t *testing.T) {
			t.Parallel()
			s, proxy, c := newNode(t, enginetest.Options{}, earlyDelay)
			node := &besides{t, c, proxy, 2}
			dir := t.TempDir()
			if up {
				want.write(t, filepath.Join(dir, "r"))
				_, err := uploadOver(t.Context(), node, UploadRequest{Local: "r", LocalDir: dir, Remote: "to"}, patientRetry(), smallWidth())
				must(t, err)
				diffTree(t, s.Home, under("to", want))
			} else {
				want.write(t, filepath.Join(s.Home, "r"))
				_, err := downloadOver(t.Context(), node, Request{Remote: "r", Local: "to", LocalDir: dir}, patientRetry(), smallWidth())
				must(t, err)
				diffTree(t, dir, under("to", want))
			}
		})
	}
}

// A besides tells that it has logged in once so many further connections are made.
type besides struct {
	t *testing.T
	*ssh.Client
	proxy   *enginetest.Proxy
	further int
}

func (b *besides) RoundTrip(ctx context.Context) (time.Duration, error) {
	trip, err := b.Client.RoundTrip(ctx)
	enginetest.Until(b.t, "further connections are made", func() bool { return b.proxy.Accepted() > b.further })
	return trip, err
}

// Where there is little to fetch nothing needs the further connections. They log in all the same: a server locks out who
// goes before that too often.
func TestEarlyConnectionsOfALittleDownload(t *testing.T) {
	t.Parallel()
	s, proxy, c := newNode(t, enginetest.Options{}, earlyDelay)
	tree{"f": "F"}.write(t, s.Home)
	dir := t.TempDir()
	node := &besides{t, c, proxy, smallWidth().early}
	_, err := downloadOver(t.Context(), node, Request{Remote: "f", LocalDir: dir}, patientRetry(), smallWidth())
	must(t, err)
	diffTree(t, dir, tree{"f": "F"})
	enginetest.Until(t, "all have logged in", func() bool { return strings.Count(s.Log(), "Accepted publickey") == 1+smallWidth().early })
}

// Who gives up while connections are made waits for none of them.
func TestEarlyConnectionsAreGivenUp(t *testing.T) {
	t.Parallel()
	for _, up := range []bool{false, true} {
		t.Run(fmt.Sprintf("up %t", up), func(t *testing.T) {
			t.Parallel()
			_, proxy, node := newNode(t, enginetest.Options{}, earlyDelay)
			dir := t.TempDir()
			wideTree().write(t, filepath.Join(dir, "r"))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				var err error
				if up {
					_, err = uploadOver(ctx, node, UploadRequest{Local: "r", LocalDir: dir, Remote: "to"}, patientRetry(), smallWidth())
				} else {
					_, err = downloadOver(ctx, node, Request{Remote: "r", Local: "to", LocalDir: dir}, patientRetry(), smallWidth())
				}
				ended <- err
			}()
			enginetest.Until(t, "further connections are made", func() bool { return proxy.Accepted() > 1 })
			proxy.Stall()
			cancel()
			select {
			case err := <-ended:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("it goes on")
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
	for _, cut := range []int64{200_000, 500_000, 1_000_000} {
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
	proxy.CutAfter(300_000)
	_, err := downloadOver(t.Context(), node, req, patientRetry(), smallWidth())
	must(t, err)
	diffTree(t, dir, under("to", want))
}

// What is in a part already does not travel, wherever it ends.
func TestWideDownloadGoesOn(t *testing.T) {
	t.Parallel()
	s, proxy, node := distantNode(t, enginetest.Options{})
	content := noise(3, 600<<10+77)
	tree{"f": content}.write(t, s.Home)
	for _, tt := range []struct {
		name, part string
		bytes      int
	}{
		{"odd", content[:100_001], 600<<10 + 77 - 100_001},
		{"at a block", content[:128<<10], 472<<10 + 77},
		{"wrong", noise(4, 100<<10), 500<<10 + 77 + 600<<10 + 77},
	} {
		dir := t.TempDir()
		tree{partName("f", keyOf(t, filepath.Join(s.Home, "f"))): tt.part}.write(t, dir)
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
	for name, newer := range map[string]string{"other": noise(5, 600<<10), "shorter": noise(6, 300<<10+5), "longer": noise(7, 700<<10)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, proxy, node := distantNode(t, enginetest.Options{})
			proxy.Refuse(true) // so that no other connection comes before the change
			file := filepath.Join(s.Home, "r/f")
			tree{"r/f": noise(8, 600<<10), "r/g": "g"}.write(t, s.Home)
			far := &changing{Client: node, change: func() { must(t, os.WriteFile(file, []byte(newer), 0o644)) }}
			dir := t.TempDir()
			_, err := downloadOver(t.Context(), far, Request{Remote: "r", Local: "to", LocalDir: dir}, patientRetry(), smallWidth())
			must(t, err)
			diffTree(t, dir, tree{"to/f": newer, "to/g": "g"})
		})
	}
}

func TestWideUpload(t *testing.T) {
	t.Parallel()
	want := wideTree()
	tests := []struct {
		name     string
		options  enginetest.Options
		refuse   bool
		min, max int // connections
	}{
		{"several connections", enginetest.Options{}, false, 2, 4},
		{"busybox", enginetest.Options{Busybox: true}, false, 2, 4},
		{"no more than one connection", enginetest.Options{}, true, 1, 1},
		{"one session on each", enginetest.Options{MaxSessions: 1}, false, 2, 30},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, proxy, node := distantNode(t, tt.options)
			dir := t.TempDir()
			want.write(t, filepath.Join(dir, "r"))
			stamp := time.Unix(1_600_000_000, 0)
			large := filepath.Join(dir, "r/large")
			must(t, os.Chmod(large, 0o751))
			must(t, os.Chtimes(large, stamp, stamp))
			proxy.Refuse(tt.refuse)
			for _, remote := range []string{"new", "new"} { // the second time the folder receives it
				res, err := uploadOver(t.Context(), node, UploadRequest{Local: "r", LocalDir: dir, Remote: remote}, patientRetry(), smallWidth())
				must(t, err)
				if total := want.bytes(); res.Files != len(want) || res.Bytes != total {
					t.Errorf("got %+v, want %d files of %d bytes", res, len(want), total)
				}
			}
			if n := proxy.Accepted(); n < tt.min || n > tt.max*2 {
				t.Errorf("got %d connections, want %d to %d", n, tt.min, tt.max)
			}
			_, err := uploadOver(t.Context(), node, UploadRequest{Local: "r/large", LocalDir: dir, Remote: "one"}, patientRetry(), smallWidth())
			must(t, err)
			all := under("new/r", want)
			for name, content := range under("new", want) {
				all[name] = content
			}
			all["one"] = want["large"]
			diffTree(t, s.Home, all)
			for _, name := range []string{"new/large", "new/r/large", "one"} {
				info, err := os.Stat(filepath.Join(s.Home, name))
				must(t, err)
				if info.Mode() != 0o751 || !info.ModTime().Equal(stamp) {
					t.Errorf("%s: got %v of %v, want its mode and time", name, info.Mode(), info.ModTime())
				}
			}
		})
	}
}

// Connections that break, the first one among them, leave nothing that is not whole.
func TestWideUploadWithCuts(t *testing.T) {
	t.Parallel()
	s, proxy, node := distantNode(t, enginetest.Options{})
	want := wideTree()
	dir := t.TempDir()
	want.write(t, filepath.Join(dir, "r"))
	for i, cut := range []int64{200_000, 600_000, 1_200_000} {
		proxy.CutAfter(cut)
		to := fmt.Sprint("to", i)
		_, err := uploadOver(t.Context(), node, UploadRequest{Local: "r", LocalDir: dir, Remote: to}, patientRetry(), smallWidth())
		must(t, err)
		diffTree(t, filepath.Join(s.Home, to), want)
	}
}

// A large file that changes while its pieces travel is refused, as a small one is.
func TestWideUploadOfAChangingFile(t *testing.T) {
	t.Parallel()
	s, proxy, node := distantNode(t, enginetest.Options{})
	proxy.Refuse(true) // so that no other connection comes before the change
	dir := t.TempDir()
	for name, newer := range map[string]string{"other": noise(5, 600<<10), "shorter": noise(6, 300<<10+5)} {
		tree{name: noise(8, 600<<10)}.write(t, dir)
		far := &changing{Client: node, change: func() { tree{name: newer}.write(t, dir) }}
		_, err := uploadOver(t.Context(), far, UploadRequest{Local: name, LocalDir: dir, Remote: "to"}, patientRetry(), smallWidth())
		wantKind(t, err, fault.Transfer)
		diffTree(t, s.Home, tree{})
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

// keyOf returns the key of a file of the node.
func keyOf(t *testing.T, file string) digest {
	t.Helper()
	info, err := os.Stat(file)
	must(t, err)
	e := entry{size: info.Size(), mtime: info.ModTime().Unix()}
	return e.key()
}

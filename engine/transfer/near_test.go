//go:build unix

package transfer

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
)

// nearWidth makes of half a megabyte a large file, whose sum comes late.
func nearWidth() width {
	return width{large: 256 << 10, stretch: 256 << 10, at: 2}
}

// Large files come by commands of their own, with their sums beside them, also where everything else is as it
// is with small ones.
func TestLargeFilesOfANearNode(t *testing.T) {
	t.Parallel()
	for name, start := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			node := s.Client(t)
			want := wideTree()
			dir := t.TempDir()
			want.write(t, filepath.Join(dir, "src"))
			up, err := uploadOver(t.Context(), node, UploadRequest{Local: "src", LocalDir: dir, Remote: "r"}, patientRetry(), nearWidth())
			must(t, err)
			diffTree(t, filepath.Join(s.Home, "r"), want)
			req := Request{Remote: "r/", Local: "to", LocalDir: dir}
			down, err := downloadOver(t.Context(), node, req, patientRetry(), nearWidth())
			must(t, err)
			diffTree(t, filepath.Join(dir, "to"), want)
			if up.Files != down.Files || up.Bytes != down.Bytes || up.Files != len(want) {
				t.Errorf("up %+v, down %+v; want the same, of %d files", up, down, len(want))
			}
			// The same size and the same time are not the same content.
			large := filepath.Join(s.Home, "r/large")
			info, err := os.Stat(large)
			must(t, err)
			want["large"] = noise(9, len(want["large"]))
			must(t, os.WriteFile(large, []byte(want["large"]), 0o644))
			must(t, os.Chtimes(large, time.Time{}, info.ModTime()))
			down, err = downloadOver(t.Context(), node, req, patientRetry(), nearWidth())
			must(t, err)
			diffTree(t, filepath.Join(dir, "to"), want)
			if down.Files != 1 || down.Skipped != len(want)-1 || down.Bytes != int64(len(want["large"])) {
				t.Errorf("got %+v, want one file and the others skipped", down)
			}
			one, err := downloadOver(t.Context(), node, Request{Remote: "r/large", Local: "one", LocalDir: dir}, patientRetry(), nearWidth())
			must(t, err)
			if b, err := os.ReadFile(filepath.Join(dir, "one")); string(b) != want["large"] || err != nil || one.Files != 1 {
				t.Errorf("one file: got %d bytes, %+v, %v", len(b), one, err)
			}
		})
	}
}

// What has arrived of a large file does not travel again, and is trusted only as far as the sum of the whole.
func TestLargeFileGoesOn(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	node := s.Client(t)
	content := noise(3, 600<<10+77)
	size := len(content)
	tree{"f": content}.write(t, s.Home)
	key := keyOf(t, filepath.Join(s.Home, "f"))
	for _, tt := range []struct {
		name, part string
		bytes      int
	}{
		{"odd", content[:100_001], size - 100_001},
		{"at a block", content[:128<<10], size - 128<<10},
		{"whole", content, 0},
		{"wrong", noise(4, 100<<10), size - 100<<10 + size},
		{"whole but wrong", noise(4, size), size},
	} {
		dir := t.TempDir()
		tree{partName("f", key): tt.part}.write(t, dir)
		res, err := downloadOver(t.Context(), node, Request{Remote: "f", Local: "f", LocalDir: dir}, patientRetry(), nearWidth())
		must(t, err)
		diffTree(t, dir, tree{"f": content})
		if res.Bytes != int64(tt.bytes) || res.Files != 1 {
			t.Errorf("%s: got %+v, want %d bytes", tt.name, res, tt.bytes)
		}
	}
}

func TestLargeFilesOfANearNodeWithCuts(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{})
	proxy := enginetest.NewProxy(t, s.Addr)
	node := s.ClientVia(t, proxy)
	want := wideTree()
	delete(want, "l")
	dir := t.TempDir()
	want.write(t, filepath.Join(dir, "src"))
	must(t, node.Connect(t.Context()))
	proxy.CutAfter(600_000)
	_, err := uploadOver(t.Context(), node, UploadRequest{Local: "src", LocalDir: dir, Remote: "r"}, patientRetry(), nearWidth())
	must(t, err)
	diffTree(t, filepath.Join(s.Home, "r"), want)
	req := Request{Remote: "r/", Local: "to", LocalDir: dir}
	total := int64(0)
	for _, cut := range []int64{800_000, 1_000_000, 0} {
		must(t, node.Connect(t.Context()))
		again := patientRetry()
		if cut > 0 {
			again = retry{patience: 1}
			proxy.CutAfter(cut)
			proxy.Refuse(true) // or what was taken when the connection broke could be done on another one
		}
		res, err := downloadOver(t.Context(), node, req, again, nearWidth())
		proxy.Refuse(false)
		if cut > 0 {
			wantKind(t, err, fault.Lost, "goes on from there")
		} else {
			must(t, err)
		}
		total += res.Bytes
		noHalf(t, filepath.Join(dir, "to"), want)
	}
	both := under("src", want)
	maps.Copy(both, under("to", want))
	diffTree(t, dir, both)
	if again := total - want.bytes(); again < 0 || again > 2*(minResume+9000) {
		t.Errorf("%d bytes travelled for %d", total, want.bytes())
	}
}

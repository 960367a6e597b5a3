//go:build unix

package transfer

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/bifrost-run/bifrost/engine/enginetest"
)

// BenchmarkDownload measures what the figures of design are about: many files, and one large one.
func BenchmarkDownload(b *testing.B) {
	s := enginetest.OpenSSH(b, enginetest.Options{})
	node := s.Client(b)
	many := filepath.Join(s.Home, "many")
	for i := range 2000 {
		dir := filepath.Join(many, fmt.Sprint(i%20))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte(noise(uint64(i), 20_000)), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	large, err := os.Create(filepath.Join(s.Home, "large"))
	if err != nil {
		b.Fatal(err)
	}
	for i := range 16 {
		if _, err := large.WriteString(noise(uint64(i), 16<<20)); err != nil {
			b.Fatal(err)
		}
	}
	large.Close()
	for name, size := range map[string]int64{"many": 2000 * 20_000, "large": 256 << 20} {
		for _, state := range []string{"fresh", "unchanged"} {
			b.Run(name+"/"+state, func(b *testing.B) {
				b.SetBytes(size)
				dir := b.TempDir()
				for i := 0; b.Loop(); i++ {
					local := "to"
					if state == "fresh" {
						local = fmt.Sprint(i)
					}
					if _, err := Download(b.Context(), node, Request{Remote: name, Local: local, LocalDir: dir}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run(name+"/upload", func(b *testing.B) {
			b.SetBytes(size)
			for i := 0; b.Loop(); i++ {
				if _, err := Upload(b.Context(), node, UploadRequest{Local: filepath.Join(s.Home, name), Remote: fmt.Sprintf("up/%s%d", name, i)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

//go:build linux

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
)

// All data follows from numbers, so that two machines measure the same bytes.

func chacha(seed uint64) *rand.ChaCha8 {
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], seed)
	return rand.NewChaCha8(s)
}

// writeNoise writes a file that does not compress.
func writeNoise(path string, size int64, seed uint64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, chacha(seed), size)
	return errors.Join(err, f.Close())
}

// text is like source code: words and numbers in lines, which compress to about a third.
func text(size int, seed uint64) []byte {
	words := []string{
		"return", "self", "model", "def", "if", "for", "import", "tensor", "forward", "config", "loss", "batch", "optimizer",
		"None", "True", "shape", "device", "range", "len", "dtype", "logits", "hidden", "size", "=", "(", ")", ":", "[", "]", ".", ",", "+", "-",
	}
	r := rand.New(chacha(seed))
	var b bytes.Buffer
	for b.Len() < size {
		b.WriteString("        "[:4*r.IntN(3)])
		for range 3 + r.IntN(9) {
			switch r.IntN(8) {
			case 0:
				fmt.Fprintf(&b, "%x", r.Uint32())
			case 1:
				fmt.Fprintf(&b, "%d", r.IntN(1000))
			default:
				b.WriteString(words[r.IntN(len(words))])
			}
			b.WriteByte(' ')
		}
		b.WriteByte('\n')
	}
	return b.Bytes()[:size]
}

// writeResults writes count files of size bytes, as runs leave them: every other one is noise, the rest
// is text.
func writeResults(dir string, count, size int, seed uint64) error {
	for i := range count {
		sub := filepath.Join(dir, fmt.Sprintf("step-%03d", i/100))
		if i%100 == 0 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				return err
			}
		}
		content := text(size, seed+uint64(i))
		if i%2 == 0 {
			content = make([]byte, size)
			chacha(seed + uint64(i)).Read(content)
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("part-%05d.bin", i)), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeSource writes a tree like that of a project: files of very different sizes, 12 kB on average.
func writeSource(dir string, count int, seed uint64) error {
	r := rand.New(chacha(seed))
	for i := range count {
		sub := filepath.Join(dir, fmt.Sprintf("pkg%02d/mod%02d", i%20, i/20%25))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		size := min(int(500+r.ExpFloat64()*11_500), 200_000)
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("file%05d.py", i)), text(size, seed+uint64(i)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// touch changes the content of some files of a source tree; each round makes other bytes.
func touch(dir string, count, round int) error {
	for i := range count {
		path := filepath.Join(dir, fmt.Sprintf("pkg%02d/mod00/file%05d.py", i, i))
		if err := os.WriteFile(path, text(9000+round%50, uint64(1_000_000+100*round+i)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// sameFile compares two files by content.
func sameFile(a, b string) error {
	fa, err := os.Open(a)
	if err != nil {
		return err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return err
	}
	defer fb.Close()
	ba, bb := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		na, ea := io.ReadFull(fa, ba)
		nb, eb := io.ReadFull(fb, bb)
		if !bytes.Equal(ba[:na], bb[:nb]) {
			return fmt.Errorf("%s differs from %s", b, a)
		}
		if ea != nil || eb != nil {
			if (ea == io.EOF || ea == io.ErrUnexpectedEOF) && (eb == io.EOF || eb == io.ErrUnexpectedEOF) {
				return nil
			}
			return errors.Join(ea, eb)
		}
	}
}

// A tree is the content of a folder, by path.
type tree map[string][sha256.Size]byte

// readTree reads a folder without .git and .bifrost.
func readTree(dir string) (tree, error) {
	t := tree{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == ".git" || d.Name() == ".bifrost" {
				return fs.SkipDir
			}
			return nil
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		t[rel] = sha256.Sum256(data)
		return err
	})
	return t, err
}

// sameTree compares two folders by content.
func sameTree(a, b string) error {
	var want, got tree
	var errs [2]error
	var reading sync.WaitGroup
	reading.Go(func() { want, errs[0] = readTree(a) })
	reading.Go(func() { got, errs[1] = readTree(b) })
	reading.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	if len(want) == 0 {
		return fmt.Errorf("%s is empty: nothing was measured", a)
	}
	for path, sum := range want {
		if got[path] != sum {
			return fmt.Errorf("%s: %s is missing or differs from %s", b, path, a)
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%s has %d files, %s has %d", b, len(got), a, len(want))
	}
	return nil
}

package transfer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"io"

	"github.com/klauspost/compress/gzip"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A packer is what an archive of an upload is written to. It passes it on raw or as gzip, where the node is far and
// packs says so: what counts there is how many bytes travel, and half of an archive of small files is headers.
type packer struct {
	zip   *gzip.Writer // nil: it goes raw
	out   *bufio.Writer
	given int64 // bytes to out
}

func newPacker(out *bufio.Writer, pack bool) *packer {
	p := &packer{out: out}
	if pack {
		p.zip, _ = gzip.NewWriterLevel(givenTo{p}, gzip.BestSpeed) // the error is about the level
	}
	return p
}

func (p *packer) Write(b []byte) (int, error) {
	if p.zip != nil {
		return p.zip.Write(b)
	}
	return givenTo{p}.Write(b)
}

// flush sends what waits for more. It is for who would wait with it.
func (p *packer) flush() error {
	if p.zip != nil {
		if err := p.zip.Flush(); err != nil {
			return err
		}
	}
	return p.out.Flush()
}

// end is flush for the last of an archive.
func (p *packer) end() error {
	if p.zip != nil {
		if err := p.zip.Close(); err != nil {
			return err
		}
	}
	return p.out.Flush()
}

// givenTo is the end of a packer at which bytes leave.
type givenTo struct{ p *packer }

func (g givenTo) Write(b []byte) (int, error) {
	g.p.given += int64(len(b))
	return g.p.out.Write(b)
}

// packs says whether the archives of an upload go as gzip. What travels at once in any case does not. Else a sample
// tells: to unpack costs the node more than to take what comes raw, and where several connections bring it that may
// be the limit, so a third must be saved.
func (u *sending) packs() bool {
	const most, each = 64, 16 << 10 // files, and bytes of each
	var files []*item
	total := int64(0)
	for i := range u.items {
		if it := &u.items[i]; it.info.Mode().IsRegular() && !u.width.isLarge(it.info.Size()) {
			files = append(files, it)
			total += it.cost()
		}
	}
	if total < ssh.FirstWindowBytes {
		return false
	}
	var raw bytes.Buffer
	tw := tar.NewWriter(&raw)
	buf := make([]byte, each)
	for i := 0; i < len(files); i += len(files)/most + 1 {
		f, err := openToRead(files[i].path)
		if err != nil {
			continue // which is told when it is sent
		}
		n, _ := io.ReadFull(f, buf)
		f.Close()
		h := files[i].header()
		h.Size = int64(n)
		if writeHeader(tw, h) == nil {
			_, _ = tw.Write(buf[:n])
		}
	}
	packed := newPacker(bufio.NewWriter(io.Discard), true)
	_, _ = packed.Write(raw.Bytes())
	_ = packed.end()
	return 3*packed.given <= 2*int64(raw.Len())
}

// unpackScript takes what a packer sends. Of the two only tar's status counts: it misses what gzip does not give it.
func unpackScript(packed bool) string {
	if packed {
		return "gzip -dc | tar -xpof -"
	}
	return "tar -xpof -"
}

// needsGzip says with an empty record that a node has no gzip, before anything is made there.
const needsGzip = `command -v gzip >/dev/null || { printf '\000'; exit; }`

package push

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/bifrost-run/bifrost/engine/report"
)

// packBytes is the length from which on a parcel is compressed over a distance: TCP sends ten segments before
// it has heard from the other side.
const packBytes = 14_000

// packLevel is the one that gives the most for the time: next to the library of Go it packs twice as fast, and better.
const packLevel = 2

// send sends the parcel, compressed or not. The id is that of the manifest that the node will have.
func (c *conversation) send(p *parcel, id, origin string, pack bool, sink report.Sink) error {
	word := "tar"
	if pack {
		word = "tgz"
	}
	if err := c.say(word, sum256([]byte(p.sums)), id, origin, strconv.FormatInt(p.total, 10)); err != nil {
		return err
	}
	if pack {
		z, err := gzip.NewWriterLevel(c.in, packLevel)
		if err == nil {
			err = p.write(z, sink)
		}
		if err == nil {
			err = z.Close()
		}
		if err != nil {
			return err
		}
	} else if err := p.write(c.in, sink); err != nil {
		return err
	}
	return c.in.Flush()
}

// A parcel is what one tar stream brings to the node.
type parcel struct {
	source string
	sums   string // input of sha256sum -c for everything else in the stage
	texts  []text
	files  []stagedFile
	total  int64 // bytes of the files' content
	made   int64 // bytes of the texts
}

// A text is a file of the parcel that is made here.
type text struct {
	name string
	data []byte
}

func newParcel(source string, files []stagedFile, texts ...text) *parcel {
	p := &parcel{source: source, texts: texts, files: files}
	var sums strings.Builder
	for _, t := range texts {
		sums.WriteString(sum256(t.data) + "  ./" + t.name + "\n")
		p.made += int64(len(t.data))
	}
	for _, f := range files {
		if f.typ == file {
			sums.WriteString(f.sum + "  ./" + f.staged + "\n")
			p.total += f.size
		}
	}
	p.sums = sums.String()
	return p
}

// write writes the parcel as a tar archive in the GNU format: GNU tar, busybox and bsdtar read its
// long names and sizes. A file that is not what the manifest says any more is a *changedError.
func (p *parcel) write(w io.Writer, sink report.Sink) error {
	t := tar.NewWriter(w)
	for _, x := range append([]text{{"sums", []byte(p.sums)}}, p.texts...) {
		if err := t.WriteHeader(header(x.name, 0o600, int64(len(x.data)))); err != nil {
			return err
		}
		if _, err := t.Write(x.data); err != nil {
			return err
		}
	}
	for _, d := range p.folders() {
		h := header(d+"/", 0o755, 0)
		h.Typeflag = tar.TypeDir
		if err := t.WriteHeader(h); err != nil {
			return err
		}
	}
	progress := &progress{sink: sink, total: p.total}
	buf := make([]byte, 128<<10)
	for _, f := range p.files {
		if f.typ != file {
			continue
		}
		if err := p.writeFile(t, f, buf, progress); err != nil {
			return err
		}
	}
	progress.emit()
	return t.Close()
}

// folders are those that the files lie in, parents first. They may go into the workspace as they are.
func (p *parcel) folders() []string {
	all := map[string]bool{}
	for _, f := range p.files {
		parents(f.staged, all)
	}
	return sorted(all)
}

func header(name string, mode, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: size, ModTime: time.Now().Truncate(time.Second), Format: tar.FormatGNU}
}

func (p *parcel) writeFile(t *tar.Writer, f stagedFile, buf []byte, progress *progress) error {
	in, info, err := openFile(p.source, f.path)
	if err != nil {
		return err
	}
	defer in.Close()
	if info.Size() != f.size {
		return &changedError{f.path}
	}
	// The owner must be able to read it until it is verified; apply sets the rest.
	h := header(f.staged, int64(f.mode|0o400), f.size)
	h.ModTime = info.ModTime().Truncate(time.Second)
	if err := t.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	sum := sha256.New()
	for {
		n, err := in.Read(buf)
		sum.Write(buf[:n])
		if _, werr := t.Write(buf[:n]); errors.Is(werr, tar.ErrWriteTooLong) {
			return &changedError{f.path}
		} else if werr != nil {
			return werr
		}
		progress.add(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return unreadable(f.path, err)
		}
	}
	if hex.EncodeToString(sum.Sum(nil)) != f.sum {
		return &changedError{f.path}
	}
	return nil
}

// progressInterval keeps the events of a fast transfer few.
const progressInterval = 100 * time.Millisecond

// A progress counts the bytes of the files' content.
type progress struct {
	sink        report.Sink
	sent, total int64
	last        time.Time
}

func (p *progress) add(n int) {
	p.sent += int64(n)
	if time.Since(p.last) >= progressInterval {
		p.emit()
	}
}

func (p *progress) emit() {
	p.last = time.Now()
	p.sink.Emit(report.Event{Kind: report.Progress, Step: "push", Bytes: p.sent, Total: p.total})
}

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

// packLevel is the one that gives the most for the time: next to the library of Go it packs twice as fast, and better.
const packLevel = 2

// send sends the parcel, compressed or not, and behind it the texts of last.
func (c *conversation) send(p *parcel, pack bool, sink report.Sink, last func() (seal string, texts []text)) error {
	word := "tar"
	if pack {
		word = "tgz"
	}
	if err := c.say(word, strconv.FormatInt(p.total, 10)); err != nil {
		return err
	}
	if pack {
		z, err := gzip.NewWriterLevel(c.in, packLevel)
		if err == nil {
			err = p.write(z, sink, last)
		}
		if err == nil {
			err = z.Close()
		}
		if err != nil {
			return err
		}
	} else if err := p.write(c.in, sink, last); err != nil {
		return err
	}
	return c.in.Flush()
}

// A parcel is what one tar stream brings to the node: files, and texts that say what becomes of them. Behind
// these come sums, the input of sha256sum -c for both, and the seal: the sum of the sums, the id of the manifest
// that the node will have, and its origin. So a file may be hashed when it is sent.
type parcel struct {
	source string
	files  []stagedFile
	total  int64       // bytes of the files' content
	quiet  int64       // see quietUntil
	states []fileState // of the files, when they were sent
}

// A text is a file of the parcel that is made here.
type text struct {
	name string
	data []byte
}

func newParcel(source string, files []stagedFile) *parcel {
	p := &parcel{source: source, files: files, quiet: quietUntil(), states: make([]fileState, len(files))}
	for _, f := range files {
		if f.typ == file {
			p.total += f.size
		}
	}
	return p
}

// write writes the parcel as a tar archive in the GNU format: GNU tar, busybox and bsdtar read its
// long names and sizes. A file that is not what the manifest says any more is a *changedError. What was
// unread has size and sum thereafter, and last is called: it returns the texts, and what the seal says besides.
func (p *parcel) write(w io.Writer, sink report.Sink, last func() (seal string, texts []text)) error {
	t := tar.NewWriter(w)
	for _, d := range p.folders() {
		h := header(d+"/", 0o755, 0)
		h.Typeflag = tar.TypeDir
		if err := t.WriteHeader(h); err != nil {
			return err
		}
	}
	progress := &progress{sink: sink, total: p.total}
	buf := make([]byte, 128<<10)
	var sums strings.Builder
	p.total = 0
	for i, f := range p.files {
		if f.typ != file {
			continue
		}
		var err error
		if p.states[i], err = p.writeFile(t, f, buf, progress); err != nil {
			return err
		}
		sums.WriteString(f.sum + "  ./" + f.staged + "\n")
		p.total += f.size
	}
	progress.emit()
	seal, texts := last()
	for _, x := range texts {
		sums.WriteString(sum256(x.data) + "  ./" + x.name + "\n")
	}
	s := []byte(sums.String())
	texts = append(texts, text{"sums", s}, text{"seal", []byte(sum256(s) + " " + seal + "\n")})
	for _, x := range texts {
		if err := t.WriteHeader(header(x.name, 0o600, int64(len(x.data)))); err != nil {
			return err
		}
		if _, err := t.Write(x.data); err != nil {
			return err
		}
	}
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

// writeFile writes a file and returns the state that it had before it was read.
func (p *parcel) writeFile(t *tar.Writer, f stagedFile, buf []byte, progress *progress) (fileState, error) {
	in, info, err := openFile(p.source, f.path)
	if err != nil {
		return fileState{}, err
	}
	defer in.Close()
	state, _ := stateOf(info)
	if f.unread() {
		f.size = info.Size()
	} else if info.Size() != f.size {
		return state, &changedError{f.path}
	}
	// The owner must be able to read it until it is verified; apply sets the rest.
	h := header(f.staged, int64(f.mode|0o400), f.size)
	h.ModTime = info.ModTime().Truncate(time.Second)
	if err := t.WriteHeader(h); err != nil {
		return state, fmt.Errorf("%s: %w", f.path, err)
	}
	sum := sha256.New()
	for left := f.size; ; {
		n, err := in.Read(buf)
		sum.Write(buf[:n])
		if _, werr := t.Write(buf[:n]); errors.Is(werr, tar.ErrWriteTooLong) {
			return state, &changedError{f.path}
		} else if werr != nil {
			return state, werr
		}
		progress.add(n)
		left -= int64(n)
		if err == io.EOF {
			if left > 0 {
				return state, &changedError{f.path}
			}
			break
		}
		if err != nil {
			return state, unreadable(f.path, err)
		}
	}
	switch got := hex.EncodeToString(sum.Sum(nil)); f.sum {
	case "":
		f.sum = got
	case got:
	default:
		return state, &changedError{f.path}
	}
	return state, nil
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

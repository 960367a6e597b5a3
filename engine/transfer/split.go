package transfer

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A split says what of an upload the archive begins with, and what other connections can take from it.
type split struct {
	first []*item
	rest  []*item // small files
	large []*item
	bytes int64 // of rest and large
}

func (u *sending) split() *split {
	s := &split{}
	var first int64
	for i := range u.items {
		it := &u.items[i]
		it.beside = false
		size := it.info.Size()
		switch {
		case !it.info.Mode().IsRegular():
			s.first = append(s.first, it)
			continue
		case size >= u.width.large:
			s.large = append(s.large, it)
		case first < u.width.first:
			first += size + fileOverhead
			s.first = append(s.first, it)
			continue
		default:
			s.rest = append(s.rest, it)
			size += fileOverhead
		}
		s.bytes += size
	}
	if s.bytes < u.width.each {
		s.first, s.rest = append(s.first, s.rest...), nil
	}
	return s
}

func (s *split) others() []*item { return append(s.rest, s.large...) }

// gather begins to send beside the archive what several connections can, once the node has said where to.
// It returns nil where there is nothing for them to do, or the node is near.
func (u *sending) gather(ctx context.Context, s *split, known <-chan struct{}, stderr *tail) *crew {
	if len(s.rest)+len(s.large) == 0 {
		return nil
	}
	select {
	case <-known:
	case <-ctx.Done():
	}
	if ctx.Err() != nil || u.stage == "" {
		return nil
	}
	node, ok := u.width.widen(ctx, u.runner)
	if !ok {
		return nil
	}
	var jobs []job
	add := func(run func(ctx context.Context, runner ssh.Runner) error) { jobs = append(jobs, job{run: run}) }
	for _, it := range s.large {
		it.beside = true
		add(func(context.Context, ssh.Runner) error { return u.sumItem(it) })
	}
	for n, it := range s.large {
		for offset := int64(0); offset < it.info.Size(); offset += u.width.part {
			length := min(u.width.part, it.info.Size()-offset)
			add(func(ctx context.Context, runner ssh.Runner) error {
				return u.sendPiece(ctx, runner, n, it, offset, length, stderr)
			})
		}
	}
	for rest := s.rest; len(rest) > 0; {
		n, size := 0, int64(0)
		for n < len(rest) && size < u.width.part {
			size += rest[n].info.Size() + fileOverhead
			n++
		}
		batch := rest[:n]
		rest = rest[n:]
		add(func(ctx context.Context, runner ssh.Runner) error { return u.sendBatch(ctx, runner, batch, stderr) })
	}
	return newCrew(ctx, u.width, node, jobs, s.bytes)
}

// sumItem reads a file for its sum. If it is not what the pieces brought, the node will say so.
func (u *sending) sumItem(it *item) error {
	f, err := os.Open(it.path)
	if err != nil {
		return u.localFault(it.path, err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, make([]byte, copyBuffer))
	switch {
	case err != nil:
		return u.localFault(it.path, err)
	case n != it.info.Size():
		return changedHere(it)
	}
	it.sum = hex.EncodeToString(h.Sum(nil))
	return nil
}

// sendPiece sends a part of a large file. That it may be sent twice does no harm: it is the same bytes.
func (u *sending) sendPiece(ctx context.Context, runner ssh.Runner, n int, it *item, offset, length int64, stderr *tail) error {
	f, err := os.Open(it.path)
	if err != nil {
		return u.localFault(it.path, err)
	}
	defer f.Close()
	in := &countedReader{io.NewSectionReader(f, offset, length), tally{count: u.count}}
	var said tail
	err = runner.Run(ctx, ssh.Command{
		Script: fmt.Sprintf("exec dd bs=%d seek=%d conv=notrunc of=%s", blockSize, offset/blockSize, ssh.Quote(fmt.Sprintf("%s/parts/%d", u.stage, n))),
		Stdin:  in, Stderr: &said,
	})
	if err == nil && in.n.Load() < length {
		err = changedHere(it)
	}
	return u.sent(ctx, &in.tally, err, &said, stderr)
}

// sent makes of what a command beside the archive ended with what a job returns.
func (u *sending) sent(ctx context.Context, moved *tally, err error, said, stderr *tail) error {
	if err == nil {
		return nil
	}
	u.count(-int(moved.n.Load()))
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case isExit(err):
		fmt.Fprintln(stderr, said)
		return errNodeFailed
	}
	return err
}

// errNodeFailed stands for what the node has said.
var errNodeFailed = errors.New("the node could not take it")

// sendBatch sends whole files in an archive of their own.
func (u *sending) sendBatch(ctx context.Context, runner ssh.Runner, batch []*item, stderr *tail) error {
	in, out := io.Pipe()
	moved := &tally{count: u.count}
	var sendErr error
	written := make(chan struct{})
	go func() {
		defer close(written)
		w := bufio.NewWriterSize(out, copyBuffer)
		tw := tar.NewWriter(w)
		if sendErr = u.sendItems(tw, batch, make([]byte, copyBuffer), moved.add); sendErr == nil {
			sendErr = errors.Join(tw.Close(), w.Flush())
		}
		out.CloseWithError(sendErr)
	}()
	var said tail
	err := runner.Run(ctx, ssh.Command{Script: "cd " + ssh.Quote(u.stage) + " && exec tar -xpof -", Stdin: in, Stderr: &said})
	in.CloseWithError(io.ErrClosedPipe)
	<-written
	var mine *fault.Error
	if errors.As(sendErr, &mine) {
		return mine
	}
	return u.sent(ctx, moved, err, &said, stderr)
}

// sendBeside completes the archive with what it needs of files that came beside it: their modes and times,
// and those of the folders into which they came.
func (u *sending) sendBeside(tw *tar.Writer, s *split) error {
	for _, it := range s.large {
		err := writeHeader(tw, &tar.Header{
			Typeflag: tar.TypeReg, Name: treeName + "/" + it.name, Mode: int64(it.info.Mode().Perm()), ModTime: it.info.ModTime(),
		})
		if err != nil {
			return err
		}
	}
	for i := range u.items {
		if it := &u.items[i]; it.info.IsDir() {
			if _, err := u.sendItem(tw, it, nil, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// A tally passes on what it counts, and can take it back.
type tally struct {
	count func(n int)
	n     atomic.Int64
}

func (c *tally) add(n int) {
	c.n.Add(int64(n))
	c.count(n)
}

// A countedReader counts what is read.
type countedReader struct {
	io.Reader
	tally
}

func (c *countedReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.add(n)
	return n, err
}

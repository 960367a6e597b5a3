package transfer

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
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
		case u.width.isLarge(size):
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

// gather begins to send beside the archive what commands of their own can: large files, and, where the node is
// far, batches of small ones. Further connections are made at once, and work begins when the node has said where
// to. It returns nil where there is nothing for them to do, and the small files that are left to the archive.
func (u *sending) gather(ctx context.Context, s *split, known <-chan struct{}, stderr *tail) (*crew, []*item) {
	if len(s.rest)+len(s.large) == 0 {
		return nil, nil
	}
	far, err := u.width.isFar(ctx, u.runner)
	if err != nil || !far && len(s.large) == 0 {
		return nil, s.rest
	}
	jobs, rest, bytes := u.jobs(s, far, stderr), s.rest, int64(0)
	if far {
		rest, bytes = nil, s.bytes
	}
	for i := range jobs {
		jobs[i].ready = func() bool { return isClosed(known) && u.stage != "" }
	}
	c := newCrew(ctx, u.width, u.runner, jobs, bytes)
	select {
	case <-known:
	case <-ctx.Done():
	}
	if ctx.Err() != nil || u.stage == "" {
		c.stop()
		return nil, s.rest
	}
	for _, it := range s.large {
		it.beside = true
	}
	c.wake()
	return c, rest
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// jobs returns those that move what is not in the archive.
func (u *sending) jobs(s *split, far bool, stderr *tail) []job {
	var jobs []job
	for n, it := range s.large {
		jobs = append(jobs, u.stretches(n, it, far, stderr)...)
	}
	if !far {
		return jobs
	}
	folders := u.folders()
	for rest := s.rest; len(rest) > 0; {
		n, size := 0, int64(0)
		for n < len(rest) && size < u.width.part {
			size += rest[n].info.Size() + fileOverhead
			n++
		}
		batch := append(above(folders, rest[:n]), rest[:n]...)
		rest = rest[n:]
		jobs = append(jobs, job{run: func(ctx context.Context, runner ssh.Runner) error { return u.sendBatch(ctx, runner, batch, stderr) }})
	}
	return jobs
}

// folders returns those that are uploaded, by name.
func (u *sending) folders() map[string]*item {
	all := make(map[string]*item)
	for i := range u.items {
		if it := &u.items[i]; it.info.IsDir() {
			all[it.name] = it
		}
	}
	return all
}

// above returns the folders that items are in, the outermost first. An archive with files must have them: a
// tar that finds no folder makes it, and fails when another one makes it at the same time.
func above(folders map[string]*item, items []*item) []*item {
	var found []*item
	have := make(map[string]bool)
	var add func(name string)
	add = func(name string) {
		if it, ok := folders[name]; ok && !have[name] {
			have[name] = true
			add(path.Dir(name))
			found = append(found, it)
		}
	}
	for _, it := range items {
		add(path.Dir(it.name))
	}
	return found
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
		if info, err := os.Stat(it.path); err != nil || info.Size() != it.info.Size() || !info.ModTime().Equal(it.info.ModTime()) {
			return changedHere(it)
		}
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

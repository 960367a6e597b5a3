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
	"slices"
	"sync/atomic"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A split says what of an upload the archive begins with, and what other connections can take from it.
type split struct {
	first []*item
	small pool[*item]
	large []*item
	bytes int64 // of small and large
}

func (u *sending) split() *split {
	s := &split{}
	var first int64
	var small []*item
	for i := range u.items {
		it := &u.items[i]
		it.beside = false
		switch {
		case !it.info.Mode().IsRegular():
			s.first = append(s.first, it)
		case u.width.isLarge(it.info.Size()):
			s.large = append(s.large, it)
			s.bytes += it.info.Size()
		case first < u.width.first:
			first += it.cost()
			s.first = append(s.first, it)
		default:
			small = append(small, it)
			s.bytes += it.cost()
		}
	}
	s.small.add(small...)
	return s
}

// gather has the crew send beside the archive what commands of their own can: large files, and, where the node is
// far, small ones as long as there are some. Further connections are made at once, and work begins when the node
// has said where to. It says no where there is nothing to do for a crew.
func (u *sending) gather(ctx context.Context, crew *crew, s *split, known <-chan struct{}, stderr *tail) bool {
	if len(s.large) == 0 && s.bytes < u.width.each {
		return false
	}
	far, err := u.width.isFar(ctx, u.runner)
	if err != nil || !far && len(s.large) == 0 {
		return false
	}
	if far {
		crew.hire(s.bytes)
	}
	select {
	case <-known:
	case <-ctx.Done():
	}
	if ctx.Err() != nil || u.stage == "" {
		return false
	}
	for _, it := range s.large {
		it.beside = true
	}
	crew.give(u.jobs(s, far, stderr))
	return true
}

// jobs returns those that move what is not in the archive.
func (u *sending) jobs(s *split, far bool, stderr *tail) []job {
	var jobs []job
	for n, it := range s.large {
		jobs = append(jobs, u.stretches(n, it, far, stderr)...)
	}
	if far && !s.small.isEmpty() {
		folders := u.folders()
		for range u.width.further(s.bytes) + 1 {
			jobs = append(jobs, job{run: func(ctx context.Context, runner ssh.Runner) error {
				return u.sendSmall(ctx, runner, &s.small, folders, stderr)
			}})
		}
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

// sendSmall sends small files in an archive of its own, as long as there are some. Those of one that breaks are
// for others.
func (u *sending) sendSmall(ctx context.Context, runner ssh.Runner, from *pool[*item], folders map[string]*item, stderr *tail) error {
	if from.isEmpty() {
		return nil
	}
	in, out := io.Pipe()
	a := &archive{sending: u, folders: folders, moved: tally{count: u.count}, pace: u.width.pace(ctx, runner)}
	var sendErr error
	written := make(chan struct{})
	go func() {
		defer close(written)
		sendErr = a.write(ctx, out, from)
		out.CloseWithError(sendErr)
	}()
	var said tail
	err := runner.Run(ctx, ssh.Command{Script: "export LC_ALL=C; cd " + ssh.Quote(u.stage) + " && " + unpackScript(u.pack), Stdin: in, Stderr: &said})
	in.CloseWithError(io.ErrClosedPipe)
	<-written
	var mine *fault.Error
	if errors.As(sendErr, &mine) {
		return mine
	}
	if err != nil {
		from.add(a.items...)
	}
	return u.sent(ctx, &a.moved, err, &said, stderr)
}

// An archive is one beside the first.
type archive struct {
	sending *sending
	folders map[string]*item
	moved   tally
	pace    *pace
	items   []*item // that it holds
}

func (a *archive) write(ctx context.Context, out io.Writer, from *pool[*item]) error {
	w := newPacker(bufio.NewWriterSize(out, copyBuffer), a.sending.pack)
	tw := tar.NewWriter(w)
	buf := make([]byte, copyBuffer)
	have := make(map[string]bool)
	for {
		if err := a.pace.wait(ctx, w); err != nil {
			return err
		}
		next := from.take(1, 0)
		if len(next) == 0 {
			return errors.Join(tw.Close(), w.end())
		}
		a.items = append(a.items, next...)
		if err := a.sending.sendItems(tw, append(a.above(next[0], have), next...), buf, a.moved.add); err != nil {
			return err
		}
	}
}

// above returns the folders that an item is in and that the archive does not have, the outermost first. It must
// have them: a tar that finds no folder makes it, and fails when another one makes it at the same time.
func (a *archive) above(it *item, have map[string]bool) (missing []*item) {
	for dir := path.Dir(it.name); !have[dir]; dir = path.Dir(dir) {
		have[dir] = true
		if folder, ok := a.folders[dir]; ok {
			missing = append(missing, folder)
		}
	}
	slices.Reverse(missing)
	return missing
}

// sendBeside completes the archive with what it needs of files that came beside it: their modes and times,
// and those of the folders into which they came.
func (u *sending) sendBeside(tw *tar.Writer, s *split) error {
	for _, it := range s.large {
		if info, err := os.Stat(it.path); err != nil || info.Size() != it.info.Size() || !info.ModTime().Equal(it.info.ModTime()) {
			return changedHere(it)
		}
		if err := writeHeader(tw, it.header()); err != nil {
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

package transfer

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"sync"
)

// sumOnNode has the node sum files, so many at a time in this order, and says when it has done some; those that it
// could not read are not hashed then.
func (d *fetch) sumOnNode(ctx context.Context, files []*entry, each int, zip bool, done func()) error {
	byName := make(map[string]*entry, len(files))
	for _, e := range files {
		byName[d.nodeName(e)] = e
	}
	c := converse(ctx, d.runner, sumsScript(d.head, zip, each))
	c.tell(func(w *bufio.Writer) error {
		out, z := io.Writer(w), (*gzip.Writer)(nil)
		if zip {
			z = gzip.NewWriter(w)
			out = z
		}
		for _, e := range files {
			if _, err := fmt.Fprintf(out, "./%s\x00", d.nodeName(e)); err != nil {
				return err
			}
		}
		if zip {
			return z.Close()
		}
		return nil
	})
	r, err := c.out, error(nil)
	if zip {
		var z *gzip.Reader
		if z, err = gzip.NewReader(c.out); err == nil {
			r = bufio.NewReader(z)
		}
	}
	for err == nil {
		if _, err = r.Peek(1); err != nil {
			break
		}
		if err = readSums(r, func(name string, sum digest) {
			if e := byName[name]; e != nil {
				e.hash, e.hashed = sum, true
			}
		}); err == nil {
			done()
		}
	}
	if errors.Is(err, io.EOF) { // between sums
		err = nil
	}
	runErr := c.end(err != nil)
	fmt.Fprintln(d.stderr, c.stderr.String()) // names what cannot be read
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case runErr != nil && !isExit(runErr):
		return runErr
	case err != nil:
		return c.reason(runErr, err)
	}
	return nil
}

// sumsSoon says of which files the sums shall come with the listing, which saves asking for them: where something
// is here already, of those that are not large.
func (d *fetch) sumsSoon() int64 {
	if d.root != nil {
		return 0 // after a loss there is more to fetch than to look at
	}
	for _, folder := range []bool{true, false} {
		here, err := os.Open(d.local.target(d.remote, folder, isFolder(d.local.path)))
		if err != nil {
			continue
		}
		names, err := here.Readdirnames(1)
		here.Close()
		if len(names) > 0 || !folder && err != nil && !errors.Is(err, io.EOF) { // the latter is a file
			return cmp.Or(d.width.large, math.MaxInt64-512)
		}
	}
	return 0
}

// sumPresent asks for the sums that decide whether a file must be fetched and have not come: of those that are here
// with the same size or in part. Both sides read at the same time.
func (d *fetch) sumPresent(ctx context.Context) error {
	d.here, d.folders = nil, make(map[string]*contents)
	here := make(map[string]digest)
	var ask, read []*entry
	for i := range d.list.entries {
		e := &d.list.entries[i]
		if !e.isFile() || e.hashed || d.isDone(e) || d.hasFailed(e.name) {
			continue
		}
		if info, err := d.present(e); err == nil && info.Mode().IsRegular() && info.Size() == e.size {
			ask = append(ask, e)
			if have, ok := d.versionOf(e.name); ok {
				here[e.name] = have.hash
			} else {
				read = append(read, e)
			}
		} else if !d.isLarge(e) && d.contentsBeside(e).names[path.Base(partName(e.name, e.key()))] {
			ask = append(ask, e)
		}
	}
	if len(ask) == 0 {
		return nil
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for _, e := range read {
			if ctx.Err() == nil {
				here[e.name] = d.hashFile(e.name)
			}
		}
	})
	err := d.sumOnNode(ctx, ask, sumsAtOnce, d.zip, func() {})
	reading.Wait()
	d.here = here
	return err
}

// Sums are those of large files, which the node reads for them while their contents travel.
type sums struct {
	fetch   *fetch
	cancel  context.CancelFunc
	all     map[*entry]*lateSum
	working sync.WaitGroup

	mu  sync.Mutex
	err error
}

type lateSum struct {
	known chan struct{} // closed when state is, and with it the sum of the entry
	state sumState
}

type sumState int

const (
	sumLost sumState = iota // the node did not get to it
	sumNone                 // it cannot be read there
	sumRead
)

// sumLate begins to ask for the sums of a plan that are not known. stop must be called.
func (d *fetch) sumLate(ctx context.Context, p *plan) *sums {
	ctx, cancel := context.WithCancel(ctx)
	s := &sums{fetch: d, cancel: cancel, all: make(map[*entry]*lateSum)}
	d.late = s
	var files []*entry
	for _, f := range p.large {
		if !f.entry.hashed {
			files = append(files, f.entry)
			s.all[f.entry] = &lateSum{known: make(chan struct{})}
		}
	}
	if len(files) == 0 {
		return s
	}
	s.working.Go(func() {
		left := files
		s.fail(d.sumOnNode(ctx, files, 1, false, func() {
			if len(left) == 0 {
				return // the node tells more than it was asked for
			}
			l := s.all[left[0]]
			l.state = sumNone
			if left[0].hashed {
				l.state = sumRead
			}
			close(l.known)
			left = left[1:]
		}))
		for _, e := range left {
			close(s.all[e].known)
		}
	})
	return s
}

// await completes a file when its sum is known.
func (s *sums) await(part *part, f *rest, l *lateSum) {
	s.working.Go(func() {
		<-l.known
		switch l.state {
		case sumLost:
			part.keep()
		case sumNone:
			part.discard()
			s.fetch.miss(f.entry)
		case sumRead:
			s.fail(s.fetch.complete(part, f))
		}
	})
}

func (s *sums) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// finish waits for all sums and for what they complete.
func (s *sums) finish() error {
	s.working.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// stop gives up the sums that are not known.
func (s *sums) stop() {
	s.cancel()
	s.working.Wait()
}

package transfer

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// sumScript prints a line with the sum of each file whose name it reads, an empty one for what it cannot
// read. Names end with NUL.
const sumScript = hashScript + `export hash
xargs -0 sh -c 'for f do
	h=$($hash <"$f")
	echo "${h%% *}"
done' sh
`

// sumOnNode has the node sum files, in order, and tells each sum as it comes; not of those that the node
// cannot read.
func (d *fetch) sumOnNode(ctx context.Context, files []*entry, tell func(i int, sum digest, ok bool)) error {
	c := converse(ctx, d.runner, "export LC_ALL=C; cd "+ssh.Quote(d.head.where)+" || exit 1\n"+sumScript)
	c.tell(func(w io.Writer) error {
		for _, e := range files {
			if _, err := fmt.Fprintf(w, "./%s\x00", d.nodeName(e)); err != nil {
				return err
			}
		}
		return nil
	})
	var err error
	for i := range files {
		var line []byte
		if line, err = readRecord(c.out, '\n'); err != nil {
			break
		}
		var sum digest
		if len(line) > 0 {
			if sum, err = parseDigest(string(line)); err != nil {
				break
			}
		}
		tell(i, sum, len(line) > 0)
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

// sumPresent asks for the sums that decide whether a large file must be fetched: of those that are here with
// the same size. Both sides read at the same time.
func (d *fetch) sumPresent(ctx context.Context) error {
	var files []*entry
	for i := range d.list.entries {
		e := &d.list.entries[i]
		if !e.late || d.isDone(e) || d.hasFailed(e.name) {
			continue
		}
		if info, err := d.root.Lstat(e.name); err == nil && info.Mode().IsRegular() && info.Size() == e.size {
			files = append(files, e)
		}
	}
	d.here = nil
	if len(files) == 0 {
		return nil
	}
	here := make(map[string]digest)
	var reading sync.WaitGroup
	reading.Go(func() {
		for _, e := range files {
			if ctx.Err() == nil {
				here[e.name] = d.hashFile(e.name)
			}
		}
	})
	err := d.sumOnNode(ctx, files, func(i int, sum digest, ok bool) { files[i].hash, files[i].hashed = sum, ok })
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
	known chan struct{} // closed when what follows is
	sum   digest
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
		told := 0
		s.fail(d.sumOnNode(ctx, files, func(i int, sum digest, ok bool) {
			l := s.all[files[i]]
			l.sum, l.state = sum, sumNone
			if ok {
				l.state = sumRead
			}
			close(l.known)
			told++
		}))
		for _, e := range files[told:] {
			close(s.all[e].known)
		}
	})
	return s
}

// await completes a file when its sum is known.
func (s *sums) await(part *part, f *rest) {
	s.working.Go(func() {
		l := s.all[f.entry]
		<-l.known
		switch l.state {
		case sumLost:
			part.keep()
		case sumNone:
			part.discard()
			s.fetch.miss(f.entry)
		case sumRead:
			s.fail(s.fetch.complete(part, f, l.sum))
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

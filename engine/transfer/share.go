package transfer

import (
	"bufio"
	"context"
	"errors"
	"path"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// share returns what commands of their own can do of a plan as jobs: large files, and, where the node is far and
// there is much to move, small ones. What the first connection moves while further ones are made stays.
func (d *fetch) share(p *plan) []job {
	var jobs []job
	switch {
	case !d.far:
		return d.streams(p.large)
	case len(p.large) > 0:
		jobs = d.newPieces(p.large, p.bytes+p.smallBytes).jobs()
	}
	if beyond := p.smallBytes - d.width.first; beyond >= d.width.each {
		p.bytes += beyond
		for range d.width.further(p.bytes) + 1 {
			jobs = append(jobs, job{run: func(ctx context.Context, runner ssh.Runner) error { return d.bringSmall(ctx, runner, &p.small) }})
		}
	}
	return jobs
}

// isLarge says whether a file is moved by commands of its own.
func (d *fetch) isLarge(e *entry) bool { return e.isFile() && d.width.isLarge(e.size) }

// firstNames is how many names are in the first chunk of a further connection: a command that is longer than what a server
// takes at once costs a round trip more.
const firstNames = 64

// bringSmall fetches small files by a command of their own, as long as there are some.
func (d *fetch) bringSmall(ctx context.Context, runner ssh.Runner, from *pool[*entry]) error {
	f := d.newFeed(from)
	first := f.next(firstNames)
	if len(first) == 0 {
		return nil
	}
	var names []string
	for _, e := range first {
		names = append(names, d.nodeName(e))
	}
	c := converse(ctx, runner, smallScript(d.remote, names))
	c.tell(func(w *bufio.Writer) error { return f.ask(ctx, w, nil) })
	_, err := readHead(c.out)
	if err != nil {
		err = &streamError{err}
	} else {
		err = d.receive(ctx, c.out, nil, f)
	}
	f.stop()
	var broken *streamError
	stop := err != nil && (!errors.As(err, &broken) || errors.Is(err, errProtocol))
	runErr := c.end(stop)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case stop:
		return err
	case runErr != nil && !isExit(runErr):
		f.giveBack()
		return runErr
	}
	f.giveUp()
	return nil
}

// nodeName returns the name of what was listed in the folder on the node.
func (d *fetch) nodeName(e *entry) string {
	if d.head.kind == 'f' {
		return path.Base(d.remote.path)
	}
	return e.name
}

package transfer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A Request says what to fetch from a node and where to put it, by the rules of cp: a Local that is
// a folder or ends with a slash receives Remote under its own name, else Local is the name it gets.
// A Remote that ends with a slash, or is empty, means the contents of that folder.
type Request struct {
	Remote    string // relative to RemoteDir, absolute, or "~/…"
	RemoteDir string // absolute or "~/…"; empty is the home
	Local     string // relative to LocalDir, or absolute
	LocalDir  string // empty is the current folder
	MissingOK bool   // a Remote that does not exist is a Result with Missing, not an error

	// Protect returns why the file or folder with this absolute path must not be written; nil and "" have
	// no reason.
	Protect func(path string) string

	Report report.Sink
	Step   string // of the events
}

// A Result says what a transfer did.
type Result struct {
	Files    int   // files and links that were written
	Bytes    int64 // content that travelled
	Skipped  int   // files that were there already, with the same content
	Duration time.Duration
	Target   string // absolute path of what received
	Missing  bool   // there was nothing to fetch, and that was allowed
}

// Download fetches a file or a folder. Each file is written under a temporary name beside its
// target, verified by its sha256, then renamed; files that are here with the same content are
// skipped. Permissions, times, empty folders and links within the folder survive; other links, and
// what is neither file nor folder, are left out with a Warning. Nothing is written outside the
// target.
//
// A connection that breaks is taken up again, for two minutes without progress. What arrived before
// an error stays, and the next Download of the same goes on from it. Errors are of type
// *fault.Error, of the kinds not_found, disk_full (Target is the local folder), lost, transfer, or
// what the Runner returned when it never reached the node.
func Download(ctx context.Context, runner ssh.Runner, req Request) (Result, error) {
	return download(ctx, runner, req, defaultRetry())
}

func download(ctx context.Context, runner ssh.Runner, req Request, again retry) (Result, error) {
	return downloadOver(ctx, runner, req, again, defaultWidth())
}

func downloadOver(ctx context.Context, runner ssh.Runner, req Request, again retry, w width) (Result, error) {
	start := time.Now()
	if err := checkRemote("download", req.RemoteDir, req.Remote); err != nil {
		return Result{}, err
	}
	local, err := resolveLocal(req.LocalDir, req.Local)
	if err != nil {
		return Result{}, &fault.Error{Kind: fault.Invalid, Op: "download to", Target: req.Local, Err: err}
	}
	d := &fetch{
		runner: runner, req: req, width: w, local: local, remote: resolveRemote(req.RemoteDir, req.Remote),
		done: make(map[string]version), attempts: make(map[string]int),
		failed: make(map[string]string), warned: make(map[string]bool),
	}
	defer d.close()
	err = d.rounds(ctx, again)
	if err == nil {
		err = d.finish()
	}
	d.result.Duration = time.Since(start)
	return d.result, err
}

// rounds runs commands on the node until everything that can be here is here. One is enough unless
// the connection breaks or files change.
func (d *fetch) rounds(ctx context.Context, again retry) error {
	b := newBackoff(again)
	for {
		steps, bytes := d.steps, d.result.Bytes
		err := d.round(ctx, b)
		d.progress.end()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errChanged):
			d.afterLoss = false
			continue // bounded: a round without a step is the last one
		case !isLost(err) && (!b.lost && d.root == nil || fault.KindOf(err) != fault.Unreachable):
			return err
		}
		d.afterLoss = true
		if d.steps != steps || d.result.Bytes != bytes {
			b.progress()
		}
		if b.lose() {
			d.emit(report.Notice, "connection lost while files were fetched, reconnecting")
		}
		if !b.wait(ctx) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return &fault.Error{
				Kind: fault.Lost, Op: "download", Target: d.remote.path, Err: err,
				Hint: "what arrived is kept: the same download goes on from there",
			}
		}
	}
}

// round is one command: the node lists, this machine says what it wants, the node sends.
func (d *fetch) round(ctx context.Context, b *backoff) error {
	steps := d.steps
	d.head, d.list, d.tried = head{}, nil, maps.Clone(d.attempts)
	crew := newCrew(ctx, d.width, d.runner)
	defer crew.stop()
	crew.hireEarly(d.width.early)
	var err error
	if d.far, err = d.width.isFar(ctx, d.runner); err != nil {
		return err
	}
	d.soon = d.sumsSoon()
	c := converse(ctx, d.runner, downloadScript(d.remote, d.far, d.soon))
	d.stderr = &c.stderr
	err = d.exchange(ctx, c, crew, b)
	var broken *streamError
	stop := err != nil && (!errors.As(err, &broken) || errors.Is(err, errProtocol))
	runErr := c.end(stop)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case stop && isConnection(err):
		return err
	case stop:
		return d.fault(err)
	case runErr != nil && !isExit(runErr):
		return runErr // lost, or never connected
	case d.head.kind == 'm':
		return d.missing()
	case d.head.kind == 'o':
		return d.fault(fmt.Errorf("it is %s, neither a file nor a folder", d.head.extra))
	case d.list == nil:
		return d.fault(c.reason(runErr, err))
	}
	return d.settle(c, c.reason(runErr, err), d.steps != steps)
}

// exchange holds the conversation. Its error is a *streamError when the node's bytes ended too
// early or were not what they should be; then the end of the command says more.
func (d *fetch) exchange(ctx context.Context, c *conversation, crew *crew, b *backoff) (err error) {
	if d.head, err = readHead(c.out); err != nil {
		return &streamError{err}
	}
	if b.reconnected() {
		d.emit(report.Notice, "reconnected")
	}
	if d.head.kind == 'm' || d.head.kind == 'o' {
		return nil
	}
	if d.head.kind == 'f' && d.remote.contents {
		return errors.New("it is a file, not a folder: leave out the slash at its end")
	}
	list, err := d.readListing(c)
	if err != nil {
		return &streamError{err}
	}
	if d.root == nil {
		if err := d.open(); err != nil {
			return err
		}
	}
	if d.head.kind == 'f' {
		if len(list.entries) != 1 || !list.entries[0].isFile() {
			return protocolError("%d things listed for one file", len(list.entries))
		}
		list.entries[0].name = d.name
	}
	d.list = list
	if err := d.sumPresent(ctx); err != nil {
		return err
	}
	p, err := d.plan(ctx)
	defer p.close()
	if err != nil {
		return err
	}
	jobs := d.share(p)
	f := d.newFeed(&p.small)
	defer f.stop()
	c.tell(func(w *bufio.Writer) error { return f.ask(ctx, w, p.rests) })
	late := d.sumLate(ctx, p)
	defer late.stop()
	if d.far {
		crew.hire(p.bytes)
	}
	crew.give(jobs)
	beside := make(chan error, 1)
	go func() { beside <- crew.finish(ctx) }()
	if err = d.receive(ctx, c.out, p.rests, f); err == nil {
		f.giveUp()
	} else {
		crew.stop()
	}
	if other := <-beside; err == nil {
		err = other
	}
	if err != nil {
		return err
	}
	return late.finish()
}

// settle looks at what did not come in a round that ended by itself. Its error is errChanged when
// another round may bring it.
func (d *fetch) settle(c *conversation, reason error, stepped bool) error {
	lines := c.stderr.lines()
	d.unlisted = nil
	if !d.list.complete {
		for _, line := range lines {
			// A live folder loses files while it is listed; that is no failure.
			if (strings.HasPrefix(line, "find:") || strings.HasPrefix(line, "stat:")) && !strings.Contains(line, "No such file") {
				d.unlisted = append(d.unlisted, line)
			}
		}
	}
	var rest []string
	for i := range d.list.entries {
		e := &d.list.entries[i]
		if !e.isFile() && !e.isLink() || d.isDone(e) || d.hasFailed(e.name) {
			continue
		}
		if denied(e.name, lines) || d.head.kind == 'f' && denied(path.Base(d.remote.path), lines) {
			d.failed[e.name] = "permission denied on the node"
			continue
		}
		if d.attempts[e.name] > 1 {
			d.failed[e.name] = "it changed on the node while it was sent, twice"
			continue
		}
		rest = append(rest, e.name)
	}
	if len(rest) > 0 && stepped {
		return errChanged
	}
	for _, name := range rest {
		d.failed[name] = "the node did not send it"
		if reason != nil {
			d.failed[name] += ": " + reason.Error()
		}
	}
	return nil
}

package transfer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// An UploadRequest says what to send to a node and where to put it, by the rules of cp: a Remote
// that is a folder or ends with a slash receives Local under its own name, else Remote is the name
// it gets. A Local that ends with a slash, or is ".", means the contents of that folder.
type UploadRequest struct {
	Local     string // relative to LocalDir, or absolute
	LocalDir  string // empty is the current folder
	Remote    string // relative to RemoteDir, absolute, or "~/…"; empty is RemoteDir, which receives
	RemoteDir string // absolute or "~/…"; empty is the home

	// Withhold returns why the file with this absolute path must not leave this machine; nil and "" have no
	// reason.
	Withhold func(path string) string

	Report report.Sink
	Step   string // of the events
}

// Upload sends a file or a folder. It arrives in a temporary folder on the same file system, is
// verified by sha256 there, and gets its name only then: a new folder at once, into an existing one
// file by file. The temporary folder is removed whatever happens. Permissions, times, empty folders
// and links within the folder survive. A link that leads out of the folder is refused, and nothing
// is sent: on the node it would mean something else. What is neither file nor folder is left out
// with a Warning.
//
// A connection that breaks is taken up again, from the beginning of the upload. Target of the Result
// is the absolute path on the node. Errors are of type *fault.Error, of the kinds not_found (Local),
// invalid (a link), disk_full (Target is the folder on the node), lost, transfer, or what the Runner
// returned when it never reached the node.
func Upload(ctx context.Context, runner ssh.Runner, req UploadRequest) (Result, error) {
	return upload(ctx, runner, req, defaultRetry())
}

func upload(ctx context.Context, runner ssh.Runner, req UploadRequest, again retry) (Result, error) {
	return uploadOver(ctx, runner, req, again, defaultWidth())
}

func uploadOver(ctx context.Context, runner ssh.Runner, req UploadRequest, again retry, w width) (Result, error) {
	start := time.Now()
	if err := checkRemote("upload to", req.RemoteDir, req.Remote); err != nil {
		return Result{}, err
	}
	u := &sending{runner: runner, req: req, width: w, remote: resolveRemote(req.RemoteDir, req.Remote)}
	crew := newCrew(ctx, w, runner)
	defer crew.stop()
	err := u.collectAndConnect(ctx, crew)
	if err == nil {
		err = u.attempts(ctx, crew, again)
	}
	u.result.Duration = time.Since(start)
	return u.result, err
}

// A sending is one Upload.
type sending struct {
	runner ssh.Runner
	req    UploadRequest
	width  width
	remote remotePath
	source string // absolute local path
	kind   string // of the source: "f" file, "d" folder, "c" the contents of a folder
	items  []item
	total  int64  // bytes of content
	pack   bool   // archives travel as gzip
	dest   string // what the node made of Remote; kept for further attempts

	// Of the newest attempt.
	stage    string     // the temporary folder on the node; set before it is known
	hash     string     // what sums a file there
	mu       sync.Mutex // guards what follows
	result   Result
	progress progress
}

// An item is one thing to send.
type item struct {
	name string // with slashes, relative to the source; "." is the source itself
	path string // local
	info fs.FileInfo
	link string // target of a link

	sum    string // of its content, in hexadecimal, once that was read
	beside bool   // its content comes beside the archive
}

// collectAndConnect lists what is to be sent while the connection is made.
func (u *sending) collectAndConnect(ctx context.Context, crew *crew) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	far, connected := false, make(chan error, 1)
	go func() {
		var err error
		far, err = u.width.isFar(ctx, u.runner)
		connected <- err
	}()
	err := u.collect()
	if err == nil {
		crew.hireEarly(u.width.further(u.split().bytes))
	} else {
		cancel()
	}
	if other := <-connected; err == nil && !isLost(other) { // which attempts see to
		err = other
	}
	u.pack = err == nil && far && u.packs()
	return err
}

// collect lists what is to be sent, before anything happens on the node.
func (u *sending) collect() error {
	local, err := resolveLocal(u.req.LocalDir, u.req.Local)
	if err != nil {
		return &fault.Error{Kind: fault.Invalid, Op: "upload", Target: u.req.Local, Err: err}
	}
	u.source = local.path
	info, err := os.Stat(u.source) // a link given by name is followed
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &fault.Error{
			Kind: fault.NotFound, Op: "upload", Target: u.source,
			Err: errors.New("no such file or folder on this machine"), Hint: "relative paths start at " + startOf(u.req.LocalDir),
		}
	case err != nil:
		return u.localFault(u.source, err)
	case info.Mode().IsRegular():
		if local.folder && u.req.Local != "" {
			return &fault.Error{Kind: fault.Invalid, Op: "upload", Target: u.source, Err: errors.New("it is a file, not a folder: leave out the slash at its end")}
		}
		u.kind = "f"
		u.items = []item{{name: filepath.Base(u.source), path: u.source, info: info}}
		u.total = info.Size()
		return nil
	case !info.IsDir():
		return &fault.Error{Kind: fault.Invalid, Op: "upload", Target: u.source, Err: errors.New("it is neither a file nor a folder")}
	}
	u.kind = "d"
	if last := filepath.Base(u.req.Local); local.folder || last == "." || last == ".." || last == string(filepath.Separator) {
		u.kind = "c"
	}
	real, err := filepath.EvalSymlinks(u.source)
	if err != nil {
		return u.localFault(u.source, err)
	}
	return filepath.WalkDir(real, func(full string, e fs.DirEntry, err error) error {
		if err != nil {
			return u.localFault(full, err)
		}
		rel, err := filepath.Rel(real, full)
		if err != nil {
			return u.localFault(full, err)
		}
		if u.req.Withhold != nil && !e.IsDir() {
			if reason := u.req.Withhold(full); reason != "" {
				u.req.Report.Emit(report.Event{Kind: report.Warning, Step: u.req.Step, Text: show(full) + " is not uploaded: " + reason})
				return nil
			}
		}
		it := item{name: filepath.ToSlash(rel), path: full}
		if it.info, err = e.Info(); err != nil {
			return u.localFault(full, err)
		}
		switch mode := it.info.Mode(); {
		case mode.IsRegular():
			u.total += it.info.Size()
		case mode.IsDir():
		case mode&fs.ModeSymlink != 0:
			target, err := os.Readlink(full)
			if err != nil {
				return u.localFault(full, err)
			}
			inside, ok := link{it.name, filepath.ToSlash(target)}.inside(filepath.ToSlash(real))
			if !ok {
				return &fault.Error{
					Kind: fault.Invalid, Op: "upload", Target: full,
					Err:  fmt.Errorf("it is a link to %s, outside of what is uploaded", show(target)),
					Hint: "upload what it leads to under a name of its own, or remove the link",
				}
			}
			it.link = inside
		default:
			u.req.Report.Emit(report.Event{Kind: report.Warning, Step: u.req.Step, Text: show(full) + " is neither a file nor a folder: not uploaded"})
			return nil
		}
		u.items = append(u.items, it)
		return nil
	})
}

func startOf(dir string) string {
	if dir == "" {
		return "the current folder"
	}
	return dir
}

func (u *sending) localFault(name string, err error) error {
	return &fault.Error{Kind: fault.Transfer, Op: "upload", Target: name, Err: errors.New(reasonOf(err))}
}

// attempts runs the upload until it is done or the connection stays away. The crew is that of the first attempt.
func (u *sending) attempts(ctx context.Context, crew *crew, again retry) error {
	b := newBackoff(again)
	for ; ; crew = newCrew(ctx, u.width, u.runner) {
		err := u.attempt(ctx, crew, b)
		crew.stop()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errNoGzip):
			u.pack = false
			continue
		case !isLost(err) && (!b.lost || fault.KindOf(err) != fault.Unreachable):
			return err
		}
		if b.lose() {
			u.req.Report.Emit(report.Event{Kind: report.Notice, Step: u.req.Step, Text: "connection lost during the upload, reconnecting"})
		}
		if !b.wait(ctx) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return &fault.Error{
				Kind: fault.Lost, Op: "upload to", Target: u.remote.path, Err: err,
				Hint: "nothing has a name there that is not whole; run the same upload again",
			}
		}
	}
}

// errNoGzip says that nothing was made.
var errNoGzip = errors.New("the node has no gzip")

// attempt is one command on the node: it says where things go, takes an archive, and checks it.
func (u *sending) attempt(ctx context.Context, crew *crew, b *backoff) error {
	u.mu.Lock()
	u.result, u.stage = Result{Target: u.result.Target}, ""
	u.progress = progress{sink: u.req.Report, step: u.req.Step, total: u.total}
	u.mu.Unlock()
	c := converse(ctx, u.runner, u.script())
	known := make(chan struct{})
	var sendErr error
	c.tell(func(w *bufio.Writer) error {
		sendErr = u.send(ctx, crew, w, known, &c.stderr)
		return sendErr
	})
	dest, err := readRecord(c.out, 0)
	if err == nil && len(dest) == 0 {
		err = errNoGzip
	}
	if err == nil {
		u.dest = string(dest)
		var stage, hash []byte
		if stage, err = readRecord(c.out, 0); err == nil {
			stage = bytes.Clone(stage)
			hash, err = readRecord(c.out, 0)
		}
		if err == nil {
			u.stage, u.hash = string(stage), string(hash)
		}
	}
	if err == nil {
		u.result.Target = u.dest
		if b.reconnected() {
			u.req.Report.Emit(report.Event{Kind: report.Notice, Step: u.req.Step, Text: "reconnected"})
		}
	} else {
		_ = c.in.Close() // before the end of the archive can be written
	}
	close(known)
	_, done := readRecord(c.out, 0)
	runErr := c.end(err != nil || done != nil && ctx.Err() != nil)
	u.mu.Lock()
	u.progress.end()
	u.mu.Unlock()
	var mine *fault.Error
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errNoGzip):
		return err
	case runErr != nil && !isExit(runErr):
		return runErr
	case errors.As(sendErr, &mine):
		return mine
	case isLost(sendErr):
		return sendErr
	case runErr != nil || done != nil:
		if runErr == nil {
			runErr = done
		}
		return u.nodeFault(&c.stderr, runErr)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.result.Bytes = u.total
	for i := range u.items {
		if !u.items[i].info.IsDir() {
			u.result.Files++
		}
	}
	return nil
}

// count notes that content has left.
func (u *sending) count(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.result.Bytes += int64(n)
	u.progress.add(n)
}

// nodeFault makes an error of what the node said.
func (u *sending) nodeFault(stderr *tail, err error) error {
	target := u.dest
	if target == "" {
		target = u.remote.path
	}
	var lines []string
	free := int64(-1)
	for _, line := range stderr.lines() {
		if kb, ok := strings.CutPrefix(line, "bifrost-free "); ok {
			if n, err := strconv.ParseInt(kb, 10, 64); err == nil {
				free = n << 10
			}
			continue
		}
		lines = append(lines, line)
	}
	text := strings.Join(lines[:min(len(lines), 3)], "; ")
	if text == "" {
		text = err.Error()
	}
	if noSpace(lines) {
		text = "no space left on the node's disk"
		if free >= 0 {
			text += fmt.Sprintf(": %s free, %s to upload", bytesText(free), bytesText(u.total))
		}
		if i := strings.LastIndexByte(target, '/'); i > 0 && u.kind == "f" {
			target = target[:i]
		}
		return &fault.Error{
			Kind: fault.DiskFull, Op: "upload to", Target: target, Err: &reasonError{text, err},
			Hint: "free space on the node, then run the same upload again",
		}
	}
	return &fault.Error{Kind: fault.Transfer, Op: "upload to", Target: target, Err: &reasonError{text, err}}
}

// noSpace says whether a disk was full. GNU tar does not say so when the last of it was enough for the beginning of
// what it wrote.
func noSpace(lines []string) bool {
	return slices.ContainsFunc(lines, func(line string) bool {
		return strings.Contains(line, "No space left") || strings.Contains(line, "quota exceeded") || strings.Contains(line, ": Wrote only ")
	})
}

package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A fetch is one Download.
type fetch struct {
	runner ssh.Runner
	req    Request
	width  width
	local  place
	remote remotePath

	// Settled when the node first answers.
	root   *os.Root // the target, or the folder of the file that is the target
	fresh  bool     // this download made the target
	name   string   // the file's name in root; empty for a folder
	marker string   // a file that says that the target is not complete; empty when there is none

	// Of the newest round.
	head     head
	far      bool  // the node is; what commands read and answer is packed where it can be
	zip      bool  // it is
	soon     int64 // bytes below which the sum of a file comes with the listing; 0 is none
	list     *listing
	unlisted []string             // what the node could not list, in its words
	stderr   *tail                // what its commands say of what goes wrong
	late     *sums                // those that come beside their files; nil where none do
	folders  map[string]*contents // of this machine, by name with a slash at its end
	here     map[string]digest    // sums of files that are here

	afterLoss bool // the connection broke: a done file may have changed meanwhile

	mu       sync.Mutex // guards the rest while several connections bring something
	result   Result
	done     map[string]version // files and links that are complete here
	attempts map[string]int     // how often a file did not arrive as it was listed
	tried    map[string]int     // of attempts, those before this round
	failed   map[string]string  // what will not arrive, and why
	links    []link             // what the node says they are, made at the end
	warned   map[string]bool
	steps    int // grows with everything that makes another round worth it
	progress progress
	buffers  sync.Pool // of *[]byte, for copying
}

func (d *fetch) buffer() *[]byte {
	if b, ok := d.buffers.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, copyBuffer)
	return &b
}

func (d *fetch) close() {
	if d.root != nil {
		d.root.Close()
	}
}

// A version tells what of a file was fetched.
type version struct {
	size, mtime int64
	hash        digest
}

func (e *entry) version() version { return version{e.size, e.mtime, e.hash} }

// isDone says whether a file needs no more sending. What changed after it had arrived whole is
// fetched anew only when the connection broke in between; of a large file, size and time tell.
func (d *fetch) isDone(e *entry) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	have, ok := d.done[e.name]
	if !ok || !d.afterLoss {
		return ok
	}
	return have.size == e.size && have.mtime == e.mtime && (d.isLarge(e) || e.isLink() || e.hashed && have.hash == e.hash)
}

// hasFailed says whether a file, or a folder above it, is given up.
func (d *fetch) hasFailed(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for ; len(d.failed) > 0 && name != "."; name = path.Dir(name) {
		if _, ok := d.failed[name]; ok {
			return true
		}
	}
	return false
}

// attempt counts that a file did not arrive as it was listed, and says whether it may be asked for
// again.
func (d *fetch) attempt(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.attempts[name]++
	d.steps++
	return d.attempts[name] < 2
}

// isOver says whether this round has nothing more to do with a file: it is here, has failed, or has
// turned out to be another one than was listed.
func (d *fetch) isOver(e *entry) bool {
	if d.isDone(e) || d.hasFailed(e.name) {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.attempts[e.name] > d.tried[e.name]
}

// miss is attempt for what several commands of a round may find out.
func (d *fetch) miss(e *entry) {
	if !d.isOver(e) {
		d.attempt(e.name)
	}
}

// fail gives up a file or folder.
func (d *fetch) fail(name, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed[name] = reason
}

// count notes that content has arrived.
func (d *fetch) count(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.result.Bytes += int64(n)
	d.progress.add(n)
}

// open settles the target and opens it.
func (d *fetch) open() error {
	folder := d.head.kind == 'd'
	name := path.Base(d.remote.path)
	// A folder that an earlier, unfinished download of the same thing made is still its target, not
	// a folder that receives.
	marker := filepath.Join(filepath.Dir(d.local.path), "."+filepath.Base(d.local.path)+".bifrost-incomplete")
	origin := d.head.where
	text, err := os.ReadFile(marker)
	unfinished := err == nil && string(text) == origin
	d.result.Target = d.local.target(d.remote, folder, isFolder(d.local.path) && !unfinished)
	if d.result.Target != d.local.path {
		if !canHold(name) {
			return fmt.Errorf("this system cannot hold the name %q", name)
		}
	}

	base := d.result.Target
	if !folder {
		base, d.name = filepath.Dir(base), filepath.Base(base)
	}
	_, err = os.Stat(base)
	d.fresh = errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(base, 0o777); err != nil {
		return &localError{base, err}
	}
	if folder && !d.remote.contents && d.result.Target == d.local.path && (d.fresh || unfinished) {
		d.fresh = true
		if err := os.WriteFile(marker, []byte(origin), 0o600); err != nil {
			return &localError{filepath.Dir(marker), err}
		}
		d.marker = marker
	}
	if d.root, err = os.OpenRoot(base); err != nil {
		return &localError{base, err}
	}
	return nil
}

// finish makes what can only be made when all files are there, and says what is not.
func (d *fetch) finish() error {
	if d.list == nil {
		return nil // nothing was there, and that was allowed
	}
	if d.head.kind == 'd' {
		d.makeLinks()
		d.finishFolders()
	}
	if len(d.failed) == 0 && len(d.unlisted) == 0 {
		if d.marker != "" {
			if err := os.Remove(d.marker); err != nil {
				return d.fault(&localError{filepath.Dir(d.marker), err})
			}
		}
		return nil
	}
	var reasons []string
	for _, name := range slices.Sorted(maps.Keys(d.failed)) {
		reasons = append(reasons, fmt.Sprintf("%s: %s", show(name), d.failed[name]))
	}
	reasons = append(reasons, d.unlisted...)
	n := len(reasons)
	if n > 5 {
		reasons = append(reasons[:5], fmt.Sprintf("and %d more", n-5))
	}
	return &fault.Error{
		Kind: fault.Transfer, Op: "download", Target: d.head.path,
		Err:  errors.New(strings.Join(reasons, "; ")),
		Hint: fmt.Sprintf("everything else is in %s; the same download fetches only what is not", d.result.Target),
	}
}

// finishFolders gives the folders their modes and times, the innermost first, now that nothing is
// written into them any more. A folder that the user had made for this is left as it is.
func (d *fetch) finishFolders() {
	set := func(e *entry) {
		mtime := time.Unix(e.mtime, 0)
		_ = d.root.Chmod(e.name, fs.FileMode(e.mode&0o777|0o700))
		_ = d.root.Chtimes(e.name, mtime, mtime)
	}
	for i := len(d.list.entries) - 1; i >= 0; i-- {
		if e := &d.list.entries[i]; e.isDir() && !d.hasFailed(e.name) {
			set(e)
		}
	}
	if d.fresh {
		set(&d.list.root)
	}
}

// missing answers for a remote path that does not exist.
func (d *fetch) missing() error {
	if d.req.MissingOK {
		d.result.Missing = true
		return nil
	}
	return notFound("download", d.head)
}

// notFound says where the node looked, and what is there instead.
func notFound(op string, h head) error {
	names := strings.Split(strings.TrimSpace(h.extra), "\n")
	holds := "is empty"
	if names[0] != "" {
		more := ""
		if len(names) > 8 {
			names, more = names[:8], ", …"
		}
		for i := range names {
			names[i] = show(names[i])
		}
		holds = "holds " + strings.Join(names, ", ") + more
	}
	return &fault.Error{
		Kind: fault.NotFound, Op: op, Target: h.path,
		Err:  errors.New("no such file or folder on the node"),
		Hint: fmt.Sprintf("%s on the node %s", show(h.where), holds),
	}
}

// fault makes an error for the user of one that ends the download.
func (d *fetch) fault(err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	target := d.remote.path
	if d.head.path != "" {
		target = d.head.path
	}
	var local *localError
	switch {
	case errors.As(err, &local) && isDiskFull(err):
		reason := "no space left on this machine's disk"
		if free := freeBytes(local.folder); free >= 0 {
			reason += fmt.Sprintf(": %s free", bytesText(free))
			if rest := d.progress.rest(); rest > 0 {
				reason += fmt.Sprintf(", %s still to come", bytesText(rest))
			}
		}
		return &fault.Error{
			Kind: fault.DiskFull, Op: "download to", Target: local.folder, Err: &reasonError{reason, err},
			Hint: "free space, then run the same download again: it goes on where it stopped",
		}
	case errors.As(err, &local):
		return &fault.Error{Kind: fault.Transfer, Op: "download to", Target: local.folder, Err: local.err}
	}
	return &fault.Error{Kind: fault.Transfer, Op: "download", Target: target, Err: err}
}

func (d *fetch) emit(kind report.Kind, text string) {
	d.req.Report.Emit(report.Event{Kind: kind, Step: d.req.Step, Text: text})
}

// warn says once per thing that it was left out.
func (d *fetch) warn(name, text string) {
	if !d.warned[name] {
		d.warned[name] = true
		d.emit(report.Warning, show(name)+" "+text)
	}
}

// A localError is about this machine's disk.
type localError struct {
	folder string
	err    error
}

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// A streamError says that the node's bytes ended too early or are not what they should be.
type streamError struct{ err error }

func (e *streamError) Error() string { return e.err.Error() }
func (e *streamError) Unwrap() error { return e.err }

// A reasonError has words of its own for an error that callers look for in its chain.
type reasonError struct {
	text string
	err  error
}

func (e *reasonError) Error() string { return e.text }
func (e *reasonError) Unwrap() error { return e.err }

// errChanged says that files did not arrive as they were listed, and are worth another round.
var errChanged = errors.New("files changed on the node while they were sent")

func isLost(err error) bool {
	var lost *ssh.LostError
	return errors.As(err, &lost)
}

func isExit(err error) bool {
	var exit *ssh.ExitError
	return errors.As(err, &exit)
}

// denied says whether one of the node's messages is that name may not be read.
func denied(name string, lines []string) bool {
	for _, line := range lines {
		_, rest, ok := strings.Cut(line, "./"+name)
		if ok && rest != "" && strings.ContainsRune(":'", rune(rest[0])) && strings.HasSuffix(rest, "ermission denied") {
			return true
		}
	}
	return false
}

// show makes a name fit for a line of text: as it is, or quoted where it holds what a line cannot.
func show(name string) string {
	q := fmt.Sprintf("%q", name)
	if q[1:len(q)-1] == name {
		return name
	}
	return q
}

func bytesText(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/unit, 0
	for ; f >= unit && i < 4; i++ {
		f /= unit
	}
	return fmt.Sprintf("%.1f %cB", f, "kMGTP"[i])
}

// sleep waits, and says false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

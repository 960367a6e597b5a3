package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"modernc.org/sqlite"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// SQLite's primary result codes that users can do something about; https://sqlite.org/rescode.html.
const (
	codePerm     = 3
	codeBusy     = 5
	codeLocked   = 6
	codeReadOnly = 8
	codeIO       = 10
	codeCorrupt  = 11
	codeFull     = 13
	codeCantOpen = 14
	codeNotADB   = 26
)

const (
	hintElsewhere = "set XDG_STATE_HOME to another folder, or move what is there away"
	hintWritable  = "make the file and its folder writable for you, or set XDG_STATE_HOME to a folder that is"
	hintSpace     = "free space there, then run the same command again; machines that run are still running"
	hintCorrupt   = "it may have named machines that cost money: look at the providers' consoles, move the file away, then run bifrost reap"
)

var errHeld = errors.New("in use by another process")

func (j *Journal) invalid(err error, hint string) *fault.Error {
	return &fault.Error{Kind: fault.Invalid, Op: "open", Target: "journal " + j.path, Err: err, Hint: hint}
}

// unusable is failure without a context, for what happens while opening.
func (j *Journal) unusable(op string, err error) error {
	return j.failure(context.Background(), op, err)
}

// failure turns err into what a person can act on. Errors that are one already, and the end of the
// context, stay what they are.
func (j *Journal) failure(ctx context.Context, op string, err error) error {
	var done *fault.Error
	if errors.As(err, &done) {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &fault.Error{Kind: fault.Internal, Op: op, Target: "journal " + j.path, Err: err}
	switch code := sqliteCode(err); code {
	case codeBusy, codeLocked:
		e.Kind, e.Err = fault.Conflict, fmt.Errorf("%w, which does not let go of it", errHeld)
		e.Hint = "wait for the other bifrost, or find it with: fuser -v " + shellWord(j.path)
	case codeFull:
		e.Kind, e.Err, e.Hint = fault.DiskFull, errors.New("no space left on the device"), hintSpace
	case codeCorrupt, codeNotADB:
		e.Kind, e.Err, e.Hint = fault.Invalid, fmt.Errorf("the file is damaged, or no journal: %w", err), hintCorrupt
	case codeIO, codeCantOpen, codeReadOnly, codePerm:
		// SQLite does not pass the system's reason on: ask the system again.
		if reason := probe(filepath.Dir(j.path)); reason != nil {
			systemFailure(e, reason)
		} else if code == codeReadOnly || code == codePerm {
			e.Kind, e.Err, e.Hint = fault.Invalid, errors.New("the file is read-only"), hintWritable
		} else {
			systemFailure(e, err)
		}
	default:
		systemFailure(e, err)
	}
	return e
}

// systemFailure fills e from an error of the operating system.
func systemFailure(e *fault.Error, err error) {
	e.Err = err
	var path *fs.PathError
	if errors.As(err, &path) {
		e.Err = path.Err
		if path.Path != "" && "journal "+path.Path != e.Target {
			e.Err = fmt.Errorf("%s %s: %w", path.Op, path.Path, path.Err)
		}
	}
	switch {
	case errors.Is(err, syscall.ENOSPC) || isQuota(err):
		e.Kind, e.Hint = fault.DiskFull, hintSpace
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
		e.Kind, e.Hint = fault.Invalid, hintWritable
	case errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.ENOTDIR):
		e.Kind, e.Hint = fault.Invalid, hintElsewhere
	case sqliteCode(err) == codeIO || sqliteCode(err) == codeCantOpen || path != nil:
		e.Kind, e.Hint = fault.Invalid, "check the disk, or set XDG_STATE_HOME to a folder on another one"
	}
}

// probe writes a file in dir, as SQLite has to, and returns what the system says to that.
func probe(dir string) error {
	f, err := os.CreateTemp(dir, ".journal-probe-*")
	if err == nil {
		defer os.Remove(f.Name())
		defer f.Close()
		_, err = f.Write(make([]byte, 64<<10))
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		return &fs.PathError{Op: "write to", Path: dir, Err: path.Err}
	}
	return err
}

func sqliteCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff // the rest of an extended code refines this
	}
	return 0
}

// shellWord quotes a path for a command that a person is told to type.
func shellWord(s string) string {
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '/', r == '.', r == '-', r == '_':
		default:
			return fmt.Sprintf("%q", s)
		}
	}
	return s
}

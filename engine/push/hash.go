package push

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
)

// isNotDir reports that a folder on the way to a file is no folder (any more).
func isNotDir(err error) bool { return errors.Is(err, syscall.ENOTDIR) }

// hashFiles fills in size and sum of the files among the entries, of those that are as the index knows
// them without reading them, and returns the index of what can be told of the next time. What is recorded
// is what was read: a file that changes meanwhile has either the content of one moment, or one that the
// sending will not find again. Once enough is closed it leaves the rest as it is.
func hashFiles(ctx context.Context, source string, entries []entry, known index, enough <-chan struct{}) (index, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := quietUntil()
	states := make([]fileState, len(entries))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 8) {
		wg.Go(func() {
			buf := make([]byte, 128<<10)
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(entries) || isClosed(enough) {
					return
				}
				if entries[i].typ != file {
					continue
				}
				var err error
				if states[i], err = hashFile(ctx, source, &entries[i], known, buf); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	files := make(index, len(entries))
	for i, e := range entries {
		files.add(e, states[i], quiet)
	}
	return files, nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// hashFile returns the state that the file had before it was read, zero where the system has none.
func hashFile(ctx context.Context, source string, e *entry, known index, buf []byte) (fileState, error) {
	if k, ok := known[e.path]; ok {
		if info, err := os.Lstat(filepath.Join(source, filepath.FromSlash(e.path))); err == nil && info.Mode().IsRegular() {
			if state, ok := stateOf(info); ok && state == k.state {
				e.size, e.sum = state.size, k.sum
				return state, nil
			}
		}
	}
	f, info, err := openFile(source, e.path)
	if err != nil {
		return fileState{}, err
	}
	defer f.Close()
	state, _ := stateOf(info)
	h := sha256.New()
	e.size = 0
	for {
		n, err := f.Read(buf)
		h.Write(buf[:n])
		e.size += int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return fileState{}, unreadable(e.path, err)
		}
		if ctx.Err() != nil {
			return fileState{}, context.Cause(ctx)
		}
	}
	e.sum = hex.EncodeToString(h.Sum(nil))
	return state, nil
}

// openFile opens a file of the tree that is a regular one, not through a link.
func openFile(source, p string) (*os.File, fs.FileInfo, error) {
	name := filepath.Join(source, filepath.FromSlash(p))
	f, err := openPlain(name)
	if err != nil {
		if is, serr := os.Lstat(name); serr == nil && !is.Mode().IsRegular() {
			return nil, nil, &changedError{p}
		}
		return nil, nil, changedOr(p, err)
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() {
		return f, info, nil
	}
	f.Close()
	if err != nil {
		return nil, nil, unreadable(p, err)
	}
	return nil, nil, &changedError{p}
}

// A changedError says that a file is not what it was when the push began.
type changedError struct{ path string }

func (e *changedError) Error() string {
	return fmt.Sprintf("%s changed while it was being pushed", e.path)
}

func changedOr(p string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || isNotDir(err) {
		return &changedError{p}
	}
	return unreadable(p, err)
}

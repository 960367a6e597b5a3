package push

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

	"github.com/bifrost-run/bifrost/engine/fault"
)

// ignoreFile holds gitignore patterns of files that do not travel, on top of what git ignores.
const ignoreFile = ".bifrostignore"

// A scan gathers the entries of a source tree.
type scan struct {
	source  string // absolute, symlinks resolved
	exclude []string
	keep    func(path string) string // why a file stays here; nil has no reasons
	notice  func(string)

	entries []entry
}

// A survey is a source tree as it was found.
type survey struct {
	entries []entry // sorted by path
	unread  bool    // some of the files have no sum
	files   index   // what can be told the next time of those that have one
}

// scanTree lists the tree and hashes those of its files that the cache does not know, until enough is closed.
// Where it knows nothing of the source, begin is called before.
func scanTree(ctx context.Context, source string, exclude []string, keep func(path string) string, known cache, notice func(string), begin func(), enough <-chan struct{}) (*survey, error) {
	entries, err := listTree(ctx, source, exclude, keep, notice)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, byPath)
	s := &survey{entries: entries}
	before := known.index(source)
	if len(before) == 0 && begin != nil {
		begin()
	}
	if s.files, err = hashFiles(ctx, source, entries, before, enough); err != nil {
		return nil, err
	}
	s.unread = slices.ContainsFunc(entries, entry.unread)
	if !s.unread && !maps.Equal(s.files, before) {
		known.writeIndex(source, s.files)
	}
	return s, nil
}

// listTree lists what travels, without content.
func listTree(ctx context.Context, source string, exclude []string, keep func(path string) string, notice func(string)) ([]entry, error) {
	s := &scan{source: source, keep: keep, notice: notice}
	for _, x := range exclude {
		s.exclude = append(s.exclude, filepath.Clean(x))
		if real, err := filepath.EvalSymlinks(x); err == nil && real != filepath.Clean(x) {
			s.exclude = append(s.exclude, real)
		}
	}
	if err := s.list(ctx); err != nil {
		return nil, err
	}
	s.dropBehindLinks()
	if err := s.applyIgnoreFile(ctx); err != nil {
		return nil, err
	}
	if len(s.entries) == 0 {
		e := &fault.Error{Kind: fault.Invalid, Op: "push", Target: source, Err: errors.New("there is no file to push"), Hint: "source names the folder that holds the code"}
		if top := repository(source); top != "" {
			e.Err = errors.New("git shows no file there: it is empty, or all of it is ignored")
			e.Hint = "see what git ignores: git -C " + source + " status --ignored ."
		}
		return nil, e
	}
	if err := s.checkLinks(); err != nil {
		return nil, err
	}
	return s.entries, nil
}

// list fills entries, without content.
func (s *scan) list(ctx context.Context) error {
	if repository(s.source) != "" {
		err := s.listRepository(ctx, "")
		var none notRepository
		if !errors.As(err, &none) {
			return err
		}
	}
	return s.walk(ctx)
}

// listRepository adds what git shows beneath the folder rel, and the repositories within it.
func (s *scan) listRepository(ctx context.Context, rel string) error {
	files, err := gitFiles(ctx, filepath.Join(s.source, filepath.FromSlash(rel)))
	if err != nil {
		return err
	}
	for _, f := range files {
		p := path.Join(rel, f.path)
		info, err := os.Lstat(filepath.Join(s.source, filepath.FromSlash(p)))
		switch {
		case errors.Is(err, fs.ErrNotExist), isNotDir(err):
			continue // tracked, but deleted in the working tree
		case err != nil:
			return unreadable(p, err)
		case !info.IsDir():
			s.add(p, info, f.tracked)
			continue
		}
		if s.excluded(p) && !f.tracked || reserved(p) {
			continue
		}
		// A folder in git's list: a submodule, a repository that is not one, or a folder in the
		// place of a tracked file, whose files are listed by themselves.
		if _, err := os.Lstat(filepath.Join(s.source, filepath.FromSlash(p), ".git")); err == nil {
			if err := s.listRepository(ctx, p); err != nil {
				return err
			}
			continue
		}
		beneath := f.path + "/"
		if !slices.ContainsFunc(files, func(g listed) bool { return strings.HasPrefix(g.path, beneath) }) {
			s.notice(fmt.Sprintf("%s: the submodule is not checked out here and is not pushed", p))
		}
	}
	return nil
}

// walk adds everything beneath the source, which is no repository.
func (s *scan) walk(ctx context.Context) error {
	return filepath.WalkDir(s.source, func(name string, d fs.DirEntry, err error) error {
		if cerr := ctx.Err(); cerr != nil {
			return context.Cause(ctx)
		}
		rel, rerr := filepath.Rel(s.source, name)
		if rerr != nil {
			return rerr
		}
		p := filepath.ToSlash(rel)
		if err != nil {
			return unreadable(p, err)
		}
		if p == "." {
			return nil
		}
		if reserved(p) || s.excluded(p) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			within, err := os.ReadDir(name)
			if err != nil {
				return unreadable(p, err)
			}
			if len(within) == 0 {
				s.entries = append(s.entries, entry{path: p, typ: folder})
			}
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return unreadable(p, err)
		}
		s.add(p, info, false)
		return nil
	})
}

// add appends the entry for a path that is not a folder.
func (s *scan) add(p string, info fs.FileInfo, tracked bool) {
	if reserved(p) || !tracked && s.excluded(p) {
		return
	}
	if s.keep != nil {
		if reason := s.keep(filepath.Join(s.source, filepath.FromSlash(p))); reason != "" {
			s.notice(fmt.Sprintf("%s: not pushed: %s", p, reason))
			return
		}
	}
	switch info.Mode().Type() {
	case 0:
		s.entries = append(s.entries, entry{path: p, typ: file, mode: info.Mode().Perm(), size: info.Size()})
	case fs.ModeSymlink:
		s.entries = append(s.entries, entry{path: p, typ: link})
	default:
		s.notice(fmt.Sprintf("%s: %s, not pushed", p, kindName(info.Mode())))
	}
}

func kindName(m fs.FileMode) string {
	switch {
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "not a regular file"
}

func (s *scan) excluded(p string) bool {
	name := filepath.Join(s.source, filepath.FromSlash(p))
	for _, x := range s.exclude {
		if name == x || strings.HasPrefix(name, x+string(filepath.Separator)) {
			return true
		}
	}
	return false
}

// applyIgnoreFile drops the entries that .bifrostignore matches.
func (s *scan) applyIgnoreFile(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(s.source, ignoreFile)); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return unreadable(ignoreFile, err)
	}
	paths := make([]string, len(s.entries))
	for i, e := range s.entries {
		paths[i] = e.path
		if e.typ == folder {
			paths[i] += "/\x01" // a file in it, so that git takes it for a folder
		}
	}
	ignored, err := ignoredBy(ctx, s.source, ignoreFile, paths)
	if err != nil {
		return err
	}
	var kept []entry
	for i, e := range s.entries {
		if !ignored[paths[i]] {
			kept = append(kept, e)
		}
	}
	s.entries = kept
	return nil
}

// dropBehindLinks drops tracked files whose folder has been replaced by a link: to git they are
// deleted, though a file can be found at their path.
func (s *scan) dropBehindLinks() {
	links := map[string]bool{}
	for _, e := range s.entries {
		if e.typ == link {
			links[e.path] = true
		}
	}
	if len(links) == 0 {
		return
	}
	s.entries = slices.DeleteFunc(s.entries, func(e entry) bool {
		for dir := path.Dir(e.path); dir != "."; dir = path.Dir(dir) {
			if links[dir] {
				return true
			}
		}
		return false
	})
}

// checkLinks reads the links and refuses those that lead out of the tree: on the node they would
// point at something else, or at nothing.
func (s *scan) checkLinks() error {
	for i := range s.entries {
		e := &s.entries[i]
		if e.typ != link {
			continue
		}
		target, err := os.Readlink(filepath.Join(s.source, filepath.FromSlash(e.path)))
		if err != nil {
			return unreadable(e.path, err)
		}
		e.target = filepath.ToSlash(target)
		to := path.Join(path.Dir(e.path), e.target)
		if filepath.IsAbs(target) || strings.HasPrefix(e.target, "/") || to == ".." || strings.HasPrefix(to, "../") {
			return &fault.Error{
				Kind: fault.Invalid, Op: "push", Target: e.path,
				Err:  fmt.Errorf("the symbolic link leads out of the tree, to %s", target),
				Hint: "replace it by what it points to, or name it in " + ignoreFile,
			}
		}
	}
	return nil
}

func unreadable(p string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return &fault.Error{Kind: fault.Invalid, Op: "read", Target: p, Err: err, Hint: "make it readable, or name it in " + ignoreFile}
}

package vendored

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bifrost-run/bifrost/starlark/config"
)

// What a module may have at most.
const (
	maxFiles = 10_000
	maxBytes = 64 << 20 // of all files
)

// Add fetches a module's files and writes them, the lock and the configuration of the root. The from is a
// URL or a folder, the ref a branch, tag or commit, "" for the default branch. When it fails everything is
// as it was. A module of that name is replaced.
func Add(ctx context.Context, root, name, from, ref string) (Pin, error) {
	if err := config.CheckName(name); err != nil {
		return Pin{}, &InputError{Message: err.Error()}
	}
	from, err := Source(from)
	if err != nil {
		return Pin{}, err
	}
	if err := checkRef(ref); err != nil {
		return Pin{}, err
	}
	lock, err := ReadLock(root)
	if err != nil {
		return Pin{}, err
	}
	configText, err := os.ReadFile(filepath.Join(root, config.File))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Pin{}, err
	}
	newConfig, err := config.SetModule(string(configText), name, config.Module{Git: from, Ref: ref})
	if err != nil {
		return Pin{}, err
	}

	folder := filepath.Join(root, Folder)
	if info, err := os.Lstat(folder); err == nil && !info.IsDir() {
		return Pin{}, fmt.Errorf("%s is not a folder", Folder)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return Pin{}, err
	}
	work, err := os.MkdirTemp(folder, ".add-")
	if err != nil {
		return Pin{}, err
	}
	defer os.RemoveAll(work)
	pin, err := fetchInto(ctx, work, from, ref)
	if err != nil {
		return Pin{}, fmt.Errorf("%s: %w", from, err)
	}

	if lock.Modules == nil {
		lock.Modules = map[string]Pin{}
	}
	lock.Modules[name] = pin
	undo, err := swap(filepath.Join(work, "tree"), filepath.Join(root, filepath.FromSlash(Dir(name))), filepath.Join(work, "old"))
	if err != nil {
		return Pin{}, err
	}
	oldLock, _ := os.ReadFile(filepath.Join(root, LockFile)) // nil where there was none
	if err := replaceFile(filepath.Join(root, LockFile), lock.text()); err != nil {
		return Pin{}, errors.Join(err, undo())
	}
	if err := replaceFile(filepath.Join(root, config.File), newConfig); err != nil {
		restore := os.Remove
		if oldLock != nil {
			restore = func(path string) error { return replaceFile(path, string(oldLock)) }
		}
		return Pin{}, errors.Join(err, restore(filepath.Join(root, LockFile)), undo())
	}
	return pin, nil
}

// fetchInto writes a module's files into the folder tree in work.
func fetchInto(ctx context.Context, work, from, ref string) (Pin, error) {
	repo := repository{filepath.Join(work, "git")}
	tree := filepath.Join(work, "tree")
	if err := errors.Join(os.Mkdir(repo.dir, 0o755), os.Mkdir(tree, 0o755)); err != nil {
		return Pin{}, err
	}
	commit, err := repo.fetch(ctx, from, ref)
	if err != nil {
		return Pin{}, err
	}
	entries, err := repo.list(ctx, commit)
	if err != nil {
		return Pin{}, err
	}
	if entries, err = regular(ctx, repo, entries); err != nil {
		return Pin{}, err
	}
	dir, err := os.OpenRoot(tree)
	if err != nil {
		return Pin{}, err
	}
	defer dir.Close()
	pin := Pin{Git: from, Ref: ref, Commit: commit, Files: map[string]string{}}
	err = repo.contents(ctx, entries, func(e entry, data []byte) error {
		pin.Files[e.path] = Sum(data)
		if err := dir.MkdirAll(path.Dir(e.path), 0o755); err != nil {
			return err
		}
		return dir.WriteFile(e.path, data, 0o644)
	})
	return pin, err
}

// regular returns the files as they are to be written: those that a link within the tree leads to in its
// place. What cannot be vendored is an error.
func regular(ctx context.Context, repo repository, entries []entry) ([]entry, error) {
	var links []entry
	files := map[string]entry{}
	folded := map[string]string{}
	var bytes int64
	scripts := 0
	for _, e := range entries {
		if err := checkPath(e.path); err != nil {
			return nil, err
		}
		if twin, ok := folded[strings.ToLower(e.path)]; ok {
			return nil, fmt.Errorf("%s and %s are one file where case does not count", twin, e.path)
		}
		folded[strings.ToLower(e.path)] = e.path
		switch e.mode {
		case "120000":
			links = append(links, e)
		case "160000":
			return nil, fmt.Errorf("%s is a submodule, and those are not fetched: vendor it as a module of its own", e.path)
		default:
			files[e.path] = e
			if path.Ext(e.path) == ".star" {
				scripts++
			}
		}
		bytes += e.size
	}
	switch {
	case scripts == 0:
		return nil, errors.New("it has no .star file")
	case len(entries) > maxFiles:
		return nil, fmt.Errorf("it has %d files; a module has at most %d", len(entries), maxFiles)
	case bytes > maxBytes:
		return nil, fmt.Errorf("it has %d MiB; a module has at most %d", bytes>>20, maxBytes>>20)
	}
	targets := map[string]entry{}
	err := repo.contents(ctx, links, func(e entry, data []byte) error {
		to := path.Join(path.Dir(e.path), string(data))
		target, ok := files[to]
		if !ok || path.IsAbs(string(data)) {
			return fmt.Errorf("%s is a symbolic link to %q, which is not a file of the repository", e.path, data)
		}
		targets[e.path] = target
		if bytes += target.size; bytes > maxBytes {
			return fmt.Errorf("it has more than %d MiB, which is the most that a module has", maxBytes>>20)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := make([]entry, 0, len(entries))
	for _, e := range entries {
		if target, ok := targets[e.path]; ok {
			target.path = e.path
			e = target
		}
		all = append(all, e)
	}
	return all, nil
}

// checkPath refuses names of files that could not be written everywhere, or would be more than files.
func checkPath(file string) error {
	if !fs.ValidPath(file) || !utf8.ValidString(file) || strings.ContainsFunc(file, func(r rune) bool { return unicode.IsControl(r) || r == '\\' }) {
		return fmt.Errorf("%q is no name of a file that can be vendored", file)
	}
	for part := range strings.SplitSeq(file, "/") {
		if strings.EqualFold(part, ".git") {
			return fmt.Errorf("%q is in a repository's own folder", file)
		}
	}
	return nil
}

// swap puts a new tree into the place of an old one, which it moves aside; undo puts that back.
func swap(tree, place, aside string) (undo func() error, err error) {
	had := true
	if err := os.Rename(place, aside); errors.Is(err, fs.ErrNotExist) {
		had = false
	} else if err != nil {
		return nil, err
	}
	undo = func() error {
		err := os.RemoveAll(place)
		if had {
			err = errors.Join(err, os.Rename(aside, place))
		}
		return err
	}
	if err := os.Rename(tree, place); err != nil {
		return nil, errors.Join(err, undo())
	}
	return undo, nil
}

// replaceFile writes a file as a whole or not at all.
func replaceFile(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // it is in the way of nobody
	}
	return err
}

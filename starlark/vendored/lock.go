// Package vendored keeps modules of other people in a project: bifrost.toml names them, bifrost.lock
// pins every file of theirs, and the files are in bifrost_modules/NAME. It depends on package config and
// on the git program.
//
//	pin, err := vendored.Add(ctx, root, "acme", "https://example.com/acme.git", "v1")
//	lock, err := vendored.ReadLock(root)
//	wrong, err := lock.Modules["acme"].Verify(os.DirFS(filepath.Join(root, vendored.Dir("acme"))))
package vendored

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/bifrost-run/bifrost/starlark/config"
)

// LockFile is the name of the lock, beside bifrost.toml.
const LockFile = "bifrost.lock"

// Folder is where the trees are, beside bifrost.toml.
const Folder = "bifrost_modules"

// Dir is the folder of a module's tree, slash-separated and relative to the root.
func Dir(name string) string { return Folder + "/" + name }

// A Lock is what bifrost.lock says.
type Lock struct {
	Version int            `toml:"version"` // of the format
	Modules map[string]Pin `toml:"modules"` // by name
}

// A Pin is the one content that a module may have.
type Pin struct {
	Git    string            `toml:"git"`    // the URL that it came from
	Ref    string            `toml:"ref"`    // what was asked for; "" for the default branch
	Commit string            `toml:"commit"` // what that was then
	Files  map[string]string `toml:"files"`  // Sum of every file, by its slash-separated path in the tree
}

// lockVersion is the format that this package writes, and the only one that it reads.
const lockVersion = 1

// maxLock is the size in bytes up to which a file is taken for a lock.
const maxLock = 16 << 20

// A LockError is a lock that cannot be read.
type LockError struct{ Reason string }

func (e *LockError) Error() string { return LockFile + ": " + e.Reason }

// ReadLock reads the lock of a root. Without one the result is an empty lock.
func ReadLock(root string) (Lock, error) {
	f, err := os.Open(filepath.Join(root, LockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Lock{Version: lockVersion}, nil
	} else if err != nil {
		return Lock{}, &LockError{cause(err).Error()}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxLock+1))
	switch {
	case err != nil:
		return Lock{}, &LockError{cause(err).Error()}
	case len(data) > maxLock:
		return Lock{}, &LockError{fmt.Sprintf("it is larger than %d MiB", maxLock>>20)}
	}
	return parseLock(string(data))
}

func parseLock(text string) (Lock, error) {
	var l Lock
	meta, err := toml.Decode(text, &l)
	switch {
	case err != nil:
		return Lock{}, &LockError{strings.TrimPrefix(err.Error(), "toml: ")}
	case l.Version != lockVersion:
		return Lock{}, &LockError{fmt.Sprintf("it is of version %d; this bifrost reads version %d", l.Version, lockVersion)}
	case len(meta.Undecoded()) > 0:
		return Lock{}, &LockError{"unknown key " + meta.Undecoded()[0].String()}
	}
	return l, nil
}

// text is the lock as its file has it: the same text for the same content.
func (l Lock) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by bifrost mod. It belongs into version control, with %s.\nversion = %d\n", config.File, lockVersion)
	for _, name := range slices.Sorted(maps.Keys(l.Modules)) {
		pin := l.Modules[name]
		fmt.Fprintf(&b, "\n[modules.%s]\ngit = %s\n", name, quote(pin.Git))
		if pin.Ref != "" {
			fmt.Fprintf(&b, "ref = %s\n", quote(pin.Ref))
		}
		fmt.Fprintf(&b, "commit = %s\n\n[modules.%s.files]\n", quote(pin.Commit), name)
		for _, file := range slices.Sorted(maps.Keys(pin.Files)) {
			fmt.Fprintf(&b, "%s = %s\n", quote(file), quote(pin.Files[file]))
		}
	}
	return b.String()
}

// quote writes a string as TOML has it. Names of files and refs have no control characters, and
// Go and TOML agree on what remains.
func quote(s string) string { return strconv.Quote(s) }

// Sum is the hash of a file's content, with the name of the algorithm.
func Sum(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// A Difference is a file that is not as the lock says.
type Difference struct {
	File string // slash-separated, in the tree; "" for the whole tree
	What string // "changed", "missing", "extra", "not a regular file"
}

func (d Difference) String() string {
	if d.File == "" {
		return "the tree is " + d.What
	}
	return d.File + " is " + d.What
}

// Verify compares a tree with the pin and returns the differences by file name. The error is that of a
// file which cannot be read.
func (p Pin) Verify(tree fs.FS) ([]Difference, error) {
	wrong := map[string]string{}
	for file := range p.Files {
		wrong[file] = "missing"
	}
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		want, known := p.Files[path]
		switch {
		case !known:
			wrong[path] = "extra"
		case !d.Type().IsRegular():
			wrong[path] = "not a regular file"
		default:
			got, err := sumOf(tree, path)
			if err != nil {
				return err
			}
			wrong[path] = "changed"
			if got == want {
				delete(wrong, path)
			}
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) && len(wrong) == len(p.Files) {
		return []Difference{{What: "missing"}}, nil
	} else if err != nil {
		return nil, err
	}
	var all []Difference
	for _, file := range slices.Sorted(maps.Keys(wrong)) {
		all = append(all, Difference{file, wrong[file]})
	}
	return all, nil
}

func sumOf(tree fs.FS, path string) (string, error) {
	f, err := tree.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}

// cause is the reason in a path error, without the path that the message has already.
func cause(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

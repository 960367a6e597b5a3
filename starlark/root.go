package starlark

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/bifrost-run/bifrost/starlark/config"
	"github.com/bifrost-run/bifrost/starlark/spell"
)

// maxSource is the size in bytes up to which a file is taken for a script.
const maxSource = 4 << 20

// A tree is the folder that a script and its modules are in. Files are read through an os.Root, so
// that neither a path nor a symbolic link leads out of it. Keys are slash-separated paths from the
// root, without symbolic links: one file has one key.
type tree struct {
	dir  string // absolute, without symbolic links
	root *os.Root
	cwd  string // for the names that people see
}

// A fileError is why a file cannot be a script, with the way out.
type fileError struct {
	message, hint string
}

func (e *fileError) Error() string { return e.message }

// openTree finds the root of the entry file and returns it with the entry's key. The root is the
// nearest folder upward with a bifrost.toml, else with a .git, else the entry's own.
func openTree(file string) (*tree, string, error) {
	entry, err := entryPath(file)
	if err != nil {
		return nil, "", err
	}
	dir := findRoot(filepath.Dir(entry))
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, "", &fileError{message: fmt.Sprintf("open %s: %v", dir, cause(err))}
	}
	cwd, err := os.Getwd()
	if err != nil {
		cwd = "" // names are absolute then
	} else if real, err := filepath.EvalSymlinks(cwd); err == nil {
		cwd = real
	}
	key, err := filepath.Rel(dir, entry)
	if err != nil {
		return nil, "", errors.Join(err, root.Close())
	}
	return &tree{dir: dir, root: root, cwd: cwd}, filepath.ToSlash(key), nil
}

// entryPath returns the absolute path of the file that the user named, without symbolic links.
func entryPath(file string) (string, error) {
	if file == "" {
		return "", &fileError{"no script was named", "name a file that ends in .star"}
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", &fileError{"does not exist", nearFile(filepath.Dir(abs), filepath.Base(abs), filepath.Dir(file))}
	case err != nil:
		return "", &fileError{message: cause(err).Error()}
	case info.IsDir():
		return "", &fileError{"is a folder", "name the script in it" + scriptsIn(abs)}
	case !info.Mode().IsRegular():
		return "", &fileError{"is not a regular file", "name a file that ends in .star"}
	case filepath.Ext(abs) == ".py":
		return "", &fileError{"is a Python file; bifrost runs Starlark", "deploy scripts are written in Starlark and end in .star"}
	case filepath.Ext(abs) != ".star":
		return "", &fileError{"is not a .star file", "deploy scripts are written in Starlark and end in .star"}
	}
	resolved, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return "", &fileError{message: cause(err).Error()}
	}
	return resolved, nil
}

// RootOf returns the root of a script: the absolute folder, without symbolic links, that it loads from
// and may read and write.
func RootOf(file string) (string, error) {
	entry, err := entryPath(file)
	if err != nil {
		return "", err
	}
	return findRoot(filepath.Dir(entry)), nil
}

func findRoot(from string) string {
	for _, mark := range []string{config.File, ".git"} {
		for dir := from; ; dir = filepath.Dir(dir) {
			if _, err := os.Lstat(filepath.Join(dir, mark)); err == nil {
				return dir
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return from
}

func (t *tree) close() error { return t.root.Close() }

// name returns the name of the file that people see: from the current folder where that is shorter
// to read, else absolute.
func (t *tree) name(key string) string {
	abs := filepath.Join(t.dir, filepath.FromSlash(key))
	rel, err := filepath.Rel(t.cwd, abs)
	if t.cwd == "" || err != nil || strings.HasPrefix(rel, ".."+string(filepath.Separator)+".."+string(filepath.Separator)+"..") {
		return abs
	}
	return rel
}

// resolve returns the key of the module that the file with the key from calls spec.
func (t *tree) resolve(from, spec string) (string, error) {
	var name string
	switch {
	case strings.HasPrefix(spec, "@"):
		return "", &fileError{
			"modules of a library (@std, @name) are not in this version of bifrost",
			`copy the file into the project and load it as "./x.star" or "//lib/x.star"`,
		}
	case strings.HasPrefix(spec, "//"):
		name = path.Clean(strings.TrimPrefix(spec, "//"))
	case strings.HasPrefix(spec, "./"), strings.HasPrefix(spec, "../"):
		name = path.Join(path.Dir(from), spec)
	case path.IsAbs(spec):
		return "", &fileError{"an absolute path is no module", `"//lib/x.star" starts at the root, ` + t.dir}
	default:
		return "", &fileError{"a module's path starts with ./ or ../ or //", fmt.Sprintf("write %q for a file beside this one", "./"+spec)}
	}
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return "", &fileError{"leads outside the root, " + t.dir, "modules live under the root: the nearest folder upward with a " + config.File + ", else with a .git, else the script's own"}
	}
	info, err := t.root.Stat(name)
	if err != nil {
		return "", t.missing(spec, name, err)
	}
	if info.IsDir() {
		return "", &fileError{"is a folder", "name a file in it" + scriptsIn(filepath.Join(t.dir, name))}
	}
	if !info.Mode().IsRegular() {
		return "", &fileError{message: "is not a regular file"}
	}
	if path.Ext(name) != ".star" {
		return "", &fileError{"is not a .star file", "modules are written in Starlark and end in .star"}
	}
	resolved, err := filepath.EvalSymlinks(filepath.Join(t.dir, filepath.FromSlash(name)))
	if err != nil {
		return "", &fileError{message: cause(err).Error()}
	}
	key, err := filepath.Rel(t.dir, resolved)
	if err != nil || !filepath.IsLocal(key) {
		return "", &fileError{message: "leads outside the root, " + t.dir}
	}
	return filepath.ToSlash(key), nil
}

// missing explains why a module could not be looked at.
func (t *tree) missing(spec, name string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		resolved, linkErr := filepath.EvalSymlinks(filepath.Join(t.dir, filepath.FromSlash(name)))
		if linkErr == nil {
			if rel, relErr := filepath.Rel(t.dir, resolved); relErr != nil || !filepath.IsLocal(rel) {
				return &fileError{"is a symbolic link that leads outside the root, " + t.dir, "modules live under the root"}
			}
		}
		return &fileError{message: cause(err).Error()}
	}
	dir := filepath.Join(t.dir, filepath.FromSlash(path.Dir(name)))
	shown := strings.TrimSuffix(spec, path.Base(spec))
	return &fileError{"does not exist", nearFile(dir, path.Base(name), shown)}
}

// read returns the text of the file with this key.
func (t *tree) read(key string) ([]byte, error) {
	f, err := t.root.Open(key)
	if err != nil {
		return nil, &fileError{message: cause(err).Error()}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSource+1))
	if err != nil {
		return nil, &fileError{message: cause(err).Error()}
	}
	if len(data) > maxSource {
		return nil, &fileError{message: fmt.Sprintf("is larger than %d MiB, which no script is", maxSource>>20)}
	}
	for i, line := 0, 1; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return nil, &fileError{fmt.Sprintf("is not UTF-8: line %d, byte %d of the file is 0x%02x", line, i, data[i]), "save it as UTF-8"}
		case r == 0:
			return nil, &fileError{fmt.Sprintf("is not text: line %d, byte %d of the file is NUL", line, i), "save it as UTF-8"}
		case r == '\n':
			line++
		}
		i += size
	}
	return []byte(strings.TrimPrefix(string(data), "\uFEFF")), nil
}

// nearFile suggests a file in dir whose name is like base; shown is how the user writes dir.
func nearFile(dir, base, shown string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	var names []string
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".star" {
			names = append(names, strings.TrimSuffix(e.Name(), ".star"))
		}
	}
	near := spell.Nearest(strings.TrimSuffix(base, filepath.Ext(base)), names)
	if near == "" {
		return strings.Replace(scriptsIn(dir), ": ", "there is ", 1)
	}
	near += ".star"
	if shown != "" && shown != "." && !strings.HasSuffix(shown, "/") {
		shown += string(filepath.Separator)
	} else if shown == "." {
		shown = ""
	}
	return "did you mean " + shown + near + "?"
}

// scriptsIn lists the scripts in a folder as the end of a hint: ": a.star, b.star".
func scriptsIn(dir string) string {
	found, err := filepath.Glob(filepath.Join(dir, "*.star"))
	if err != nil || len(found) == 0 {
		return ""
	}
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	if len(found) > 5 {
		found = append(found[:5], "…")
	}
	return ": " + strings.Join(found, ", ")
}

// cause is the reason in a path error, without the operation and the path that the message has
// already.
func cause(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

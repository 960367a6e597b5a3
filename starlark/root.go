package starlark

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/bifrost-run/bifrost/starlark/config"
	"github.com/bifrost-run/bifrost/starlark/spell"
	"github.com/bifrost-run/bifrost/starlark/vendored"
)

// maxSource is the size in bytes up to which a file is taken for a script.
const maxSource = 4 << 20

// A tree is the folder that a script and its modules are in. Files are read through an os.Root, so
// that neither a path nor a symbolic link leads out of it. It is the source of the project's modules; the
// path of a file is without symbolic links, so that one file has one.
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

// openTree finds the root of the entry file and returns it with the entry's path in it. The root is the
// nearest folder upward with a bifrost.toml, else with a .git, else the entry's own.
func openTree(file string) (*tree, string, error) {
	entry, err := entryPath(file)
	if err != nil {
		return nil, "", err
	}
	t, err := openRootOf(filepath.Dir(entry))
	if err != nil {
		return nil, "", err
	}
	key, err := filepath.Rel(t.dir, entry)
	if err == nil {
		err = notVendored(filepath.ToSlash(key))
	}
	if err != nil {
		return nil, "", errors.Join(err, t.close())
	}
	return t, filepath.ToSlash(key), nil
}

// openFolder finds the root of a folder. It returns it with the folder's key.
func openFolder(dir string) (*tree, string, error) {
	abs, err := filepath.Abs(dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return nil, "", &fileError{message: cause(err).Error()}
	}
	t, err := openRootOf(abs)
	if err != nil {
		return nil, "", err
	}
	key, err := filepath.Rel(t.dir, abs)
	if err != nil {
		return nil, "", errors.Join(err, t.close())
	}
	return t, filepath.ToSlash(key), nil
}

// openRootOf opens the root that the folder is in.
func openRootOf(folder string) (*tree, error) {
	dir := findRoot(folder)
	for part := range strings.SplitSeq(filepath.ToSlash(dir), "/") {
		if strings.EqualFold(part, vendored.Folder) { // a bifrost.toml of its own would give it rights of its own
			return nil, &fileError{"is in the tree of a vendored module, which is loaded and not run", "load it from a script of the project"}
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, &fileError{message: fmt.Sprintf("open %s: %v", dir, cause(err))}
	}
	cwd, err := os.Getwd()
	if err != nil {
		cwd = "" // names are absolute then
	} else if real, err := filepath.EvalSymlinks(cwd); err == nil {
		cwd = real
	}
	return &tree{dir: dir, root: root, cwd: cwd}, nil
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
		return "", &fileError{"does not exist", nearFile(os.DirFS(filepath.Dir(abs)), ".", filepath.Base(abs), filepath.Dir(file))}
	case err != nil:
		return "", &fileError{message: cause(err).Error()}
	case info.IsDir():
		return "", &fileError{"is a folder", "name the script in it" + scriptsIn(os.DirFS(abs), ".")}
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

// abs returns the absolute path of the file.
func (t *tree) abs(file string) string { return filepath.Join(t.dir, filepath.FromSlash(file)) }

// name implements source: from the current folder where that is shorter to read, else absolute.
func (t *tree) name(file string) string {
	abs := t.abs(file)
	rel, err := filepath.Rel(t.cwd, abs)
	if t.cwd == "" || err != nil || strings.HasPrefix(rel, ".."+string(filepath.Separator)+".."+string(filepath.Separator)+"..") {
		return abs
	}
	return rel
}

func (t *tree) where() string { return "the root, " + t.dir }

// find implements source.
func (t *tree) find(spec, name string) (string, error) {
	if err := notVendored(name); err != nil {
		return "", err
	}
	info, err := t.root.Stat(name)
	if err != nil && !isMissing(err) {
		return "", t.unreachable(name, err)
	}
	if err := checkModule(t.root.FS(), spec, name, info, err); err != nil {
		return "", err
	}
	file, err := t.real(name)
	if err != nil {
		return "", err
	}
	return file, notVendored(file)
}

// real follows the symbolic links of a name.
func (t *tree) real(name string) (string, error) {
	resolved, err := filepath.EvalSymlinks(filepath.Join(t.dir, filepath.FromSlash(name)))
	if err != nil {
		return "", &fileError{message: cause(err).Error()}
	}
	file, err := filepath.Rel(t.dir, resolved)
	if err != nil || !filepath.IsLocal(file) {
		return "", &fileError{"is a symbolic link that leads outside " + t.where(), "modules live under the root"}
	}
	return filepath.ToSlash(file), nil
}

// unreachable explains a name that the root does not lead to.
func (t *tree) unreachable(name string, err error) error {
	var outside *fileError
	if _, linkErr := t.real(name); errors.As(linkErr, &outside) && outside.hint != "" {
		return outside
	}
	return &fileError{message: cause(err).Error()}
}

// notVendored refuses files of vendored modules by path: as files of the project, what they may do would
// be what the script may do.
func notVendored(name string) error {
	folder, rest, _ := strings.Cut(name, "/")
	if !strings.EqualFold(folder, vendored.Folder) { // file systems differ about case
		return nil
	}
	module, file, _ := strings.Cut(rest, "/")
	return &fileError{"is a file of a vendored module", fmt.Sprintf("load it by the module's name: %q", "@"+module+"//"+file)}
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// read implements source.
func (t *tree) read(file string) ([]byte, error) {
	f, err := t.root.Open(file)
	if err != nil {
		return nil, &fileError{message: cause(err).Error()}
	}
	defer f.Close()
	text, err := readText(f)
	return withoutBOM(text), err
}

// withoutBOM drops the mark that some editors put in front of UTF-8.
func withoutBOM(text []byte) []byte { return bytes.TrimPrefix(text, []byte("\uFEFF")) }

// nearFile suggests a file in dir whose name is like base; shown is how the user writes dir.
func nearFile(fsys fs.FS, dir, base, shown string) string {
	entries, err := fs.ReadDir(fsys, dir)
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
		return strings.Replace(scriptsIn(fsys, dir), ": ", "there is ", 1)
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
func scriptsIn(fsys fs.FS, dir string) string {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return ""
	}
	var found []string
	for _, e := range entries {
		if path.Ext(e.Name()) == ".star" {
			found = append(found, e.Name())
		}
	}
	if len(found) == 0 {
		return ""
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

// RootOfFolder returns the root of the scripts in a folder: the absolute path, without symbolic links.
func RootOfFolder(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return "", err
	}
	return findRoot(abs), nil
}

package starlark

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bifrost-run/bifrost/starlark/config"
	"github.com/bifrost-run/bifrost/starlark/spell"
	"github.com/bifrost-run/bifrost/starlark/vendored"
)

// maxSpec is the length in bytes up to which a load's text is taken for the name of a module.
const maxSpec = 1024

// A source is a tree that modules are loaded from. What is in it is reached by slash-separated paths
// from its root, and nothing outside of it.
type source interface {
	// find returns the one path of the file that name, a clean path, leads to; spec is how it was written.
	find(spec, name string) (string, error)
	// read returns the text of the file.
	read(file string) ([]byte, error)
	// name returns the name of the file that people see.
	name(file string) string
	// where says what nothing leads outside of: "the root, /home/ada/train".
	where() string
}

// A place is one file of one source. Two loads of the same place are the same module.
type place struct {
	src  source
	file string
}

// fullName is what the file knows itself by: the absolute path where it is one of the project's, else the
// name that people see.
func (p place) fullName() string {
	if t, ok := p.src.(*tree); ok {
		return t.abs(p.file)
	}
	return p.src.name(p.file)
}

// A loader finds the modules that load statements name.
type loader struct {
	host    *Host
	project *tree
	config  config.Config
	opened  map[string]*packed // libraries and vendored modules by name
}

func newLoader(h *Host, t *tree, c config.Config) *loader {
	return &loader{host: h, project: t, config: c, opened: map[string]*packed{}}
}

// close closes what was opened.
func (l *loader) close() error {
	for _, p := range l.opened {
		if p.root != nil {
			_ = p.root.Close() // it was only read from
		}
	}
	return l.project.close()
}

// resolve returns the place that the module at from calls spec.
func (l *loader) resolve(from place, spec string) (place, error) {
	if err := checkSpec(spec); err != nil {
		return place{}, err
	}
	src, name := from.src, ""
	switch {
	case strings.HasPrefix(spec, "@"):
		label, rest, ok := strings.Cut(spec[1:], "//")
		if !ok {
			label, rest, _ = strings.Cut(label, "/")
			return place{}, &fileError{"is not of the form @name//x.star", fmt.Sprintf("write %q", "@"+label+"//"+rest)}
		}
		p, err := l.open(label, from)
		if err != nil {
			return place{}, err
		}
		src, name = p, path.Clean(rest)
	case strings.HasPrefix(spec, "//"):
		name = path.Clean(strings.TrimPrefix(spec, "//"))
	case strings.HasPrefix(spec, "./"), strings.HasPrefix(spec, "../"):
		name = path.Join(path.Dir(from.file), spec)
	case path.IsAbs(spec):
		return place{}, &fileError{"is an absolute path, which is no module", `"//lib/x.star" starts at ` + src.where()}
	default:
		return place{}, &fileError{"is no path of a module: one starts with ./ or ../ or // or @", fmt.Sprintf("write %q for a file beside this one", "./"+spec)}
	}
	if !fs.ValidPath(name) {
		return place{}, outside(src)
	}
	file, err := src.find(spec, name)
	return place{src, file}, err
}

func outside(src source) error {
	hint := "its files can load each other, libraries and the modules of " + config.File
	if _, project := src.(*tree); project {
		hint = "modules live under the root: the nearest folder upward with a " + config.File + ", else with a .git, else the script's own"
	}
	return &fileError{"leads outside " + src.where(), hint}
}

// checkSpec refuses what no path of a module is, before any file system sees it.
func checkSpec(spec string) error {
	if len(spec) > maxSpec {
		return &fileError{message: fmt.Sprintf("is %d bytes long; the path of a module has at most %d", len(spec), maxSpec)}
	}
	for _, r := range spec {
		switch {
		case r == utf8.RuneError, unicode.IsControl(r):
			return &fileError{message: fmt.Sprintf("has the character %q, which the path of a module cannot have", r)}
		case r == '\\':
			return &fileError{`has a \`, "write / between folders, on every system"}
		}
	}
	return nil
}

// open returns the library or the vendored module of that name. A vendored module is compared with its
// lock, once in a run.
func (l *loader) open(name string, from place) (*packed, error) {
	if p := l.opened[name]; p != nil {
		return p, p.err
	}
	p := &packed{label: name}
	if fsys, ok := l.host.Libraries[name]; ok {
		p.fsys = fsys
	} else if module, ok := l.config.Modules[name]; ok {
		p.pkg = name
		p.err = l.openVendored(p, module)
	} else {
		return nil, l.unknown(name, from)
	}
	l.opened[name] = p
	return p, p.err
}

// unknown explains a name that nothing has.
func (l *loader) unknown(name string, from place) error {
	var names []string
	names = slices.AppendSeq(names, maps.Keys(l.host.Libraries))
	names = slices.Sorted(slices.Values(slices.AppendSeq(names, maps.Keys(l.config.Modules))))
	e := &fileError{fmt.Sprintf("there is no @%s: no library has that name, and %s no [modules.%s]", printable(name), config.File, printable(name)), ""}
	if near := spell.Nearest(name, names); near != "" {
		e.hint = "did you mean @" + near + "?"
	} else if name == "std" {
		e.hint = "the program that runs this script gives it no such library"
	} else if config.CheckName(name) != nil {
		e.hint = "names have a-z, 0-9, _ and -"
	} else {
		e.hint = "bifrost mod add " + name + " GIT-URL vendors it"
	}
	return e
}

// openVendored opens the tree of a vendored module and checks that it is what the lock pins.
func (l *loader) openVendored(p *packed, m config.Module) error {
	again := fmt.Sprintf("bifrost mod add %s %s", p.label, strings.TrimSpace(m.Git+" "+m.Ref))
	lock, err := vendored.ReadLock(l.project.dir)
	if err != nil {
		return &fileError{err.Error(), again + " writes it again"}
	}
	pin, pinned := lock.Modules[p.label]
	switch {
	case !pinned:
		return &fileError{fmt.Sprintf("@%s is in %s and not in %s", p.label, config.File, vendored.LockFile), again + " pins it"}
	case pin.Git != m.Git || pin.Ref != m.Ref:
		return &fileError{
			fmt.Sprintf("%s and %s differ about where @%s comes from: %s, %s", config.File, vendored.LockFile, p.label, strings.TrimSpace(m.Git+" "+m.Ref), strings.TrimSpace(pin.Git+" "+pin.Ref)),
			again + " makes them one",
		}
	}
	exactly := fmt.Sprintf("bifrost mod verify shows all; bifrost mod add %s %s %s brings back what is pinned", p.label, pin.Git, pin.Commit)
	p.sums = pin.Files
	p.root, err = vendored.Open(l.project.root, p.label)
	if err != nil {
		return &fileError{err.Error(), exactly}
	}
	p.fsys = p.root.FS()
	wrong, err := pin.Verify(p.fsys)
	if err != nil {
		return &fileError{fmt.Sprintf("%s: %v", vendored.Dir(p.label), cause(err)), exactly}
	}
	if len(wrong) == 0 {
		return nil
	}
	const shown = 5
	var lines []string
	for i, d := range wrong {
		if i == shown {
			lines = append(lines, fmt.Sprintf("and %d more", len(wrong)-shown))
			break
		}
		lines = append(lines, vendored.Dir(p.label)+"/"+d.String())
	}
	return &fileError{fmt.Sprintf("@%s is not what %s pins:\n%s", p.label, vendored.LockFile, strings.Join(lines, "\n")), exactly}
}

// A packed source is a library of the host or a vendored module.
type packed struct {
	label string // "std"
	pkg   string // the label of a vendored module; "" for a library
	fsys  fs.FS
	sums  map[string]string // of a vendored module, what the files must be
	root  *os.Root          // of a vendored module, to be closed
	err   error             // why it cannot be used
}

func (p *packed) name(file string) string { return "@" + p.label + "//" + file }

func (p *packed) where() string { return "@" + p.label }

func (p *packed) find(spec, name string) (string, error) {
	info, err := fs.Stat(p.fsys, name)
	return name, checkModule(p.fsys, spec, name, info, err)
}

func (p *packed) read(file string) ([]byte, error) {
	f, err := p.fsys.Open(file)
	if err != nil {
		return nil, &fileError{message: cause(err).Error()}
	}
	defer f.Close()
	text, err := readText(f)
	if err == nil && p.sums != nil && vendored.Sum(text) != p.sums[file] { // it was as pinned a moment ago
		err = &fileError{"has changed since it was compared with " + vendored.LockFile, "run it again"}
	}
	return withoutBOM(text), err
}

// checkModule says why what stat found is no module.
func checkModule(fsys fs.FS, spec, name string, info fs.FileInfo, err error) error {
	switch {
	case err != nil:
		if !isMissing(err) {
			return &fileError{message: cause(err).Error()}
		}
		return &fileError{"does not exist", nearFile(fsys, path.Dir(name), path.Base(name), strings.TrimSuffix(spec, path.Base(spec)))}
	case info.IsDir():
		return &fileError{"is a folder", "name a file in it" + scriptsIn(fsys, name)}
	case !info.Mode().IsRegular():
		return &fileError{message: "is not a regular file"}
	case path.Ext(name) != ".star":
		return &fileError{"is not a .star file", "modules are written in Starlark and end in .star"}
	}
	return nil
}

// readText reads a file that must be a script.
func readText(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSource+1))
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
	return data, nil
}

package builtins

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A purePath is a path as pathlib's PurePosixPath has it: without empty and "." parts, with its ".."
// parts as they are written.
type purePath struct {
	root  string // "", "/" or "//"
	parts []string
}

// parsePath joins segments; one that starts with a slash drops those before it.
func parsePath(segments ...string) purePath {
	var p purePath
	for _, s := range segments {
		rest := strings.TrimLeft(s, "/")
		if slashes := len(s) - len(rest); slashes > 0 {
			p = purePath{root: "/"}
			if slashes == 2 { // POSIX leaves the meaning of two to the system
				p.root = "//"
			}
		}
		for part := range strings.SplitSeq(rest, "/") {
			if part != "" && part != "." {
				p.parts = append(p.parts, part)
			}
		}
	}
	return p
}

func (p purePath) String() string {
	if p.root == "" && len(p.parts) == 0 {
		return "."
	}
	return p.root + strings.Join(p.parts, "/")
}

// all are the parts with the root as the first.
func (p purePath) all() []string {
	if p.root == "" {
		return p.parts
	}
	return append([]string{p.root}, p.parts...)
}

func (p purePath) join(segments ...string) purePath {
	return parsePath(append([]string{p.String()}, segments...)...)
}

// child is the path of an entry of the folder; its name is no path.
func (p purePath) child(name string) purePath {
	return purePath{p.root, append(slices.Clip(p.parts), name)}
}

func (p purePath) name() string {
	if len(p.parts) == 0 {
		return ""
	}
	return p.parts[len(p.parts)-1]
}

// suffix is the last dot of the name and what follows it, "" where that is the whole name or nothing
// follows.
func (p purePath) suffix() string {
	name := p.name()
	if i := strings.LastIndexByte(name, '.'); i > 0 && i < len(name)-1 {
		return name[i:]
	}
	return ""
}

func (p purePath) suffixes() []string {
	name := p.name()
	if strings.HasSuffix(name, ".") {
		return nil
	}
	var all []string
	for _, s := range strings.Split(strings.TrimLeft(name, "."), ".")[1:] {
		all = append(all, "."+s)
	}
	return all
}

func (p purePath) stem() string { return strings.TrimSuffix(p.name(), p.suffix()) }

// parent is the path without its last part; that of a root or of "." is itself.
func (p purePath) parent() purePath {
	if len(p.parts) == 0 {
		return p
	}
	return purePath{p.root, p.parts[:len(p.parts)-1]}
}

func (p purePath) parents() []purePath {
	var all []purePath
	for len(p.parts) > 0 {
		p = p.parent()
		all = append(all, p)
	}
	return all
}

func (p purePath) withName(name string) (purePath, error) {
	if p.name() == "" {
		return p, fmt.Errorf("%q has no name to replace", p)
	}
	if other := parsePath(name); other.root != "" || len(other.parts) != 1 || strings.HasSuffix(name, "/") {
		return p, fmt.Errorf("%q is no name of a file", name)
	}
	return p.parent().join(name), nil
}

func (p purePath) withSuffix(suffix string) (purePath, error) {
	switch {
	case strings.Contains(suffix, "/"), suffix == ".":
		return p, fmt.Errorf("%q is no suffix", suffix)
	case suffix != "" && suffix[0] != '.':
		return p, &valueError{fmt.Sprintf("%q is no suffix", suffix), fmt.Sprintf("it starts with a dot: %q", "."+suffix)}
	case p.name() == "":
		return p, fmt.Errorf("%q has no name to give a suffix", p)
	}
	return p.parent().child(p.stem() + suffix), nil
}

// isRelativeTo reports whether the path begins with the other one's parts.
func (p purePath) isRelativeTo(base purePath) bool {
	if len(base.all()) == 0 {
		return p.root == ""
	}
	return len(base.all()) <= len(p.all()) && slices.Equal(base.all(), p.all()[:len(base.all())])
}

func (p purePath) relativeTo(base purePath) (purePath, error) {
	if p.isRelativeTo(base) {
		return purePath{parts: p.parts[len(base.parts):]}, nil
	}
	if (p.root == "") != (base.root == "") {
		return p, errors.New(p.String() + " is not beneath " + base.String() + ": one is absolute and the other is not; resolve() makes both absolute")
	}
	return p, errors.New(p.String() + " is not beneath " + base.String())
}

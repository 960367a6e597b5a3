package builtins

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	star "go.starlark.net/starlark"
)

// localPathKind is a path on this machine, a string or a Path, as a string.
func localPathKind() Kind {
	return Kind{"str or Path", func(c *Call, v star.Value) (any, error) { return c.localPath(v, "a string or a Path") }}
}

// localPath takes a path on this machine. It stays as the script has it, but for a relative one when
// Options.WorkDir is set.
func (c *Call) localPath(v star.Value, wanted string) (string, error) {
	var path string
	if p, ok := v.(*pathValue); ok {
		path = p.LocalPath()
	} else {
		var err error
		if path, err = text(v, wanted); err != nil {
			return "", err
		}
	}
	if strings.TrimSpace(path) == "" {
		return "", errors.New("it is empty")
	}
	if dir := c.lib.opts.WorkDir; dir != "" && !filepath.IsAbs(path) {
		path = dir + string(filepath.Separator) + path // a trailing slash has a meaning
	}
	return path, nil
}

// maxLinks is how many symbolic links a path may lead over, as in Linux.
const maxLinks = 40

// realPath returns the absolute path of what the operating system reaches by path: without links, and
// with ".." where a link has led. What is missing at its end stays as it is. It is what the gate is
// asked about and what is opened then, so that no link leads elsewhere in between.
func (l *Library) realPath(path string) (string, error) {
	if !filepath.IsAbs(path) {
		dir := l.opts.WorkDir
		if dir == "" {
			var err error
			if dir, err = os.Getwd(); err != nil {
				return "", err
			}
		}
		path = dir + string(filepath.Separator) + path
	}
	start := func(path string) (root string, parts []string) {
		volume := filepath.VolumeName(path)
		return volume + string(filepath.Separator), strings.Split(filepath.ToSlash(path[len(volume):]), "/")
	}
	real, parts := start(path)
	for links := 0; len(parts) > 0; {
		part := parts[0]
		parts = parts[1:]
		if part == "" || part == "." {
			continue
		}
		next := filepath.Join(real, part) // ".." goes up from where the links have led
		info, err := os.Lstat(next)
		if part == ".." || err != nil || info.Mode()&fs.ModeSymlink == 0 {
			real = next
			continue
		}
		target, err := os.Readlink(next)
		if err != nil {
			return "", err
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "resolve", Path: path, Err: syscall.ELOOP}
		}
		rest := parts
		if filepath.IsAbs(target) {
			real, parts = start(target)
		} else {
			parts = strings.Split(filepath.ToSlash(target), "/")
		}
		parts = append(parts, rest...)
	}
	return real, nil
}

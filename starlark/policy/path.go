package policy

import (
	"os"
	"path/filepath"
	"strings"
)

// maxLinks is how many symbolic links of one path are followed; no system follows more.
const maxLinks = 255

// realPaths returns what a path may mean. Systems take .. behind a link to be the parent of what the
// link leads to; a program that tidies a path before it opens it takes it to be the link's own parent.
//
// Between this look at the links and the use of the path somebody else can change them. A script
// cannot, for it has no way to make a link.
func realPaths(path string) []string {
	real, tidied := realPath(path), realPath(filepath.Clean(path))
	if real == tidied {
		return []string{real}
	}
	return []string{real, tidied}
}

// realPath returns an absolute path without links and dots, as the system resolves it. What does not
// exist has no links.
func realPath(path string) string {
	separator := string(filepath.Separator)
	volume := filepath.VolumeName(path)
	rest := strings.Split(filepath.FromSlash(path[len(volume):]), separator)
	real := volume + separator
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			real = filepath.Dir(real)
			continue
		}
		next := filepath.Join(real, part)
		target, err := os.Readlink(next)
		if err != nil || links == maxLinks {
			real = next
			continue
		}
		links++
		if filepath.IsAbs(target) {
			volume = filepath.VolumeName(target)
			target, real = target[len(volume):], volume+separator
		}
		rest = append(strings.Split(filepath.FromSlash(target), separator), rest...)
	}
	return real
}

// within tells whether path is dir or beneath it. Both are real.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
}

// sameWithin is within for what must never be reached: the files decide, not their names, so that
// neither capitals nor a second name lead there.
func sameWithin(path, dir string) bool {
	if within(path, realPath(dir)) {
		return true
	}
	want, err := os.Stat(dir)
	if err != nil {
		return false
	}
	for {
		if info, err := os.Stat(path); err == nil && os.SameFile(info, want) {
			return true
		}
		up := filepath.Dir(path)
		if up == path {
			return false
		}
		path = up
	}
}

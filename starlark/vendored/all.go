package vendored

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bifrost-run/bifrost/starlark/config"
)

// VerifyAll compares all vendored modules of a root with its configuration and lock. It returns what is
// wrong, a line each, sorted by module.
func VerifyAll(root string) ([]string, error) {
	c, err := config.Read(root)
	if err != nil {
		return nil, err
	}
	lock, err := ReadLock(root)
	if err != nil {
		return nil, err
	}
	project, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer project.Close()
	names := map[string]bool{}
	for name := range c.Modules {
		names[name] = true
	}
	for name := range lock.Modules {
		names[name] = true
	}
	entries, err := os.ReadDir(filepath.Join(root, Folder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") { // one that add was stopped in
			names[e.Name()] = true
		}
	}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		m, named := c.Modules[name]
		pin, pinned := lock.Modules[name]
		switch {
		case !named && !pinned:
			wrong = append(wrong, fmt.Sprintf("%s is extra: %s names no such module", Dir(name), config.File))
		case !named:
			wrong = append(wrong, fmt.Sprintf("%s: in %s and not in %s", name, LockFile, config.File))
		case !pinned:
			wrong = append(wrong, fmt.Sprintf("%s: in %s and not in %s", name, config.File, LockFile))
		case pin.Git != m.Git || pin.Ref != m.Ref:
			wrong = append(wrong, fmt.Sprintf("%s: %s and %s differ about where it comes from", name, config.File, LockFile))
		default:
			lines, err := verifyOne(project, name, pin)
			if err != nil {
				return nil, err
			}
			wrong = append(wrong, lines...)
		}
	}
	return wrong, nil
}

func verifyOne(project *os.Root, name string, pin Pin) ([]string, error) {
	tree, err := Open(project, name)
	if err != nil {
		return []string{err.Error()}, nil
	}
	defer tree.Close()
	all, err := pin.Verify(tree.FS())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Dir(name), err)
	}
	var lines []string
	for _, d := range all {
		lines = append(lines, Dir(name)+"/"+d.String())
	}
	return lines, nil
}

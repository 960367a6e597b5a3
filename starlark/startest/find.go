package startest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Suffix is how the names of test files end.
const Suffix = "_test.star"

// A PathError is a path in which no tests can be looked for.
type PathError struct{ Path, Reason, Hint string }

func (e *PathError) Error() string { return fmt.Sprintf("%s: %s", e.Path, e.Reason) }

// Find lists the test files of paths: a file, the files in a folder, or with /... at the end those in all
// folders beneath it as well. Folders whose names begin with a dot and bifrost_modules are left out.
func Find(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		dir, deep := strings.CutSuffix(path, "...")
		if deep {
			if dir = strings.TrimSuffix(dir, "/"); dir == "" {
				dir = "."
			}
		} else {
			dir = path
		}
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, &PathError{path, "does not exist", "name a file that ends in " + Suffix + ", a folder, or a folder and /..."}
		case err != nil:
			return nil, &PathError{path, err.Error(), ""}
		case !info.IsDir() && deep:
			return nil, &PathError{path, "is not a folder", ""}
		case !info.IsDir() && !strings.HasSuffix(dir, Suffix):
			return nil, &PathError{path, "is not a test file", "tests are functions test_... in files that end in " + Suffix}
		case !info.IsDir():
			files = append(files, dir)
			continue
		}
		err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && name != dir && (!deep || strings.HasPrefix(d.Name(), ".") || d.Name() == "bifrost_modules"):
				return fs.SkipDir
			case !d.IsDir() && strings.HasSuffix(name, Suffix):
				files = append(files, name)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(files, func(name string) bool {
		again := seen[filepath.Clean(name)]
		seen[filepath.Clean(name)] = true
		return again
	}), nil
}

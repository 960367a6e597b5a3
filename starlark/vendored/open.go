package vendored

import (
	"fmt"
	"os"
)

// Open opens the tree of a module beneath the project's root. Neither it nor the folder that it is in may
// be a symbolic link: what a lock pins lies where it says.
func Open(project *os.Root, name string) (*os.Root, error) {
	for _, dir := range []string{Folder, Dir(name)} {
		info, err := project.Lstat(dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, cause(err))
		}
		if !info.IsDir() {
			return nil, fmt.Errorf("%s is not a folder", dir)
		}
	}
	tree, err := project.OpenRoot(Dir(name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Dir(name), cause(err))
	}
	return tree, nil
}

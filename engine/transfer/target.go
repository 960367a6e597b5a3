package transfer

import (
	"os"
	"path"
	"path/filepath"
)

// A place is a local path as a user wrote it, made absolute.
type place struct {
	path   string
	folder bool // it ends with a slash: a folder that receives, whether it exists or not
}

func resolveLocal(dir, local string) (place, error) {
	p := local
	if !filepath.IsAbs(p) {
		p = filepath.Join(dir, p)
	}
	abs, err := filepath.Abs(p)
	if err != nil {
		return place{}, err
	}
	return place{path: abs, folder: local == "" || os.IsPathSeparator(local[len(local)-1])}, nil
}

// target says where something fetched goes, by the rules of cp: a folder that exists or is written
// with a slash receives it under its own name, else the place is its new name. A folder's contents
// have no name and go into the place itself. exists says whether the place is a folder now.
func (p place) target(remote remotePath, remoteIsFolder, exists bool) string {
	if remoteIsFolder && remote.contents {
		return p.path
	}
	if p.folder || exists {
		return filepath.Join(p.path, filepath.FromSlash(path.Base(remote.path)))
	}
	return p.path
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

package push

import (
	"context"
	"os"
	"path/filepath"
)

// A File is one that a push of its folder would send.
type File struct {
	Path string // slash-separated, relative to the source
	Size int64  // bytes; of a symbolic link 0
}

// Files lists what a push of the source would place in a workspace, in no order, without reading the
// files. The source is absolute. Notices about what is left out go to notice, which may be nil.
func Files(ctx context.Context, source string, exclude []string, notice func(text string)) ([]File, error) {
	if notice == nil {
		notice = func(string) {}
	}
	source, err := filepath.EvalSymlinks(source)
	if err != nil {
		return nil, err
	}
	entries, err := listTree(ctx, source, exclude, nil, notice)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, e := range entries {
		f := File{Path: e.path}
		switch e.typ {
		case folder:
			continue
		case file:
			info, err := os.Lstat(filepath.Join(source, filepath.FromSlash(e.path)))
			if err != nil {
				return nil, unreadable(e.path, err)
			}
			f.Size = info.Size()
		}
		files = append(files, f)
	}
	return files, nil
}

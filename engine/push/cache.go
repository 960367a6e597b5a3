package push

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A cache is a local folder of manifests, each in a file named by its id, and of an index for each
// source. It saves asking the node and reading files; losing it costs the time. The empty one keeps nothing.
type cache string

// cacheLimit is how many manifests are kept, and how many indexes.
const cacheLimit = 64

// read returns the manifest of an id. The empty id has the empty manifest.
func (c cache) read(id string) ([]byte, bool) {
	if id == "" {
		return nil, true
	}
	if c == "" || len(id) != 64 || filepath.Base(id) != id {
		return nil, false
	}
	data, err := os.ReadFile(filepath.Join(string(c), id))
	return data, err == nil && sum256(data) == id
}

// write keeps a manifest. It may fail: the cache is not needed.
func (c cache) write(data []byte) {
	if c != "" {
		c.put(filepath.Join(string(c), sum256(data)), data)
	}
}

// put writes a file whole, and removes what is beyond the limit.
func (c cache) put(name string, data []byte) {
	if os.MkdirAll(string(c), 0o700) != nil {
		return
	}
	f, err := os.CreateTemp(string(c), "new-")
	if err != nil {
		return
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
		return
	}
	c.prune()
}

// prune removes the oldest manifests and the oldest indexes.
func (c cache) prune() {
	list, err := os.ReadDir(string(c))
	if err != nil || len(list) <= cacheLimit {
		return
	}
	var manifests, indexes []os.FileInfo
	for _, d := range list {
		info, err := d.Info()
		switch {
		case err != nil || !info.Mode().IsRegular():
		case len(d.Name()) == 64:
			manifests = append(manifests, info)
		case strings.HasPrefix(d.Name(), indexPrefix):
			indexes = append(indexes, info)
		}
	}
	for _, files := range [][]os.FileInfo{manifests, indexes} {
		slices.SortFunc(files, func(a, b os.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
		for _, f := range files[min(len(files), cacheLimit):] {
			os.Remove(filepath.Join(string(c), f.Name()))
		}
	}
}

package push

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
)

// A cache is a local folder of manifests, each in a file named by its id. It saves asking the node;
// losing it costs a round trip. The empty one keeps nothing.
type cache string

// cacheLimit is how many manifests are kept.
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
	if c == "" || os.MkdirAll(string(c), 0o700) != nil {
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
		err = os.Rename(f.Name(), filepath.Join(string(c), sum256(data)))
	}
	if err != nil {
		os.Remove(f.Name())
		return
	}
	c.prune()
}

func (c cache) prune() {
	list, err := os.ReadDir(string(c))
	if err != nil || len(list) <= cacheLimit {
		return
	}
	var files []os.FileInfo
	for _, d := range list {
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() && len(d.Name()) == 64 {
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b os.FileInfo) int { return cmp.Compare(b.ModTime().UnixNano(), a.ModTime().UnixNano()) })
	for i, f := range files {
		if i >= cacheLimit {
			os.Remove(filepath.Join(string(c), f.Name()))
		}
	}
}

package push

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// An index has the files of a source as they were when their content was read, by path. As long as the
// state of a file is the same it need not be read again: nothing can set the time of its last change but
// the clock. Git trusts its own index in the same way.
type index map[string]indexed

// An indexed is a file's content and the state that it had before that was read.
type indexed struct {
	sum   string
	state fileState
}

// A fileState is what the file system says of a file; times are in nanoseconds.
type fileState struct {
	size, modified, changed int64
	inode, device           uint64
}

// settled is how long ago a file must have changed for its state to tell: clocks of file systems are
// coarse, so that of a file which changed a moment ago may stay the same when it changes again.
const settled = 2 * time.Second

// quietUntil is the moment, taken before a file is read, before which its last change must be: what has changed
// since may be changing still.
func quietUntil() int64 { return time.Now().Add(-settled).UnixNano() }

// add takes up what was read of a file, if its state will tell the next time.
func (x index) add(e entry, state fileState, quiet int64) {
	if state != (fileState{}) && state.changed < quiet {
		x[e.path] = indexed{e.sum, state}
	}
}

const indexHeader = "bifrost index 1"

// indexFile is where the index of a source is kept.
func (c cache) indexFile(source string) string {
	return filepath.Join(string(c), indexPrefix+sum256([]byte(source))[:32])
}

const indexPrefix = "index-"

// index returns what is known of a source, which may be nothing.
func (c cache) index(source string) index {
	if c == "" {
		return nil
	}
	data, err := os.ReadFile(c.indexFile(source))
	text, ok := strings.CutPrefix(string(data), indexHeader+"\n")
	if err != nil || !ok {
		return nil
	}
	known := make(index, strings.Count(text, "\n"))
	for l := range strings.Lines(text) {
		path, file, ok := decodeIndexed(strings.TrimSuffix(l, "\n"))
		if !ok {
			return nil
		}
		known[path] = file
	}
	return known
}

// writeIndex keeps an index. It may fail, as write may.
func (c cache) writeIndex(source string, files index) {
	if c == "" || len(files) == 0 {
		return
	}
	var b bytes.Buffer
	b.WriteString(indexHeader + "\n")
	for path, f := range files {
		s := f.state
		fmt.Fprintf(&b, "%s %d %d %d %d %d %s\n", f.sum, s.size, s.modified, s.changed, s.inode, s.device, encodeWord(path))
	}
	c.put(c.indexFile(source), b.Bytes())
}

func decodeIndexed(line string) (path string, f indexed, ok bool) {
	words := strings.SplitN(line, " ", 7)
	if len(words) != 7 || len(words[0]) != 64 {
		return "", f, false
	}
	f.sum = words[0]
	for i, n := range []*int64{&f.state.size, &f.state.modified, &f.state.changed} {
		var err error
		if *n, err = strconv.ParseInt(words[1+i], 10, 64); err != nil {
			return "", f, false
		}
	}
	for i, n := range []*uint64{&f.state.inode, &f.state.device} {
		var err error
		if *n, err = strconv.ParseUint(words[4+i], 10, 64); err != nil {
			return "", f, false
		}
	}
	path, err := decodeWord(words[6])
	return path, f, err == nil
}

package push

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A manifest lists a tree: one line per entry, sorted by path, behind one line that names the
// format. It is what the node keeps about the last push, and it is made so that sed turns it into
// the input of sha256sum -c:
//
//	f 644 1234 <sha256> ./path       a regular file
//	F 644 1234 <sha256> <path>       the same with a name that sha256sum -c cannot read
//	l <target> <path>                a symbolic link
//	d <path>                         a folder with nothing in it
//
// <path> and <target> are written as encodeWord does. The id of a manifest is the sha256 of its bytes.
const manifestHeader = "bifrost manifest 1"

// An entryType is the first letter of an entry's line.
type entryType byte

const (
	file   entryType = 'f'
	link   entryType = 'l'
	folder entryType = 'd' // an empty one; others follow from the paths of files
)

// An entry is one thing in a tree.
type entry struct {
	path   string // slash-separated, relative to the source
	typ    entryType
	mode   fs.FileMode // permission bits of a file
	size   int64       // of a file, bytes
	sum    string      // sha256 of a file's content, hex
	target string      // of a link
}

// same reports whether a and b have the same type and content; modes are compared apart.
func (e entry) same(f entry) bool {
	return e.typ == f.typ && e.sum == f.sum && e.size == f.size && e.target == f.target
}

// unread reports whether the entry is a file whose content nobody has looked at.
func (e entry) unread() bool { return e.typ == file && e.sum == "" }

// line returns the entry's line in a manifest, without the newline.
func (e entry) line() string {
	switch {
	case e.typ == link:
		return "l " + encodeWord(e.target) + " " + encodeWord("./"+e.path)
	case e.typ == folder:
		return "d " + encodeWord("./"+e.path)
	case odd(e.path):
		return fmt.Sprintf("F %o %d %s %s", e.mode, e.size, e.sum, encodeWord("./"+e.path))
	default:
		return fmt.Sprintf("f %o %d %s ./%s", e.mode, e.size, e.sum, e.path)
	}
}

// odd reports whether sha256sum -c or a list of lines would misread the name.
func odd(name string) bool { return strings.ContainsAny(name, "\n\r\\") }

func byPath(a, b entry) int { return strings.Compare(a.path, b.path) }

// encodeManifest returns the manifest of entries, which it sorts.
func encodeManifest(entries []entry) []byte {
	slices.SortFunc(entries, byPath)
	var b bytes.Buffer
	b.WriteString(manifestHeader + "\n")
	for _, e := range entries {
		b.WriteString(e.line())
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// decodeManifest reads what encodeManifest wrote. A path that leads out of the workspace or into
// bifrost's own folder is an error: what a manifest names may be deleted.
func decodeManifest(data []byte) ([]entry, error) {
	text, ok := strings.CutPrefix(string(data), manifestHeader+"\n")
	if !ok {
		return nil, errors.New("not a manifest, or one of another version of bifrost")
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		return nil, errors.New("the manifest is cut off")
	}
	var entries []entry
	for l := range strings.Lines(text) {
		e, err := decodeLine(strings.TrimSuffix(l, "\n"))
		if err != nil {
			return nil, fmt.Errorf("manifest line %q: %w", l, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func decodeLine(l string) (entry, error) {
	var e entry
	var err error
	words := strings.SplitN(l, " ", 5)
	name := ""
	switch {
	case (words[0] == "f" || words[0] == "F") && len(words) == 5:
		e.typ = file
		mode, merr := strconv.ParseUint(words[1], 8, 9)
		size, serr := strconv.ParseInt(words[2], 10, 64)
		if merr != nil || serr != nil || len(words[3]) != 64 {
			return e, errors.New("a number is wrong")
		}
		e.mode, e.size, e.sum = fs.FileMode(mode), size, words[3]
		if name = words[4]; words[0] == "F" {
			name, err = decodeWord(name)
		}
	case words[0] == "l" && len(words) == 3:
		e.typ = link
		if e.target, err = decodeWord(words[1]); err == nil {
			name, err = decodeWord(words[2])
		}
	case words[0] == "d" && len(words) == 2:
		e.typ = folder
		name, err = decodeWord(words[1])
	default:
		return e, errors.New("not an entry")
	}
	if err != nil {
		return e, err
	}
	p, ok := strings.CutPrefix(name, "./")
	if !ok || p == "" || path.Clean(p) != p || p == ".." || strings.HasPrefix(p, "../") || p[0] == '/' || reserved(p) {
		return e, errors.New("the path is not one of the tree")
	}
	e.path = p
	return e, nil
}

// reserved reports whether a path belongs to git or to bifrost itself: such files never travel.
func reserved(p string) bool {
	for part := range strings.SplitSeq(p, "/") {
		if part == ".git" || part == ".bifrost" {
			return true
		}
	}
	return false
}

// sum256 returns the sha256 of data in hex.
func sum256(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// encodeWord writes s as one word of plain ASCII that printf %b turns back into s, in every shell.
func encodeWord(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("_-./,:+@=", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\0%03o`, c)
		}
	}
	return b.String()
}

func decodeWord(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i+4 >= len(s) || s[i+1] != '0' {
			return "", fmt.Errorf("word %q: not an escape", s)
		}
		c, err := strconv.ParseUint(s[i+2:i+5], 8, 8)
		if err != nil {
			return "", fmt.Errorf("word %q: not an escape", s)
		}
		b.WriteByte(byte(c))
		i += 4
	}
	return b.String(), nil
}

package transfer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// Limits on what a node may answer, so that one that misbehaves cannot take this machine's memory.
const (
	maxRecord  = 64 << 10 // bytes of one name with what belongs to it
	maxEntries = 5_000_000
)

// The types of files in st_mode, as every Unix has them.
const (
	modeType = 0o170000
	modeDir  = 0o040000
	modeFile = 0o100000
	modeLink = 0o120000
)

// A digest is a sha256.
type digest [sha256.Size]byte

// An entry is one thing in the fetched folder as the node lists it.
type entry struct {
	name   string // clean, relative, with slashes; "." is the folder itself
	mode   uint32 // st_mode
	size   int64
	mtime  int64 // unix seconds
	hash   digest
	hashed bool // false for a file that could not be read there, or whose sum is late
	late   bool // a large file, whose sum the node is asked for when it is known what it is for
}

func (e *entry) isDir() bool  { return e.mode&modeType == modeDir }
func (e *entry) isFile() bool { return e.mode&modeType == modeFile }
func (e *entry) isLink() bool { return e.mode&modeType == modeLink }

// key tells contents apart. That of a file whose sum is late has to do without the sum, so two contents may
// share it: whoever goes by it must look at the sum in the end.
func (e *entry) key() digest {
	if e.late {
		return sha256.Sum256(fmt.Appendf(nil, "%d %d", e.size, e.mtime))
	}
	return e.hash
}

// describe names what an entry is that cannot be copied.
func (e *entry) describe() string {
	switch e.mode & modeType {
	case 0o010000:
		return "a fifo"
	case 0o140000:
		return "a socket"
	case 0o020000, 0o060000:
		return "a device"
	}
	return "neither a file nor a folder"
}

// A head is what the node says about the asked path before anything else.
type head struct {
	kind  byte   // 'd' folder, 'f' file, 'm' missing, 'o' other
	path  string // absolute, as asked for
	where string // d, f: the folder without symlinks in its path; m: the nearest folder that exists
	extra string // m: what that folder holds, one a line; o: what it is
}

// A listing is what a node says about a folder; entries are sorted by name, so that a folder comes
// before what is in it.
type listing struct {
	root     entry
	entries  []entry
	complete bool // false: something could not be listed, standard error says what
}

// headScript sets $p and announces what it is. It leaves the shell in the folder to list.
const headScript = `export LC_ALL=C
nl='
'
say() { printf '%s\000%s\000%s\000%s\000' "$1" "$p" "$2" "$3"; }
# Some shells do not say why cd fails.
enter() { [ -x "$1" ] || { echo "$1: Permission denied" >&2; exit 1; }; cd "$1" || exit 1; }
if [ -d "$p" ]; then
	enter "$p"
	kind=d
	say d "$(pwd -P)" ''
elif [ -f "$p" ]; then
	enter "${p%/*}/"
	kind=f
	say f "$(pwd -P)" ''
elif [ -e "$p" ] || [ -L "$p" ]; then
	what=$(stat -L -c %F "$p" 2>/dev/null) || what='a link to nothing'
	say o '' "$what"
	exit 0
else
	d=$p
	while [ ! -d "$d" ]; do
		case $d in */*) d=${d%/*} ;; *) d=/ ;; esac
		d=${d:-/}
	done
	enter "$d"
	say m "$d" "$(ls -A "$d" 2>&1 | head -n 9)"
	exit 0
fi
`

// hashScript sets $hash to the command that sums files. Debian's sha256sum does without the processor's
// instructions, which makes it ten times as slow as openssl; that is not everywhere. Both print the same,
// but for a star before the name.
const hashScript = `hash=sha256sum
case $(openssl dgst -sha256 -r /dev/null 2>/dev/null) in
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855*) hash='openssl dgst -sha256 -r' ;;
esac
`

// listScript lists the folder in which the shell is, or the one file $p. Names without a newline
// come one a line, the others as records that end with NUL, so that both coreutils (which escape
// such names) and busybox (which does not) are understood. Files of $late blocks of 512 bytes and more
// are not summed; 0 is no such limit.
const listScript = hashScript + `export hash late
soon=
[ $late = 0 ] || soon="-size -$late"
record='for f do
	s=$(stat $l -c "%f %s %Y" "$f") || continue
	h=
	z=${s#* }
	z=$(((${z%% *} + 511) / 512))
	[ -f "$f" ] && { [ -n "$l" ] || [ ! -L "$f" ]; } && { [ $late = 0 ] || [ $z -lt $late ]; } && h=$($hash <"$f")
	h=${h%% *}
	printf "%s %s %s\000" "$s" "${h:--}" "$f"
done'
if [ $kind = d ]; then
	find . ! -path "*$nl*" -exec stat -c '%f %s %Y %n' {} +
	echo "end $?"
	find . -type f ! -path "*$nl*" $soon -exec $hash {} +
	echo "end $?"
	l= find . -path "*$nl*" -exec sh -c "$record" sh {} +
	printf 'end %s\000' $?
else
	echo 'end 0'
	echo 'end 0'
	l=-L sh -c "$record" sh "./${p##*/}"
	printf 'end %s\000' $?
fi
`

// sendScript reads what is asked for, each item ended by NUL: "+OFFSET:LENGTH:./name" for a part of
// a file, which comes first and raw, in exactly LENGTH bytes whatever happens to the file meanwhile;
// "./name" for whole files and links, which come as tar archives, one after another. GNU tar takes a
// backslash in a name for an escape unless told otherwise, and writes 10 kB at a time.
const sendScript = `t=-cf
[ $kind = f ] && t=-chf
u=
case $(tar --version 2>/dev/null) in *GNU*) u='--no-unquote -b 128' ;; esac
export t u
xargs -0 sh -c 'while case ${1-} in +*) true ;; *) false ;; esac; do
	s=${1#+}
	n=${s%%:*}
	s=${s#*:}
	{ tail -c "+$((n + 1))" "${s#*:}"; cat /dev/zero; } 2>/dev/null | head -c "${s%%:*}"
	shift
done
[ $# -eq 0 ] || exec tar $u $t - "$@"' sh
`

func downloadScript(remote remotePath, w width) string {
	return fmt.Sprintf("p=%s\nlate=%d\n", ssh.QuotePath(remote.path), blocks(w.late)) + headScript + listScript + sendScript
}

// blocks is how find counts a size.
func blocks(size int64) int64 { return (size + 511) / 512 }

// batchScript is for a command that only sends.
func batchScript(remote remotePath) string {
	return "p=" + ssh.QuotePath(remote.path) + "\n" + headScript + sendScript
}

// errProtocol is wrapped by everything that a working node would not say.
var errProtocol = errors.New("the node's answer makes no sense")

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errProtocol, fmt.Sprintf(format, args...))
}

func readHead(r *bufio.Reader) (head, error) {
	var fields [4]string
	for i := range fields {
		rec, err := readRecord(r, 0)
		if err != nil {
			return head{}, err
		}
		fields[i] = string(rec)
	}
	if len(fields[0]) != 1 || !strings.Contains("dfmo", fields[0]) {
		return head{}, protocolError("kind %q", fields[0])
	}
	return head{kind: fields[0][0], path: fields[1], where: fields[2], extra: fields[3]}, nil
}

// readListing reads what listScript prints.
func readListing(r *bufio.Reader) (*listing, error) {
	l := &listing{root: entry{name: ".", mode: modeDir | 0o755}, complete: true}
	index := make(map[string]int) // of entries, by name

	add := func(e entry) error {
		if e.name == "." {
			l.root = e
			return nil
		}
		if _, twice := index[e.name]; twice {
			return protocolError("%q is listed twice", e.name)
		}
		if len(l.entries) == maxEntries {
			return fmt.Errorf("more than %d files in one folder tree", maxEntries)
		}
		index[e.name] = len(l.entries)
		l.entries = append(l.entries, e)
		return nil
	}

	for {
		line, err := readRecord(r, '\n')
		if err != nil {
			return nil, err
		}
		if code, ok := bytes.CutPrefix(line, []byte("end ")); ok {
			l.complete = string(code) == "0"
			break
		}
		e, err := parseStat(string(line), false)
		if err != nil {
			return nil, err
		}
		if err := add(e); err != nil {
			return nil, err
		}
	}
	for {
		line, err := readRecord(r, '\n')
		if err != nil {
			return nil, err
		}
		if bytes.HasPrefix(line, []byte("end ")) {
			break // what is not hashed is told file by file
		}
		name, hash, err := parseSum(string(line))
		if err != nil {
			return nil, err
		}
		// A file that appeared between the two passes is none of this listing's business.
		if i, ok := index[name]; ok && l.entries[i].isFile() {
			l.entries[i].hash, l.entries[i].hashed = hash, true
		}
	}
	for {
		rec, err := readRecord(r, 0)
		if err != nil {
			return nil, err
		}
		if code, ok := bytes.CutPrefix(rec, []byte("end ")); ok {
			l.complete = l.complete && string(code) == "0"
			break
		}
		e, err := parseStat(string(rec), true)
		if err != nil {
			return nil, err
		}
		if err := add(e); err != nil {
			return nil, err
		}
	}

	// Whatever is beneath something that is no folder was invented to be written through it.
	for i := range l.entries {
		for dir := path.Dir(l.entries[i].name); dir != "."; dir = path.Dir(dir) {
			if j, ok := index[dir]; ok {
				if !l.entries[j].isDir() {
					return nil, protocolError("%q is beneath %q, which is no folder", l.entries[i].name, dir)
				}
				break
			}
		}
	}
	slices.SortFunc(l.entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return l, nil
}

// readRecord returns the bytes up to delim, without it. They are valid until the next read.
func readRecord(r *bufio.Reader, delim byte) ([]byte, error) {
	rec, err := r.ReadSlice(delim)
	if err == nil {
		return rec[:len(rec)-1], nil
	}
	long := bytes.Clone(rec)
	for errors.Is(err, bufio.ErrBufferFull) && len(long) <= maxRecord {
		rec, err = r.ReadSlice(delim)
		long = append(long, rec...)
	}
	switch {
	case len(long) > maxRecord:
		return nil, protocolError("a name of more than %d bytes", maxRecord)
	case errors.Is(err, io.EOF):
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	return long[:len(long)-1], nil
}

// parseStat reads "MODE SIZE MTIME [HASH] NAME", the mode in hexadecimal.
func parseStat(s string, withHash bool) (entry, error) {
	n := 4
	if withHash {
		n = 5
	}
	f := strings.SplitN(s, " ", n)
	if len(f) != n {
		return entry{}, protocolError("listing %q", s)
	}
	mode, err1 := strconv.ParseUint(f[0], 16, 32)
	size, err2 := strconv.ParseInt(f[1], 10, 64)
	mtime, err3 := strconv.ParseInt(f[2], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil || size < 0 {
		return entry{}, protocolError("listing %q", s)
	}
	name, err := cleanName(f[n-1])
	if err != nil {
		return entry{}, err
	}
	e := entry{name: name, mode: uint32(mode), size: size, mtime: mtime}
	if withHash && f[3] != "-" {
		if e.hash, err = parseDigest(f[3]); err != nil {
			return entry{}, err
		}
		e.hashed = true
	}
	return e, nil
}

// parseSum reads a line of sha256sum. A line that begins with a backslash has an escaped name, which
// is how coreutils print names with a backslash or a carriage return.
func parseSum(line string) (name string, hash digest, err error) {
	rest, escaped := strings.CutPrefix(line, `\`)
	sum, name, ok := strings.Cut(rest, " ")
	if !ok || len(name) < 2 {
		return "", hash, protocolError("checksum %q", line)
	}
	if hash, err = parseDigest(sum); err != nil {
		return "", hash, err
	}
	name = name[1:] // " " or "*", for text or binary
	if escaped {
		name = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r").Replace(name)
	}
	name, err = cleanName(name)
	return name, hash, err
}

func parseDigest(s string) (d digest, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(d) {
		return d, protocolError("checksum %q", s)
	}
	return digest(b), nil
}

// cleanName turns "./a/b" into "a/b" and refuses every name that could mean something outside the
// folder or another name than it says.
func cleanName(s string) (string, error) {
	if s == "." {
		return s, nil
	}
	name, ok := strings.CutPrefix(s, "./")
	if !ok || name == "" || name == ".." || strings.HasPrefix(name, "../") ||
		strings.HasPrefix(name, "/") || strings.ContainsRune(name, 0) || path.Clean(name) != name || name == "." {
		return "", protocolError("the name %q", s)
	}
	return name, nil
}

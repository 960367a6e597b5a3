package transfer

import (
	"bufio"
	"bytes"
	"compress/gzip"
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
	name  string // clean, relative, with slashes; "." is the folder itself
	mode  uint32 // st_mode
	size  int64
	mtime int64 // unix seconds

	// The sum of the content comes when it is needed: of what may be here already before anything else, of
	// a small file in front of it, of a large one beside it.
	hash   digest
	hashed bool // whether it has come
}

func (e *entry) isDir() bool  { return e.mode&modeType == modeDir }
func (e *entry) isFile() bool { return e.mode&modeType == modeFile }
func (e *entry) isLink() bool { return e.mode&modeType == modeLink }

// key tells contents apart as far as a listing can. Two contents may share it: whoever goes by it must look
// at the sum in the end.
func (e *entry) key() digest { return sha256.Sum256(fmt.Appendf(nil, "%d %d", e.size, e.mtime)) }

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

// startScript is what the commands of a download have in common. $l follows a link that is asked for by name.
const startScript = `l=
[ $kind = d ] || l=-L
nl='
'
export LC_ALL=C l nl
`

// zipScript sets $zip to what packs an answer for a client that is far: over a distance the first bytes of a
// command cost most.
const zipScript = `zip=
[ $far = 0 ] || ! command -v gzip >/dev/null || zip='gzip -1'
`

// listScript lists the folder in which the shell is, or the one file $p. Names without a newline
// come one a line, the others as records that end with NUL. Then come the sums of files of less than $soon blocks
// of 512 bytes, as $sums has them; 0 is none.
const listScript = `record='for f do
	s=$(stat $l -c "%f %s %Y" "$f") && printf "%s %s\000" "$s" "$f"
done
true'
list() {
	if [ $kind = d ]; then
		find . ! -path "*$nl*" -exec stat -c '%f %s %Y %n' {} +
		echo "end $?"
		find . -path "*$nl*" -exec sh -c "$record" sh {} +
		printf 'end %s\000' $?
	else
		echo 'end 0'
		sh -c "$record" sh "./${p##*/}"
		printf 'end 0\000'
	fi
	[ $soon -gt 0 ] || return
	of=.
	[ $kind = d ] || of=./${p##*/}
	find $l "$of" -type f ! -path "*$nl*" -size "-$soon" -exec $hash {} +
	printf 'end\nend\000'
}
if [ -n "$zip" ]; then list | $zip; else list; fi
`

// sumScript sets $sums, which prints the sums of the files among the arguments: a line of each, as sha256sum
// has them, and records that end with NUL for names with a newline, which coreutils escapes and others do not.
const sumScript = hashScript + `sum='for f do
	h=$($hash <"$f") && printf "%s  %s\000" "${h%% *}" "$f"
done'
sums='find $l "$@" -maxdepth 0 -type f ! -path "*$nl*" -exec $hash {} +
echo end
case "$*" in *"$nl"*) find $l "$@" -maxdepth 0 -type f -path "*$nl*" -exec sh -c "$sum" sh {} + ;; esac
printf "end\000"'
export hash sum sums
`

// sendScript sets $send, which sends what its arguments name, a chunk: "+OFFSET:LENGTH:./name" for a part of a file, which
// comes first and raw, in exactly LENGTH bytes whatever happens to the file meanwhile; "./name" for whole files and
// links, which come as a tar archive behind their sums; and nothing, which fills a chunk up. GNU tar takes a backslash
// in a name for an escape unless told otherwise, and writes 10 kB at a time, which is little for a client that is
// near; for one that is far it fills up less.
const sendScript = `t=-cf
[ $kind = f ] && t=-chf
u=
case $(tar --version 2>/dev/null) in *GNU*)
	u=--no-unquote
	[ $far = 1 ] || u='--no-unquote -b 128' ;;
esac
send='while [ $# -gt 0 ]; do
	case $1 in
	+*)
		s=${1#+}
		n=${s%%:*}
		s=${s#*:}
		{ tail -c "+$((n + 1))" "${s#*:}"; cat /dev/zero; } 2>/dev/null | head -c "${s%%:*}" ;;
	?*) break ;;
	esac
	shift
done
[ $# -eq 0 ] || { eval "$sums"; exec tar $u $t - "$@"; }'
export t u
`

// askedScript reads how many names make a chunk and then names, each ended by NUL, and sends the chunks.
const askedScript = `read -r many
xargs -0 -n "$many" sh -c "$send" sh
`

// downloadScript lists, with the sums of files of less than so many bytes, and then sends.
func downloadScript(remote remotePath, far bool, soon int64) string {
	return fmt.Sprintf("far=%d\nsoon=%d\np=%s\n", oneIf(far), (soon+511)/512, ssh.QuotePath(remote.path)) +
		headScript + startScript + zipScript + sumScript + listScript + sendScript + askedScript
}

// smallScript is for a command that only sends small files, to a client that is far. Its first chunk needs not be asked
// for: what a command reads reaches it a round trip after it has begun.
func smallScript(remote remotePath, first []string) string {
	var b strings.Builder
	b.WriteString("far=1\np=" + ssh.QuotePath(remote.path) + "\n" + headScript + startScript + sumScript + sendScript)
	b.WriteString(`sh -c "$send" sh`)
	for _, name := range first {
		b.WriteString(" " + ssh.Quote("./"+name))
	}
	b.WriteString("\n" + askedScript)
	return b.String()
}

// sumsScript sums the files whose names it reads, so many at a time, in the folder of a head. To a node that is
// far it packs what it answers, and reads a gzip.
func sumsScript(h head, far bool, each int) string {
	return fmt.Sprintf("far=%d\nkind=%c\ncd %s || exit 1\n", oneIf(far), h.kind, ssh.Quote(h.where)) + startScript + zipScript + sumScript +
		fmt.Sprintf(`run() { xargs -0 -n %d sh -c 'eval "$sums"' sh; }
if [ -n "$zip" ]; then gzip -dc | run | $zip; else run; fi
`, each)
}

// sumsAtOnce is how many files a near node sums with one command.
const sumsAtOnce = 2000

func oneIf(yes bool) int {
	if yes {
		return 1
	}
	return 0
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

// readListing reads what listScript prints, with sums or without.
func readListing(r *bufio.Reader, summed bool) (*listing, error) {
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
		e, err := parseStat(string(line))
		if err != nil {
			return nil, err
		}
		if err := add(e); err != nil {
			return nil, err
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
		e, err := parseStat(string(rec))
		if err != nil {
			return nil, err
		}
		if err := add(e); err != nil {
			return nil, err
		}
	}

	if summed {
		err := readSums(r, func(name string, sum digest) {
			// A file that appeared between the two passes is none of this listing's business.
			if i, ok := index[name]; ok && l.entries[i].isFile() {
				l.entries[i].hash, l.entries[i].hashed = sum, true
			}
		})
		if err != nil {
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

// readListing reads the listing of a conversation, which is packed where the node is far and can do that.
func (d *fetch) readListing(c *conversation) (*listing, error) {
	b, err := c.out.Peek(2)
	if err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	if d.zip = string(b) == "\x1f\x8b"; !d.zip {
		return readListing(c.out, d.soon > 0)
	}
	z, err := gzip.NewReader(c.out)
	if err != nil {
		return nil, err
	}
	z.Multistream(false) // what is asked for follows as another gzip
	list, err := readListing(bufio.NewReader(z), d.soon > 0)
	if err == nil {
		_, err = io.Copy(io.Discard, z)
	}
	return list, err
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

// parseStat reads "MODE SIZE MTIME NAME", the mode in hexadecimal.
func parseStat(s string) (entry, error) {
	f := strings.SplitN(s, " ", 4)
	if len(f) != 4 {
		return entry{}, protocolError("listing %q", s)
	}
	mode, err1 := strconv.ParseUint(f[0], 16, 32)
	size, err2 := strconv.ParseInt(f[1], 10, 64)
	mtime, err3 := strconv.ParseInt(f[2], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil || size < 0 {
		return entry{}, protocolError("listing %q", s)
	}
	name, err := cleanName(f[3])
	return entry{name: name, mode: uint32(mode), size: size, mtime: mtime}, err
}

// readSums reads what $sums of sumScript prints.
func readSums(r *bufio.Reader, tell func(name string, sum digest)) error {
	for _, delim := range []byte{'\n', 0} {
		for {
			rec, err := readRecord(r, delim)
			if err != nil {
				return err
			}
			if string(rec) == "end" {
				break
			}
			name, sum, err := parseSum(string(rec), delim == '\n')
			if err != nil {
				return err
			}
			tell(name, sum)
		}
	}
	return nil
}

// parseSum reads a line of sha256sum. One that begins with a backslash may have an escaped name, which
// is how coreutils print names with a backslash or a carriage return.
func parseSum(line string, mayEscape bool) (name string, hash digest, err error) {
	rest, escaped := strings.CutPrefix(line, `\`)
	escaped = escaped && mayEscape
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

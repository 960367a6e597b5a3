package transfer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// The archive of an upload holds, in this order:
const (
	treeName  = "t"     // the folder with what is uploaded
	largeName = "large" // number in the folder "parts" and name, each ended by NUL, of files that came beside the archive
	sumsName  = "sums"  // lines for sha256sum -c, of the other files
	oddName   = "odd"   // sum and name, each ended by NUL, of files that no such line can name
	doneName  = "done"  // nothing; that it is there says that the archive is whole
)

// uploadScript reads an archive by $unpack. $p is where it goes, $kind what it is, $name what it is called, and
// $recv that $p receives it under that name; $exact is where an earlier attempt put it.
const uploadScript = `export LC_ALL=C
fail() { echo "$1" >&2; exit 1; }
if [ -n "$exact" ]; then dest=$exact
elif [ $kind = c ]; then dest=$p
elif [ $recv = 1 ] || [ -d "$p" ]; then dest=${p%/}/$name
else dest=$p
fi
if [ $kind = f ]; then
	[ ! -d "$dest" ] || fail "$dest: a folder is there where a file must go"
	w=${dest%/*}/
	new=1
elif [ -d "$dest" ]; then
	w=${dest%/}/
	new=
else
	[ ! -e "$dest" ] && [ ! -L "$dest" ] || fail "$dest: a file is there where a folder must go"
	w=${dest%/*}/
	new=1
fi
mkdir -p "$w" || exit 1
t=$(mktemp -d "$w.bifrost-upload.XXXXXX") || exit 1
trap 'cd /; rm -rf "$t"' EXIT
trap 'exit 1' HUP INT TERM
cd "$t" && mkdir parts t || exit 1
` + hashScript + `printf '%s\000' "$dest" "$(pwd)" "$hash"
eval "$unpack" || {
	df -Pk . | { read -r x; read -r x x x free x; echo "bifrost-free $free" >&2; }
	exit 1
}
[ -f done ] || fail 'the upload did not arrive whole'
cd t || exit 1
if [ -s ../large ]; then
	# The archive has an empty file with the mode and the time.
	xargs -0 -n 2 sh -c 'p=../parts/$1
	{ [ -f "$p" ] || : >"$p"; } && chmod "$(stat -c %a "$2")" "$p" && touch -r "$2" "$p" && mv -f "$p" "$2" || exit 255' sh <../large || exit 1
fi
# Several processes sum faster than one, and openssl faster than sha256sum, which is the one that can name what differs.
same() {
	sed 's/^[0-9a-f]*  //' ../sums | tr '\n' '\000' |
		xargs -0 -n $(($(wc -l <../sums) / 4 + 100)) -P 4 sh -c 'exec $hash "$@" >>"../got.$$" 2>/dev/null' sh
	cat ../got.* 2>/dev/null | sed 's/ \*/  /' | sort | cmp -s - ../sums
}
export hash
if [ -s ../sums ] && ! same; then
	sha256sum -c ../sums >../bad 2>&1 || { grep -v ': OK$' ../bad | head -n 3 >&2; exit 1; }
fi
if [ -s ../odd ]; then
	xargs -0 -n 2 sh -c '[ "$(sha256sum <"$2")" = "$1  -" ] || { echo "$2: FAILED" >&2; exit 255; }' sh <../odd || exit 1
fi
export dest
if [ $kind = f ]; then
	mv -f "./$name" "$dest" || exit 1
elif [ -n "$new" ]; then
	cd .. && mv t "$dest" || exit 1
else
	find . -type d -print0 | xargs -0 sh -c 'for d do
		[ -d "$dest/$d" ] && continue
		{ [ ! -e "$dest/$d" ] && [ ! -L "$dest/$d" ]; } || { echo "$dest/${d#./}: a file is there where a folder must go" >&2; : >"$0"; continue; }
		mkdir "$dest/$d" && chmod "$(stat -c %a "$d")" "$dest/$d" || : >"$0"
	done' "$t/failed" && [ ! -f "$t/failed" ] || exit 1
	export move='to=$1
	shift
	for f do
		if [ -d "$to/${f##*/}" ] && [ ! -L "$to/${f##*/}" ]; then
			echo "$to/${f##*/}: a folder is there where a file must go" >&2
			: >"$0"
			exit 1
		fi
	done
	mv -f "$@" "$to/" || : >"$0"'
	find . -type d -print0 | xargs -0 sh -c 'for d do
		find "$d" -maxdepth 1 ! -type d -exec sh -c "$move" "$0" "$dest/$d" {} + || : >"$0"
	done' "$t/failed" && [ ! -f "$t/failed" ] || exit 1
	[ -z "$(find . ! -type d | head -n 1)" ] || fail "$dest: not everything could be moved there"
fi
printf 'done\000'
`

func (u *sending) script() string {
	receives := "0"
	if u.remote.contents {
		receives = "1"
	}
	script := []string{
		"p=" + ssh.QuotePath(u.remote.path),
		"exact=" + ssh.Quote(u.dest),
		"name=" + ssh.Quote(filepath.Base(u.source)),
		"kind=" + u.kind,
		"recv=" + receives,
		"unpack=" + ssh.Quote(unpackScript(u.pack)),
		uploadScript,
	}
	if u.pack {
		script = slices.Insert(script, 0, needsGzip)
	}
	return strings.Join(script, "\n")
}

// send writes the archive. The last of it waits until the node has said where things go, so that an
// attempt after a lost connection puts them into the same place.
func (u *sending) send(ctx context.Context, crew *crew, w *bufio.Writer, known <-chan struct{}, stderr *tail) error {
	out := newPacker(w, u.pack)
	tw := tar.NewWriter(&watchedWriter{ctx: ctx, w: out, stderr: stderr})
	buf := make([]byte, copyBuffer)
	if u.kind == "f" {
		if err := writeHeader(tw, &tar.Header{Typeflag: tar.TypeDir, Name: treeName + "/", Mode: 0o700}); err != nil {
			return err
		}
	}
	s := u.split()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	beside := make(chan error, 1)
	helped := false
	go func() {
		if helped = u.gather(ctx, crew, s, known, stderr); helped {
			beside <- crew.finish(ctx)
		} else {
			beside <- nil
		}
	}()
	err := u.sendItems(tw, s.first, buf, u.count)
	for err == nil && !s.small.isEmpty() {
		err = u.sendItems(tw, s.small.take(1, 0), buf, u.count)
	}
	if err == nil {
		err = out.flush()
	}
	if err != nil {
		cancel()
	}
	if other := <-beside; err == nil {
		err = other
	}
	switch {
	case err != nil:
	case helped:
		err = u.sendBeside(tw, s)
	default:
		err = u.sendItems(tw, s.large, buf, u.count)
	}
	if err != nil {
		return err
	}
	select {
	case <-known:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	var odd, large bytes.Buffer
	var sums []string
	for i := range u.items {
		switch it := &u.items[i]; {
		case !it.info.Mode().IsRegular() || it.beside: // the latter was compared piece by piece
		case strings.ContainsAny(it.name, "\n\r\\"):
			fmt.Fprintf(&odd, "%s\x00./%s\x00", it.sum, it.name)
		default:
			sums = append(sums, it.sum+"  ./"+it.name)
		}
	}
	slices.Sort(sums) // what the node sums at the same time comes in no order
	for i, it := range s.large {
		if it.beside {
			fmt.Fprintf(&large, "%d\x00./%s\x00", i, it.name)
		}
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{sumsName, lines(sums)}, {oddName, odd.Bytes()}, {largeName, large.Bytes()}, {doneName, nil}} {
		if err := writeHeader(tw, &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o600, Size: int64(len(f.data))}); err != nil {
			return err
		}
		if _, err := tw.Write(f.data); err != nil {
			return err
		}
	}
	if err := tw.Close(); err != nil {
		return err
	}
	return out.end()
}

func lines(all []string) []byte {
	var b bytes.Buffer
	for _, line := range all {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func (u *sending) sendItems(tw *tar.Writer, items []*item, buf []byte, count func(int)) error {
	for _, it := range items {
		sum, err := u.sendItem(tw, it, buf, count)
		if err != nil {
			return err
		}
		if sum != "" { // a folder is in several archives
			it.sum = sum
		}
	}
	return nil
}

// sendItem writes one item and returns the sum of its content in hexadecimal.
func (u *sending) sendItem(tw *tar.Writer, it *item, buf []byte, count func(int)) (sum string, err error) {
	h := it.header()
	switch {
	case it.info.IsDir():
		// Always accessible: what is in it must be put there, and removed if something goes wrong.
		h.Typeflag, h.Mode = tar.TypeDir, h.Mode|0o700
		if h.Name += "/"; it.name == "." {
			h.Name = treeName + "/"
		}
		return "", writeHeader(tw, h)
	case it.info.Mode()&fs.ModeSymlink != 0:
		h.Typeflag, h.Linkname = tar.TypeSymlink, it.link
		return "", writeHeader(tw, h)
	}
	f, err := openToRead(it.path)
	if err != nil {
		return "", u.localFault(it.path, err)
	}
	defer f.Close()
	h.Size = it.info.Size()
	if err := writeHeader(tw, h); err != nil {
		return "", err
	}
	hash := sha256.New()
	left := h.Size
	for {
		n, err := f.Read(buf)
		if int64(n) > left || errors.Is(err, io.EOF) && left > 0 {
			return "", changedHere(it)
		}
		if n > 0 {
			if _, err := tw.Write(buf[:n]); err != nil {
				return "", err
			}
			hash.Write(buf[:n])
			left -= int64(n)
			count(n)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", u.localFault(it.path, err)
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func changedHere(it *item) error {
	return &fault.Error{
		Kind: fault.Transfer, Op: "upload", Target: it.path,
		Err: errors.New("it changed while it was sent"), Hint: "run the same upload again when nothing writes to it",
	}
}

// header is that of a file without its size.
func (it *item) header() *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: treeName + "/" + it.name, Mode: int64(it.info.Mode().Perm()), ModTime: it.info.ModTime()}
}

// writeHeader uses the format of GNU tar, the one in which busybox reads long names as well.
func writeHeader(tw *tar.Writer, h *tar.Header) error {
	h.Format = tar.FormatGNU
	h.ModTime = h.ModTime.Truncate(time.Second)
	return tw.WriteHeader(h)
}

// A watchedWriter stops an archive when the node says that its disk is full, which GNU tar says and
// then reads on to the end.
type watchedWriter struct {
	ctx    context.Context
	w      io.Writer
	stderr *tail
	count  int64
}

var errNodeFull = errors.New("no space left on the node's disk")

func (w *watchedWriter) Write(p []byte) (int, error) {
	const every = 1 << 20 // bytes
	if w.count += int64(len(p)); w.count >= every {
		w.count = 0
		if noSpace(w.stderr.lines()) {
			return 0, errNodeFull
		}
		if w.ctx.Err() != nil {
			return 0, context.Cause(w.ctx)
		}
	}
	return w.w.Write(p)
}

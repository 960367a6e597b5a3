package ssh

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// FirstWindowBytes is what TCP sends before it has heard from the other side, ten segments. What is beyond it costs
// a round trip, on a connection that has not carried more yet.
const FirstWindowBytes = 14_000

// A longer command than these travels over stdin, which costs a round trip where no shell waits for it.
const (
	// execLimitBytes bounds the exec request: dropbear refuses commands of more than 9,000 bytes.
	execLimitBytes = 8000
	// execLimitOpenSSH is that for OpenSSH, which takes what Linux takes as an argument, 128 KiB.
	execLimitOpenSSH = FirstWindowBytes
)

// execLimit returns how long an exec request to a server may be.
func execLimit(version string) int {
	if strings.HasPrefix(version, "SSH-2.0-OpenSSH_") {
		return execLimitOpenSSH
	}
	return execLimitBytes
}

// An encoded holds a Command as it is sent.
type encoded struct {
	exec  string // the text of the exec request
	mark  string // what the node prints on each stream before the first byte of the command's own
	marks int    // how often mark appears on each stream; after the first, stdin may be sent
	end   string // the line after which the reader evaluates what it has read; "" where there is none
	stdin []byte // what goes over stdin ahead of Command.Stdin
}

// check returns why cmd cannot be encoded.
func (cmd Command) check() error {
	if strings.IndexByte(cmd.Script, 0) >= 0 || strings.IndexByte(cmd.Private, 0) >= 0 {
		return errors.New("the script contains a NUL byte, which no shell can read")
	}
	return nil
}

// encode turns cmd into text that every login shell passes on unchanged, with an exec request of at most
// limit bytes. The login shell sees
//
//	exec /bin/sh -c '…'
//
// with no quote, bang, newline or backslash pair between the single quotes, which bash, dash, zsh,
// fish, csh and busybox read alike. What is not in the safe alphabet is written as \0ooo and decoded
// on the node by printf %b.
func encode(cmd Command, limit int) encoded {
	e, say := newMark(cmd.Pty != nil)
	if cmd.Private == "" {
		e.exec = wrap(say, cmd.Script)
		if len(e.exec) <= limit {
			return e
		}
	}
	if cmd.Pty == nil {
		return encodeReader().read(cmd)
	}
	e.end = "end-" + e.mark
	e = e.read(cmd)
	reader := strings.ReplaceAll(readerScript, "END", e.end)
	// On a terminal, text is echoed and lines are cut at 4 kB: both are switched off until it has
	// been read, and it is sent only after the node said that they are.
	e.marks = 2
	e.exec = wrap("", "_m=$(stty -g) && stty raw -echo || exit 255\n"+say+"\n"+
		strings.Replace(reader, "#SAY", `stty "$_m";unset _m;`+say, 1))
	return e
}

// newMark returns an encoded with its mark, and the text that prints it. The two halves are apart in the
// text, so that a shell that echoes its commands does not print the mark. The first mark carries the
// process id, which ends the command when asked to.
func newMark(pty bool) (e encoded, say string) {
	var random [8]byte
	rand.Read(random[:])
	nonce := hex.EncodeToString(random[:])
	say = "printf %s%s.%s, bifrost- " + nonce + " $$;"
	if !pty {
		say += "printf %s%s, bifrost- " + nonce + " >&2;"
	}
	return encoded{mark: "bifrost-" + nonce, marks: 1}, say
}

// encodeReader returns a shell that reads a command from its stdin.
func encodeReader() encoded {
	e, say := newMark(false)
	e.end = "end-" + e.mark
	e.exec = wrap(say, strings.ReplaceAll(readerScript, "END", e.end))
	return e
}

// encodeShell is encodeReader for a shell that may end before there is a command for it: it prints a
// second mark once it has read one.
func encodeShell() encoded {
	e, say := newMark(false)
	e.end, e.marks = "end-"+e.mark, 2
	e.exec = wrap(say, strings.Replace(strings.ReplaceAll(readerScript, "END", e.end), "#SAY", `[ "$_n" != end ] || { `+say+" }", 1))
	return e
}

// read returns e with cmd as what its reader reads.
func (e encoded) read(cmd Command) encoded {
	text := cmd.Private + "\n" + cmd.Script + "\n" + e.end + "\n"
	if cmd.Stdin == nil && cmd.Pty == nil && len(text) > wholeFromBytes {
		text = "all-" + e.end + "\n" + text
	}
	e.stdin = []byte(text)
	return e
}

// wholeFromBytes is the length from which on a process that reads a text whole costs less than read.
const wholeFromBytes = 4000

// readerScript reads lines up to END and evaluates them. read takes one byte at a time and nothing
// beyond the newline in every shell, so what follows is left for the command as its stdin. Lines are
// gathered in two steps, which keeps the copying of long scripts small. Where nothing follows, a first
// line says so, and the whole is read at once.
const readerScript = `unset _s _t _n _l
_s= _t= _n=0
while IFS= read -r _l; do
case $_l in
END) _n=end; break ;;
all-END)
_t=$(cat)
case $_t in *END) _t=${_t%END} _n=end ;; esac
break ;;
esac
_t="$_t$_l
"
_n=$((_n+1))
if [ "$_n" -gt 99 ]; then _s="$_s$_t" _t= _n=0; fi
done
#SAY
[ "$_n" = end ] || exit 255
eval "unset _s _t _n _l
$_s$_t"`

func wrap(say, script string) string {
	var b strings.Builder
	b.Grow(len(script)*2 + 256)
	b.WriteString("exec /bin/sh -c '")
	b.WriteString(say)
	b.WriteString(`eval "$(printf %b "`)
	for i := range len(script) {
		if c := script[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\0%03o`, c)
		}
	}
	b.WriteString(`")"'`)
	return b.String()
}

// plain reports whether c stands for itself between single quotes of every login shell and, within
// them, between double quotes of sh.
func plain(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte(" _-./:,+@%=;|&()<>[]{}*?#~", c) >= 0
}

// noiseLimitBytes bounds what rc files may print before the command starts.
const noiseLimitBytes = 256 << 10

var errNoise = errors.New("too much output before the command")

// A scanner cuts off what precedes the mark.
type scanner struct {
	mark  []byte
	noise []byte // what came before the mark and the mark's beginning
	left  int    // marks still to come
	pid   string // from the last mark, "" where it had none
}

// scan returns the part of b that belongs to the command.
func (s *scanner) scan(b []byte) ([]byte, error) {
	if s.left == 0 {
		return b, nil
	}
	s.noise = append(s.noise, b...)
	for s.left > 0 {
		i := bytes.Index(s.noise, s.mark)
		if i < 0 {
			break
		}
		rest := s.noise[i+len(s.mark):]
		end := bytes.IndexByte(rest, ',')
		if end < 0 {
			break
		}
		if id, ok := bytes.CutPrefix(rest[:end], []byte(".")); ok {
			s.pid = string(id)
		}
		s.noise = rest[end+1:]
		s.left--
	}
	if s.left == 0 {
		b, s.noise = s.noise, nil
		return b, nil
	}
	if len(s.noise) > noiseLimitBytes {
		return nil, errNoise
	}
	return nil, nil
}

package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// ReadFile returns the content of a file on the node. A relative path starts at dir, which is
// absolute or "~/…"; an empty dir is the home. A file of more than limit bytes is an error of kind
// invalid that says to download it.
func ReadFile(ctx context.Context, runner ssh.Runner, dir, name string, limit int64) ([]byte, error) {
	if err := checkRemote("read", dir, name); err != nil {
		return nil, err
	}
	whole := joinRemote(dir, name)
	var answer limited
	answer.left = limit + maxRecord // the head, which is longer than a path only where it is not read
	var stderr tail
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := runner.Run(ctx, ssh.Command{
		Script: "p=" + ssh.QuotePath(whole) + "\n" + headScript + `[ $kind = d ] || exec cat "./${p##*/}"`,
		Stdout: &answer, Stderr: &stderr,
	})
	h, content, headErr := splitHead(answer.buf.Bytes())
	switch {
	case answer.over, headErr == nil && h.kind == 'f' && int64(len(content)) > limit:
		return nil, &fault.Error{
			Kind: fault.Invalid, Op: "read", Target: whole, Err: fmt.Errorf("it has more than %s", bytesText(limit)),
			Hint: "download it instead",
		}
	case err != nil && !isExit(err):
		return nil, err
	case headErr == nil && h.kind == 'm':
		return nil, notFound("read", h)
	case headErr == nil && h.kind == 'd':
		return nil, &fault.Error{Kind: fault.Invalid, Op: "read", Target: h.path, Err: errors.New("it is a folder")}
	case headErr == nil && h.kind == 'o':
		return nil, &fault.Error{Kind: fault.Invalid, Op: "read", Target: h.path, Err: fmt.Errorf("it is %s", h.extra)}
	case err != nil:
		return nil, nodeFault("read", whole, &stderr, err)
	case headErr != nil:
		return nil, &fault.Error{Kind: fault.Transfer, Op: "read", Target: whole, Err: headErr}
	}
	return content, nil
}

// A limited buffer takes so many bytes and refuses more.
type limited struct {
	buf  bytes.Buffer
	left int64
	over bool
}

var errOver = errors.New("more than was asked for")

func (l *limited) Write(p []byte) (int, error) {
	if int64(len(p)) > l.left {
		l.over = true
		return 0, errOver
	}
	l.left -= int64(len(p))
	return l.buf.Write(p)
}

func splitHead(b []byte) (h head, rest []byte, err error) {
	f := bytes.SplitN(b, []byte{0}, 5)
	if len(f) != 5 || len(f[0]) != 1 {
		return h, nil, protocolError("%d bytes without a head", len(b))
	}
	return head{kind: f[0][0], path: string(f[1]), where: string(f[2]), extra: string(f[3])}, f[4], nil
}

// writeScript reads the content and gives it its name only when it is all there. $want is its sum;
// a link is written through, as everything else does.
const writeScript = `export LC_ALL=C
fail() { echo "$1" >&2; exit 1; }
[ -L "$p" ] && { q=$(readlink -f "$p" && echo x) && q=${q%??} && [ -n "$q" ] && p=$q; }
[ ! -d "$p" ] || fail 'it is a folder'
d=${p%/*}/
mkdir -p "$d" || exit 1
t=$(mktemp "$d.bifrost-write.XXXXXX") || exit 1
trap 'rm -f "$t"' EXIT
trap 'exit 1' HUP INT TERM
cat >"$t" || exit 1
sum=$(sha256sum <"$t") && [ "${sum%% *}" = "$want" ] || fail 'the content did not arrive whole'
[ -n "$mode" ] || mode=$(stat -c %a "$p" 2>/dev/null) || mode=644
chmod "$mode" "$t" && mv -f "$t" "$p"
`

// WriteFile gives a file on the node exactly this content, whole or not at all. The folders above it
// are made. A mode of 0 keeps that of a file that is there, and is 0644 for a new one. The path is as
// for ReadFile.
func WriteFile(ctx context.Context, runner ssh.Runner, dir, name string, data []byte, mode fs.FileMode) error {
	if err := checkRemote("write", dir, name); err != nil {
		return err
	}
	remote := resolveRemote(dir, name)
	if remote.contents {
		return &fault.Error{Kind: fault.Invalid, Op: "write", Target: remote.path, Err: errors.New("a file name does not end with a slash")}
	}
	octal := ""
	if mode.Perm() != 0 {
		octal = fmt.Sprintf("%o", mode.Perm())
	}
	sum := sha256.Sum256(data)
	var stderr tail
	err := runner.Run(ctx, ssh.Command{
		// The sum is private: it would tell a short secret to whoever reads the list of processes.
		Private: "want=" + hex.EncodeToString(sum[:]),
		Script:  "p=" + ssh.QuotePath(remote.path) + "\nmode=" + octal + "\n" + writeScript,
		Stdin:   bytes.NewReader(data), Stderr: &stderr,
	})
	if isExit(err) {
		return nodeFault("write", remote.path, &stderr, err)
	}
	return err
}

// Exists says whether there is something at a path on the node; a link to nothing is nothing. The
// path is as for ReadFile.
func Exists(ctx context.Context, runner ssh.Runner, dir, name string) (bool, error) {
	if err := checkRemote("look for", dir, name); err != nil {
		return false, err
	}
	whole := joinRemote(dir, name)
	var answer limited
	var stderr tail
	answer.left = 16
	err := runner.Run(ctx, ssh.Command{
		Script: "if [ -e " + ssh.QuotePath(whole) + " ]; then echo yes; else echo no; fi",
		Stdout: &answer, Stderr: &stderr,
	})
	switch got := answer.buf.String(); {
	case isExit(err):
		return false, nodeFault("look for", whole, &stderr, err)
	case err != nil:
		return false, err
	case got != "yes\n" && got != "no\n":
		return false, &fault.Error{Kind: fault.Transfer, Op: "look for", Target: whole, Err: protocolError("%q", got)}
	default:
		return got == "yes\n", nil
	}
}

// ExpandPath returns the absolute path on the node that a path means there: "~" is the home of the
// user, and a relative path starts at dir. Whether anything exists there does not matter.
func ExpandPath(ctx context.Context, runner ssh.Runner, dir, name string) (string, error) {
	if err := checkRemote("expand", dir, name); err != nil {
		return "", err
	}
	whole := joinRemote(dir, name)
	rest, ok := strings.CutPrefix(whole, "~")
	if !ok {
		return whole, nil
	}
	var answer limited
	var stderr tail
	answer.left = maxRecord
	err := runner.Run(ctx, ssh.Command{Script: `printf '%s\000' "$HOME"`, Stdout: &answer, Stderr: &stderr})
	if isExit(err) {
		return "", nodeFault("expand", whole, &stderr, err)
	}
	if err != nil {
		return "", err
	}
	home, ok := strings.CutSuffix(answer.buf.String(), "\x00")
	if !ok || !path.IsAbs(home) {
		return "", &fault.Error{Kind: fault.Transfer, Op: "expand", Target: whole, Err: fmt.Errorf("the home on the node is %q, which is no absolute path", home)}
	}
	return path.Clean(home + rest), nil
}

// nodeFault makes an error of what a command on the node said before it failed.
func nodeFault(op, target string, stderr *tail, err error) error {
	f := &fault.Error{Kind: fault.Transfer, Op: op, Target: target, Err: err}
	lines := stderr.lines()
	if len(lines) > 0 {
		f.Err = &reasonError{strings.Join(lines[:min(len(lines), 3)], "; "), err}
	}
	if noSpace(lines) {
		f.Kind, f.Hint = fault.DiskFull, "free space on the node, then run the same again"
	}
	return f
}

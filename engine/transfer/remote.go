package transfer

import (
	"errors"
	"path"
	"strings"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// checkRemote refuses what can be no path on any node.
func checkRemote(op string, paths ...string) error {
	for _, p := range paths {
		if strings.ContainsRune(p, 0) {
			return &fault.Error{Kind: fault.Invalid, Op: op, Target: show(p), Err: errors.New("a path holds no NUL")}
		}
	}
	return nil
}

// A remotePath is a path on the node as a user wrote it, made whole: it starts with "/" or "~".
type remotePath struct {
	path     string // cleaned, without a slash at its end
	contents bool   // the folder's contents are meant, not the folder itself
}

// resolveRemote makes p, which may be relative to dir, whole. "." and ".." mean contents, because
// there is no name that the copy could have.
func resolveRemote(dir, p string) remotePath {
	whole := joinRemote(dir, p)
	r := remotePath{path: whole, contents: strings.HasSuffix(p, "/")}
	switch base := path.Base(whole); {
	case whole == "~", whole == "/", base == "..", path.Clean(p) == ".":
		r.contents = true
	}
	return r
}

// joinRemote returns p as an absolute path or one that begins with "~", cleaned as far as that is
// possible without asking the node. An empty dir is the home of the user there.
func joinRemote(dir, p string) string {
	if isWhole(p) {
		return cleanRemote(p)
	}
	if !isWhole(dir) {
		dir = "~/" + dir
	}
	return cleanRemote(dir + "/" + p)
}

func isWhole(p string) bool {
	return strings.HasPrefix(p, "/") || p == "~" || strings.HasPrefix(p, "~/")
}

func cleanRemote(p string) string {
	rest, ok := strings.CutPrefix(p, "~")
	if !ok {
		return path.Clean(p)
	}
	// "~/../x" must stay: what is above the home is the node's business.
	rest = path.Clean(strings.TrimLeft(rest, "/"))
	if rest == "." {
		return "~"
	}
	return "~/" + rest
}

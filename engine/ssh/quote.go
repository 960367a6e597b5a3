package ssh

import "strings"

// Quote returns s as one word of a POSIX shell script. Every string without NUL is representable;
// the result is the same in every POSIX shell, whatever bytes s holds.
func Quote(s string) string {
	if s == "" {
		return "''"
	}
	if strings.IndexFunc(s, needsQuote) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func needsQuote(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("_-./:,+@", r)
}

// QuotePath is Quote for a path on the node whose leading "~/" (or whole "~") stands for the home
// of the user there: it becomes "$HOME", and nothing else in the path is expanded.
func QuotePath(path string) string {
	if path == "~" {
		return `"$HOME"`
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if rest = strings.TrimLeft(rest, "/"); rest == "" {
			return `"$HOME"/`
		}
		return `"$HOME"/` + Quote(rest)
	}
	if strings.HasPrefix(path, "-") {
		path = "./" + path
	}
	return Quote(path)
}

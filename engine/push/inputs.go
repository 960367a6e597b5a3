package push

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// InputsID returns an id of the content and modes of those files of the tree that match one of the
// patterns: globs on slash-separated paths, where ** stands for any number of folders and the name
// of a folder for all beneath it. No patterns (nil) means the whole tree, an empty list no file. A
// pattern that matches nothing is an error: it is a spelling mistake more often than not.
func (r Result) InputsID(patterns []string) (string, error) {
	if patterns == nil {
		return r.Manifest, nil
	}
	matched := make([]bool, len(r.entries))
	for _, p := range patterns {
		clean := path.Clean(strings.TrimPrefix(p, "./"))
		parts := strings.Split(clean, "/")
		found := clean == "."
		for i, e := range r.entries {
			if clean != "." {
				ok, err := matchPath(parts, strings.Split(e.path, "/"))
				if err != nil {
					return "", inputError(p, err)
				}
				if !ok {
					continue
				}
			}
			found, matched[i] = true, true
		}
		if !found {
			return "", inputError(p, errors.New("matches no file of the tree"))
		}
	}
	var b strings.Builder
	for i, e := range r.entries {
		if matched[i] {
			b.WriteString(e.line() + "\n")
		}
	}
	return sum256([]byte(b.String())), nil
}

func inputError(pattern string, err error) error {
	return &fault.Error{
		Kind: fault.Invalid, Op: "bootstrap inputs", Target: fmt.Sprintf("%q", pattern), Err: err,
		Hint: "inputs are paths and globs within the pushed folder, such as \"uv.lock\" or \"src/**/*.c\"",
	}
}

// matchPath matches a path against a pattern, both in parts. A pattern that matches a folder above
// the path matches the path.
func matchPath(pattern, parts []string) (bool, error) {
	if len(pattern) == 0 {
		return true, nil
	}
	if pattern[0] == "**" {
		if len(pattern) == 1 {
			return true, nil
		}
		for i := range parts {
			if ok, err := matchPath(pattern[1:], parts[i:]); ok || err != nil {
				return ok, err
			}
		}
		return false, nil
	}
	if len(parts) == 0 {
		_, err := path.Match(pattern[0], "")
		return false, err
	}
	ok, err := path.Match(pattern[0], parts[0])
	if !ok || err != nil {
		return false, err
	}
	return matchPath(pattern[1:], parts[1:])
}

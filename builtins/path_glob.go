package builtins

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark/policy"
)

func globEntry(name, doc, example, before string) *Entry {
	return &Entry{
		Name: name, Result: "list of Path", Effect: true, Capabilities: []policy.Capability{policy.ReadFile}, needs: onPath(policy.ReadFile),
		Doc: doc, Example: example,
		Params: []Param{{Name: "pattern", Kind: nameKind(), Doc: `"results/*.json", "**/*.py"; relative to the folder`}},
		run: func(c *Call) (star.Value, error) {
			pattern := before + arg[string](c, "pattern")
			parts := parsePath(pattern)
			if parts.root != "" || strings.HasPrefix(pattern[len(before):], "/") {
				return nil, c.wrong("pattern: it starts with a slash", `the folder comes first: Path("/data").glob("*.txt")`)
			}
			for _, part := range parts.parts {
				if strings.Contains(part, "**") && part != "**" {
					return nil, c.wrong("pattern: ** stands with other characters", `it is a part of its own: "**/*.txt"`)
				}
			}
			if len(parts.parts) == 0 {
				return nil, c.wrong("pattern: it has no part that could match", `write "*" for what is in the folder`)
			}
			if strings.HasSuffix(pattern, "/") {
				parts.parts = append(parts.parts, "") // folders alone
			}
			if _, err := c.file(); err != nil {
				return nil, err
			}
			g := &globber{c: c, patterns: parts.parts, seen: map[string]bool{}}
			if isDir, err := g.look(pureOf(c.recv), fs.FileInfo.IsDir); err != nil || !isDir {
				return star.NewList(nil), err
			}
			if err := g.match(c.context(), pureOf(c.recv), 0); err != nil {
				return nil, err
			}
			slices.SortFunc(g.found, func(a, b purePath) int { return slices.Compare(a.all(), b.all()) })
			return star.NewList(c.lib.paths(g.found)), nil
		},
	}
}

// A globber walks folders as pathlib's selectors of Python 3.11 do. It asks the gate before it looks at
// anything but the names in a folder that it was allowed to read.
type globber struct {
	c        *Call
	patterns []string
	found    []purePath
	seen     map[string]bool // paths by the pattern that they were matched against
}

// match adds what the patterns from number i on match beneath a folder.
func (g *globber) match(ctx context.Context, p purePath, i int) error {
	key := strconv.Itoa(i) + " " + p.String()
	if g.seen[key] {
		return nil
	}
	g.seen[key] = true
	if i == len(g.patterns) || g.patterns[i] == "" {
		if done := "found " + p.String(); !g.seen[done] {
			g.seen[done] = true
			g.found = append(g.found, p)
		}
		return nil
	}
	if err := ended(ctx); err != nil {
		return err
	}
	pattern, inner := g.patterns[i], i+1 < len(g.patterns)
	if !strings.ContainsAny(pattern, "*?[") {
		next := p.child(pattern)
		there, err := g.look(next, func(info fs.FileInfo) bool { return !inner || info.IsDir() })
		if err != nil || !there {
			return err
		}
		return g.match(ctx, next, i+1)
	}
	if pattern == "**" {
		if err := g.match(ctx, p, i+1); err != nil {
			return err
		}
	}
	entries, err := g.list(p)
	if err != nil {
		return err
	}
	for _, e := range entries {
		next := p.child(e.Name())
		if pattern == "**" {
			if e.IsDir() {
				err = g.match(ctx, next, i)
			}
		} else if matchName([]rune(pattern), []rune(e.Name())) {
			isDir := e.IsDir()
			if inner && e.Type()&fs.ModeSymlink != 0 {
				isDir, err = g.look(next, fs.FileInfo.IsDir)
				isDir, err = isDir && err == nil, g.passOver(next, err)
			}
			if err == nil && (isDir || !inner) {
				err = g.match(ctx, next, i+1)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// allowed asks for what a path leads to and returns it.
func (g *globber) allowed(p purePath) (string, error) {
	real, err := g.c.lib.realPath(p.String())
	if err != nil {
		return "", err
	}
	return real, g.c.permit(policy.Request{Capability: policy.ReadFile, Target: real})
}

// look tests what a path leads to. What is not there, or may not be looked at by this user, is not.
func (g *globber) look(p purePath, test func(fs.FileInfo) bool) (bool, error) {
	real, err := g.allowed(p)
	if err == nil {
		var info fs.FileInfo
		if info, err = os.Stat(real); err == nil {
			return test(info), nil
		}
	}
	if absent(err) || errors.Is(err, fs.ErrPermission) {
		return false, nil
	}
	return false, err
}

// list returns the entries of a folder. One that this user may not read has none, as in Python.
func (g *globber) list(p purePath) ([]fs.DirEntry, error) {
	real, err := g.allowed(p)
	if err != nil {
		return nil, g.passOver(p, err)
	}
	entries, err := os.ReadDir(filepath.Clean(real))
	if absent(err) || errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	return entries, err
}

// passOver turns a refusal of what a pattern found, which the script did not name, into a notice.
func (g *globber) passOver(p purePath, err error) error {
	var denied *policy.Denied
	if !errors.As(err, &denied) {
		return err
	}
	if key := "told " + p.String(); !g.seen[key] {
		g.seen[key] = true
		g.c.notice("%s: %s is passed over: %v", g.c.entry.Name, p, err)
	}
	return nil
}

// matchName reports whether a name matches a pattern as Python's fnmatch has it. It takes time
// proportional to the product of both lengths at most.
func matchName(pattern, name []rune) bool {
	star, after := -1, 0 // the last * and where in the name what follows it is tried
	p, n := 0, 0
	for n < len(name) {
		if p < len(pattern) && pattern[p] == '*' {
			star, after = p, n
			p++
			continue
		}
		if p < len(pattern) {
			if ok, size := matchOne(pattern[p:], name[n]); ok {
				p, n = p+size, n+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		after++
		p, n = star+1, after
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne matches a character against the pattern's first element, of which it returns the length.
func matchOne(pattern []rune, r rune) (ok bool, size int) {
	switch pattern[0] {
	case '?':
		return true, 1
	case '[':
	default:
		return pattern[0] == r, 1
	}
	first := 1
	if first < len(pattern) && pattern[first] == '!' {
		first++
	}
	end := first + 1 // a ] at the start is one of the characters
	for end < len(pattern) && pattern[end] != ']' {
		end++
	}
	if end >= len(pattern) { // no class
		return r == '[', 1
	}
	in := false
	for set := pattern[first:end]; len(set) > 0; {
		if len(set) > 2 && set[1] == '-' {
			in = in || set[0] <= r && r <= set[2]
			set = set[3:]
			continue
		}
		in = in || set[0] == r
		set = set[1:]
	}
	return in != (first == 2), end + 1
}

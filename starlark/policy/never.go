package policy

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Names that decide what scripts may do or that other programs run. No script writes them, in whatever
// folder: a folder beneath the root can be the root of other scripts.
var (
	guardedFiles   = []string{"bifrost.toml", "bifrost.lock", dotenv}
	guardedFolders = []string{".git", "bifrost_modules"}
)

const dotenv = ".env"

// never returns why nobody may do this, whatever was allowed, and the way out; "" when it is a matter
// of rules.
func (j *Judge) never(r Request) (reason, hint string) {
	if file := r.Capability == ReadFile || r.Capability == WriteFile; file && !filepath.IsAbs(r.Target) {
		return "nobody knows which folder it is in", "write the whole path"
	}
	switch r.Capability {
	case Env:
		if IsProviderKey(r.Target) {
			return "keys of providers are for bifrost itself; no script may read them", "leave it out: bifrost finds the keys by itself"
		}
	case ReadFile:
		for _, p := range realPaths(r.Target) {
			if named(filepath.Base(p), dotenv) || j.isDotenv(p) {
				return "it may hold the keys of providers, which no script may read", `secret("NAME") returns a variable of .env`
			}
			if j.inState(p) {
				return "it is bifrost's own", ""
			}
		}
	case WriteFile:
		for _, p := range realPaths(r.Target) {
			if j.inState(p) {
				return "it is bifrost's own", ""
			}
			if j.guarded(p) {
				return "it decides what scripts and other programs may do", "name another file; this one is written by hand or by bifrost mod"
			}
		}
	}
	return "", ""
}

func (j *Judge) inState(p string) bool {
	return j.cfg.StateDir != "" && sameWithin(p, j.cfg.StateDir)
}

// isDotenv finds the .env of the root under another name.
func (j *Judge) isDotenv(p string) bool {
	want, err := os.Stat(filepath.Join(j.cfg.Root, dotenv))
	if err != nil || want.IsDir() {
		return false
	}
	info, err := os.Stat(p)
	return err == nil && os.SameFile(info, want)
}

func (j *Judge) guarded(p string) bool {
	return guardedName(p) || slices.ContainsFunc(guardedFolders, func(name string) bool { return sameWithin(p, filepath.Join(j.cfg.Root, name)) })
}

func guardedName(p string) bool {
	parts := strings.Split(p, string(filepath.Separator))
	isNamed := func(names []string, part string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return named(part, name) })
	}
	return isNamed(guardedFiles, parts[len(parts)-1]) || slices.ContainsFunc(parts, func(part string) bool { return isNamed(guardedFolders, part) })
}

// named compares names as the least particular file system does.
func named(part, name string) bool {
	return strings.EqualFold(strings.TrimRight(part, ". "), name)
}

// private tells whether the path is among the user's SSH keys, which a rule must name to allow.
func (j *Judge) private(p string) bool {
	return j.cfg.Home != "" && sameWithin(p, filepath.Join(j.cfg.Home, ".ssh"))
}

// Withhold returns why a file in a folder that may be read must not be sent to a node all the same; ""
// when it may. It is asked for every file that goes with a folder, by its path without links, and is
// quick for that.
func (j *Judge) Withhold(path string) string {
	if named(filepath.Base(path), dotenv) && holdsProviderKey(path) {
		return "it has the key of a provider"
	}
	return j.excepted(Request{Capability: ReadFile, Target: path})
}

// Protect returns why a file in a folder that may be written must not be written all the same; "" when it
// may. It is asked for every file that comes with a folder, as Withhold is.
func (j *Judge) Protect(path string) string {
	if guardedName(path) {
		return "it decides what scripts and other programs may do"
	}
	return j.excepted(Request{Capability: WriteFile, Target: path})
}

// excepted returns why a file is none of those that are meant with its folder.
func (j *Judge) excepted(r Request) string {
	switch {
	case j.cfg.StateDir != "" && within(r.Target, j.stateDir):
		return "it is bifrost's own"
	case j.cfg.Rules.Deny.covers(r, true) != "":
		return "a deny rule covers it"
	case j.cfg.Home != "" && within(r.Target, j.keys) && !j.mayPrivate(r, j.cfg.Rules.Allow):
		return "it is among your SSH keys"
	}
	return ""
}

// holdsProviderKey tells whether a file assigns a provider's key. One that cannot be read may.
func holdsProviderKey(path string) bool {
	data, err := os.ReadFile(path)
	if err != nil {
		return true
	}
	data = bytes.ToUpper(data)
	return slices.ContainsFunc(ProviderKeys(), func(key string) bool { return bytes.Contains(data, []byte(key)) })
}

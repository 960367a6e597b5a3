package transfer

import (
	"crypto/rand"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A link is a symbolic link as the node has it.
type link struct{ name, target string }

// inside returns the target that a link gets here, relative to the link, or false when it may lead
// out of the folder. root is the folder's path on the node: an absolute target beneath it is one
// inside. A step upwards is allowed only at the beginning, where it climbs folders that are real;
// behind a name it could climb from wherever another link leads.
func (l link) inside(root string) (string, bool) {
	target := l.target
	if target == "" || strings.ContainsRune(target, 0) {
		return "", false
	}
	dir := path.Dir(l.name)
	if strings.HasPrefix(target, "/") {
		root = strings.TrimSuffix(root, "/")
		rest, ok := strings.CutPrefix(target, root)
		if !ok || root == "" || rest != "" && rest[0] != '/' || slices.Contains(strings.Split(rest, "/"), "..") {
			return "", false
		}
		rest = strings.Trim(path.Clean("/"+rest), "/")
		var up string
		if dir != "." {
			up = strings.Repeat("../", strings.Count(dir, "/")+1)
		}
		if target = strings.TrimSuffix(up+rest, "/"); target == "" {
			target = "."
		}
		return target, true
	}
	depth := 0
	if dir != "." {
		depth = strings.Count(dir, "/") + 1
	}
	named := false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 || named {
				return "", false
			}
		default:
			named = true
		}
	}
	return target, true
}

// makeLinks makes the links that stay inside the folder. It runs after all files are written, so
// that no file is ever written through a link that came with it.
func (d *fetch) makeLinks() {
	for _, l := range d.links {
		target, ok := l.inside(d.head.where)
		if !ok {
			d.warn(l.name, "is a link to "+show(l.target)+", outside what is fetched: not created")
			continue
		}
		target = filepath.FromSlash(target)
		if have, err := d.root.Readlink(l.name); err == nil && have == target {
			d.result.Skipped++
			continue
		}
		if info, err := d.root.Lstat(l.name); err == nil && info.IsDir() {
			d.failed[l.name] = "a folder is here where a link must go"
			continue
		}
		if err := d.replaceLink(l.name, target); err != nil {
			d.warn(l.name, "is a link to "+show(l.target)+": not created: "+err.Error())
			continue
		}
		d.result.Files++
	}
}

func (d *fetch) replaceLink(name, target string) error {
	if _, err := d.root.Lstat(name); err != nil {
		return d.root.Symlink(target, name)
	}
	temp := path.Join(path.Dir(name), ".~"+rand.Text()[:12]+partSuffix)
	if err := d.root.Symlink(target, temp); err != nil {
		return err
	}
	if err := d.root.Rename(temp, name); err != nil {
		d.root.Remove(temp)
		return err
	}
	return nil
}

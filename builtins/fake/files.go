package fake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/push"
)

// A pushed is a local folder that a workspace has the files of.
type pushed struct{ workspace, source string }

// A content is a file on a node: data, or that of a local file.
type content struct {
	data  []byte
	local string
}

func (c content) read() ([]byte, error) {
	if c.local != "" {
		return os.ReadFile(c.local)
	}
	return c.data, nil
}

// tree is everything that is on the node now, by absolute path. It is called with the world locked.
func (n *node) tree(ctx context.Context) (map[string]content, error) {
	all := map[string]content{}
	for _, p := range n.pushed {
		files, err := push.Files(ctx, p.source, nil, nil)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			all[path.Join(p.workspace, f.Path)] = content{local: filepath.Join(p.source, filepath.FromSlash(f.Path))}
		}
	}
	for name, data := range n.world.files {
		all[n.absolute(name)] = content{data: data}
	}
	now := n.world.clock.Now()
	for _, j := range n.jobs {
		all[j.log] = content{data: j.logged(now)}
		for name, data := range j.written(now) {
			all[n.in(j.dir, name)] = content{data: data}
		}
	}
	for name, data := range n.own {
		all[name] = content{data: data}
	}
	return all, nil
}

// in is a path from a folder on the node.
func (n *node) in(dir, name string) string {
	if dir == "" || path.IsAbs(name) || strings.HasPrefix(name, "~") {
		return n.absolute(name)
	}
	return path.Join(dir, name)
}

// local is a path on this machine, from the test's folder.
func (w *World) local(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(w.dir, name)
}

// ReadFile implements builtins.Files.
func (n *node) ReadFile(ctx context.Context, name string) ([]byte, error) {
	if err := n.begin(ctx, "read_file"); err != nil {
		return nil, err
	}
	defer n.world.mu.Unlock()
	n.world.record("read_file", field{"path", name}, field{"node", n.id})
	all, err := n.tree(ctx)
	if err != nil {
		return nil, err
	}
	c, ok := all[n.absolute(name)]
	if !ok {
		return nil, notFound("read_file", name, "it does not exist on the node", fmt.Sprintf("in a test, fake.files({%q: ...}) makes it", name))
	}
	return c.read()
}

// WriteFile implements builtins.Files.
func (n *node) WriteFile(ctx context.Context, name string, data []byte, mode os.FileMode) error {
	if err := n.begin(ctx, "write_file"); err != nil {
		return err
	}
	defer n.world.mu.Unlock()
	n.world.record("write_file", field{"path", name}, field{"data", string(data)}, field{"mode", int(mode)}, field{"node", n.id})
	n.own[n.absolute(name)] = slices.Clone(data)
	return nil
}

// Exists implements builtins.Files.
func (n *node) Exists(ctx context.Context, name string) (bool, error) {
	if err := n.begin(ctx, "exists"); err != nil {
		return false, err
	}
	defer n.world.mu.Unlock()
	n.world.record("exists", field{"path", name}, field{"node", n.id})
	all, err := n.tree(ctx)
	if err != nil {
		return false, err
	}
	at := n.absolute(name)
	if at == home || at == n.base {
		return true, nil
	}
	for file := range all {
		if file == at || strings.HasPrefix(file, at+"/") {
			return true, nil
		}
	}
	return false, nil
}

// Glob implements builtins.Files.
func (n *node) Glob(ctx context.Context, pattern string) ([]string, error) {
	if err := n.begin(ctx, "glob"); err != nil {
		return nil, err
	}
	defer n.world.mu.Unlock()
	n.world.record("glob", field{"pattern", pattern}, field{"node", n.id})
	if slices.Contains(strings.Split(pattern, "/"), "**") {
		return nil, invalid("glob", pattern, `"**" is not supported`, `write one "*" for each level, or run find on the node`)
	}
	all, err := n.tree(ctx)
	if err != nil {
		return nil, err
	}
	absolute := n.absolute(pattern)
	found := map[string]bool{}
	for file := range all {
		for ; file != "/"; file = path.Dir(file) { // folders too
			ok, err := path.Match(absolute, file)
			if err != nil {
				return nil, invalid("glob", pattern, err.Error(), "")
			}
			if ok {
				if !path.IsAbs(pattern) && !strings.HasPrefix(pattern, "~") {
					file = strings.TrimPrefix(file, n.absolute(".")+"/")
				}
				found[file] = true
				break
			}
		}
	}
	names := []string{}
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// ExpandPath implements builtins.Files.
func (n *node) ExpandPath(ctx context.Context, name string) (string, error) {
	if err := n.begin(ctx, "expand_path"); err != nil {
		return "", err
	}
	defer n.world.mu.Unlock()
	return n.absolute(name), nil
}

// Upload implements builtins.Files.
func (n *node) Upload(ctx context.Context, local, remote string) (t engine.Transfer, err error) {
	if err := n.begin(ctx, "upload"); err != nil {
		return t, err
	}
	defer n.world.mu.Unlock()
	n.world.record("upload", field{"local", local}, field{"remote", remote}, field{"node", n.id})
	from := n.world.local(local)
	info, err := os.Stat(from)
	if err != nil {
		return t, err
	}
	to := n.absolute(remote)
	if strings.HasSuffix(remote, "/") {
		to = path.Join(to, filepath.Base(from))
	}
	put := func(name, at string) error {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		n.own[at] = data
		t.Files, t.Bytes = t.Files+1, t.Bytes+int64(len(data))
		return nil
	}
	if !info.IsDir() {
		return t, put(from, to)
	}
	return t, filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(from, name)
		return errors.Join(err, put(name, path.Join(to, filepath.ToSlash(rel))))
	})
}

// Download implements builtins.Files.
func (n *node) Download(ctx context.Context, remote, local string, missingOK bool) (engine.Transfer, error) {
	_, t, err := n.download(ctx, n.base, engine.ResultSpec{Remote: remote, Local: local, Optional: missingOK})
	return t, err
}

// download copies what is at a path of the node to the test's folder, by the rules of cp, and returns
// where it is.
func (n *node) download(ctx context.Context, dir string, r engine.ResultSpec) (target string, t engine.Transfer, err error) {
	if err := n.begin(ctx, "download"); err != nil {
		return "", t, err
	}
	defer n.world.mu.Unlock()
	n.world.record("download", field{"remote", r.Remote}, field{"local", r.Local}, field{"missing_ok", r.Optional}, field{"node", n.id})
	all, err := n.tree(ctx)
	if err != nil {
		return "", t, err
	}
	from, to := n.in(dir, r.Remote), n.world.local(r.Local)
	info, statErr := os.Stat(to)
	receives := strings.HasSuffix(r.Local, "/") || statErr == nil && info.IsDir()
	parts := map[string]content{} // by path from the target
	if c, ok := all[from]; ok {
		parts[""] = c
	} else {
		for name, c := range all {
			if rest, ok := strings.CutPrefix(name, from+"/"); ok {
				parts[rest] = c
			}
		}
		receives = receives && !strings.HasSuffix(r.Remote, "/") && path.Base(r.Remote) != "."
	}
	if len(parts) == 0 {
		if r.Optional {
			return "", t, nil
		}
		return to, t, notFound("download", r.Remote, "it does not exist on the node", "optional(path) and missing_ok = True mark what may be missing")
	}
	if receives {
		to = filepath.Join(to, path.Base(from))
	}
	for rest, c := range parts {
		data, err := c.read()
		if err != nil {
			return to, t, err
		}
		name := filepath.Join(to, filepath.FromSlash(rest))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, data, 0o644)); err != nil {
			return to, t, err
		}
		t.Files, t.Bytes = t.Files+1, t.Bytes+int64(len(data))
	}
	return to, t, nil
}

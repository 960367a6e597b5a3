package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// git runs git in dir and returns its standard output. The caller's own GIT_ variables, as a hook
// has them, must not redirect it to another repository.
func git(ctx context.Context, dir string, env []string, stdin []byte, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_NAMESPACE",
			"GIT_OBJECT_DIRECTORY", "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "LC_ALL", "LANGUAGE":
			continue
		}
		cmd.Env = append(cmd.Env, v)
	}
	cmd.Env = append(append(cmd.Env, "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0"), env...)
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err == nil {
		return stdout.Bytes(), nil
	}
	return nil, gitError(dir, args, err, strings.TrimSpace(stderr.String()))
}

// A notRepository is git's word that a folder belongs to no repository.
type notRepository struct{ error }

func gitError(dir string, args []string, err error, said string) error {
	e := &fault.Error{Kind: fault.Invalid, Op: "list the files of", Target: dir}
	switch {
	case errors.Is(err, exec.ErrNotFound):
		e.Err = errors.New("git is not installed, and it is git that knows which files belong to this folder")
		e.Hint = "install git on this machine"
	case strings.Contains(said, "dubious ownership"), strings.Contains(said, "unsafe repository"):
		e.Err = errors.New("git refuses to read the repository, because it belongs to another user")
		e.Hint = "if you trust it: git config --global --add safe.directory " + repository(dir)
	case strings.Contains(said, "not a git repository (or any"):
		return notRepository{errors.New(said)}
	default:
		if said == "" {
			said = err.Error()
		}
		e.Err = fmt.Errorf("git %s: %s", args[0], strings.ReplaceAll(said, "\n", "; "))
		e.Hint = "the same is said by: git -C " + dir + " status"
	}
	return e
}

// repository returns the folder at or above dir that has a .git, or "".
func repository(dir string) string {
	for {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

// A listed is a path as git lists it.
type listed struct {
	path    string
	tracked bool
}

// gitFiles lists what git would show in dir, which is in a repository: tracked files and untracked
// ones that are not ignored. Folders in the list are repositories of their own. Paths are relative
// to dir.
func gitFiles(ctx context.Context, dir string) ([]listed, error) {
	out, err := git(ctx, dir, nil, nil, "ls-files", "-t", "-c", "-o", "--exclude-standard", "-z")
	if err != nil {
		return nil, err
	}
	var files []listed
	seen := map[string]bool{} // an unmerged file is listed once per stage
	for item := range strings.SplitSeq(string(out), "\x00") {
		tag, p, ok := strings.Cut(item, " ")
		if !ok || seen[p] {
			continue
		}
		seen[p] = true
		files = append(files, listed{path: p, tracked: tag != "?"})
	}
	return files, nil
}

// ignoredBy returns which of the paths the gitignore patterns in the file match. Git decides: the
// paths go into the index of an empty repository, which knows nothing but them.
func ignoredBy(ctx context.Context, source, patterns string, paths []string) (map[string]bool, error) {
	tmp, err := os.MkdirTemp("", "bifrost-ignore-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	gitDir := filepath.Join(tmp, "git")
	for _, d := range []string{"objects", "refs"} {
		if err := os.MkdirAll(filepath.Join(gitDir, d), 0o700); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(gitDir, "HEAD"), []byte("ref: refs/heads/main\n"), 0o600); err != nil {
		return nil, err
	}
	work := filepath.Join(tmp, "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		return nil, err
	}
	env := []string{"GIT_DIR=" + gitDir, "GIT_WORK_TREE=" + work}
	var index bytes.Buffer
	for _, p := range paths {
		index.WriteString("100644 e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\t" + p + "\x00")
	}
	plain := []string{"-c", "core.protectNTFS=false", "-c", "core.protectHFS=false", "-c", "core.ignoreCase=false"}
	if _, err := git(ctx, work, env, index.Bytes(), append(plain, "update-index", "-z", "--index-info")...); err != nil {
		return nil, err
	}
	out, err := git(ctx, work, env, nil, append(plain, "ls-files", "-c", "-i", "-z", "--exclude-from="+filepath.Join(source, patterns))...)
	if err != nil {
		return nil, err
	}
	ignored := map[string]bool{}
	for p := range strings.SplitSeq(string(out), "\x00") {
		ignored[p] = true
	}
	return ignored, nil
}

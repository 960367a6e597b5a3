package vendored

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// An InputError is a name, URL or ref that nothing was tried with.
type InputError struct{ Message, Hint string }

func (e *InputError) Error() string { return e.Message }

var (
	scpForm = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9_][A-Za-z0-9._-]*:[^:]+$`)
	hostOf  = lazyregexp.New(`^[A-Za-z0-9_\[][A-Za-z0-9._:\[\]-]*$`)
	refForm = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9._/+@-]*$`)
	hexForm = lazyregexp.New(`^[0-9a-f]{4,64}$`)
)

// Source checks where a module is to come from and returns it as it is written down. A local path becomes
// absolute. What git would take for an option or run as a program is refused.
func Source(from string) (string, error) {
	const forms = "it is https://…, ssh://…, file:///…, user@host:path, or a folder"
	bad := func(why string) error { return &InputError{fmt.Sprintf("%q %s", from, why), forms} }
	switch {
	case from == "":
		return "", &InputError{"the URL is empty", forms}
	case strings.HasPrefix(from, "-"):
		return "", bad("begins with -, as an option does")
	case strings.ContainsFunc(from, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == unicode.ReplacementChar }):
		return "", bad("has white space or control characters")
	case strings.Contains(from, "::"):
		return "", bad("names a remote helper, which would be run as a program")
	case scpForm().MatchString(from):
		return from, nil
	}
	if scheme, _, found := strings.Cut(from, "://"); found {
		u, err := url.Parse(from)
		switch {
		case err != nil:
			return "", bad("is no URL")
		case !slices.Contains([]string{"https", "ssh", "file"}, scheme):
			return "", bad("is of a kind that modules do not come from")
		case scheme != "file" && !hostOf().MatchString(u.Host):
			return "", bad("has no host")
		}
		if _, secret := u.User.Password(); secret {
			return "", &InputError{"the URL has a password in it, which would be written to the configuration", "leave it out; git asks its credential helper"}
		}
		return from, nil
	}
	abs, err := filepath.Abs(from)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(abs); err != nil || !info.IsDir() {
		return "", bad("is neither a URL nor a folder")
	}
	return abs, nil
}

func checkRef(ref string) error {
	if ref != "" && (!refForm().MatchString(ref) || strings.Contains(ref, "..")) {
		return &InputError{fmt.Sprintf("%q is no branch, tag or commit", ref), "git ls-remote shows them"}
	}
	return nil
}

// A repository is a bare one that a commit is fetched into.
type repository struct{ dir string }

// git runs the program and returns what it prints. It asks nobody anything, and follows no protocol
// but those that Source allows.
func (r repository) git(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", r.dir, "-c", "core.hooksPath=" + os.DevNull, "-c", "fetch.recurseSubmodules=false", "-c", "gc.auto=0"}, args...)...)
	for _, entry := range os.Environ() {
		switch name, _, _ := strings.Cut(entry, "="); name {
		case "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_COMMON_DIR":
			// of the hook that this may run in
		default:
			cmd.Env = append(cmd.Env, entry)
		}
	}
	cmd.Env = append(cmd.Env, "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=file:https:ssh", "LC_ALL=C")
	cmd.Stdin = stdin
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	switch text := strings.TrimSpace(errs.String()); {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return nil, errors.New("the git program is not installed")
	case err != nil && text != "":
		return nil, errors.New(text)
	case err != nil:
		return nil, err
	}
	return out.Bytes(), nil
}

// fetch gets a commit from a source and returns its hash.
func (r repository) fetch(ctx context.Context, from, ref string) (string, error) {
	if _, err := r.git(ctx, nil, "init", "-q", "--bare", "."); err != nil {
		return "", err
	}
	want := ref
	if ref == "" {
		want = "HEAD"
	}
	found := "FETCH_HEAD"
	if _, err := r.git(ctx, nil, "fetch", "-q", "--depth=1", "--no-tags", "--", from, want); err != nil {
		if !hexForm().MatchString(ref) {
			return "", err
		}
		// A commit that the server does not hand out by its hash, or part of a hash.
		if _, err := r.git(ctx, nil, "fetch", "-q", "--", from, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"); err != nil {
			return "", err
		}
		found = ref
	}
	out, err := r.git(ctx, nil, "rev-parse", "--verify", "--end-of-options", found+"^{commit}")
	return strings.TrimSpace(string(out)), err
}

// An entry is a file of a commit.
type entry struct {
	path, mode, object string
	size               int64
}

// list returns the files of a commit.
func (r repository) list(ctx context.Context, commit string) ([]entry, error) {
	out, err := r.git(ctx, nil, "ls-tree", "-r", "-z", "-l", "--full-tree", commit)
	if err != nil {
		return nil, err
	}
	var all []entry
	for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		about, path, ok := strings.Cut(line, "\t")
		fields := strings.Fields(about)
		if !ok || len(fields) != 4 {
			continue // of an empty tree
		}
		size, _ := strconv.ParseInt(fields[3], 10, 64) // "-" of a submodule
		all = append(all, entry{path, fields[0], fields[2], size})
	}
	return all, nil
}

// contents calls use with the content of each entry, in order.
func (r repository) contents(ctx context.Context, entries []entry, use func(e entry, data []byte) error) error {
	var ask strings.Builder
	for _, e := range entries {
		ask.WriteString(e.object + "\n")
	}
	out, err := r.git(ctx, strings.NewReader(ask.String()), "cat-file", "--batch")
	if err != nil {
		return err
	}
	answer := bufio.NewReader(bytes.NewReader(out))
	for _, e := range entries {
		header, err := answer.ReadString('\n')
		if err != nil || !strings.HasPrefix(header, e.object+" blob ") {
			return fmt.Errorf("%s: git has not answered with its content", e.path)
		}
		data := make([]byte, e.size)
		if _, err := io.ReadFull(answer, data); err != nil {
			return err
		}
		if _, err := answer.Discard(1); err != nil {
			return err
		}
		if err := use(e, data); err != nil {
			return err
		}
	}
	return nil
}

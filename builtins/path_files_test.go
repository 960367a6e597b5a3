package builtins

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// pathTree makes the folder that the tests of files run in:
//
//	.hidden  a.txt  sub/b.txt  sub/deep/c.txt  sub/deep/[x].txt  empty/  out -> outside  in -> sub  gone -> nowhere
//
// with outside/secret.txt beside it.
func pathTree(t *testing.T) (dir, outside string) {
	t.Helper()
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir, outside = filepath.Join(top, "root"), filepath.Join(top, "outside")
	for name, text := range map[string]string{
		"root/.hidden": "h", "root/a.txt": "a\r\nb\rc\n", "root/sub/b.txt": "b", "root/sub/deep/c.txt": "c", "root/sub/deep/[x].txt": "x", "outside/secret.txt": "secret",
	} {
		path := filepath.Join(top, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		os.Mkdir(filepath.Join(dir, "empty"), 0o755), os.Symlink(outside, filepath.Join(dir, "out")),
		os.Symlink("sub", filepath.Join(dir, "in")), os.Symlink("nowhere", filepath.Join(dir, "gone")),
	); err != nil {
		t.Fatal(err)
	}
	return dir, outside
}

// within allows what is in a folder.
func within(dir string) policy.Policy {
	return func(_ context.Context, r policy.Request) error {
		if rel, err := filepath.Rel(dir, r.Target); err == nil && filepath.IsLocal(rel) {
			return nil
		}
		return errors.New("it is outside")
	}
}

// runIn runs a script with dir as the current folder and returns what it prints, notices included.
func runIn(t *testing.T, dir, script string, p policy.Policy) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.star")
	if err := os.WriteFile(path, []byte(script+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := new(syncBuffer)
	opts := testLibrary(out).opts
	opts.WorkDir = dir
	_, err := testHost(New(&fakeEngine{io.Discard}, opts), out, p).Exec(t.Context(), path, nil)
	return out.b.String(), err
}

// TestGlob has for every pattern what print(*sorted(Path(".").glob(pattern))) prints in Python 3.11 in
// a tree as pathTree makes it.
func TestGlob(t *testing.T) {
	t.Parallel()
	dir, _ := pathTree(t)
	for _, test := range []struct{ pattern, want string }{
		{"*", ".hidden a.txt empty gone in out sub"},
		{"*.txt", "a.txt"},
		{"*/", "empty in out sub"},
		{"*/*", "in/b.txt in/deep out/secret.txt sub/b.txt sub/deep"},
		{"*/*/", "in/deep sub/deep"},
		{"**", ". empty sub sub/deep"},
		{"**/", ". empty sub sub/deep"},
		{"**/*", ".hidden a.txt empty gone in out sub sub/b.txt sub/deep sub/deep/[x].txt sub/deep/c.txt"},
		{"**/*.txt", "a.txt sub/b.txt sub/deep/[x].txt sub/deep/c.txt"},
		{"**/deep/*", "sub/deep/[x].txt sub/deep/c.txt"},
		{"**/**/c.txt", "sub/deep/c.txt"},
		{"sub/**", "sub sub/deep"},
		{"in/*", "in/b.txt in/deep"},
		{"in/**/c.txt", "in/deep/c.txt"},
		{"sub/../*.txt", "sub/../a.txt"},
		{"../root/a.*", "../root/a.txt"},
		{"./a.txt", "a.txt"},
		{"a.txt", "a.txt"},
		{"a.txt/", ""},
		{"gone", ""},
		{"nosuch/*", ""},
		{"sub/deep/[[]x].txt", "sub/deep/[x].txt"},
		{"sub/deep/[x].txt", ""},
		{"?.txt", "a.txt"},
		{"[!b-z].txt", "a.txt"},
		{"[]a].txt", "a.txt"},
		{"[-a].t[x-x]t", "a.txt"},
		{"[z-a].txt", ""},
		{"[a.txt", ""},
		{".*", ".hidden"},
		{"*.TXT", ""},
		{"s*b", "sub"},
		{"*u*", "out sub"},
	} {
		got, err := runIn(t, dir, `print(*Path(".").glob(`+quoted(test.pattern)+`))`, policy.Typed())
		if got = strings.TrimSuffix(got, "\n"); err != nil || got != test.want {
			t.Errorf("glob %q: got %q, error %v, want %q", test.pattern, got, err, test.want)
		}
	}
}

func quoted(s string) string { return `"` + s + `"` }

// TestGlobStaysInside globs where only the root may be read. What a pattern found outside is not told,
// what the script named is an error.
func TestGlobStaysInside(t *testing.T) {
	t.Parallel()
	dir, outside := pathTree(t)
	passed := "notice: glob: out is passed over: the script may not read " + outside
	for _, test := range []struct{ glob, want, denied string }{
		{`Path(".").glob("*")`, ".hidden a.txt empty gone in out sub\n", ""},
		{`Path(".").glob("*/*.txt")`, passed, ""},
		{`Path(".").glob("**/*.txt")`, "a.txt sub/b.txt sub/deep/[x].txt sub/deep/c.txt\n", ""},
		{`Path(".").glob("out/*")`, "", outside},
		{`Path(".").glob("out/secret.txt")`, "", outside},
		{`Path(".").glob("out")`, "", outside},
		{`Path(".").glob("../outside/*")`, "", filepath.Dir(outside)},
		{`Path("out").glob("*")`, "", outside},
		{`Path("out/../outside").glob("*")`, "", outside},
		{`Path("in/../..").glob("*")`, "", filepath.Dir(outside)},
		{`Path("/").glob("*")`, "", "/"},
	} {
		got, err := runIn(t, dir, `print(*`+test.glob+`)`, within(dir))
		var denied *policy.Denied
		switch {
		case test.denied != "" && (!errors.As(err, &denied) || denied.Request.Target != test.denied):
			t.Errorf("%s: got %q, error %v, want a refusal of %s", test.glob, got, err, test.denied)
		case test.denied == "" && (err != nil || !strings.HasPrefix(got, test.want)):
			t.Errorf("%s: got %q, error %v, want %q", test.glob, got, err, test.want)
		case strings.Contains(got, "secret.txt"):
			t.Errorf("%s tells of what is outside: %q", test.glob, got)
		}
	}
}

// TestFilesStayInside looks, reads and writes through links and "..": the gate is asked for what they
// lead to.
func TestFilesStayInside(t *testing.T) {
	t.Parallel()
	for _, expr := range []string{
		`Path("out").exists()`, `Path("out/secret.txt").exists()`, `Path("out/nosuch").exists()`, `Path("out/secret.txt").read_text()`, `Path("out/secret.txt").stat()`,
		`Path("out").iterdir()`, `Path("out").resolve()`, `Path("../outside/secret.txt").read_bytes()`, `Path("in/../../outside/secret.txt").is_file()`,
		`Path("out/secret.txt").write_text("")`, `Path("out/new").write_bytes(b"")`, `Path("out/new").mkdir()`, `Path("out/secret.txt").unlink()`,
		`(Path("a.txt") / ".." / ".." / "outside" / "secret.txt").read_text()`, `Path("/etc/passwd").read_text()`,
	} {
		dir, outside := pathTree(t)
		got, err := runIn(t, dir, expr, within(dir))
		var denied *policy.Denied
		if !errors.As(err, &denied) || got != "" {
			t.Errorf("%s: got %q, error %v, want a refusal", expr, got, err)
		}
		text, err := os.ReadFile(filepath.Join(outside, "secret.txt"))
		if entries, _ := os.ReadDir(outside); err != nil || string(text) != "secret" || len(entries) != 1 {
			t.Errorf("%s changed what is outside", expr)
		}
	}
	dir, outside := pathTree(t)
	if _, err := runIn(t, dir, `Path("out").unlink()`, within(dir)); err != nil {
		t.Errorf("unlink of a link inside: %v", err)
	}
	if _, err := os.Stat(filepath.Join(outside, "secret.txt")); err != nil {
		t.Errorf("unlink of a link took what it leads to: %v", err)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir, _ := pathTree(t)
	if err := os.WriteFile(filepath.Join(dir, "latin1.txt"), []byte("caf\xe9"), 0o644); err != nil {
		t.Fatal(err)
	}
	big, err := os.Create(filepath.Join(dir, "big"))
	if err == nil {
		err = errors.Join(big.Truncate(maxContents+1), big.Close())
	}
	if err == nil {
		err = os.Symlink("loop", filepath.Join(dir, "loop"))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ script, want string }{
		{`print(repr(Path("a.txt").read_text()))`, `"a\nb\nc\n"` + "\n"}, // universal newlines
		{`print(Path("a.txt").read_bytes() == b"a\r\nb\rc\n")`, "True\n"},
		{`print(Path("in/b.txt").read_text(encoding = "UTF-8"), Path("in/b.txt").stat().st_size)`, "b 1\n"},
		{`print(Path("in/../a.txt").exists(), Path("loop").exists(), Path("gone").exists(), Path("a.txt/x").exists())`, "True False False False\n"},
		{`print(Path("in").resolve().name, Path("gone").resolve().name, Path("in/..").resolve().name)`, "sub nowhere root\n"},
		{`Path("in/new.txt").write_text("ü\r\n"); print(Path("sub/new.txt").read_bytes() == bytes("ü\r\n"))`, "True\n"},
		{`Path("gone").write_text("now"); print(Path("nowhere").read_text(), Path("gone").read_text())`, "now now\n"},
		{`Path("x/y/z").mkdir(parents = True); Path("x/y/z").mkdir(parents = True, exist_ok = True); print(Path("x/y/z").is_dir())`, "True\n"},
		{`value, err = attempt(Path("nosuch/a.txt").read_text)` + "\n" + `print(err.kind, err.target, err.hint)`, "not_found nosuch/a.txt local paths start at the current folder, " + dir + "; Path(__file__).parent is the script's own\n"},
		{`print(attempt(Path("latin1.txt").read_text)[1])`, "invalid: read_text latin1.txt: it is not UTF-8, from byte 3 on\n"},
		{`print(attempt(Path("big").read_bytes)[1])`, "invalid: read_bytes big: it is larger than 64 MiB\n"},
		{`print(attempt(Path("loop").read_text)[1])`, "invalid: read_text loop: too many levels of symbolic links\n"},
		{`print(attempt(Path("loop").resolve)[1])`, "invalid: resolve loop: too many levels of symbolic links\n"},
		{`print(attempt(Path("sub").unlink)[1], attempt(Path("sub/..").unlink)[1], sep = "\n")`, "invalid: unlink sub: it is a folder\ninvalid: unlink sub/..: it is a folder\n"},
		{`print(attempt(Path("sub").write_text, "x")[1])`, "invalid: write_text sub: it is a folder\n"},
		{`print(attempt(Path("sub").mkdir)[1], attempt(Path("a.txt").mkdir, exist_ok = True)[1], attempt(Path("p/q").mkdir)[1], sep = "\n")`, "conflict: mkdir sub: it exists already\nconflict: mkdir a.txt: it exists already\nnot_found: mkdir p/q: it does not exist\n"},
		{`print(attempt(Path("a.txt/q").mkdir, parents = True)[1])`, "invalid: mkdir a.txt/q: not a directory\n"},
		{`print(Path("sub").stat().st_mtime > 1e9)`, "True\n"},
	} {
		got, err := runIn(t, dir, test.script, within(dir))
		if err != nil || got != test.want {
			t.Errorf("%s\n got %q, error %v\nwant %q", test.script, got, err, test.want)
		}
	}
	for script, want := range map[string]string{
		`Path("a.txt").read_text(encoding = "latin-1")`:       `encoding: got "latin-1", want "utf-8", the only encoding`,
		`Path("a.txt").write_text(secret("HF_TOKEN"))`:        `data: got secret, want a string or bytes`,
		`Path("a.txt").write_text("<secret HF_TOKEN>")`:       "stands for a value that no text may have",
		`Path("<secret HF_TOKEN>")`:                           "stands for a value that no text may have",
		`Path("a\x00b")`:                                      "it has a NUL byte",
		`Path("a").open()`:                                    "Path has no .open field or method",
		`remote_job(ssh = "gpu", command = "x", source = "")`: "source: it is empty",
	} {
		if _, err := runIn(t, dir, script, policy.Typed()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", script, err, want)
		}
	}
}

// TestWriteKeeps writes over files: their mode and links to them stay, and nothing else is left.
func TestWriteKeeps(t *testing.T) {
	t.Parallel()
	dir, _ := pathTree(t)
	program := filepath.Join(dir, "program")
	if err := errors.Join(os.WriteFile(program, []byte("old"), 0o600), os.Chmod(program, 0o751), os.Symlink("program", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := runIn(t, dir, `Path("link").write_text("new")`, within(dir)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(program)
	if err != nil || info.Mode().Perm() != 0o751 {
		t.Errorf("mode %v, error %v, want 0751", info.Mode(), err)
	}
	if link, err := os.Lstat(filepath.Join(dir, "link")); err != nil || link.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
	after, err := os.ReadDir(dir)
	if err != nil || len(after) != len(before) {
		t.Errorf("%d files, error %v, want the %d that were there", len(after), err, len(before))
	}
}

// TestFilesWhileLoading loads a module that looks at a file: it is refused, and the text of paths is not.
func TestFilesWhileLoading(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ module, want string }{
		{`X = (Path(__file__).parent / "x").name`, ""},
		{`X = Path("a").exists()`, "a module cannot act while it loads"},
		{`X = Path("a").resolve()`, "a module cannot act while it loads"},
		{`X = Path("a").write_text("x")`, "a module cannot act while it loads"},
	} {
		main := filepath.Join(dir, "main.star")
		if err := errors.Join(os.WriteFile(filepath.Join(dir, "lib.star"), []byte(test.module+"\n"), 0o644), os.WriteFile(main, []byte(`load("./lib.star", "X")`+"\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
		_, err := testHost(testLibrary(io.Discard), io.Discard, policy.Typed()).Exec(t.Context(), main, nil)
		got := ""
		var shown *starlark.Error
		if errors.As(err, &shown) {
			got = shown.Message
		}
		if (err == nil) != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %v, want %q", test.module, err, test.want)
		}
	}
}

// TestLocalPaths gives a Path to every parameter that is a local path.
func TestLocalPaths(t *testing.T) {
	t.Parallel()
	dir, _ := pathTree(t)
	script := `
here = Path("sub")
node = acquire_node(ssh = "gpu")
node.upload(here / "b.txt", "there")
node.download("there", here / "new")
node.push("~/w", source = here)
job = remote_job(ssh = "gpu", command = "x", timeout = None, source = here, results = {"a": here, "b": optional(here / "c")})
print(job.source, job.results)
with_job(job)
`
	var asked []string
	out := new(syncBuffer)
	path := filepath.Join(t.TempDir(), "x.star")
	if err := os.WriteFile(path, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	opts := testLibrary(io.Discard).opts
	opts.WorkDir = dir
	_, err := testHost(New(&fakeEngine{out}, opts), out, func(_ context.Context, r policy.Request) error {
		if r.Capability != policy.SSH {
			asked = append(asked, string(r.Capability)+" "+strings.TrimPrefix(r.Target, dir+"/"))
		}
		return nil
	}).Exec(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"read files sub/b.txt", "write files sub/new", "read files sub", "read files sub", "write files sub", "write files sub/c"}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("what the gate was asked, -want +got:\n%s", diff)
	}
	got := strings.ReplaceAll(out.b.String(), dir, "DIR")
	for _, part := range []string{"sub {\"a\": sub, \"b\": optional(local = sub/c)}", "DIR/sub/b.txt", "DIR/sub/new", "fetch a to DIR/sub,", "fetch b to DIR/sub/c,"} {
		if !strings.Contains(got, part) {
			t.Errorf("no %q in\n%s", part, got)
		}
	}
}

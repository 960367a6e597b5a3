package starlark

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/starlark/config"
	"github.com/bifrost-run/bifrost/starlark/vendored"
)

// vendor writes the configuration, the lock and the trees of vendored modules into a root.
func vendor(t *testing.T, dir string, modules map[string]map[string]string) {
	t.Helper()
	toml, lock := "", "version = 1\n"
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		source := fmt.Sprintf("[modules.%s]\ngit = \"https://example.com/%s\"\n", name, name)
		toml += source
		lock += source + "commit = \"c0ffee\"\n[modules." + name + ".files]\n"
		for file, text := range modules[name] {
			writeFile(t, filepath.Join(dir, vendored.Dir(name), file), text)
			lock += fmt.Sprintf("%q = %q\n", file, vendored.Sum([]byte(text)))
		}
	}
	writeFile(t, filepath.Join(dir, config.File), toml)
	writeFile(t, filepath.Join(dir, vendored.LockFile), lock)
}

// testLibraries are what the hosts of these tests have.
func testLibraries() map[string]fs.FS {
	return map[string]fs.FS{"std": fstest.MapFS{
		"hf.star":      {Data: []byte("load('./lib/x.star', 'x')\nhf = 'hf ' + x\n")},
		"lib/x.star":   {Data: []byte("x = 'x'\n")},
		"README.md":    {Data: []byte("no module")},
		"project.star": {Data: []byte("load('//deploy.star', 'y')\nx = 1\n")},
	}}
}

// checkProblem runs Check and compares the first problem: "" wants none.
func checkProblem(t *testing.T, file, want, hint string) {
	t.Helper()
	err := (&Host{Libraries: testLibraries()}).Check(t.Context(), file)
	var static *StaticError
	switch {
	case want == "" && err != nil:
		t.Errorf("Check = %v, want nil", err)
	case want == "":
	case !errors.As(err, &static):
		t.Errorf("Check = %v, want a *StaticError with %q", err, want)
	default:
		got := static.Problems[0]
		if !strings.Contains(got.Error(), want) || !strings.Contains(got.Hint, hint) {
			t.Errorf("Check = %q, hint %q, want %q, hint %q", got, got.Hint, want, hint)
		}
		if len(got.Error()) > 1000 {
			t.Errorf("Check = %d bytes of text", len(got.Error()))
		}
		if err := static.Render(io.Discard); err != nil {
			t.Error(err)
		}
	}
}

// TestLoadForms has one load for each way to write one, good and hostile. The file is app/deploy.star in
// the root.
func TestLoadForms(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	vendor(t, dir, map[string]map[string]string{
		"acme": {
			"a.star":       "load('./lib/b.star', 'b')\nload('//lib/b.star', c = 'b')\nload('@std//hf.star', 'hf')\nload('@other//o.star', 'o')\na = b\n_private = 1\n",
			"lib/b.star":   "b = 'b'\n",
			"up.star":      "load('../../deploy.star', 'y')\nx = 1\n",
			"root.star":    "load('//app/x.star', 'y')\nx = 1\n",
			"unnamed.star": "load('@third//x.star', 'y')\nx = 1\n",
			"dots.star":    "load('@acme//../other/o.star', p = 'o')\no = 1\n",
			"README":       "",
		},
		"other": {"o.star": "o = 'o'\n"},
	})
	writeFile(t, filepath.Join(dir, "app/x.star"), "x = 1\n_y = 2\n")
	writeFile(t, filepath.Join(dir, "lib/a.star"), "a = 1\n")
	writeFile(t, filepath.Join(dir, "lib/huge.star"), "x = 1\n"+strings.Repeat("#", maxSource-5))
	writeFile(t, filepath.Join(dir, "lib/full.star"), "x = 1\n"+strings.Repeat("#", maxSource-6))
	writeFile(t, filepath.Join(outside, "s.star"), "x = 1\n")
	link(t, "loop.star", filepath.Join(dir, "app/loop.star"))
	link(t, "app", filepath.Join(dir, "same"))
	link(t, outside, filepath.Join(dir, "out"))
	link(t, filepath.Join(vendored.Folder, "acme"), filepath.Join(dir, "away"))
	for i, test := range []struct{ load, want, hint string }{
		{`"./x.star", "x"`, "", ""},
		{`"../lib/a.star", "a"`, "", ""},
		{`"//lib/a.star", "a"`, "", ""},
		{`"//lib/../lib/./a.star", "a"`, "", ""},
		{`"//same/x.star", "x"`, "", ""},
		{`"@std//hf.star", "hf"`, "", ""},
		{`"@std//lib/../hf.star", "hf"`, "", ""},
		{`"@acme//a.star", "a"`, "", ""},
		{`"@acme//lib/b.star", "b"`, "", ""},
		{`"//lib/full.star", "x"`, "", ""},

		{`"//../x.star", "x"`, `"//../x.star" leads outside the root`, "modules live under the root"},
		{`"///etc/passwd.star", "x"`, "leads outside the root", ""},
		{`"../../x.star", "x"`, "leads outside the root", ""},
		{`"//out/s.star", "x"`, "is a symbolic link that leads outside the root", ""},
		{`"./loop.star", "x"`, `"./loop.star" too many levels of symbolic links`, ""},
		{`"//lib/huge.star", "x"`, "is larger than 4 MiB", ""},
		{`"./X.star", "x"`, `"./X.star" does not exist`, "did you mean ./x.star?"},
		{`"//LIB/a.star", "a"`, "does not exist", ""},
		{`"./%2e%2e/lib/a.star", "a"`, "does not exist", ""},
		{`".%2f..%2flib/a.star", "a"`, "starts with ./", ""},
		{`"./x.star\x00", "x"`, `has the character '\x00'`, ""},
		{`"./x\n.star", "x"`, `has the character '\n'`, ""},
		{`".\\x.star", "x"`, `has a \`, "write / between folders"},
		{`"./\u202ex.star", "x"`, "does not exist", ""},
		{`"", "x"`, "starts with ./", ""},
		{`"./` + strings.Repeat("a", 2000) + `.star", "x"`, "2007 bytes long", ""},
		{`"./` + strings.Repeat("a", 300) + `.star", "x"`, "file name too long", ""},
		{`"` + strings.Repeat("../", 300) + `x.star", "x"`, "leads outside the root", ""},

		{`"@std//../../etc/passwd", "x"`, `"@std//../../etc/passwd" leads outside @std`, ""},
		{`"@std///etc/passwd", "x"`, "leads outside @std", ""},
		{`"@std//hff.star", "x"`, "does not exist", "did you mean @std//hf.star?"},
		{`"@std//README.md", "x"`, "is not a .star file", ""},
		{`"@std//lib", "x"`, "is a folder", "x.star"},
		{`"@std//", "x"`, "is a folder", "hf.star"},
		{`"@std/hf.star", "x"`, "is not of the form @name//x.star", `write "@std//hf.star"`},
		{`"@sdt//hf.star", "x"`, "there is no @sdt", "did you mean @std?"},
		{`"@Acme//a.star", "x"`, "there is no @Acme", "did you mean @acme?"},
		{`"@third//a.star", "x"`, "there is no @third", "bifrost mod add third GIT-URL"},
		{`"@../x//a.star", "x"`, "there is no @../x", "names have a-z"},
		{`"@//a.star", "x"`, "there is no @", ""},
		{`"@std//hf.star", "hff"`, "@std//hf.star has no hff", "did you mean hf?"},
		{`"@acme//a.star", "_private"`, "not exported", ""},
		{`"@std//project.star", "x"`, `"//deploy.star" does not exist`, ""},

		{`"//bifrost_modules/acme/a.star", "a"`, "is a file of a vendored module", `"@acme//a.star"`},
		{`"../bifrost_modules/acme/a.star", "a"`, "is a file of a vendored module", ""},
		{`"//Bifrost_Modules/acme/a.star", "a"`, "is a file of a vendored module", ""},
		{`"//away/a.star", "a"`, "is a file of a vendored module", ""},
		{`"@acme//up.star", "x"`, `"../../deploy.star" leads outside @acme`, ""},
		{`"@acme//root.star", "x"`, `"//app/x.star" does not exist`, ""},
		{`"@acme//unnamed.star", "x"`, "there is no @third", ""},
		{`"@acme//dots.star", "o"`, "leads outside @acme", ""},
		{`"@acme//../other/o.star", "o"`, "leads outside @acme", ""},
		{`"@acme//dost.star", "o"`, `"@acme//dost.star" does not exist`, "did you mean @acme//dots.star?"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(dir, fmt.Sprintf("app/deploy%d.star", i))
			writeFile(t, file, "load("+test.load+")\n")
			checkProblem(t, file, test.want, test.hint)
		})
	}
}

// TestVendoredMustMatch changes a vendored tree, its lock or its configuration behind bifrost's back.
func TestVendoredMustMatch(t *testing.T) {
	t.Parallel()
	edit := func(old, new string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			text, err := os.ReadFile(path)
			if err != nil || !strings.Contains(string(text), old) {
				t.Fatalf("%s: no %q, %v", path, old, err)
			}
			writeFile(t, path, strings.ReplaceAll(string(text), old, new))
		}
	}
	remove := func(t *testing.T, path string) {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	create := func(text string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) { writeFile(t, path, text) }
	}
	for _, test := range []struct {
		name, file string
		change     func(t *testing.T, path string)
		want, hint string
	}{
		{"as it was", "deploy.star", func(*testing.T, string) {}, "", ""},
		{"changed", "bifrost_modules/acme/a.star", edit("1", "2"), "bifrost_modules/acme/a.star is changed", "bifrost mod verify"},
		{"changed, not loaded", "bifrost_modules/acme/data.txt", create("other"), "bifrost_modules/acme/data.txt is changed", "bifrost mod add acme https://example.com/acme c0ffee"},
		{"missing", "bifrost_modules/acme/lib/b.star", remove, "bifrost_modules/acme/lib/b.star is missing", ""},
		{"extra", "bifrost_modules/acme/new.star", create(""), "bifrost_modules/acme/new.star is extra", ""},
		{"a link", "bifrost_modules/acme/a.star", func(t *testing.T, path string) {
			remove(t, path)
			writeFile(t, filepath.Join(filepath.Dir(path), "../../twin.star"), "load('./lib/b.star', 'b')\na = 1\n")
			link(t, "../../twin.star", path)
		}, "bifrost_modules/acme/a.star is not a regular file", ""},
		{"no tree", "bifrost_modules/acme", remove, "bifrost_modules/acme: no such file or directory", "brings back what is pinned"},
		{"tree is a link", "bifrost_modules/acme", func(t *testing.T, path string) {
			if err := os.Rename(path, path+"2"); err != nil {
				t.Fatal(err)
			}
			link(t, "acme2", path)
		}, "bifrost_modules/acme is not a folder", ""},
		{"no lock", "bifrost.lock", remove, "@acme is in bifrost.toml and not in bifrost.lock", "bifrost mod add acme https://example.com/acme pins it"},
		{"another URL", "bifrost.toml", edit("example.com/acme", "evil.example/acme"), "differ about where @acme comes from", ""},
		{"another ref", "bifrost.toml", edit("acme\"", "acme\"\nref = \"v2\""), "differ about where @acme comes from", ""},
		{"broken lock", "bifrost.lock", edit("version = 1", "version = "), "bifrost.lock: ", "writes it again"},
		{"newer lock", "bifrost.lock", edit("version = 1", "version = 9"), "it is of version 9", ""},
		{"broken configuration", "bifrost.toml", edit("git", "gti"), "bifrost.toml:2: config: unknown key modules.acme.gti", "did you mean git?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			vendor(t, dir, map[string]map[string]string{"acme": {
				"a.star": "load('./lib/b.star', 'b')\na = 1\n", "lib/b.star": "b = 1\n", "data.txt": "data",
			}})
			writeFile(t, filepath.Join(dir, "deploy.star"), "load('@acme//a.star', 'a')\n")
			test.change(t, filepath.Join(dir, test.file))
			checkProblem(t, filepath.Join(dir, "deploy.star"), test.want, test.hint)
		})
	}
}

func TestVendoredFileIsNoScript(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	vendor(t, dir, map[string]map[string]string{"acme": {"a.star": "a = 1\n"}})
	checkProblem(t, filepath.Join(dir, "bifrost_modules/acme/a.star"), "is a file of a vendored module", `"@acme//a.star"`)
	writeFile(t, filepath.Join(dir, "bifrost_modules/acme", config.File), "[allow]\nenv = [\"*\"]\n")
	checkProblem(t, filepath.Join(dir, "bifrost_modules/acme/a.star"), "is in the tree of a vendored module", "load it from a script")
}

// TestCycleAcrossPackages has a chain through a library that leads back.
func TestCycleAcrossPackages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	vendor(t, dir, map[string]map[string]string{
		"acme":  {"a.star": "\nload('@other//o.star', 'o')\na = 1\n"},
		"other": {"o.star": "load('//p.star', 'p')\no = 1\n", "p.star": "\n\nload('@acme//a.star', 'a')\np = 1\n"},
	})
	writeFile(t, filepath.Join(dir, "deploy.star"), "load('@acme//a.star', 'a')\n")
	err := new(Host).Check(t.Context(), filepath.Join(dir, "deploy.star"))
	want := `@other//p.star:3: load: modules load each other in a circle
@acme//a.star:2 loads @other//o.star
@other//o.star:1 loads @other//p.star
@other//p.star:3 loads @acme//a.star`
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

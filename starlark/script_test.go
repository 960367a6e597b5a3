package starlark

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark/config"
)

var update = flag.Bool("update", false, "write what the scripts in testdata print as what is wanted of them")

// TestScripts runs every archive in testdata: its files are a tree, main.star is run (or the file that
// the comment "run: FILE ARGS" names), and "want" is what it prints, then its error as rendered, then
// its exit code.
func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if dir, err = filepath.EvalSymlinks(dir); err != nil {
				t.Fatal(err)
			}
			want := -1
			for i, f := range archive.Files {
				if f.Name == "want" {
					want = i
					continue
				}
				writeFile(t, filepath.Join(dir, f.Name), string(f.Data))
			}
			run := []string{"main.star"}
			for line := range strings.Lines(string(archive.Comment)) {
				if rest, ok := strings.CutPrefix(line, "run: "); ok {
					run = strings.Fields(rest)
				}
			}
			got := runScript(t, dir, run[0], run[1:])
			if *update {
				if want < 0 {
					archive.Files = append(archive.Files, txtar.File{Name: "want"})
					want = len(archive.Files) - 1
				}
				archive.Files[want].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want < 0 {
				t.Fatalf("no want; got:\n%s", got)
			}
			if diff := cmp.Diff(string(archive.Files[want].Data), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// runScript returns what a script prints, its rendered error and its exit code, as one text.
func runScript(t *testing.T, dir, file string, args []string) string {
	t.Helper()
	var out bytes.Buffer
	host := testHost()
	host.Stdout = &out
	outcome, err := host.Exec(t.Context(), filepath.Join(dir, file), args)
	var exit *ExitError
	var shown interface{ Render(w io.Writer) error }
	switch {
	case errors.As(err, &exit):
	case errors.As(err, &shown):
		if err := shown.Render(&out); err != nil {
			t.Fatal(err)
		}
	case err != nil:
		fmt.Fprintf(&out, "unrendered: %v\n", err)
	}
	if outcome.ExitCode != 0 || outcome.Said {
		fmt.Fprintf(&out, "exit %d\n", outcome.ExitCode)
	}
	return strings.ReplaceAll(namesFrom(t, dir, out.String()), dir, "ROOT")
}

// namesFrom is a text whose names of files in dir start there. Messages name a file from the current folder
// where that is not far from it.
func namesFrom(t *testing.T, dir, text string) string {
	t.Helper()
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	near, err := filepath.Rel(cwd, dir)
	if err != nil {
		t.Fatal(err)
	}
	slash := string(filepath.Separator)
	return strings.NewReplacer(dir+slash, "", near+slash, "").Replace(text)
}

// errTest is the Go error that the test's builtins fail with.
var errTest = errors.New("the engine says no")

// testHost has a few builtins that fail in the ways that real ones do.
func testHost() *Host {
	builtin := func(name string, fn func(t *Thread, args star.Tuple) (star.Value, error)) star.Value {
		return star.NewBuiltin(name, func(t *star.Thread, _ *star.Builtin, args star.Tuple, _ []star.Tuple) (star.Value, error) {
			return fn(ThreadOf(t), args)
		})
	}
	return &Host{
		Describe: func(err error) (kind, hint string) {
			if errors.Is(err, errTest) {
				return "engine", "ask it again"
			}
			return "", ""
		},
		HabitHint: func(message, _ string, _ int) string {
			if strings.HasPrefix(message, "undefined:") {
				return "a habit"
			}
			return ""
		},
		Predeclared: star.StringDict{
			"engine": builtin("engine", func(*Thread, star.Tuple) (star.Value, error) { return nil, fmt.Errorf("engine: %w", errTest) }),
			"quit":   builtin("quit", func(*Thread, star.Tuple) (star.Value, error) { return nil, &ExitError{Code: 7} }),
			"hold": builtin("hold", func(t *Thread, args star.Tuple) (star.Value, error) {
				v, err := t.Call(args[0], nil, nil)
				if err != nil {
					return nil, fmt.Errorf("held: %w", err)
				}
				return v, nil
			}),
			"stream": builtin("stream", func(t *Thread, _ star.Tuple) (star.Value, error) {
				return &brokenStream{t}, nil
			}),
			"catch": builtin("catch", func(t *Thread, args star.Tuple) (star.Value, error) {
				_, err := t.Call(args[0], nil, nil)
				t.Lift()
				if err == nil {
					return star.None, nil
				}
				return star.String(fmt.Sprintf("caught %v (the engine's: %v)", err, errors.Is(err, errTest))), nil
			}),
			"loading": builtin("loading", func(t *Thread, _ star.Tuple) (star.Value, error) { return star.Bool(t.Loading()), nil }),
			"argsparser": argsTaker{star.NewBuiltin("argsparser", func(*star.Thread, *star.Builtin, star.Tuple, []star.Tuple) (star.Value, error) {
				return star.None, nil
			})},
			"hide": builtin("hide", func(t *Thread, args star.Tuple) (star.Value, error) {
				t.Run().Redactor.Add("NAME", string(args[0].(star.String)))
				return star.None, nil
			}),
		},
	}
}

// argsTaker is a predeclared function through which scripts read their arguments.
type argsTaker struct{ *star.Builtin }

func (argsTaker) TakesArgs() bool { return true }

// A brokenStream yields two values, then fails.
type brokenStream struct{ thread *Thread }

func (*brokenStream) String() string           { return "stream" }
func (*brokenStream) Type() string             { return "stream" }
func (*brokenStream) Freeze()                  {}
func (*brokenStream) Truth() star.Bool         { return true }
func (*brokenStream) Hash() (uint32, error)    { return 0, errors.New("unhashable: stream") }
func (s *brokenStream) Iterate() star.Iterator { return &brokenIterator{thread: s.thread} }

type brokenIterator struct {
	thread *Thread
	count  int
}

func (i *brokenIterator) Next(p *star.Value) bool {
	i.count++
	if i.count > 2 {
		i.thread.Raise(errTest)
		return false
	}
	*p = star.MakeInt(i.count)
	return true
}
func (*brokenIterator) Done() {}

func TestCancelKeepsTheCause(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "main.star"), "def main():\n    for _ in range(1 << 40):\n        stop()\n")
	cause := errors.New("the user pressed a key")
	ctx, cancel := context.WithCancelCause(t.Context())
	host := &Host{Predeclared: star.StringDict{
		"stop": star.NewBuiltin("stop", func(*star.Thread, *star.Builtin, star.Tuple, []star.Tuple) (star.Value, error) {
			cancel(cause)
			return star.None, nil
		}),
	}}
	_, err := host.Exec(ctx, filepath.Join(dir, "main.star"), nil)
	var shown *Error
	if !errors.Is(err, cause) || !errors.As(err, &shown) || shown.Message != cause.Error() {
		t.Errorf("Exec = %v, want an *Error with the message and the chain of %q", err, cause)
	}
}

func TestWrongFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	outside := t.TempDir()
	writeFile(t, filepath.Join(dir, config.File), "")
	writeFile(t, filepath.Join(dir, "deploy.star"), "x = 1\n")
	writeFile(t, filepath.Join(dir, "deploy.py"), "")
	writeFile(t, filepath.Join(dir, "empty.star"), "\n \n")
	writeFile(t, filepath.Join(dir, "latin.star"), "x = 1\ny = '\xe9'\n")
	writeFile(t, filepath.Join(dir, "nul.star"), "x = '\x00'\n")
	writeFile(t, filepath.Join(dir, "bom.star"), "\uFEFFx = 1\r\n")
	writeFile(t, filepath.Join(dir, "lib/a.star"), "a = 1\n")
	writeFile(t, filepath.Join(outside, "secret.star"), "a = 1\n")
	link(t, filepath.Join(outside, "secret.star"), filepath.Join(dir, "link.star"))
	link(t, outside, filepath.Join(dir, "away"))
	link(t, "lib/a.star", filepath.Join(dir, "inner.star"))
	for name, text := range map[string]string{
		"up.star":    `load("../x.star", "x")`,
		"abs.star":   `load("/etc/x.star", "x")`,
		"bare.star":  `load("lib/a.star", "a")`,
		"std.star":   `load("@std//hf.star", "hf_env")`,
		"typo.star":  `load("./lib/b.star", "a")`,
		"name.star":  `load("./lib/a.star", "b")`,
		"links.star": `load("./link.star", "a")`,
		"away1.star": `load("./away/secret.star", "a")`,
		"dir.star":   `load("//lib", "a")`,
		"ext.star":   `load("./deploy.py", "a")`,
		"priv.star":  `load("./lib/a.star", "_a")`,
		"good.star":  "load('./inner.star', 'a')\nload('//lib/a.star', b = 'a')",
	} {
		writeFile(t, filepath.Join(dir, name), text+"\n")
	}
	for _, test := range []struct{ file, want, hint string }{
		{"deploy.star", "", ""},
		{"bom.star", "", ""},
		{"good.star", "", ""},
		{"depoly.star", "does not exist", "did you mean "},
		{"lib", "is a folder", "a.star"},
		{"deploy.py", "is a Python file", "Starlark"},
		{"bifrost.toml", "is not a .star file", ""},
		{"empty.star", "is empty", "nothing to run"},
		{"latin.star", "is not UTF-8: line 2", "save it as UTF-8"},
		{"nul.star", "is not text", ""},
		{"up.star", `"../x.star" leads outside the root`, config.File},
		{"abs.star", "is an absolute path", ""},
		{"bare.star", "starts with ./", `write "./lib/a.star"`},
		{"std.star", `"@std//hf.star": there is no @std`, "gives it no such library"},
		{"typo.star", `"./lib/b.star" does not exist`, "there is a.star"},
		{"name.star", "has no b", "it has a"},
		{"links.star", "symbolic link that leads outside", ""},
		{"away1.star", "symbolic link that leads outside", ""},
		{"dir.star", "is a folder", "a.star"},
		{"ext.star", "is not a .star file", ""},
		{"priv.star", "not exported", ""},
	} {
		t.Run(test.file, func(t *testing.T) {
			t.Parallel()
			err := new(Host).Check(t.Context(), filepath.Join(dir, test.file))
			if test.want == "" {
				if err != nil {
					t.Errorf("Check = %v, want nil", err)
				}
				return
			}
			var static *StaticError
			if !errors.As(err, &static) {
				t.Fatalf("Check = %v, want a *StaticError", err)
			}
			got := static.Problems[0]
			if !strings.Contains(got.Message, test.want) || !strings.Contains(got.Hint, test.hint) {
				t.Errorf("Check = %q, hint %q, want %q, hint %q", got.Message, got.Hint, test.want, test.hint)
			}
		})
	}
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
}

func TestModuleFailurePoisonsNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "m.star"), "x = flaky()\n")
	writeFile(t, filepath.Join(dir, "main.star"), "load('./m.star', 'x')\n")
	fail := true
	host := &Host{Predeclared: star.StringDict{
		"flaky": star.NewBuiltin("flaky", func(*star.Thread, *star.Builtin, star.Tuple, []star.Tuple) (star.Value, error) {
			if fail {
				return nil, errTest
			}
			return star.None, nil
		}),
	}}
	for _, want := range []bool{true, false} {
		fail = want
		if _, err := host.Exec(t.Context(), filepath.Join(dir, "main.star"), nil); errors.Is(err, errTest) != want {
			t.Errorf("Exec = %v, want a failure %v", err, want)
		}
	}
}

func TestRedactor(t *testing.T) {
	t.Parallel()
	var r Redactor
	r.Add("A", "hunter2")
	r.Add("B", "hunter2hunter2")
	r.Add("S", "1")
	r.Add("KEY", "-----BEGIN-----\nabcdefghijkl\n")
	for _, test := range []struct{ text, want string }{
		{"x hunter2 y", "x <secret A> y"},
		{"hunter2hunter2", "<secret B>"},
		{"1 + 1", "1 + 1"},
		{"line: abcdefghijkl", "line: <secret KEY>"},
		{"nothing", "nothing"},
	} {
		if got := r.Redact(test.text); got != test.want {
			t.Errorf("Redact(%q) = %q, want %q", test.text, got, test.want)
		}
	}
}

package builtins

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// What follows the parser of an archive, in Python and in Starlark: both print the namespace in the same
// words.
const (
	afterPython = `
import json

def shown(v):
    if isinstance(v, list):
        return "[" + ", ".join(shown(x) for x in v) + "]"
    return json.dumps(v, ensure_ascii=False) if isinstance(v, str) else repr(v)

args = parser.parse_args()
for name in sorted(vars(args)):
    print(name, "=", shown(getattr(args, name)))
`
	afterStarlark = `
args = parser.parse_args()
for name in sorted(dir(args)):
    print(name, "=", repr(getattr(args, name)))
`
)

// TestArgparseAsPython runs the parsers of the archives in testdata/argparse with each of their cases.
// What follows a case, "$ ARGS", is what Python 3.11 does with it: what it prints, behind "! " what it
// writes to stderr, and its exit code unless that is 0. With -update python3 writes it anew.
func TestArgparseAsPython(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/argparse/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, file := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			files := map[string]*txtar.File{}
			for i := range archive.Files {
				files[archive.Files[i].Name] = &archive.Files[i]
			}
			cases := files["cases"]
			var got strings.Builder
			for line := range strings.Lines(string(cases.Data)) {
				text, isCase := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "$")
				if !isCase {
					continue
				}
				text = strings.TrimPrefix(text, " ")
				args, columns := splitCase(text)
				fmt.Fprintf(&got, "%s", strings.TrimRight("$ "+text, " ")+"\n")
				if *update {
					got.WriteString(runPython(t, string(files["parser.py"].Data), args, columns))
				} else {
					got.WriteString(runArgparse(t, string(files["parser.star"].Data), args, columns))
				}
			}
			if *update {
				cases.Data = []byte(got.String())
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.SplitAfter(string(cases.Data), "\n"), strings.SplitAfter(got.String(), "\n")); diff != "" {
				t.Errorf("Python and Starlark differ, -python +starlark:\n%s", diff)
			}
		})
	}
}

// splitCase splits a case at its spaces outside of quotes. COLUMNS=n in front is the terminal's width.
func splitCase(text string) (args []string, columns string) {
	columns = "80"
	var word strings.Builder
	quote, in := rune(0), false
	for _, r := range text + " " {
		switch {
		case quote == 0 && (r == '\'' || r == '"'):
			quote, in = r, true
		case r == quote:
			quote = 0
		case quote == 0 && r == ' ':
			if in {
				args = append(args, word.String())
			}
			word.Reset()
			in = false
		default:
			word.WriteRune(r)
			in = true
		}
	}
	if len(args) > 0 {
		if n, found := strings.CutPrefix(args[0], "COLUMNS="); found {
			return args[1:], n
		}
	}
	return args, columns
}

func runPython(t *testing.T, parser string, args []string, columns string) string {
	t.Helper()
	const run = "import sys; source = sys.argv[1]; sys.argv = ['deploy.star'] + sys.argv[2:]; exec(compile(source, 'deploy.star', 'exec'), {'__name__': '__main__'})"
	cmd := exec.CommandContext(t.Context(), "python3", append([]string{"-c", run, parser + afterPython}, args...)...)
	cmd.Env = append(os.Environ(), "COLUMNS="+columns, "PYTHONIOENCODING=utf-8")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	code := 0
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() == 1 {
			t.Fatalf("python3: %v\n%s", err, stderr.String())
		}
		code = exit.ExitCode()
	}
	return endOf(stdout.String(), stderr.String(), code)
}

func runArgparse(t *testing.T, parser string, args []string, columns string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "deploy.star")
	if err := os.WriteFile(path, []byte(parser+afterStarlark), 0o644); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	opts := Options{
		Stderr: &stderr,
		Getenv: func(name string) (string, bool) { return columns, name == "COLUMNS" },
	}
	_, err := testHost(New(&fakeEngine{&stdout}, opts), &stdout, policy.Typed()).Exec(t.Context(), path, args)
	var exit *starlark.ExitError
	if errors.As(err, &exit) {
		return endOf(stdout.String(), stderr.String(), exit.Code)
	} else if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return endOf(stdout.String(), stderr.String(), 0)
}

func endOf(stdout, stderr string, code int) string {
	for line := range strings.Lines(stderr) {
		stdout += "! " + line
	}
	if code != 0 {
		stdout += fmt.Sprintf("exit %d\n", code)
	}
	return stdout
}

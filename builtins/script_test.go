package builtins

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
	"github.com/bifrost-run/bifrost/starlark/std"
)

var update = flag.Bool("update", false, "write what the scripts in testdata print as what is wanted of them")

// TestScripts runs the files of every archive in testdata, each a script of its own unless its name
// has a folder. What follows "-- want FILE --" is what it prints, in brackets what the engine was
// asked to do; then its error as rendered, and its exit code.
func TestScripts(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives in testdata: %v", err)
	}
	for _, file := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			runArchive(t, file)
		})
	}
}

func runArchive(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	wants := map[string]string{}
	for _, f := range archive.Files {
		if name, ok := strings.CutPrefix(f.Name, "want "); ok {
			wants[name] = string(f.Data)
			continue
		}
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var updated []txtar.File
	for _, f := range archive.Files {
		if strings.HasPrefix(f.Name, "want ") {
			continue
		}
		updated = append(updated, f)
		if filepath.Dir(f.Name) != "." || filepath.Ext(f.Name) != ".star" {
			continue
		}
		got := runScript(t, dir, f.Name)
		updated = append(updated, txtar.File{Name: "want " + f.Name, Data: []byte(got)})
		if diff := cmp.Diff(wants[f.Name], got); diff != "" && !*update {
			t.Errorf("%s -want +got:\n%s", f.Name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(&txtar.Archive{Comment: archive.Comment, Files: updated}), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A syncBuffer is written by whatever goroutine the engine calls from.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// theSecret is the value of HF_TOKEN, which no output may show.
const theSecret = "hf_0123456789"

func testLibrary(out io.Writer) *Library {
	return New(&fakeEngine{out}, Options{
		JobOutput: out,
		Getenv: func(name string) (string, bool) {
			v, ok := map[string]string{"HF_TOKEN": theSecret, "EMPTY": "", "WANDB_ENTITY_KEY": "team-key-0123", "PATH": os.Getenv("PATH"), "RUNPOD_API_KEY": "rp_0123456789"}[name]
			return v, ok
		},
		Confirm: func(_ context.Context, question string) (bool, error) {
			fmt.Fprintf(out, "%s [y/N] y\n", question)
			return true, nil
		},
		Stderr: out,
		Log:    func(level, text string) { fmt.Fprintf(out, "%s: %s\n", level, text) },
		RunProgram: func(_ context.Context, p Program) (engine.ExecResult, error) {
			if p.Argv[0] != "git" {
				return engine.ExecResult{ExitCode: 3, Stderr: "no such thing\n"}, nil
			}
			return engine.ExecResult{Stdout: "5d3c1f0\n"}, nil
		},
		Report: func(e report.Event) { fmt.Fprintf(out, "notice: %s\n", e.Text) },
		Ended:  func(r engine.Result, _ error) { fmt.Fprintf(out, "[ended %s %s %d]\n", r.JobID, r.Status, r.ExitCode) },
	})
}

func testHost(lib *Library, out io.Writer, p policy.Policy) *starlark.Host {
	return &starlark.Host{
		Predeclared: lib.Predeclared(), Libraries: map[string]fs.FS{"std": std.FS},
		Gate: policy.NewGate(p), Stdout: out, Describe: Describe, HabitHint: HabitHint,
	}
}

func runScript(t *testing.T, dir, file string) string {
	t.Helper()
	out := new(syncBuffer)
	outcome, err := testHost(testLibrary(out), out, policy.Typed()).Exec(t.Context(), filepath.Join(dir, file), nil)
	var exit *starlark.ExitError
	var shown interface{ Render(w io.Writer) error }
	switch {
	case errors.As(err, &shown):
		if err := shown.Render(out); err != nil {
			t.Fatal(err)
		}
	case err != nil && !errors.As(err, &exit):
		fmt.Fprintf(out, "unrendered: %v\n", err)
	}
	if outcome.Said {
		fmt.Fprintf(out, "exit %d\n", outcome.ExitCode)
	}
	text := out.b.String()
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n" // an archive has whole lines
	}
	if strings.Contains(text, theSecret) {
		t.Errorf("%s: the output has the value of the secret", file)
	}
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	near, err := filepath.Rel(cwd, dir) // how messages name files that are not far from the current folder
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(dir+"/", "", near+"/", "", dir, "ROOT", cwd, "CWD").Replace(text)
}

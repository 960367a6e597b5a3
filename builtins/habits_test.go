package builtins

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMemberHabits is about members of modules that Python has; the archives have the rest.
func TestMemberHabits(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ message, want string }{
		{"os has no .environ field or method", `write os.getenv("NAME"); a secret is secret("NAME")`},
		{"json has no .load field or method", "write json.loads(Path(x).read_text())"},
		{"handle has no .dowload field or method", "did you mean download?"},
		{"handle has no .nosuch field or method", "bifrost doc handle lists what it has"},
		{"NoneType has no .x field or method", noneHint},
		{"string has no .uper field or method", "did you mean upper?"},
		{"gadget has no .x field or method", ""},
		{"", ""},
	} {
		if got := HabitHint(test.message, "", 1); got != test.want {
			t.Errorf("HabitHint(%q) = %q, want %q", test.message, got, test.want)
		}
	}
}

// TestHabitsAreSeen fails for a habit that no archive shows: one that the interpreter never meets.
func TestHabitsAreSeen(t *testing.T) {
	t.Parallel()
	seen := archiveHints(t)
	for _, habits := range [][]habit{syntaxHabits, valueHabits} {
		for _, h := range habits {
			plain, _, _ := strings.Cut(strings.ReplaceAll(h.hint, "$$", "$"), "${")
			if !strings.Contains(seen, "hint: "+plain) {
				t.Errorf("no script in testdata shows the hint %q for %s", h.hint, h.message)
			}
		}
	}
}

// TestPythonsModules wants a hint for every module of Python that deploy scripts import.
func TestPythonsModules(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ line, want string }{
		{"import json", "json is there already: remove the import"},
		{"import datetime as dt", "datetime is there already: remove the import, and write datetime for dt"},
		{"from os import getenv", "os is there already: remove the import, and write os.getenv"},
		{"from pathlib import Path", "Path is there already: remove the import"},
		{"import json, re", "json is there already: remove the import\nre is there already: remove the import"},
		{"from ..lib import run", `there is no import: a file of yours is loaded, load("./lib.star", "run"); packages of Python run on the node only`},
		{"from . import run", `there is no import: a file of yours is loaded, load("./run.star", "name"); packages of Python run on the node only`},
		{"import", `there is no import: write load("./file.star", "name")`},
	} {
		message := "got " + strings.Fields(test.line)[0] + ", want primary expression"
		if diff := cmp.Diff(test.want, HabitHint(message, test.line, 1)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", test.line, diff)
		}
	}
}

// archiveHints is the text of all archives.
func archiveHints(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives in testdata: %v", err)
	}
	var all strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(data)
	}
	return all.String()
}

package builtins

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	star "go.starlark.net/starlark"
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
				t.Errorf("no script in testdata shows the hint %q for %s", h.hint, h.message())
			}
		}
	}
}

// TestHintsNameWhatThereIs fails for a hint that tells to call what scripts do not have.
func TestHintsNameWhatThereIs(t *testing.T) {
	t.Parallel()
	lib := New(nil, Options{})
	known := map[string]bool{}
	for name := range star.Universe {
		known[name] = true
	}
	for name := range lib.Predeclared() {
		known[name] = true
	}
	members := map[string]bool{} // of any value: x.strip(
	for _, v := range []star.HasAttrs{star.String(""), star.Bytes(""), star.NewList(nil), new(star.Dict), new(star.Set)} {
		for _, name := range v.AttrNames() {
			members[name] = true
		}
	}
	modules := map[string]bool{}
	for _, m := range lib.Modules() {
		modules[m.Name] = true
	}
	lib.Walk(func(owner string, e *Entry) {
		known[strings.TrimPrefix(owner+"."+e.Name, ".")] = true
		if !modules[owner] {
			members[e.Name] = true
		}
	})
	for name := range memberHabits {
		if known[name] {
			t.Errorf("there is a hint for %s, which there is", name)
		}
	}
	for name := range pythonNames {
		if known[name] || modules[name] {
			t.Errorf("there is a hint for %s, which there is", name)
		}
	}
	for name, hint := range pythonModules {
		if (hint == "") != modules[name] {
			t.Errorf("the hint %q of import %s: is it a module of scripts? %v", hint, name, modules[name])
		}
	}
	var hints []string
	for _, all := range []map[string]string{pythonModules, pythonNames, memberHabits, keywordHabits} {
		hints = append(hints, slices.Collect(maps.Values(all))...)
	}
	for _, h := range slices.Concat(syntaxHabits, valueHabits) {
		hints = append(hints, h.hint)
	}
	own := []string{"f", "fn", "wrap", "main", "load", "in", "and", "or", "lambda"} // what a hint's own example defines, and words
	for _, hint := range hints {
		for _, found := range regexp.MustCompile(`([\w.)]*?)\.?(\w+)\(`).FindAllStringSubmatch(hint, -1) {
			owner, name := found[1], found[2]
			switch {
			case modules[owner]:
				if !known[owner+"."+name] {
					t.Errorf("the hint %q calls %s.%s, which there is not", hint, owner, name)
				}
			case owner != "" || strings.Contains(found[0], "."):
				if !members[name] {
					t.Errorf("the hint %q calls .%s, which nothing has", hint, name)
				}
			case !known[name] && !slices.Contains(own, name):
				t.Errorf("the hint %q calls %s, which there is not", hint, name)
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

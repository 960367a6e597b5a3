package bifrost_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/std"
)

var fenced = regexp.MustCompile("(?ms)^```python\n(.*?)^```$")

// TestScriptsInDocs checks every script that a page shows, as bifrost check would: pages are what people
// copy from. Python that is to be replaced is marked py, not python.
func TestScriptsInDocs(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages in docs: %v", err)
	}
	host := &starlark.Host{
		Predeclared: builtins.New(nil, builtins.Options{}).Predeclared(), Libraries: map[string]fs.FS{"std": std.FS},
		HabitHint: builtins.HabitHint,
	}
	for _, page := range append(pages, "README.md") {
		if filepath.Base(page) == "reference.md" {
			continue // its signatures are no scripts; a test of package builtins runs its examples
		}
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			for _, block := range fenced.FindAllStringSubmatchIndex(string(text), -1) {
				script := string(text[block[2]:block[3]])
				file := filepath.Join(t.TempDir(), "script.star")
				if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := host.Check(t.Context(), file); err != nil {
					t.Errorf("the block at line %d: %v\n%s", 1+strings.Count(string(text[:block[2]]), "\n"), err, script)
				}
			}
		})
	}
}

// TestPorting compares what the guide shows of the ported scripts with them.
func TestPorting(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("docs/porting.md")
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile("examples/lib/rl.star")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```python\n"+string(after)+"```") {
		t.Error("the guide shows another lib/rl.star than there is")
	}
	counts, err := exec.Command("make", "--no-print-directory", "lines").Output()
	if err != nil {
		t.Fatal(err)
	}
	together := 0
	for line := range strings.Lines(string(counts)) {
		var count int
		var file string
		if _, err := fmt.Sscan(line, &count, &file); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		together += count
		if row := fmt.Sprintf("(../%s) | %d |", file, count); !strings.Contains(string(page), row) {
			t.Errorf("the guide's table has no %q", row)
		}
	}
	if row := fmt.Sprintf("| together | 2312 | | %d |", together); !strings.Contains(string(page), row) {
		t.Errorf("the guide's table has no %q", row)
	}
}

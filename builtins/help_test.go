package builtins

import (
	"strings"
	"testing"

	star "go.starlark.net/starlark"
)

func TestHelpKnowsEveryName(t *testing.T) {
	t.Parallel()
	for _, name := range HelpNames() {
		text, err := Help(name)
		if err != nil || !strings.Contains(text, name) {
			t.Errorf("Help(%q) = %q, %v", name, text, err)
		}
		for line := range strings.Lines(text) {
			if strings.TrimRight(line, " ") != line {
				t.Errorf("Help(%q) has a line with spaces at its end: %q", name, line)
			}
		}
	}
}

// TestHabitsAreAbsent fails for a hint about a name that is there: nobody would ever read it.
func TestHabitsAreAbsent(t *testing.T) {
	t.Parallel()
	l := New(nil, Options{})
	known := map[string]bool{}
	for _, name := range l.names() {
		known[name] = true
	}
	there := l.Predeclared()
	for name := range star.Universe {
		there[name] = star.None
	}
	for name := range pythonNames {
		if there.Has(name) {
			t.Errorf("pythonNames has %s, which scripts have now: remove the hint", name)
		}
	}
	for name, hint := range pythonModules {
		if there.Has(name) && hint != "" {
			t.Errorf("pythonModules has %q for %s, which scripts have now: remove the hint", hint, name)
		}
	}
	for name := range memberHabits {
		if known[name] {
			t.Errorf("memberHabits has %s, which scripts have now: remove the hint", name)
		}
	}
}

package bifrost_test

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/bifrost-run/bifrost/"

// TestArrows holds the directions in which packages may depend on each other. Each rule says why:
// whoever breaks one should know what it costs before the rule is changed.
func TestArrows(t *testing.T) {
	t.Parallel()
	rules := []struct {
		from string // packages at or beneath it
		not  string // must not import these, at or beneath, in the tests either
		why  string
	}{
		{"engine", "starlark", "a Go program must be able to use the engine without an interpreter"},
		{"engine", "builtins", "the engine must not know what scripts call its verbs"},
		{"engine", "cmd", "wiring happens in cmd/bifrost and only there"},
		{"gpu", "starlark", "providers know what can be rented, not who asks"},
		{"gpu", "builtins", "providers know what can be rented, not who asks"},
		{"gpu", "engine", "the engine drives the providers; the other way round would be a circle"},
		{"starlark", "engine", "the host runs any builtins; it knows none by name"},
		{"starlark", "gpu", "the host runs any builtins; it knows none by name"},
		{"starlark", "builtins", "the host runs any builtins; it knows none by name"},
		{"builtins", "cmd", "wiring happens in cmd/bifrost and only there"},
	}
	out, err := exec.Command("go", "list", "-f", `{{$p := .ImportPath}}{{range .Imports}}{{$p}} {{.}}
{{end}}{{range .TestImports}}{{$p}} {{.}}
{{end}}{{range .XTestImports}}{{$p}} {{.}}
{{end}}`, "./...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	edges := 0
	for line := range strings.Lines(string(out)) {
		from, to, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		from, to = strings.TrimPrefix(from, module), strings.TrimPrefix(to, module)
		edges++
		for _, r := range rules {
			if beneath(from, r.from) && beneath(to, r.not) {
				t.Errorf("%s imports %s: %s must not import %s, because %s", from, to, r.from, r.not, r.why)
			}
		}
	}
	if edges < 20 {
		t.Errorf("go list showed %d imports: the test sees too little to mean anything", edges)
	}
}

func beneath(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }

package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if c, err := Read(dir); err != nil || len(c.Modules) != 0 {
		t.Errorf("Read without a file = %v, %v, want the zero value", c, err)
	}
	text := "# ours\n[modules.acme]\ngit = \"https://example.com/acme\"\nref = \"v1\"\n"
	if err := os.WriteFile(filepath.Join(dir, File), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{Modules: map[string]Module{"acme": {Git: "https://example.com/acme", Ref: "v1"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want, hint string }{
		{"x = ", "bifrost.toml:1: ", ""},
		{"\n[module.acme]\ngit = \"x\"", "bifrost.toml:2: unknown key module", "did you mean modules?"},
		{"[Modules.acme]\ngit = \"x\"", "bifrost.toml:1: unknown key Modules", "did you mean modules?"},
		{"[modules.acme]\ngit = \"x\"\nreff = \"y\"", "bifrost.toml:3: unknown key modules.acme.reff", "did you mean ref?"},
		{"[modules.acme]\ngit = 1", "bifrost.toml:2: modules.acme.git: got integer, want string", ""},
		{"modules = 1", "bifrost.toml:1: modules: got integer, want table", ""},
		{"[modules.acme]\nref = \"y\"", "bifrost.toml:1: modules.acme does not say git", "bifrost mod add acme GIT-URL"},
		{"[modules.\"../x\"]\ngit = \"y\"", `bifrost.toml:1: modules: "../x" is no name`, ""},
		{"[modules.A]\ngit = \"y\"", `bifrost.toml:1: modules: "A" is no name`, ""},
		{"[modules.a]\ngit = \"y\"\n[modules.a]\ngit = \"z\"", "bifrost.toml:3: ", ""},
	} {
		_, err := Parse(test.text)
		var e *Error
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), test.want) || !strings.Contains(e.Hint, test.hint) {
			t.Errorf("Parse(%q) = %v, want %s, hint %q", test.text, err, test.want, test.hint)
		}
	}
}

func TestSetModule(t *testing.T) {
	t.Parallel()
	m := Module{Git: "ssh://host/new", Ref: "v2"}
	const added = "[modules.acme]\ngit = \"ssh://host/new\"\nref = \"v2\"\n"
	for _, test := range []struct {
		name, text string
		m          Module
		want       string
	}{
		{"empty", "", m, added},
		{"comment only", "# a root", m, "# a root\n\n" + added},
		{
			"replaced", "# top\n[modules.acme] # ours\ngit = \"old\" # from here\n# why\nref = 'v1'\n\n[modules.b]\ngit = \"b\"\n", m,
			"# top\n[modules.acme] # ours\ngit = \"ssh://host/new\" # from here\n# why\nref = \"v2\"\n\n[modules.b]\ngit = \"b\"\n",
		},
		{"ref goes", "[modules.acme]\ngit = \"old\"\nref = \"v1\"\n# end\n", Module{Git: "old"}, "[modules.acme]\ngit = \"old\"\n# end\n"},
		{"ref comes", "[modules.acme]\ngit = \"old\"\n", Module{Git: "old", Ref: "v1"}, "[modules.acme]\nref = \"v1\"\ngit = \"old\"\n"},
		{"quoted", "[modules.\"acme\"]\n\"git\" = \"old\"\n", Module{Git: `a"b\c`}, "[modules.\"acme\"]\n\"git\" = \"a\\\"b\\\\c\"\n"},
		{"in a string", "[modules.b]\ngit = \"\"\"\n[modules.acme]\ngit = 'x'\"\"\"\n", Module{Git: "n"}, "[modules.b]\ngit = \"\"\"\n[modules.acme]\ngit = 'x'\"\"\"\n\n[modules.acme]\ngit = \"n\"\n"},
		{"windows", "# a\r\n", Module{Git: "n"}, "# a\r\n\r\n[modules.acme]\r\ngit = \"n\"\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := SetModule(test.text, "acme", test.m)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	for _, text := range []string{"modules = {acme = {git = \"x\"}}", "[modules]\nacme = {git = \"x\"}", "[modules]\nacme.git = \"x\"", "[modules.acme]\ngit = \"\"\"\nx\"\"\"\n"} {
		if got, err := SetModule(text, "acme", m); err == nil {
			t.Errorf("SetModule(%q) = %q, want an error: it cannot change that", text, got)
		}
	}
}

func FuzzSetModule(f *testing.F) {
	f.Add("[modules.acme]\ngit = 'x'\n")
	f.Add("[modules.b]\ngit = \"\"\"\n[modules.acme]\"\"\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := SetModule(text, "acme", Module{Git: "u", Ref: "r"})
		if err != nil {
			return
		}
		if c, err := Parse(got); err != nil || c.Modules["acme"].Git != "u" || c.Modules["acme"].Ref != "r" {
			t.Errorf("SetModule(%q) = %q, which says %v, %v", text, got, c, err)
		}
	})
}

package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/starlark/policy"
)

func TestGrantsRead(t *testing.T) {
	t.Parallel()
	c, err := Parse(`
max_price = 3
max_cost = 20.5
max_cost_per_hour = 5
[allow]
read = ["data", "~/models", "/mnt/x"]
write = ["out"]
env = ["HF_TOKEN", "WANDB_*"]
ssh = []
rent = ["runpod"]
run = ["git"]
[deny]
env = ["AWS_*", "RUNPOD_API_KEY"]
[modules.acme]
git = "x"
[modules.acme.allow]
env = ["ACME_TOKEN"]
`)
	if err != nil {
		t.Fatal(err)
	}
	want := policy.Rules{
		Allow: policy.List{
			policy.ReadFile: {"/p/data", "/home/me/models", "/mnt/x"}, policy.WriteFile: {"/p/out"}, policy.Env: {"HF_TOKEN", "WANDB_*"},
			policy.SSH: {}, policy.Rent: {"runpod"}, policy.Run: {"git"},
		},
		Deny:    policy.List{policy.Env: {"AWS_*", "RUNPOD_API_KEY"}},
		Modules: map[string]policy.List{"acme": {policy.Env: {"ACME_TOKEN"}}},
	}
	if diff := cmp.Diff(want, c.Rules("/p", "/home/me")); diff != "" || c.MaxCostPerHour != 5 || c.MaxPrice != 3 || c.MaxCost != 20.5 {
		t.Errorf("limits %v, %v, %v, want 3, 20.5, 5; rules -want +got:\n%s", c.MaxPrice, c.MaxCost, c.MaxCostPerHour, diff)
	}
}

func TestGrantsRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"[allow]\nenvs = []":                                         "bifrost.toml:2: unknown key allow.envs",
		"[alow]\nenv = []":                                           "bifrost.toml:1: unknown key alow",
		"[allow]\n\nenv = [\"A B\"]":                                 `bifrost.toml:3: allow.env: "A B": it is not the name of a variable`,
		"[allow]\nenv = [\"RUNPOD_API_KEY\"]":                        `bifrost.toml:2: allow.env: "RUNPOD_API_KEY": it is the key of a provider`,
		"[allow]\nenv = [\"runpod_api_key\"]":                        `bifrost.toml:2: allow.env: "runpod_api_key": it is the key of a provider`,
		"[deny]\nread = [\"*.csv\"]":                                 `bifrost.toml:2: deny.read: "*.csv": a path has no *`,
		"[allow]\nwrite = [\"~bob/x\"]":                              `bifrost.toml:2: allow.write: "~bob/x": ~ stands for your own home only`,
		"[allow]\nread = [\"\"]":                                     `bifrost.toml:2: allow.read: "": it is empty`,
		"[allow]\nssh = [\"a b\"]":                                   `bifrost.toml:2: allow.ssh: "a b": it is no host`,
		"[allow]\nssh = [\"gpu*\"]":                                  `bifrost.toml:2: allow.ssh: "gpu*": it is no host`,
		"[allow]\nrent = [\"Run Pod\"]":                              `bifrost.toml:2: allow.rent: "Run Pod": it is no provider's name`,
		"[allow]\nrun = [\"gi*\"]":                                   `bifrost.toml:2: allow.run: "gi*": programs are named whole`,
		"[allow]\nenv = \"HF_TOKEN\"":                                "bifrost.toml:2: allow.env: got string, want ",
		"[modules.a]\ngit = \"x\"\n[modules.a.allow]\nenb = []":      "bifrost.toml:4: unknown key modules.a.allow.enb",
		"[modules.a]\ngit = \"x\"\n[modules.a.allow]\nenv = [\"-\"]": `bifrost.toml:4: modules.a.allow.env: "-": it is not the name`,
		"max_price = 0":                                              "bifrost.toml:1: max_price: 0 is no price",
		"max_cost = -3":                                              "bifrost.toml:1: max_cost: -3 is no price",
		"max_cost_per_hour = 0":                                      "bifrost.toml:1: max_cost_per_hour: 0 is no price",
		"max_cost_per_hour = -1.5":                                   "bifrost.toml:1: max_cost_per_hour: -1.5 is no price",
		"max_cost_per_hour = nan":                                    "bifrost.toml:1: max_cost_per_hour: NaN is no price",
		"max_cost_per_hour = \"5\"":                                  "bifrost.toml:1: max_cost_per_hour: got string, want float",
		"max_cost_per_hours = 5":                                     "bifrost.toml:1: unknown key max_cost_per_hours",
	} {
		if _, err := Parse(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, want %s", text, err, want)
		}
	}
}

func TestAddGrant(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, text, module, want string }{
		{"no file", "", "", "[allow]\nenv = [\"X\"]\n"},
		{"comment only", "# ours", "", "# ours\n\n[allow]\nenv = [\"X\"]\n"},
		{"another table", "max_cost_per_hour = 5 # USD\n\n[deny]\nenv = [\"Y\"]\n", "", "max_cost_per_hour = 5 # USD\n\n[deny]\nenv = [\"Y\"]\n\n[allow]\nenv = [\"X\"]\n"},
		{"no list", "[allow] # careful\nread = [\"a\"]\n", "", "[allow] # careful\nenv = [\"X\"]\nread = [\"a\"]\n"},
		{"header at the end", "[allow]", "", "[allow]\nenv = [\"X\"]\n"},
		{"empty list", "[allow]\nenv = []\n", "", "[allow]\nenv = [\"X\"]\n"},
		{"one", "[allow]\nenv = [\"A\"] # why\n", "", "[allow]\nenv = [\"A\", \"X\"] # why\n"},
		{"comma at the end", "[allow]\nenv = [\"A\",]\n", "", "[allow]\nenv = [\"A\", \"X\"]\n"},
		{"brackets in strings", "[allow]\nread = ['a]\"#']\nenv = [ 'A' ]\n", "", "[allow]\nread = ['a]\"#']\nenv = [ 'A', \"X\" ]\n"},
		{"lines", "[allow]\nenv = [\n  \"A\", # first\n  \"B\" # second ]\n]\n", "", "[allow]\nenv = [\n  \"A\", # first\n  \"B\", # second ]\n  \"X\",\n]\n"},
		{"lines with a comma", "[allow]\nenv = [\n\t\"A\",\n]", "", "[allow]\nenv = [\n\t\"A\",\n\t\"X\",\n]"},
		{"empty lines", "[allow]\nenv = [\n]\n", "", "[allow]\nenv = [\n    \"X\",\n]\n"},
		{"windows", "[allow]\r\nenv = [\r\n  \"A\",\r\n]\r\n", "", "[allow]\r\nenv = [\r\n  \"A\",\r\n  \"X\",\r\n]\r\n"},
		{"dotted", "allow.env = [\"A\"]\n", "", "allow.env = [\"A\", \"X\"]\n"},
		{"module", "[modules.acme]\ngit = \"g\"\n", "acme", "[modules.acme]\ngit = \"g\"\n\n[modules.acme.allow]\nenv = [\"X\"]\n"},
		{"module's list", "[modules.acme]\ngit = \"g\"\nallow.env = [\"A\"]\n[allow]\nenv = []\n", "acme", "[modules.acme]\ngit = \"g\"\nallow.env = [\"A\", \"X\"]\n[allow]\nenv = []\n"},
	} {
		got, err := AddGrant(test.text, test.module, policy.Env, "X")
		if got != test.want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", test.name, got, err, test.want)
		}
	}
	for name, text := range map[string]string{
		"inline": "allow = { env = [\"A\"] }\n", "broken": "[allow", "unknown": "[alow]\n",
		"string of several lines": "[allow]\nenv = [\"\"\"A\"\"\"]\n",
	} {
		got, err := AddGrant(text, "", policy.Env, "X")
		if c, parseErr := Parse(got); err == nil && (parseErr != nil || len(c.Allow.Env) != 2) {
			t.Errorf("%s: got %q without an error", name, got)
		}
	}
	if _, err := AddGrant("", "acme", policy.Env, "X"); err == nil {
		t.Error("a module that bifrost.toml does not name was granted something")
	}
}

func TestGrant(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, err := Grant(dir, "", policy.ReadFile, `/mnt/"a"\b`)
	if err != nil || path != filepath.Join(dir, File) {
		t.Fatalf("Grant = %q, %v", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Grant(dir, "", policy.Env, "X"); err != nil {
		t.Fatal(err)
	}
	c, err := Read(dir)
	if diff := cmp.Diff(Grants{Read: []string{`/mnt/"a"\b`}, Env: []string{"X"}}, c.Allow); diff != "" || err != nil {
		t.Errorf("%v -want +got:\n%s", err, diff)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want that of before", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

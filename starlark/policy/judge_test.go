package policy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A place is a home with a project in it, both real.
type place struct {
	t          *testing.T
	home, root string
}

// newPlace makes:
//
//	home/root/{data,sub}, home/root-evil, home/outside, home/.ssh/id, home/state
//	root/out -> ../outside, root/in -> data, root/new -> ../outside/new, root/env -> .env
func newPlace(t *testing.T) *place {
	t.Helper()
	home, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := &place{t, home, filepath.Join(home, "root")}
	for name, text := range map[string]string{
		"root/data/x": "", "root/sub/y": "", "root-evil/x": "", "outside/x": "", "outside/deep/x": "", ".ssh/id": "", "state/journal.db": "",
		"root/.env": "RUNPOD_API_KEY=rp\n", "root/.git/config": "", "root/bifrost_modules/acme/x.star": "", "outside/.env": "A=b\n",
	} {
		p.write(name, text)
	}
	for name, target := range map[string]string{
		"root/out": "../outside", "root/in": "data", "root/new": "../outside/new", "root/env": ".env", "root/hooks": ".git", "root/deep": "../outside/deep",
		"root/loop": "loop", "root/abs": filepath.Join(home, "outside"), "outside/back": filepath.Join(home, "root"),
	} {
		if err := os.Symlink(target, filepath.Join(home, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(p.root, ".env"), filepath.Join(p.root, "second-name")); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *place) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.home, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) judge(rules Rules, change ...func(*Config)) *Judge {
	p.t.Helper()
	cfg := Config{Root: p.root, Script: "deploy.star", Command: "bifrost exec", Home: p.home, StateDir: filepath.Join(p.home, "state"), Rules: rules}
	for _, f := range change {
		f(&cfg)
	}
	j, err := NewJudge(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	return j
}

// TestPaths has what a script may read and write with no rules: its root, by what a path leads to.
func TestPaths(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	j := p.judge(Rules{})
	for path, want := range map[string]string{ // r, w, both or neither
		"root": "rw", "root/": "rw", "root/data/x": "rw", "root/none/yet": "rw", "root/in/x": "rw", "root/sub/../data": "rw", "root//data/./x": "rw",
		"root/..data": "rw", "root/loop": "rw", // the system refuses it
		"": "", "root-evil/x": "", "root/../root-evil/x": "", "outside/x": "", "root/../outside": "", "root/data/../../outside/x": "",
		"root/out": "", "root/out/x": "", "root/out/none": "", "root/new": "", "root/abs/x": "", "outside/back/data": "rw",
		"root/deep/../x":   "",   // the system: outside/x; tidied: root/x
		"root/in/../sub/y": "rw", // the system: root/sub/y; tidied: the same
		"ROOT/data/x":      "",
		"root/.env":        "", "root/env": "", "root/second-name": "w", "root/.ENV": "", "root/sub/.env": "", "root/.env.example": "rw",
		"root/bifrost.toml": "r", "root/bifrost.lock": "r", "root/sub/bifrost.toml": "r", "root/Bifrost.TOML": "r", "root/bifrost.toml.bak": "rw",
		"root/.git/hooks/pre-commit": "r", "root/hooks/x": "r", "root/sub/.git/config": "r", "root/.git": "r", "root/.GIT/config": "r", "root/.gitignore": "rw",
		"root/bifrost_modules/acme/x.star": "r", "root/bifrost_modules": "r", "state/journal.db": "", ".ssh/id": "",
	} {
		target := p.home + "/" + path
		got := ""
		if j.Decide(t.Context(), Request{Capability: ReadFile, Target: target}) == nil {
			got += "r"
		}
		if j.Decide(t.Context(), Request{Capability: WriteFile, Target: target}) == nil {
			got += "w"
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
	for _, c := range []Capability{ReadFile, WriteFile} {
		if j.Decide(t.Context(), Request{Capability: c, Target: "data/x"}) == nil {
			t.Errorf("%s of a relative path was allowed", c)
		}
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	in := func(names ...string) []string {
		var all []string
		for _, name := range names {
			all = append(all, filepath.Join(p.home, name))
		}
		return all
	}
	file := func(name string) string { return filepath.Join(p.home, name) }
	for _, test := range []struct {
		name    string
		rules   Rules
		request Request
		allowed bool
	}{
		{"read", Rules{Allow: List{ReadFile: in("outside")}}, Request{Capability: ReadFile, Target: file("outside/x")}, true},
		{"read through a link", Rules{Allow: List{ReadFile: in("outside")}}, Request{Capability: ReadFile, Target: file("root/out/x")}, true},
		{"read, named by a link", Rules{Allow: List{ReadFile: in("root/out")}}, Request{Capability: ReadFile, Target: file("outside/x")}, true},
		{"one file", Rules{Allow: List{ReadFile: in("outside/x")}}, Request{Capability: ReadFile, Target: file("outside/deep/x")}, false},
		{"read is not write", Rules{Allow: List{ReadFile: in("outside")}}, Request{Capability: WriteFile, Target: file("outside/x")}, false},
		{"everything", Rules{Allow: List{ReadFile: {"/"}}}, Request{Capability: ReadFile, Target: file("outside/x")}, true},
		{".. in a rule", Rules{Allow: List{ReadFile: {p.root + "/../outside"}}}, Request{Capability: ReadFile, Target: file("outside/x")}, true},
		{"everything but .env", Rules{Allow: List{ReadFile: {"/"}}}, Request{Capability: ReadFile, Target: file("outside/.env")}, false},
		{"everything but ssh keys", Rules{Allow: List{ReadFile: in("")}}, Request{Capability: ReadFile, Target: file(".ssh/id")}, false},
		{"ssh keys when named", Rules{Allow: List{ReadFile: in(".ssh/id")}}, Request{Capability: ReadFile, Target: file(".ssh/id")}, true},
		{"everything but the state", Rules{Allow: List{WriteFile: {"/"}}}, Request{Capability: WriteFile, Target: file("state/journal.db")}, false},
		{"deny beats the root", Rules{Deny: List{ReadFile: in("root/data")}}, Request{Capability: ReadFile, Target: file("root/in/x")}, false},
		{"deny beats allow", Rules{Allow: List{ReadFile: in("outside")}, Deny: List{ReadFile: in("outside/deep")}}, Request{Capability: ReadFile, Target: file("root/deep/x")}, false},
		{"deny is for one", Rules{Deny: List{ReadFile: in("root/data")}}, Request{Capability: WriteFile, Target: file("root/data/x")}, true},
		{"deny of either meaning", Rules{Deny: List{ReadFile: in("root/x")}}, Request{Capability: ReadFile, Target: file("outside/back/sub/../x")}, false},

		{"env", Rules{}, Request{Capability: Env, Target: "HF_TOKEN"}, false},
		{"env named", Rules{Allow: List{Env: {"HF_TOKEN"}}}, Request{Capability: Env, Target: "HF_TOKEN"}, true},
		{"env is literal", Rules{Allow: List{Env: {"HF_TOKEN"}}}, Request{Capability: Env, Target: "hf_token"}, false},
		{"env pattern", Rules{Allow: List{Env: {"WANDB_*"}}}, Request{Capability: Env, Target: "WANDB_API_KEY"}, true},
		{"env pattern in the middle", Rules{Allow: List{Env: {"A*_B*C"}}}, Request{Capability: Env, Target: "AX_B_BC"}, true},
		{"env pattern does not match", Rules{Allow: List{Env: {"A*_BC"}}}, Request{Capability: Env, Target: "AX_BCD"}, false},
		{"env pattern overlaps", Rules{Allow: List{Env: {"AB*BA"}}}, Request{Capability: Env, Target: "ABA"}, false},
		{"env deny beats allow", Rules{Allow: List{Env: {"*"}}, Deny: List{Env: {"AWS_*"}}}, Request{Capability: Env, Target: "AWS_KEY"}, false},
		{"provider key", Rules{Allow: List{Env: {"*"}}}, Request{Capability: Env, Target: "RUNPOD_API_KEY"}, false},
		{"provider key in small letters", Rules{Allow: List{Env: {"*"}}}, Request{Capability: Env, Target: "Vast_Api_Key"}, false},

		{"any host", Rules{}, Request{Capability: SSH, Target: "root@gpu:22"}, true},
		{"host on the list", Rules{Allow: List{SSH: {"gpu"}}}, Request{Capability: SSH, Target: "root@gpu:22"}, true},
		{"host in capitals", Rules{Allow: List{SSH: {"gpu"}}}, Request{Capability: SSH, Target: "GPU."}, true},
		{"another host", Rules{Allow: List{SSH: {"gpu"}}}, Request{Capability: SSH, Target: "gpu.evil.org"}, false},
		{"an empty list", Rules{Allow: List{SSH: {}}}, Request{Capability: SSH, Target: "gpu"}, false},
		{"domain", Rules{Allow: List{SSH: {"*.example.org"}}}, Request{Capability: SSH, Target: "a.b.example.org:2222"}, true},
		{"domain itself", Rules{Allow: List{SSH: {"*.example.org"}}}, Request{Capability: SSH, Target: "example.org"}, false},
		{"like the domain", Rules{Allow: List{SSH: {"*.example.org"}}}, Request{Capability: SSH, Target: "evilexample.org"}, false},
		{"user and port", Rules{Allow: List{SSH: {"me@gpu:22"}}}, Request{Capability: SSH, Target: "me@gpu"}, true},
		{"another user", Rules{Allow: List{SSH: {"me@gpu"}}}, Request{Capability: SSH, Target: "root@gpu"}, false},
		{"no user", Rules{Allow: List{SSH: {"me@gpu"}}}, Request{Capability: SSH, Target: "gpu"}, false},
		{"another port", Rules{Allow: List{SSH: {"gpu:22"}}}, Request{Capability: SSH, Target: "gpu:2222"}, false},
		{"ipv6", Rules{Allow: List{SSH: {"::1"}}}, Request{Capability: SSH, Target: "root@[::1]:22"}, true},
		{"deny a host", Rules{Deny: List{SSH: {"gpu"}}}, Request{Capability: SSH, Target: "root@Gpu:22"}, false},
		{"deny a user that the configuration may name", Rules{Deny: List{SSH: {"root@gpu:2222"}}}, Request{Capability: SSH, Target: "gpu"}, false},
		{"deny another user", Rules{Deny: List{SSH: {"root@gpu"}}}, Request{Capability: SSH, Target: "me@gpu"}, true},
		{"machine of a provider", Rules{Allow: List{SSH: {"gpu"}}}, Request{Capability: SSH, Target: "runpod:a1", Provider: "runpod"}, true},
		{"host named as a provider", Rules{Allow: List{SSH: {"runpod:*"}}}, Request{Capability: SSH, Target: "runpod:22"}, false},
		{"machine of another provider", Rules{Allow: List{SSH: {"gpu"}, Rent: {"vast"}}}, Request{Capability: SSH, Target: "runpod:a1", Provider: "runpod"}, false},
		{"machine by its id", Rules{Allow: List{SSH: {"runpod:a*"}, Rent: {"vast"}}}, Request{Capability: SSH, Target: "runpod:a1", Provider: "runpod"}, true},
		{"deny machines", Rules{Deny: List{SSH: {"runpod:*"}}}, Request{Capability: SSH, Target: "runpod:a1", Provider: "runpod"}, false},
		{"any job", Rules{}, Request{Capability: SSH, Target: "job train-1"}, true},
		{"a job where hosts are listed", Rules{Allow: List{SSH: {"gpu"}}}, Request{Capability: SSH, Target: "job train-1"}, false},
		{"a job on the list", Rules{Allow: List{SSH: {"job train-*"}}}, Request{Capability: SSH, Target: "job train-1"}, true},

		{"any provider", Rules{}, Request{Capability: Rent, Target: "*"}, true},
		{"provider on the list", Rules{Allow: List{Rent: {"vast"}}}, Request{Capability: Rent, Target: "vast"}, true},
		{"any, where there is a list", Rules{Allow: List{Rent: {"vast"}}}, Request{Capability: Rent, Target: "*"}, false},
		{"any, where one is denied", Rules{Deny: List{Rent: {"vast"}}}, Request{Capability: Rent, Target: "*"}, false},
		{"another, where one is denied", Rules{Deny: List{Rent: {"vast"}}}, Request{Capability: Rent, Target: "runpod"}, true},

		{"program", Rules{}, Request{Capability: Run, Target: "git"}, false},
		{"program on the list", Rules{Allow: List{Run: {"git"}}}, Request{Capability: Run, Target: "git"}, true},
		{"program of that name elsewhere", Rules{Allow: List{Run: {"git"}}}, Request{Capability: Run, Target: "./git"}, false},
		{"program denied", Rules{Allow: List{Run: {"*"}}, Deny: List{Run: {"rm"}}}, Request{Capability: Run, Target: "rm"}, false},

		{"module has nothing", Rules{Allow: List{Env: {"*"}}}, Request{Capability: Env, Target: "A", Caller: "acme"}, false},
		{"module's own", Rules{Modules: map[string]List{"acme": {Env: {"A"}}}}, Request{Capability: Env, Target: "A", Caller: "acme"}, true},
		{"module's is not the script's", Rules{Modules: map[string]List{"acme": {Env: {"A"}}}}, Request{Capability: Env, Target: "A"}, false},
		{"another module's", Rules{Modules: map[string]List{"acme": {Env: {"A"}}}}, Request{Capability: Env, Target: "A", Caller: "other"}, false},
		{"module and the root", Rules{}, Request{Capability: ReadFile, Target: file("root/data/x"), Caller: "acme"}, false},
		{"module granted the root", Rules{Modules: map[string]List{"acme": {ReadFile: in("root")}}}, Request{Capability: ReadFile, Target: file("root/data/x"), Caller: "acme"}, true},
		{"module granted the root, but .env", Rules{Modules: map[string]List{"acme": {ReadFile: in("root")}}}, Request{Capability: ReadFile, Target: file("root/.env"), Caller: "acme"}, false},
		{"module and hosts", Rules{}, Request{Capability: SSH, Target: "gpu", Caller: "acme"}, false},
		{"module and machines", Rules{}, Request{Capability: SSH, Target: "runpod:a1", Provider: "runpod", Caller: "acme"}, false},
		{"module that rents", Rules{Modules: map[string]List{"acme": {Rent: {"runpod"}}}}, Request{Capability: SSH, Target: "runpod:a1", Provider: "runpod", Caller: "acme"}, true},
		{"module and rent", Rules{}, Request{Capability: Rent, Target: "*", Caller: "acme"}, false},
		{"deny beats a module's grant", Rules{Deny: List{Env: {"A"}}, Modules: map[string]List{"acme": {Env: {"A"}}}}, Request{Capability: Env, Target: "A", Caller: "acme"}, false},
	} {
		err := NewGate(p.judge(test.rules).Decide).Ask(t.Context(), test.request)
		var denied *Denied
		if got := err == nil; got != test.allowed || !got && !errors.As(err, &denied) {
			t.Errorf("%s: got %v, want allowed %v", test.name, err, test.allowed)
		}
	}
}

// TestDenials has the texts that users see, each with its way out.
func TestDenials(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	for _, test := range []struct {
		rules   Rules
		request Request
		want    string
		hint    string
	}{
		{
			Rules{},
			Request{Capability: Env, Target: "HF_TOKEN"},
			"deploy.star may not read HF_TOKEN: nothing allows it",
			"bifrost exec --allow-env=HF_TOKEN deploy.star\nor in ROOT/bifrost.toml:\n  [allow]\n  env = [\"HF_TOKEN\"]",
		},
		{
			Rules{},
			Request{Capability: Env, Target: "HF_TOKEN", Caller: "acme"},
			"@acme may not read HF_TOKEN: nothing allows it",
			"in ROOT/bifrost.toml:\n  [modules.acme.allow]\n  env = [\"HF_TOKEN\"]",
		},
		{
			Rules{},
			Request{Capability: Env, Target: "VAST_API_KEY"},
			"deploy.star may not read VAST_API_KEY: keys of providers are for bifrost itself; no script may read them", "leave it out: bifrost finds the keys by itself",
		},
		{
			Rules{},
			Request{Capability: ReadFile, Target: "/etc/my hosts"},
			"deploy.star may not read /etc/my hosts: it is outside the root, ROOT",
			"bifrost exec '--allow-read=/etc/my hosts' deploy.star\nor in ROOT/bifrost.toml:\n  [allow]\n  read = [\"/etc/my hosts\"]",
		},
		{
			Rules{},
			Request{Capability: WriteFile, Target: "/tmp/it's,\"x\""},
			"deploy.star may not write /tmp/it's,\"x\": it is outside the root, ROOT",
			"bifrost exec '--allow-write=\"/tmp/it'\\''s,\"\"x\"\"\"' deploy.star\nor in ROOT/bifrost.toml:\n  [allow]\n  write = [\"/tmp/it's,\\\"x\\\"\"]",
		},
		{
			Rules{},
			Request{Capability: ReadFile, Target: p.root + "/out/x"},
			"deploy.star may not read ROOT/out/x: it is HOME/outside/x, outside the root, ROOT",
			"bifrost exec --allow-read=ROOT/out/x deploy.star\nor in ROOT/bifrost.toml:\n  [allow]\n  read = [\"ROOT/out/x\"]",
		},
		{
			Rules{},
			Request{Capability: ReadFile, Target: p.root + "/.env"},
			"deploy.star may not read ROOT/.env: it may hold the keys of providers, which no script may read", `secret("NAME") returns a variable of .env`,
		},
		{
			Rules{},
			Request{Capability: WriteFile, Target: p.root + "/bifrost.toml"},
			"deploy.star may not write ROOT/bifrost.toml: it decides what scripts and other programs may do",
			"name another file; this one is written by hand or by bifrost mod",
		},
		{
			Rules{}, Request{Capability: ReadFile, Target: p.home + "/state/journal.db"}, "deploy.star may not read HOME/state/journal.db: it is bifrost's own", "",
		},
		{
			Rules{Allow: List{SSH: {"gpu"}}},
			Request{Capability: SSH, Target: "root@other:22"},
			"deploy.star may not connect to root@other:22: it is not among what is allowed",
			"bifrost exec --allow-ssh=root@other:22 deploy.star\nor in ROOT/bifrost.toml:\n  [allow]\n  ssh = [\"root@other:22\"]",
		},
		{
			Rules{Allow: List{Rent: {"vast"}}},
			Request{Capability: Rent, Target: "*"},
			"deploy.star may not rent a machine: it is not among what is allowed",
			"bifrost exec '--allow-rent=*' deploy.star\nor in ROOT/bifrost.toml:\n  [allow]\n  rent = [\"*\"]",
		},
		{
			Rules{Deny: List{Rent: {"vast"}}},
			Request{Capability: Rent, Target: "*"},
			"deploy.star may not rent a machine: vast is denied",
			"name the others: gpu_query(providers = [...])",
		},
		{
			Rules{},
			Request{Capability: Run, Target: "git"},
			"deploy.star may not run git: nothing allows it",
			"bifrost exec --allow-run=git deploy.star\nor in ROOT/bifrost.toml:\n  [allow]\n  run = [\"git\"]\nor run it on the node: node.exec",
		},
		{
			Rules{Allow: List{Env: {"*"}}, Deny: List{Env: {"AWS_*"}}},
			Request{Capability: Env, Target: "AWS_KEY"},
			"deploy.star may not read AWS_KEY: AWS_* is denied",
			"--deny-env, or env under [deny] in ROOT/bifrost.toml, says so, and beats everything that allows",
		},
		{
			Rules{}, Request{Capability: ReadFile, Target: "/tmp/x\x1b[2J\nallowed"}, `deploy.star may not read "/tmp/x\x1b[2J\nallowed": it is outside the root, ROOT`, "",
		},
	} {
		var denied *Denied
		if err := NewGate(p.judge(test.rules).Decide).Ask(t.Context(), test.request); !errors.As(err, &denied) {
			t.Errorf("%v: got %v, want a refusal", test.request, err)
			continue
		}
		short := strings.NewReplacer(p.root, "ROOT", p.home, "HOME").Replace
		if got := short(denied.Error()); got != test.want {
			t.Errorf("got %s\nwant %s", got, test.want)
		}
		if got := short(denied.Hint()); got != test.hint {
			t.Errorf("%s: got hint %q\nwant %q", test.want, got, test.hint)
		}
	}
}

func TestAsk(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	var questions, notices []string
	answers := map[string]Answer{"A": Yes, "C": Always, "D": Always}
	j := p.judge(Rules{Deny: List{Env: {"E"}}}, func(c *Config) {
		c.Ask = func(_ context.Context, q string) (Answer, error) {
			questions = append(questions, q)
			for name, answer := range answers {
				if strings.Contains(q, "reads "+name+":") {
					return answer, nil
				}
			}
			return No, nil
		}
		c.Remember = func(caller string, c Capability, pattern string) (string, error) {
			if pattern == "D" {
				return "", errors.New("bifrost.toml is read-only")
			}
			return "/p/bifrost.toml", nil
		}
		c.Notice = func(text string) { notices = append(notices, text) }
	})
	for _, step := range []struct {
		request Request
		allowed bool
		asked   string
	}{
		{Request{Capability: Env, Target: "A", Place: "deploy.star:12"}, true, "deploy.star:12 reads A: allow?"},
		{Request{Capability: Env, Target: "A", Place: "deploy.star:13"}, true, ""},
		{Request{Capability: Env, Target: "A", Caller: "acme", Place: "deploy.star:13"}, true, "@acme (at deploy.star:13) reads A: allow?"},
		{Request{Capability: Env, Target: "B", Place: "@acme//x.star:3"}, false, "deploy.star (at @acme//x.star:3) reads B: allow?"},
		{Request{Capability: Env, Target: "B"}, false, ""},
		{Request{Capability: Env, Target: "B", Caller: "acme", Place: "@acme//x.star:3"}, false, "@acme//x.star:3 reads B: allow?"},
		{Request{Capability: Env, Target: "C", Caller: "acme"}, true, "@acme reads C: allow?"},
		{Request{Capability: Env, Target: "D"}, true, "deploy.star reads D: allow?"},
		{Request{Capability: Env, Target: "E"}, false, ""},              // denied
		{Request{Capability: Env, Target: "RUNPOD_API_KEY"}, false, ""}, // never
		{Request{Capability: ReadFile, Target: "/x\r\x1b[Adeploy.star reads Z: allow?"}, false, `deploy.star reads "/x\r\x1b[Adeploy.star reads Z: allow?": allow?`},
	} {
		questions = nil
		err := j.Decide(t.Context(), step.request)
		if asked := strings.Join(questions, "; "); asked != step.asked || (err == nil) != step.allowed {
			t.Errorf("%+v: got %v, asked %q, want allowed %v, asked %q", step.request, err, asked, step.allowed, step.asked)
		}
	}
	want := "added to /p/bifrost.toml: [modules.acme.allow] env = [\"C\"]; allowed for this run only: bifrost.toml is read-only"
	if got := strings.Join(notices, "; "); got != want {
		t.Errorf("notices %q, want %q", got, want)
	}
}

// TestAskEnds has the user press Ctrl-C in the question: the run ends for its reason, which is no
// refusal.
func TestAskEnds(t *testing.T) {
	t.Parallel()
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	j := newPlace(t).judge(Rules{}, func(c *Config) {
		c.Ask = func(ctx context.Context, _ string) (Answer, error) {
			cancel(interrupted)
			return No, fmt.Errorf("ask: %w", context.Cause(ctx))
		}
	})
	err := NewGate(j.Decide).Ask(ctx, Request{Capability: Env, Target: "A"})
	var denied *Denied
	if !errors.Is(err, interrupted) || errors.As(err, &denied) {
		t.Errorf("got %v, want the reason and no refusal", err)
	}
}

// TestAskOnce has many threads want the same at once.
func TestAskOnce(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	asked, open := 0, 0
	j := newPlace(t).judge(Rules{}, func(c *Config) {
		c.Ask = func(context.Context, string) (Answer, error) {
			mu.Lock()
			asked++
			open++
			if open > 1 {
				t.Error("two questions at once")
			}
			mu.Unlock()
			mu.Lock()
			open--
			mu.Unlock()
			return Yes, nil
		}
	})
	var group sync.WaitGroup
	for i := range 40 {
		group.Go(func() {
			if err := j.Decide(t.Context(), Request{Capability: Env, Target: []string{"A", "B"}[i%2]}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if asked != 2 {
		t.Errorf("asked %d times, want 2", asked)
	}
}

func TestNotices(t *testing.T) {
	t.Parallel()
	var notices []string
	j := newPlace(t).judge(Rules{Deny: List{SSH: {"bad"}}}, func(c *Config) { c.Notice = func(s string) { notices = append(notices, s) } })
	for _, r := range []Request{
		{Capability: SSH, Target: "root@gpu"},
		{Capability: SSH, Target: "root@gpu"},
		{Capability: SSH, Target: "bad"},
		{Capability: SSH, Target: "job train-1"},
		{Capability: SSH, Target: "runpod:a1", Provider: "runpod"},
		{Capability: SSH, Target: "other"},
		{Capability: Rent, Target: "local"},
		{Capability: Rent, Target: "local"},
		{Capability: Rent, Target: "runpod"},
	} {
		_ = j.Decide(t.Context(), r) // what is refused is not shown
	}
	want := "deploy.star connects to root@gpu\ndeploy.star connects to other\ndeploy.star uses a local node: what it runs there runs on this machine with your rights"
	if got := strings.Join(notices, "\n"); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// TestWithFolders has what does not go with a folder that is sent, and what does not come with one.
func TestWithFolders(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write("root/plain/.env", "PORT=80\n")
	j := p.judge(Rules{Deny: List{ReadFile: {p.root + "/sub"}, WriteFile: {p.root + "/data"}}})
	for path, want := range map[string]string{
		"root/data/x": "w", "root/sub/y": "r", "root/.env": "rw", "root/plain/.env": "w", "state/journal.db": "rw", ".ssh/id": "rw",
		"root/.git/hooks/x": "w", "root/bifrost.toml": "w", "root/new-folder/.git/config": "w", "root/other": "",
	} {
		got := ""
		if j.Withhold(filepath.Join(p.home, path)) != "" {
			got += "r"
		}
		if j.Protect(filepath.Join(p.home, path)) != "" {
			got += "w"
		}
		if got != want {
			t.Errorf("%s: kept from %q, want %q", path, got, want)
		}
	}
}

func TestNewJudgeRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{
		{}, {Root: "x"}, {Root: "/", Rules: Rules{Allow: List{ReadFile: {"x"}}}}, {Root: "/", Rules: Rules{Modules: map[string]List{"a": {WriteFile: {"x"}}}}},
	} {
		if _, err := NewJudge(c); err == nil {
			t.Errorf("NewJudge(%+v): no error", c)
		}
	}
}

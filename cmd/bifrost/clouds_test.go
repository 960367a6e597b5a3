package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/gpu"
	testcloud "github.com/bifrost-run/bifrost/gpu/gputest/cloud"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// TestClouds runs testdata/clouds at a test cloud of each provider: the program as it is, with its own
// clients. In the scripts $PROVIDER is the provider's name, $KEYVAR the variable of its key and $OTHER the
// name of another provider.
func TestClouds(t *testing.T) {
	t.Parallel()
	for i, c := range clouds() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.name == "lambda" { // SSH to its machines is always at that port
				testcloud.NeedPort22(t)
			}
			testscript.Run(t, scripts(t, testscript.Params{
				Dir: "testdata/clouds",
				Setup: func(env *testscript.Env) error {
					env.Setenv("PROVIDER", c.name)
					env.Setenv("KEYVAR", c.keyVar)
					env.Setenv("OTHER", clouds()[(i+1)%len(clouds())].name)
					env.Values[accountsKey{}] = map[string]*testcloud.Account{}
					return nil
				},
				Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
					"cloud": startCloud, "machines": machines, "stranger": stranger, "fault": faulty, "secretless": secretless,
				},
			}))
		})
	}
}

// accountsKey is that of a script's accounts, a map by the provider's name.
type accountsKey struct{}

func accountAt(ts *testscript.TestScript, name string) (cloud, *testcloud.Account) {
	i := slices.IndexFunc(clouds(), func(c cloud) bool { return c.name == name })
	acct := ts.Value(accountsKey{}).(map[string]*testcloud.Account)[name]
	if i < 0 || acct == nil {
		ts.Fatalf("there is no cloud %q here: begin with: cloud %s", name, name)
	}
	return clouds()[i], acct
}

// startCloud starts an account and sets the variables with its key and its address: cloud vast
func startCloud(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: cloud PROVIDER")
	}
	acct, err := testcloud.Start(args[0], testcloud.Options{Daemon: []string{program, "local-node"}})
	ts.Check(err)
	ts.Defer(func() {
		awaitGuardians(ts)
		ts.Check(acct.Close())
	})
	ts.Value(accountsKey{}).(map[string]*testcloud.Account)[args[0]] = acct
	c, _ := accountAt(ts, args[0])
	ts.Setenv(c.keyVar, acct.Key)
	ts.Setenv(c.urlVar, acct.URL)
}

// awaitGuardians waits until those of a script have ended: one whose cloud goes away first tries for ever. Without
// /proc it does not wait.
func awaitGuardians(ts *testscript.TestScript) {
	setting := []byte("WORK=" + ts.Getenv("WORK") + "\x00")
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		if !slices.ContainsFunc(lines, func(name string) bool {
			line, _ := os.ReadFile(name)
			if !bytes.Contains(line, []byte("\x00guardian\x00")) {
				return false
			}
			env, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "environ"))
			return bytes.Contains(env, setting)
		}) {
			return
		}
	}
	ts.Logf("a guardian of this script has not ended")
}

// machines checks how many machines of an account cost money now: machines vast 1
func machines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: machines PROVIDER COUNT")
	}
	_, acct := accountAt(ts, args[0])
	if got := acct.Machines(); strconv.Itoa(len(got)) != args[1] {
		ts.Fatalf("%d machines cost money at %s, want %s: %+v", len(got), args[0], args[1], got)
	}
}

// stranger rents a machine that is not bifrost's: stranger vast somebody-elses
func stranger(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: stranger PROVIDER NAME")
	}
	c, acct := accountAt(ts, args[0])
	p := c.open(acct.Key, acct.URL)
	offers, err := p.Offers(context.Background(), gpu.Query{Count: 1})
	ts.Check(err)
	req := gpu.CreateRequest{Name: args[1], Offer: offers[0], AuthorizedKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDdRk5fNT1mrCrwpXGLpZ1yXEjwAfV8eQIcQpIlXRkqv"}
	if r, ok := p.(gpu.KeyRegistrar); ok {
		req.KeyRef, err = r.RegisterKey(context.Background(), req.AuthorizedKey)
		ts.Check(err)
	}
	_, err = p.Create(context.Background(), req)
	ts.Check(err)
}

// faulty makes the next call of an operation fail: fault vast offers '500, not done'
func faulty(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 || !slices.Contains(testcloud.Kinds(), testcloud.Kind(args[2])) {
		ts.Fatalf("usage: fault PROVIDER OPERATION KIND")
	}
	_, acct := accountAt(ts, args[0])
	acct.Fault(testcloud.Fault{Op: args[1], Kind: testcloud.Kind(args[2]), Times: 1})
}

// secretless checks that no key is in what the last command printed, or anywhere in the state folder.
func secretless(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: secretless")
	}
	for name, acct := range ts.Value(accountsKey{}).(map[string]*testcloud.Account) {
		for _, stream := range []string{"stdout", "stderr"} {
			if strings.Contains(ts.ReadFile(stream), acct.Key) {
				ts.Fatalf("the key of %s is on %s", name, stream)
			}
		}
		err := filepath.WalkDir(ts.Getenv("XDG_STATE_HOME"), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return ignoreMissing(err)
			}
			data, err := os.ReadFile(path)
			if bytes.Contains(data, []byte(acct.Key)) {
				ts.Fatalf("the key of %s is in %s", name, path)
			}
			return ignoreMissing(err)
		})
		ts.Check(err)
	}
}

// ignoreMissing drops that a file has just gone, as those of a database that others use do.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func TestAccounts(t *testing.T) {
	project := t.TempDir()
	here := filepath.Join(project, "sub")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(dir, text string) {
		t.Helper()
		must(os.WriteFile(filepath.Join(dir, ".env"), []byte(text), 0o600))
	}
	must(os.Mkdir(here, 0o700))
	must(os.WriteFile(filepath.Join(project, "bifrost.toml"), nil, 0o600))
	t.Chdir(here)
	for _, test := range []struct {
		name          string
		env           string
		here, root    string
		key, from     string
		missingSuffix string
	}{
		{name: "nothing", missingSuffix: "VAST_API_KEY is not set"},
		{name: "environment", env: " from-env\n", here: "VAST_API_KEY=from-here", key: "from-env", from: "the environment"},
		{name: "current folder", here: "VAST_API_KEY='from-here'", root: "VAST_API_KEY=from-root", key: "from-here", from: "sub/.env"},
		{name: "root", here: "OTHER=x", root: "export VAST_API_KEY=from-root", key: "from-root", from: "/.env"},
		{name: "an empty one is none", env: " ", here: "VAST_API_KEY=", root: "VAST_API_KEY=from-root", key: "from-root", from: "/.env"},
		{name: "a file that cannot be read", here: "VAST_API_KEY from-here", missingSuffix: ".env: line 1 is not NAME=value)"},
	} {
		write(here, test.here)
		write(project, test.root)
		a := &app{redact: &starlark.Redactor{}, env: environment{Lookup: func(name string) (string, bool) {
			return test.env, name == "VAST_API_KEY" && test.env != ""
		}}}
		all := a.accounts()
		i := slices.IndexFunc(all, func(acct account) bool { return acct.name == "vast" })
		got := all[i]
		if got.key != test.key || test.key != "" && !strings.HasSuffix(got.from, test.from) || !strings.HasSuffix(got.missing, test.missingSuffix) || (got.missing == "") != (test.key != "") {
			t.Errorf("%s: got key %q from %q, missing %q; want %q from %q, missing %q", test.name, got.key, got.from, got.missing, test.key, test.from, test.missingSuffix)
		}
		if text := a.redact.Redact("key " + test.key); test.key != "" && strings.Contains(text, test.key) {
			t.Errorf("%s: the key is printed: %s", test.name, text)
		}
		if strings.Contains(got.missing, "from-here") {
			t.Errorf("%s: the key is in %q", test.name, got.missing)
		}
	}
}

func TestKeysOfAllClouds(t *testing.T) {
	t.Parallel()
	for _, c := range clouds() {
		if want := "BIFROST_" + strings.ToUpper(c.name) + "_URL"; c.urlVar != want {
			t.Errorf("%s: got %s, want %s", c.name, c.urlVar, want)
		}
		if got := c.open("key", "").Name(); got != c.name {
			t.Errorf("%s opens %s", c.name, got)
		}
		if !policy.IsProviderKey(c.keyVar) {
			t.Errorf("a script may read %s", c.keyVar)
		}
	}
	if len(clouds()) != len(policy.ProviderKeys()) {
		t.Errorf("%d clouds; scripts may not read %q", len(clouds()), policy.ProviderKeys())
	}
}

func TestBaseURL(t *testing.T) {
	t.Parallel()
	c := cloud{name: "vast", urlVar: "BIFROST_VAST_URL"}
	for text, want := range map[string]string{
		"":                         "",
		"http://127.0.0.1:8080":    "http://127.0.0.1:8080",
		"https://proxy.example/v/": "https://proxy.example/v",
	} {
		got, err := c.baseURL(func(string) (string, bool) { return text, text != "" })
		if got != want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"127.0.0.1:8080", "proxy", "ftp://proxy", "https://", "https://user:s3cret@proxy", "https://proxy/?key=s3cret", "https://pro\nxy"} {
		got, err := c.baseURL(func(string) (string, bool) { return text, true })
		if err == nil || got != "" || fault.HintOf(err) == "" || !strings.Contains(err.Error(), "BIFROST_VAST_URL") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: got %q, %v, want an error that names the variable", text, got, err)
		}
	}
}

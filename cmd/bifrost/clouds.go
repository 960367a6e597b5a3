package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/lambda"
	"github.com/bifrost-run/bifrost/gpu/prime"
	"github.com/bifrost-run/bifrost/gpu/runpod"
	"github.com/bifrost-run/bifrost/gpu/vast"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// A cloud is a provider that wants a key.
type cloud struct {
	name   string
	keyVar string // the variable that has the key
	urlVar string // the one that has the address of its API, where that is not the provider's own
	open   func(key, url string) gpu.Provider
}

func clouds() []cloud {
	return []cloud{
		{runpod.Name, "RUNPOD_API_KEY", "BIFROST_RUNPOD_URL", func(key, url string) gpu.Provider { return runpod.New(runpod.Config{Key: key, URL: url}) }},
		{vast.Name, "VAST_API_KEY", "BIFROST_VAST_URL", func(key, url string) gpu.Provider { return vast.New(vast.Config{Key: key, URL: url}) }},
		{lambda.Name, "LAMBDA_API_KEY", "BIFROST_LAMBDA_URL", func(key, url string) gpu.Provider { return lambda.New(lambda.Config{Key: key, URL: url}) }},
		{prime.Name, "PRIME_API_KEY", "BIFROST_PRIME_URL", func(key, url string) gpu.Provider { return prime.New(prime.Config{Key: key, URL: url}) }},
	}
}

// An account is a cloud with what this process has to get in.
type account struct {
	cloud
	key     string
	from    string // where the key is: "the environment", "/project/.env"
	missing string // why there is none; "" where there is
}

// A dotenv is a .env file that was read.
type dotenv struct {
	file string
	vars map[string]string
	err  error // what is wrong with it; it has no variables then
}

// accounts are all clouds. A key is that of the environment, else of .env in the current folder, else of
// .env in the root of the project or of the script, which must be known before. Every key that is found is kept out of what is printed.
func (a *app) accounts() []account {
	if a.accts != nil {
		return a.accts
	}
	if here, err := os.Getwd(); err == nil {
		a.dotenvs = slices.Insert(a.dotenvs, 0, a.readDotenv(here))
		if root, err := starlark.RootOfFolder(here); err == nil {
			a.dotenv(root)
		}
	}
	a.accts = []account{}
	for _, c := range clouds() {
		acct := account{cloud: c, missing: c.keyVar + " is not set"}
		value, _ := a.env.Lookup(c.keyVar)
		acct.key, acct.from = strings.TrimSpace(value), "the environment"
		for _, env := range a.dotenvs {
			if acct.key == "" {
				acct.key, acct.from = strings.TrimSpace(env.vars[c.keyVar]), env.file
			}
			if env.err != nil {
				acct.missing = fmt.Sprintf("%s is not set (%v)", c.keyVar, env.err)
			}
		}
		if acct.key != "" {
			acct.missing = ""
			a.redact.Add(c.keyVar, acct.key)
		}
		a.accts = append(a.accts, acct)
	}
	return a.accts
}

// dotenv reads the .env of a folder, unless it was read.
func (a *app) dotenv(dir string) {
	if env := a.readDotenv(dir); !slices.ContainsFunc(a.dotenvs, func(d dotenv) bool { return d.file == env.file }) {
		a.dotenvs = append(a.dotenvs, env)
	}
}

// readDotenv reads the .env of a folder and keeps its secrets out of everything that is printed, whether a
// script asks for them or not. What is wrong with the file is told to whoever asks for a variable of it.
func (a *app) readDotenv(dir string) dotenv {
	env := dotenv{file: filepath.Join(dir, ".env")}
	env.vars, env.err = builtins.ReadDotenv(env.file)
	for name, value := range env.vars {
		if policy.IsProviderKey(name) || starlark.LooksSecret(name, value) {
			a.redact.Add(name, value)
		}
	}
	return env
}

// baseURL is the address of the cloud's API where the user gives another one, else "". It comes from the
// environment alone: a project's .env cannot send the user's key elsewhere.
func (c cloud) baseURL(lookup func(string) (string, bool)) (string, error) {
	text, _ := lookup(c.urlVar)
	if text == "" {
		return "", nil
	}
	wrong := ""
	switch u, err := url.Parse(text); {
	case err != nil:
		wrong = "it is not a URL"
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "":
		wrong = fmt.Sprintf("%q does not begin with https:// and a host", u.Redacted())
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		wrong = "it has more than a host and a path"
	}
	if wrong != "" {
		return "", &fault.Error{
			Kind: fault.Invalid, Op: "read", Target: c.urlVar, Err: errors.New(wrong),
			Hint: "write it as https://host/path, or unset it for the address of the provider",
		}
	}
	return strings.TrimSuffix(text, "/"), nil
}

// askTime is how long the doctor waits for a provider.
const askTime = 15 * time.Second

// checkAccounts asks all providers whose key is set at once for the list of their machines.
func (a *app) checkAccounts(ctx context.Context) []finding {
	accounts := a.accounts()
	found := make([]finding, len(accounts))
	var wg sync.WaitGroup
	for i, acct := range accounts {
		wg.Go(func() { found[i] = a.checkAccount(ctx, acct) })
	}
	wg.Wait()
	if !slices.ContainsFunc(accounts, func(acct account) bool { return acct.missing == "" }) {
		found = append(found, finding{verdictWarn, "providers", "no key is set: nothing can be rented", "set one of them in the environment or in .env; machines of your own (ssh=) and local nodes need none"})
	}
	return found
}

func (a *app) checkAccount(ctx context.Context, acct account) finding {
	if acct.missing != "" {
		return finding{verdictOK, acct.name, "not used: " + acct.missing, ""}
	}
	base, err := acct.baseURL(a.env.Lookup)
	if err != nil {
		return finding{verdictFail, acct.name, err.Error(), fault.HintOf(err)}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, fmt.Errorf("no answer within %s", askTime))
	defer cancel()
	machines, err := acct.open(acct.key, base).List(ctx)
	what := fmt.Sprintf("%s is from %s", acct.keyVar, acct.from)
	if base != "" {
		what += ", the address from " + acct.urlVar
	}
	var refusal *gpu.Error
	switch {
	case errors.As(err, &refusal) && (refusal.Kind == gpu.Auth || refusal.Kind == gpu.Forbidden):
		return finding{verdictWarn, acct.name, fmt.Sprintf("%s, and is refused: %v", what, err), "make a new key at the provider's console"}
	case err != nil:
		return finding{verdictWarn, acct.name, fmt.Sprintf("%s: %v", what, err), "see whether the provider is up and this machine has a network"}
	}
	running := 0
	for _, m := range machines {
		if m.State != gpu.Terminated {
			running++
		}
	}
	return finding{verdictOK, acct.name, fmt.Sprintf("%s; it answers, the account has %d machines", what, running), ""}
}

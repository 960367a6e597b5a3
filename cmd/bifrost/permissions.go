package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/config"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// permissions are what the flags of a command say about what its script may do. They are added to what
// bifrost.toml says.
type permissions struct {
	cmd         *cobra.Command
	allow, deny map[policy.Capability]*[]string
	limits      limits
	dry         bool // no answer is written to bifrost.toml
}

// limits are what a run may spend, in USD; 0 means no limit.
type limits struct {
	price   float64 // per GPU and hour
	cost    float64 // for one job
	perHour float64 // of the machines of the run
}

// addPolicyFlags gives a command that runs a script the flags for what the script may do.
func addPolicyFlags(cmd *cobra.Command) *permissions {
	p := &permissions{cmd: cmd, allow: map[policy.Capability]*[]string{}, deny: map[policy.Capability]*[]string{}}
	flags := cmd.Flags()
	for _, f := range []struct {
		capability policy.Capability
		what       string
		allow      string
		deny       string
	}{
		{policy.ReadFile, "`PATHS`", "let the script read these files and folders too, beside its root", "read"},
		{policy.WriteFile, "`PATHS`", "let the script write these files and folders too, beside its root", "write"},
		{policy.Env, "`NAMES`", "let the script read these variables; WANDB_* means all that begin so", "read"},
		{policy.SSH, "`HOSTS`", "let the script connect to these hosts only", "connect to"},
		{policy.Rent, "`PROVIDERS`", "let the script rent from these providers only", "rent from"},
		{policy.Run, "`PROGRAMS`", "let the script run these programs on this machine", "run"},
	} {
		key := f.capability.Key()
		p.allow[f.capability] = flags.StringSlice("allow-"+key, nil, f.allow+" ("+f.what+", comma between)")
		p.deny[f.capability] = flags.StringSlice("deny-"+key, nil, "never let it "+f.deny+" these "+f.what+", whatever is allowed")
	}
	flags.Float64Var(&p.limits.price, "max-price", 0, "rent nothing that costs more than `USD` per GPU and hour")
	flags.Float64Var(&p.limits.cost, "max-cost", 0, "rent nothing for a job that could cost more than `USD`")
	flags.Float64Var(&p.limits.perHour, "max-cost-per-hour", 0, "rent nothing that brings the machines of this run above `USD` per hour")
	return p
}

// addTo appends the flags to rules, or says what is wrong with one.
func (p *permissions) addTo(rules *policy.Rules, home string) error {
	here, err := os.Getwd()
	if err != nil {
		here = "" // a relative path is refused then
	}
	for _, set := range []struct {
		verb  string
		flags map[policy.Capability]*[]string
		list  policy.List
	}{{"allow", p.allow, rules.Allow}, {"deny", p.deny, rules.Deny}} {
		for _, c := range policy.Capabilities() {
			name := set.verb + "-" + c.Key()
			patterns := *set.flags[c]
			if p.cmd.Flags().Changed(name) && len(patterns) == 0 {
				return usage(p.cmd, "", "--%s is empty", name)
			}
			for _, pattern := range patterns {
				if err := policy.CheckPattern(c, pattern); err != nil && !(set.verb == "deny" && policy.IsProviderKey(pattern)) {
					return usage(p.cmd, "", "--%s %q: %v", name, pattern, err)
				}
				if c == policy.ReadFile || c == policy.WriteFile {
					pattern = policy.AbsolutePath(pattern, here, home)
				}
				set.list.Add(policy.List{c: {pattern}})
			}
		}
	}
	for _, f := range []struct {
		name, unit string
		usd        float64
	}{{"max-price", "USD per GPU and hour", p.limits.price}, {"max-cost", "USD", p.limits.cost}, {"max-cost-per-hour", "USD per hour", p.limits.perHour}} {
		if p.cmd.Flags().Changed(f.name) && !(f.usd > 0 && f.usd <= math.MaxFloat64) {
			return usage(p.cmd, "write "+f.unit+" above 0", "--%s %v is no price", f.name, f.usd)
		}
	}
	return nil
}

// judge reads what bifrost.toml and the flags say about the script, and returns who decides by it. It
// must be called before the engine is opened, which keeps to it too.
func (a *app) judge(file string, p *permissions) (*policy.Judge, error) {
	root, err := starlark.RootOf(file)
	if err != nil {
		return nil, err
	}
	return a.judgeIn(root, file, p)
}

// judgeIn is judge for what runs in a root; people know it as name.
func (a *app) judgeIn(root, name string, p *permissions) (*policy.Judge, error) {
	c, err := config.Read(root)
	if err != nil {
		return nil, err // which the check of the script has told already, unless the file has just changed
	}
	rules := c.Rules(root, a.env.Home)
	if err := p.addTo(&rules, a.env.Home); err != nil {
		return nil, err
	}
	a.limits = limits{
		price: cmp.Or(p.limits.price, c.MaxPrice), cost: cmp.Or(p.limits.cost, c.MaxCost), perHour: cmp.Or(p.limits.perHour, c.MaxCostPerHour),
	}
	a.dotenv(root)
	cfg := policy.Config{
		Root: root, Script: name, Command: p.cmd.CommandPath(), Home: a.env.Home, StateDir: a.env.StateDir, Rules: rules,
		Remember: func(caller string, c policy.Capability, pattern string) (string, error) {
			if p.dry {
				return "", errors.New("a plan writes nothing")
			}
			return config.Grant(root, caller, c, pattern)
		},
		Notice: func(text string) { a.screen.Event(report.Event{Kind: report.Notice, Text: a.redact.Redact(text)}) },
	}
	if a.attended() {
		cfg.Ask = a.askPermission
	}
	if a.guard, err = policy.NewJudge(cfg); err != nil {
		return nil, err
	}
	return a.guard, nil
}

// askPermission asks the user for a permission. --yes does not answer: it is for what a script asks, and
// what a script may is not the script's to ask.
func (a *app) askPermission(ctx context.Context, question string) (policy.Answer, error) {
	answer, err := a.askLine(ctx, question+" [y/N/always] ")
	if err != nil {
		return policy.No, err
	}
	switch answer {
	case "y", "yes":
		return policy.Yes, nil
	case "a", "always":
		return policy.Always, nil
	}
	return policy.No, nil
}

// withhold and protect are the judge's word on the files within folders. Without a script there is no
// judge: then what no script may do is kept from the results of its job too.
func (a *app) withhold(path string) string {
	if a.guard == nil {
		return ""
	}
	return a.guard.Withhold(path)
}

func (a *app) protect(path string) string {
	guard := a.guard
	if a.byHand {
		return ""
	}
	if guard == nil {
		var err error
		root := filepath.Dir(path)
		if guard, err = policy.NewJudge(policy.Config{Root: root, Home: a.env.Home, StateDir: a.env.StateDir}); err != nil {
			return fmt.Sprintf("nobody knows whether it may be written: %v", err)
		}
	}
	return guard.Protect(path)
}

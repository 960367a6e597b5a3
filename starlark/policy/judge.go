package policy

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// An Answer is what the user says to a question.
type Answer int

// The answers. Both Yes and No hold for the rest of the run.
const (
	No     Answer = iota
	Yes           // for this run
	Always        // and for those to come
)

// A Config is what a Judge decides by.
type Config struct {
	Root     string // absolute folder that the script may read and write
	Script   string // as the user typed it
	Command  string // that runs it, for hints: "bifrost exec"
	Home     string // the user's; "" when nobody knows
	StateDir string // bifrost's own folder, which no script may touch; "" for none
	Rules    Rules

	// Ask puts a question like "deploy.star:12 reads HF_TOKEN: allow?" to the user. It is never called
	// twice at once. Nil means that nobody can be asked.
	Ask func(ctx context.Context, question string) (Answer, error)
	// Remember adds a pattern to what bifrost.toml allows the caller, and returns the file's path. Nil
	// remembers nothing.
	Remember func(caller string, c Capability, pattern string) (path string, err error)
	// Notice tells the user something that is not an error; nil discards it.
	Notice func(text string)
}

// A Judge decides what one run may do. It is safe for concurrent use.
type Judge struct {
	cfg    Config
	asking chan struct{} // holds one: whoever asks the user

	stateDir, keys string // Config.StateDir and the folder of the user's SSH keys, real

	mu      sync.Mutex
	answers map[question]bool
	told    map[string]bool // what was shown once
}

// A question is what an answer holds for.
type question struct {
	caller     string
	capability Capability
	target     string
}

// NewJudge returns a judge, or what is wrong with the rules.
func NewJudge(c Config) (*Judge, error) {
	if !filepath.IsAbs(c.Root) {
		return nil, fmt.Errorf("the root %q is not an absolute path", c.Root)
	}
	lists := []List{c.Rules.Allow, c.Rules.Deny}
	for _, l := range c.Rules.Modules {
		lists = append(lists, l)
	}
	for _, l := range lists {
		for _, capability := range []Capability{ReadFile, WriteFile} {
			for _, p := range l[capability] {
				if !filepath.IsAbs(p) {
					return nil, fmt.Errorf("%s: %q is not an absolute path", capability.Key(), p)
				}
			}
		}
	}
	if c.Script == "" {
		c.Script = "the script"
	}
	return &Judge{
		cfg: c, asking: make(chan struct{}, 1), answers: map[question]bool{}, told: map[string]bool{},
		stateDir: realPath(c.StateDir), keys: realPath(filepath.Join(c.Home, ".ssh")),
	}, nil
}

// Decide is the Policy of the judge: what nobody may do is refused, then what a rule denies; then what a
// rule allows is allowed, and the user is asked about the rest.
func (j *Judge) Decide(ctx context.Context, r Request) error {
	if reason, hint := j.never(r); reason != "" {
		return &refusal{j.who(r), reason, hint}
	}
	if pattern := j.cfg.Rules.Deny.covers(r, true); pattern != "" {
		hint := fmt.Sprintf("--deny-%[1]s, or %[1]s under [deny] in %[2]s, says so, and beats everything that allows", r.Capability.Key(), j.file())
		if r.Capability == Rent && r.Target == "*" {
			hint = "name the others: gpu_query(providers = [...])"
		}
		return &refusal{j.who(r), shown(pattern) + " is denied", hint}
	}
	if !j.allowed(r) {
		yes, err := j.ask(ctx, r)
		if err != nil {
			return err
		}
		if !yes {
			return j.refuse(r)
		}
	}
	j.announce(r)
	return nil
}

// allowed tells whether a rule, or what every script may, covers the request.
func (j *Judge) allowed(r Request) bool {
	list := j.cfg.Rules.Allow
	if r.Caller != "" {
		list = j.cfg.Rules.Modules[r.Caller]
	}
	file := r.Capability == ReadFile || r.Capability == WriteFile
	switch {
	case file && !j.mayPrivate(r, list):
		return false
	case list.covers(r, false) != "":
		return true
	case r.Capability == SSH && r.Provider != "":
		return j.mayRent(r.Caller, r.Provider) // and so may reach its machines
	case r.Caller != "":
		return false
	case file:
		return r.covered(j.cfg.Root, false)
	case r.Capability == SSH || r.Capability == Rent:
		return list[r.Capability] == nil
	}
	return false
}

// mayRent tells whether the caller may rent from the provider, by a rule or because the user said so.
func (j *Judge) mayRent(caller, provider string) bool {
	for _, target := range []string{provider, "*"} {
		r := Request{Capability: Rent, Target: target, Caller: caller}
		if yes, _ := j.answered(r); yes || j.allowed(r) {
			return true
		}
	}
	return false
}

// mayPrivate refuses the user's SSH keys, unless the list names the folder or something in it.
func (j *Judge) mayPrivate(r Request, list List) bool {
	for _, p := range realPaths(r.Target) {
		if !j.private(p) {
			continue
		}
		named := false
		for _, pattern := range list[r.Capability] {
			named = named || j.private(realPath(pattern)) && r.covered(pattern, false)
		}
		if !named {
			return false
		}
	}
	return true
}

// ask puts the request to the user. The answer of earlier holds.
func (j *Judge) ask(ctx context.Context, r Request) (bool, error) {
	select {
	case j.asking <- struct{}{}:
		defer func() { <-j.asking }()
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	if yes, known := j.answered(r); known {
		return yes, nil
	}
	if j.cfg.Ask == nil {
		return false, nil
	}
	answer, err := j.cfg.Ask(ctx, fmt.Sprintf("%s %s: allow?", j.at(r), r.Capability.verb(shown(r.Target), true)))
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err != nil {
		return false, &refusal{j.who(r), err.Error(), j.hint(r)}
	}
	j.mu.Lock()
	j.answers[question{r.Caller, r.Capability, r.Target}] = answer != No
	j.mu.Unlock()
	if answer == Always && j.cfg.Remember != nil {
		path, err := j.cfg.Remember(r.Caller, r.Capability, r.Target)
		if err != nil {
			j.notice(fmt.Sprintf("allowed for this run only: %v", err))
		} else {
			j.notice(fmt.Sprintf("added to %s: %s %s", path, table(r.Caller), line(r)))
		}
	}
	return answer != No, nil
}

func (j *Judge) answered(r Request) (yes, known bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	yes, known = j.answers[question{r.Caller, r.Capability, r.Target}]
	return yes, known
}

// announce shows what a script may do without having been allowed to: each host, and the one provider
// whose machine is this one.
func (j *Judge) announce(r Request) {
	text := ""
	switch {
	case r.Caller != "":
		return
	case r.Capability == SSH && r.Provider == "" && !strings.HasPrefix(r.Target, jobTarget):
		text = fmt.Sprintf("%s connects to %s", j.cfg.Script, shown(r.Target))
	case r.Capability == Rent && r.Target == "local":
		text = fmt.Sprintf("%s uses a local node: what it runs there runs on this machine with your rights", j.cfg.Script)
	default:
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.told[text] {
		j.told[text] = true
		j.notice(text)
	}
}

func (j *Judge) notice(text string) {
	if j.cfg.Notice != nil {
		j.cfg.Notice(text)
	}
}

// refuse says that nothing allows the request.
func (j *Judge) refuse(r Request) error {
	reason := "nothing allows it"
	if r.Caller == "" && (r.Capability == SSH || r.Capability == Rent) {
		reason = "it is not among what is allowed"
	}
	if r.Capability == ReadFile || r.Capability == WriteFile {
		real := realPath(r.Target)
		if real != filepath.Clean(r.Target) {
			reason += "; it is " + shown(real)
		}
		if r.Caller == "" && !j.private(real) {
			reason = fmt.Sprintf("it is outside the root, %s", shown(j.cfg.Root))
			if real != filepath.Clean(r.Target) {
				reason = fmt.Sprintf("it is %s, outside the root, %s", shown(real), shown(j.cfg.Root))
			}
		}
	}
	return &refusal{j.who(r), reason, j.hint(r)}
}

// hint is the flag and the line that allow the request, to be copied.
func (j *Judge) hint(r Request) string {
	if CheckPattern(r.Capability, r.Target) != nil || shown(r.Target) != r.Target {
		return "" // no list can have it
	}
	lines := fmt.Sprintf("in %s:\n  %s\n  %s", j.file(), table(r.Caller), line(r))
	if r.Caller != "" {
		return lines
	}
	hint := ""
	if j.cfg.Command != "" {
		flag := fmt.Sprintf("--allow-%s=%s", r.Capability.Key(), csvField(r.Target))
		hint = fmt.Sprintf("%s %s %s\nor ", j.cfg.Command, shellWord(flag), shellWord(j.cfg.Script))
	}
	hint += lines
	if r.Capability == Run {
		hint += "\nor run it on the node: node.exec"
	}
	return hint
}

// table and line are what allows a request in bifrost.toml.
func table(caller string) string {
	if caller != "" {
		return "[modules." + caller + ".allow]"
	}
	return "[allow]"
}

func line(r Request) string {
	return fmt.Sprintf("%s = [%s]", r.Capability.Key(), strconv.Quote(r.Target))
}

func (j *Judge) file() string { return filepath.Join(j.cfg.Root, "bifrost.toml") }

// who names who asks.
func (j *Judge) who(r Request) string {
	if r.Caller != "" {
		return "@" + r.Caller
	}
	return j.cfg.Script
}

// at names who asks, and where.
func (j *Judge) at(r Request) string {
	who := j.who(r)
	switch {
	case r.Place == "":
		return who
	case strings.HasPrefix(r.Place, who+":"), strings.HasPrefix(r.Place, who+"//"):
		return r.Place
	}
	return fmt.Sprintf("%s (at %s)", who, r.Place)
}

// shown is a text of the script's for the user's eyes: it cannot move the cursor or pretend to be more
// than one line.
func shown(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// csvField quotes what a list with commas could not have.
func csvField(s string) string {
	if strings.ContainsAny(s, ",\"\n\r") {
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}

// shellWord quotes what a shell would not take as one word as it is.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune("-_./:=@%+,", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

package policy

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// A List has, by capability, the patterns of what is meant: folders and files with everything beneath
// them, absolute; names of variables with * for any characters; hosts as [user@]host[:port] with
// *.example.org for those of a domain, and "runpod:*" for machines; providers; programs.
type List map[Capability][]string

// Rules are what the user has said beforehand. The zero value adds nothing to what every script may.
type Rules struct {
	// Allow is what the script may do beyond reading and writing its root. For SSH and Rent, which a
	// script may do without it, a list that is not nil is all that it may.
	Allow List
	// Deny is what nobody may do. It beats everything that allows.
	Deny List
	// Modules is what vendored modules may do, by name. They may nothing else, whatever the script may.
	Modules map[string]List
}

// Add appends what other says. An empty list differs from none.
func (l List) Add(other List) {
	for c, patterns := range other {
		l[c] = append(append(make([]string, 0, len(l[c])+len(patterns)), l[c]...), patterns...)
	}
}

var (
	envPattern      = lazyregexp.New(`^[A-Za-z_*][A-Za-z0-9_*]*$`)
	providerPattern = lazyregexp.New(`^([a-z]+|\*)$`)
	machinePattern  = lazyregexp.New(`^[a-z]+:[A-Za-z0-9_.*-]+$`)
	hostPattern     = lazyregexp.New(`^(\*|(\*\.)?[A-Za-z0-9_][A-Za-z0-9._-]*|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)$`)
)

// CheckPattern tells what is wrong with a pattern of a capability's list, for the user.
func CheckPattern(c Capability, pattern string) error {
	switch {
	case strings.TrimSpace(pattern) == "":
		return errors.New("it is empty")
	case strings.ContainsAny(pattern, "\x00\n\r"):
		return errors.New("it has a line break or a NUL byte")
	}
	switch c {
	case ReadFile, WriteFile:
		if strings.Contains(pattern, "*") {
			return errors.New("a path has no *: name the folder, everything beneath it is meant")
		}
		if strings.HasPrefix(pattern, "~") && pattern != "~" && !strings.HasPrefix(pattern, "~/") {
			return errors.New("~ stands for your own home only: write ~/ or the whole path")
		}
	case Env:
		if !envPattern().MatchString(pattern) {
			return errors.New("it is not the name of a variable; * stands for any characters, as in WANDB_*")
		}
		if IsProviderKey(pattern) {
			return errors.New("it is the key of a provider, which no script may read")
		}
	case SSH:
		_, host, _ := splitHost(pattern)
		if !hostPattern().MatchString(host) && !machinePattern().MatchString(pattern) && !strings.HasPrefix(pattern, jobTarget) {
			return errors.New("it is no host: write host, user@host:port or *.example.org, or runpod:* for machines")
		}
	case Rent:
		if !providerPattern().MatchString(pattern) {
			return errors.New("it is no provider's name")
		}
	case Run:
		if pattern != "*" && strings.Contains(pattern, "*") {
			return errors.New("programs are named whole: git, or an absolute path; * alone means every program")
		}
	}
	return nil
}

// AbsolutePath returns a path of a list as an absolute one: ~/ is the home, relative ones start at dir.
func AbsolutePath(pattern, dir, home string) string {
	switch {
	case pattern == "~" || strings.HasPrefix(pattern, "~/"):
		return filepath.Join(home, pattern[1:])
	case filepath.IsAbs(pattern):
		return pattern // not cleaned: what .. means depends on the links before it
	}
	return dir + string(filepath.Separator) + pattern
}

// covers returns the first pattern of the list that covers the request, or "". With strict, what the
// request leaves open counts as covered: it is how denials are read.
func (l List) covers(r Request, strict bool) string {
	for _, pattern := range l[r.Capability] {
		if r.covered(pattern, strict) {
			return pattern
		}
	}
	return ""
}

func (r Request) covered(pattern string, strict bool) bool {
	switch r.Capability {
	case ReadFile, WriteFile:
		for _, p := range realPaths(r.Target) {
			if in := within(p, realPath(pattern)); in == strict {
				return in // one is enough to refuse; both are needed to allow
			}
		}
		return !strict
	case Env:
		return matches(pattern, r.Target)
	case SSH:
		if r.Provider != "" || strings.HasPrefix(r.Target, jobTarget) {
			return matches(pattern, r.Target)
		}
		return coversHost(pattern, r.Target, strict)
	case Rent:
		return pattern == "*" || pattern == r.Target || strict && r.Target == "*"
	}
	return pattern == "*" || pattern == r.Target
}

// matches compares a name with a pattern in which * stands for any characters, none included.
func matches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return strings.HasSuffix(rest, last)
}

// jobTarget is in front of a job's id, whose host nobody knows yet.
const jobTarget = "job "

// splitHost takes user@host:port apart, where host may be [::1].
func splitHost(s string) (user, host, port string) {
	s = strings.TrimPrefix(s, "ssh://")
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		user, s = s[:i], s[i+1:]
	}
	if h, p, err := net.SplitHostPort(s); err == nil {
		s, port = h, p
	}
	return user, strings.Trim(s, "[]"), port
}

// coversHost compares hosts as DNS does, without regard to case. What the pattern leaves out is any.
// What only the target leaves out is decided by the user's SSH configuration: with strict it counts as
// covered, without it a port is 22 and a user is not covered.
func coversHost(pattern, target string, strict bool) bool {
	user, host, port := splitHost(pattern)
	toUser, toHost, toPort := splitHost(target)
	host, toHost = strings.TrimSuffix(strings.ToLower(host), "."), strings.TrimSuffix(strings.ToLower(toHost), ".")
	if toPort == "" && !strict {
		toPort = "22"
	}
	domain, isDomain := strings.CutPrefix(host, "*.")
	switch {
	case user != "" && user != toUser && !(strict && toUser == ""),
		port != "" && port != toPort && !(strict && toPort == ""):
		return false
	case host == "*":
		return true
	case isDomain:
		return strings.HasSuffix(toHost, "."+domain)
	}
	return host == toHost
}

// ProviderKeys lists the variables that hold the keys of providers.
func ProviderKeys() []string {
	return []string{"RUNPOD_API_KEY", "VAST_API_KEY", "LAMBDA_API_KEY", "PRIME_API_KEY"}
}

// IsProviderKey tells whether a variable holds the key of a provider, in any case: there are systems
// whose environment does not tell cases apart.
func IsProviderKey(name string) bool {
	return slices.ContainsFunc(ProviderKeys(), func(key string) bool { return strings.EqualFold(key, name) })
}

// Check tells what is wrong with the list; the error names the pattern.
func (l List) Check() error {
	for _, c := range Capabilities() {
		for _, pattern := range l[c] {
			if err := CheckPattern(c, pattern); err != nil {
				return fmt.Errorf("%s: %q: %w", c.Key(), pattern, err)
			}
		}
	}
	return nil
}

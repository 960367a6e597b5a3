package ssh

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/engine/report"
)

// A Config says how to reach a node. Only Target is required.
type Config struct {
	Target Target

	// IdentityFile is the key file of -i. It is tried first; keys of the agent come after it and
	// other files are not tried.
	IdentityFile string

	// Signer is a key of ours, for rented nodes; no other key is tried.
	Signer gossh.Signer

	// HostKey, in the form of authorized_keys, pins the host key: any other is refused. Empty means
	// that TrustFirst or KnownHosts decide.
	HostKey string

	// TrustFirst accepts whatever key is seen first, for a rented machine whose key nobody knows;
	// from then on it is pinned. Client.HostKeySeen returns it.
	TrustFirst bool

	KnownHosts string // path; empty means UserKnownHostsFile of the configuration, or ~/.ssh/known_hosts
	Home       string // where ~/.ssh is; empty means os.UserHomeDir

	// AgentSocket is the value of SSH_AUTH_SOCK. The package reads no environment variable.
	AgentSocket string

	// Confirm asks the user whether an unknown host key may be accepted; nil refuses.
	Confirm func(ctx context.Context, question string) (bool, error)

	// Patience is how long a node that refuses or does not answer is tried again while it boots.
	// Zero means one attempt. A name that does not resolve fails within seconds in any case.
	Patience time.Duration

	Report report.Sink
}

// A hop is one server on the way to the node, the node included, with what the user's SSH
// configuration says about it.
type hop struct {
	alias          string // as typed
	user, host     string
	port           int
	hostKeyAlias   string
	identities     []string // files named by the configuration or by -i
	onlyIdentities bool     // no default files; no agent key that is not in identities either if named is false
	named          bool     // identities come from -i
	knownHosts     []string // files, the first one is written to
	acceptNew      bool     // the configuration accepts unknown host keys
	last           bool     // the node itself
}

// addr is the address to dial.
func (h *hop) addr() string { return net.JoinHostPort(h.host, strconv.Itoa(h.port)) }

// keyAddr is the name under which known_hosts lists the host.
func (h *hop) keyAddr() string {
	if h.hostKeyAlias != "" {
		return net.JoinHostPort(h.hostKeyAlias, "22")
	}
	return net.JoinHostPort(strings.ToLower(h.host), strconv.Itoa(h.port))
}

// label is how messages call the host.
func (h *hop) label() string {
	s := h.alias
	if h.port != 22 {
		s = net.JoinHostPort(h.alias, strconv.Itoa(h.port))
	}
	if h.alias != h.host {
		s += " (" + h.addr() + ")"
	}
	return s
}

// maxHops bounds a chain of jump hosts that lead in a circle.
const maxHops = 8

// resolve reads the user's configuration and returns the servers on the way, the node last.
func (c *Client) resolve() ([]*hop, error) {
	file, warnings := readUserConfig(filepath.Join(c.home, ".ssh"))
	for _, w := range warnings {
		c.warn(w)
	}
	var hops []*hop
	if err := c.addHops(file, c.cfg.Target, 0, &hops); err != nil {
		return nil, err
	}
	last := hops[len(hops)-1]
	last.last = true
	if f := c.cfg.IdentityFile; f != "" {
		last.identities, last.onlyIdentities, last.named = []string{c.expandHome(f)}, true, true
	}
	if c.cfg.KnownHosts != "" {
		for _, h := range hops {
			h.knownHosts = []string{c.expandHome(c.cfg.KnownHosts)}
		}
	}
	return hops, nil
}

func (c *Client) addHops(file *userConfig, t Target, depth int, hops *[]*hop) error {
	if depth > maxHops {
		return fmt.Errorf("ProxyJump of %s: more than %d hosts, or a circle", t.Host, maxHops)
	}
	h := &hop{alias: t.Host, host: t.Host, user: t.User, port: t.Port}
	if name := file.get(t.Host, "HostName"); name != "" {
		h.host = strings.NewReplacer("%%", "%", "%h", t.Host, "%n", t.Host).Replace(name)
	}
	if h.user == "" {
		h.user = file.get(t.Host, "User")
	}
	if h.user == "" {
		h.user = localUser()
	}
	if h.port == 0 {
		if p := file.get(t.Host, "Port"); p != "" {
			n, err := strconv.ParseUint(p, 10, 16)
			if err != nil || n == 0 {
				return fmt.Errorf("%s: Port %q of Host %s is not a number from 1 to 65535", file.path, p, t.Host)
			}
			h.port = int(n)
		} else {
			h.port = 22
		}
	}
	expand := func(path string) string {
		path = strings.NewReplacer("%%", "%", "%d", c.home, "%h", h.host, "%n", t.Host,
			"%p", strconv.Itoa(h.port), "%r", h.user, "%u", localUser()).Replace(path)
		return c.expandHome(path)
	}
	for _, f := range file.getAll(t.Host, "IdentityFile") {
		if f != "none" {
			h.identities = append(h.identities, expand(f))
		}
	}
	h.onlyIdentities = strings.EqualFold(file.get(t.Host, "IdentitiesOnly"), "yes")
	h.hostKeyAlias = file.get(t.Host, "HostKeyAlias")
	for f := range strings.FieldsSeq(file.get(t.Host, "UserKnownHostsFile")) {
		if f != "none" {
			h.knownHosts = append(h.knownHosts, expand(f))
		}
	}
	if h.knownHosts == nil {
		h.knownHosts = []string{
			filepath.Join(c.home, ".ssh", "known_hosts"),
			filepath.Join(c.home, ".ssh", "known_hosts2"),
			"/etc/ssh/ssh_known_hosts",
		}
	}
	switch strings.ToLower(file.get(t.Host, "StrictHostKeyChecking")) {
	case "accept-new", "no", "off":
		h.acceptNew = true
	}
	if file.get(t.Host, "ProxyCommand") != "" && !strings.EqualFold(file.get(t.Host, "ProxyCommand"), "none") && file.get(t.Host, "ProxyJump") == "" {
		c.warn(fmt.Sprintf("%s: ProxyCommand of Host %s is not supported and was ignored; use ProxyJump", file.path, t.Host))
	}
	if jump := file.get(t.Host, "ProxyJump"); jump != "" && !strings.EqualFold(jump, "none") {
		for i, j := range strings.Split(jump, ",") {
			jt, err := ParseTarget(strings.TrimSpace(j))
			if err != nil {
				return fmt.Errorf("%s: ProxyJump of Host %s: %w", file.path, t.Host, err)
			}
			if i > 0 {
				// As with ssh, only the first of several hosts is reached by its own ProxyJump.
				err = c.addHops(file.withoutJump(), jt, depth+1, hops)
			} else {
				err = c.addHops(file, jt, depth+1, hops)
			}
			if err != nil {
				return err
			}
		}
	}
	*hops = append(*hops, h)
	return nil
}

func (c *Client) expandHome(path string) string {
	if path == "~" {
		return c.home
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(c.home, rest)
	}
	return path
}

func localUser() string {
	u, err := user.Current()
	if err != nil || u.Username == "" {
		return "root"
	}
	name := u.Username
	if i := strings.LastIndexByte(name, '\\'); i >= 0 { // DOMAIN\name
		name = name[i+1:]
	}
	return name
}

func homeDir(home string) (string, error) {
	if home != "" {
		return home, nil
	}
	return os.UserHomeDir()
}

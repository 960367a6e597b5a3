package prime

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// A connection is where SSH to a machine leads.
type connection struct {
	user, host string
	port       int // 0 where it is not told
}

// parseConnection reads Prime's sshConnection: null; the arguments of a command ssh, with or without that
// word, as a text or as a list of words; or a list of such texts, one for each machine of several, or null
// for one that has none yet. The first that can be read counts. ok is false where there is none.
func parseConnection(raw json.RawMessage) (_ connection, ok bool) {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return connection{}, false
	}
	var texts []string
	switch value := value.(type) {
	case string:
		texts = []string{value}
	case []any:
		for _, entry := range value {
			if text, ok := entry.(string); ok {
				texts = append(texts, strings.TrimSpace(text))
			}
		}
		if slices.ContainsFunc(texts, func(t string) bool { return t == "ssh" || strings.HasPrefix(t, "-") }) {
			texts = []string{strings.Join(texts, " ")}
		}
	}
	for _, text := range texts {
		if c, ok := parseCommand(text); ok {
			return c, true
		}
	}
	return connection{}, false
}

// withValue are the options of ssh that have a value and may be met with.
var withValue = []string{"-p", "-l", "-i", "-o"}

// parseCommand reads the arguments of ssh. A user that is not told is root, as in Prime's own example.
func parseCommand(text string) (_ connection, ok bool) {
	words := strings.Fields(text)
	if len(words) > 0 && words[0] == "ssh" {
		words = words[1:]
	}
	var c connection
	var target string
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		if !strings.HasPrefix(word, "-") {
			if target != "" {
				return connection{}, false // a command to run: nothing that Prime sends
			}
			target = word
			continue
		}
		flag, value := word[:min(2, len(word))], strings.TrimPrefix(word[min(2, len(word)):], "=")
		if value == "" && slices.Contains(withValue, flag) && len(words) > 0 {
			value, words = words[0], words[1:]
		}
		switch flag {
		case "-p":
			if c.port, ok = parsePort(value); !ok {
				return connection{}, false
			}
		case "-l":
			c.user = value
		}
	}
	if user, rest, found := strings.Cut(strings.TrimPrefix(target, "ssh://"), "@"); found {
		c.user, target = user, rest
	}
	host, port, ok := splitHost(strings.TrimPrefix(target, "ssh://"))
	if !ok {
		return connection{}, false
	}
	c.host = host
	if c.port == 0 {
		c.port = port
	}
	if c.user == "" {
		c.user = "root"
	}
	return c, userName().MatchString(c.user)
}

var (
	hostName = lazyregexp.New(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`)
	userName = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9._-]{0,63}$`)
)

// splitHost reads a host that may have a port: name, name:port, an IPv6 address, or one in brackets with
// or without a port. port is 0 where there is none.
func splitHost(text string) (host string, port int, ok bool) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr.String(), 0, addr.Zone() == ""
	}
	host = text
	if inside, rest, bracketed := strings.Cut(strings.TrimPrefix(text, "["), "]"); bracketed && strings.HasPrefix(text, "[") {
		addr, err := netip.ParseAddr(inside)
		if err != nil || addr.Zone() != "" {
			return "", 0, false
		}
		if rest == "" {
			return addr.String(), 0, true
		}
		after, found := strings.CutPrefix(rest, ":")
		port, ok = parsePort(after)
		return addr.String(), port, found && ok
	}
	if before, after, found := strings.Cut(text, ":"); found {
		if port, ok = parsePort(after); !ok {
			return "", 0, false
		}
		host = before
	}
	return host, port, hostName().MatchString(host)
}

func parsePort(text string) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n > 0 && n <= 65535
}

package ssh

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// A Target names an SSH server the way users type it. A zero User or Port means that the user's SSH
// configuration decides, and if that says nothing, the local user name and port 22.
type Target struct {
	User string
	Host string // a name, an alias of ~/.ssh/config, or an IP address without brackets
	Port int
}

// ParseTarget reads "host", "user@host", "user@host:port", "user@[::1]:port" or the same behind
// "ssh://". The error is a *fault.Error of kind Invalid.
func ParseTarget(s string) (Target, error) {
	t, err := parseTarget(s)
	if err != nil {
		return Target{}, &fault.Error{
			Kind: fault.Invalid, Op: "read SSH target", Target: strconv.Quote(s), Err: err,
			Hint: "write it as user@host or user@host:port, for example root@203.0.113.7:22",
		}
	}
	return t, nil
}

func parseTarget(s string) (Target, error) {
	rest, isURL := strings.CutPrefix(s, "ssh://")
	if isURL {
		rest = strings.TrimSuffix(rest, "/")
		if strings.Contains(rest, "/") {
			return Target{}, errors.New("a path does not belong here")
		}
	}
	if rest == "" {
		return Target{}, errors.New("it is empty")
	}
	if i := strings.IndexFunc(rest, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar
	}); i >= 0 {
		return Target{}, errors.New("it contains a space or a character that no host name has")
	}
	var t Target
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		t.User, rest = rest[:i], rest[i+1:]
		if t.User == "" {
			return Target{}, errors.New("there is no user before the @")
		}
		if strings.HasPrefix(t.User, "-") {
			return Target{}, errors.New("a user name does not begin with a dash")
		}
		if strings.ContainsAny(t.User, ":/") {
			return Target{}, errors.New("the user name contains a colon or a slash; a password does not belong here")
		}
	}
	port := ""
	hasPort := false
	switch {
	case strings.HasPrefix(rest, "["):
		end := strings.IndexByte(rest, ']')
		if end < 0 {
			return Target{}, errors.New("the closing ] is missing")
		}
		t.Host, rest = rest[1:end], rest[end+1:]
		if !isIPv6(t.Host) {
			return Target{}, errors.New("brackets are for IPv6 addresses")
		}
		if rest != "" {
			if port, hasPort = strings.CutPrefix(rest, ":"); !hasPort {
				return Target{}, fmt.Errorf("%q follows the ]", rest)
			}
		}
	case isIPv6(rest):
		t.Host = rest
	default:
		t.Host, port, hasPort = strings.Cut(rest, ":")
		if strings.Contains(port, ":") {
			return Target{}, errors.New("it has more than one colon; an IPv6 address with a port needs brackets")
		}
	}
	if t.Host == "" {
		return Target{}, errors.New("there is no host")
	}
	if strings.HasPrefix(t.Host, "-") {
		return Target{}, errors.New("a host name does not begin with a dash")
	}
	if strings.ContainsAny(t.Host, "/[]\"'\\$`;&|<>(){}*?!#,=") {
		return Target{}, errors.New("the host contains a character that no host name has")
	}
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return Target{}, fmt.Errorf("port %q is not a number from 1 to 65535", port)
		}
		t.Port = int(n)
	}
	return t, nil
}

func isIPv6(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6()
}

// String returns the form that ParseTarget reads, without what is zero.
func (t Target) String() string {
	s := t.Host
	if t.Port != 0 {
		s = net.JoinHostPort(t.Host, strconv.Itoa(t.Port))
	} else if isIPv6(s) {
		s = "[" + s + "]"
	}
	if t.User != "" {
		s = t.User + "@" + s
	}
	return s
}

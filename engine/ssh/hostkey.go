package ssh

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/report"
)

// A hostCheck decides about the host key of one hop during one handshake. It never asks: a handshake
// has a time limit, a person has not. An unknown key ends the handshake with *unknownHostError, the
// question is asked outside, and the connection is made again.
type hostCheck struct {
	algorithms []string
	check      func(key gossh.PublicKey) error
	seen       gossh.PublicKey // the accepted one
}

func (c *hostCheck) callback(_ string, _ net.Addr, key gossh.PublicKey) error {
	if err := c.check(key); err != nil {
		return err
	}
	c.seen = key
	return nil
}

// An unknownHostError carries a key that no file lists.
type unknownHostError struct{ key gossh.PublicKey }

func (e *unknownHostError) Error() string { return "the host key is not known" }

// hostCheck returns the check for h: the pinned key, or what the known_hosts files say. Beside another client any key will
// do for it, of the kind that was shown there: meets compares the two.
func (c *Client) hostCheck(h *hop) (*hostCheck, error) {
	if h.last && c.first != nil {
		check, err := c.first.hostCheck(h)
		if err == nil {
			check.check = func(gossh.PublicKey) error { return nil }
		}
		return check, err
	}
	pinned, err := c.pinned(h)
	if err != nil {
		return nil, err
	}
	if pinned != nil {
		return &hostCheck{algorithms: algorithmsOf(pinned.Type()), check: func(key gossh.PublicKey) error {
			if bytes.Equal(key.Marshal(), pinned.Marshal()) {
				return nil
			}
			return c.notPinned(h, key, pinned)
		}}, nil
	}
	if h.last && c.cfg.TrustFirst {
		return &hostCheck{algorithms: plainAlgorithms(), check: func(gossh.PublicKey) error { return nil }}, nil
	}
	known, authorities, err := c.readKnownHosts(h.knownHosts)
	if err != nil {
		return nil, &fault.Error{Kind: fault.HostKey, Op: "read", Target: h.knownHosts[0], Err: err, Hint: "make the file readable"}
	}
	lookup := func(key gossh.PublicKey) error {
		return known(h.keyAddr(), &net.TCPAddr{IP: net.IPv4zero}, key)
	}
	return &hostCheck{
		algorithms: preferred(lookup, authorities),
		check: func(key gossh.PublicKey) error {
			err := lookup(key)
			var mismatch *knownhosts.KeyError
			var revoked *knownhosts.RevokedError
			switch {
			case err == nil:
				return nil
			case errors.As(err, &mismatch) && len(mismatch.Want) == 0:
				return &unknownHostError{key}
			case errors.As(err, &mismatch):
				return changed(h, key, mismatch.Want)
			case errors.As(err, &revoked):
				return &fault.Error{
					Kind: fault.HostKey, Op: "connect to", Target: h.label(),
					Err:  fmt.Errorf("its host key is marked as revoked in %s line %d", revoked.Revoked.Filename, revoked.Revoked.Line),
					Hint: "ask whoever runs the host for its present key",
				}
			}
			return &fault.Error{Kind: fault.HostKey, Op: "connect to", Target: h.label(), Err: err}
		},
	}, nil
}

// pinned returns the only key that is accepted from h, nil where the files decide.
func (c *Client) pinned(h *hop) (gossh.PublicKey, error) {
	if h.last && c.cfg.HostKey != "" {
		key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(c.cfg.HostKey))
		if err != nil {
			return nil, &fault.Error{Kind: fault.Invalid, Op: "read host key of", Target: h.label(), Err: err}
		}
		return key, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.last && c.cfg.TrustFirst {
		return c.seen, nil
	}
	return c.accepted[h.keyAddr()], nil
}

func (c *Client) notPinned(h *hop, got, want gossh.PublicKey) error {
	return &fault.Error{
		Kind: fault.HostKey, Op: "connect to", Target: h.label(),
		Err: fmt.Errorf("it has another host key than at first contact: %s %s instead of %s %s, so this may be another machine at the same address, or somebody in between",
			got.Type(), gossh.FingerprintSHA256(got), want.Type(), gossh.FingerprintSHA256(want)),
		Hint: "nothing was sent; if the machine was rented, see at its provider whether it still exists",
	}
}

func changed(h *hop, got gossh.PublicKey, want []knownhosts.KnownKey) error {
	w := want[0]
	for _, k := range want {
		if k.Key.Type() == got.Type() {
			w = k
		}
	}
	name := knownhosts.Normalize(h.keyAddr())
	return &fault.Error{
		Kind: fault.HostKey, Op: "connect to", Target: h.label(),
		Err: fmt.Errorf("its host key has changed: it shows %s %s, but %s line %d says %s %s; either the machine was reinstalled or replaced, or somebody is listening in between",
			got.Type(), gossh.FingerprintSHA256(got), w.Filename, w.Line, w.Key.Type(), gossh.FingerprintSHA256(w.Key)),
		Hint: fmt.Sprintf("nothing was sent; if you know why it changed, remove the old key with: ssh-keygen -R %s -f %s", Quote(name), Quote(w.Filename)),
	}
}

// readKnownHosts returns the check over those of the files that exist, and whether they name
// authorities that sign host keys.
func (c *Client) readKnownHosts(files []string) (gossh.HostKeyCallback, bool, error) {
	var exist []string
	authorities := false
	for i, f := range files {
		data, err := os.ReadFile(f)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil && i == 0:
			return nil, false, err
		case err != nil:
			c.warn(fmt.Sprintf("known hosts not read: %v", err))
		default:
			exist = append(exist, f)
			authorities = authorities || bytes.Contains(data, []byte("@cert-authority"))
		}
	}
	known, err := knownhosts.New(exist...)
	if err == nil {
		return known, authorities, nil
	}
	return c.readLenient(exist)
}

// readLenient reads files of which a line cannot be parsed, which the library refuses as a whole:
// as ssh does, it leaves those lines out.
func (c *Client) readLenient(files []string) (gossh.HostKeyCallback, bool, error) {
	dir, err := os.MkdirTemp("", "bifrost-known-hosts-")
	if err != nil {
		return nil, false, err
	}
	defer os.RemoveAll(dir)
	authorities := false
	names := map[string]string{} // copy -> original
	var copies []string
	for i, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, false, err
		}
		lines := bytes.Split(data, []byte("\n"))
		scratch := filepath.Join(dir, "line")
		for n, l := range lines {
			if len(bytes.TrimSpace(l)) == 0 {
				continue
			}
			// Line by line is slow for a large file, so the cheap parser goes first; it does not
			// see a bad host pattern, the other one does.
			_, _, _, _, _, perr := gossh.ParseKnownHosts(l)
			if perr == nil {
				if perr = os.WriteFile(scratch, l, 0o600); perr == nil {
					_, perr = knownhosts.New(scratch)
				}
			}
			if perr != nil && l[0] != '#' {
				c.warn(fmt.Sprintf("%s line %d was ignored: %v", f, n+1, perr))
				lines[n] = nil // the numbers of the others stay
			}
			authorities = authorities || bytes.HasPrefix(l, []byte("@cert-authority"))
		}
		name := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(name, bytes.Join(lines, []byte("\n")), 0o600); err != nil {
			return nil, false, err
		}
		copies = append(copies, name)
		names[name] = f
	}
	known, err := knownhosts.New(copies...)
	if err != nil {
		return nil, false, err
	}
	return func(host string, remote net.Addr, key gossh.PublicKey) error {
		err := known(host, remote, key)
		var mismatch *knownhosts.KeyError
		if errors.As(err, &mismatch) {
			for i, w := range mismatch.Want {
				mismatch.Want[i].Filename = names[w.Filename]
			}
		}
		return err
	}, authorities, nil
}

// preferred returns the host key algorithms to ask for: those of the keys that are listed first, so
// that a host known by one key is not refused because another was negotiated.
func preferred(lookup func(gossh.PublicKey) error, authorities bool) []string {
	var list []string
	if authorities {
		for _, a := range gossh.SupportedAlgorithms().HostKeys {
			if strings.Contains(a, "-cert-") {
				list = append(list, a)
			}
		}
	}
	// A key that nobody has makes the check name the ones that it wants.
	probe, err := gossh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		return append(list, plainAlgorithms()...)
	}
	var mismatch *knownhosts.KeyError
	if errors.As(lookup(probe), &mismatch) {
		for _, k := range mismatch.Want {
			list = append(list, algorithmsOf(k.Key.Type())...)
		}
	}
	for _, a := range plainAlgorithms() {
		if !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}

// plainAlgorithms are those without certificates, the shortest keys first.
func plainAlgorithms() []string {
	list := []string{gossh.KeyAlgoED25519}
	for _, a := range gossh.SupportedAlgorithms().HostKeys {
		if !strings.Contains(a, "-cert-") && a != gossh.KeyAlgoED25519 {
			list = append(list, a)
		}
	}
	return list
}

// algorithmsOf returns the signature algorithms for a key of the type.
func algorithmsOf(keyType string) []string {
	if keyType == gossh.KeyAlgoRSA {
		return []string{gossh.KeyAlgoRSASHA512, gossh.KeyAlgoRSASHA256}
	}
	return []string{keyType}
}

// remember keeps an accepted key for this process and appends it to the user's file. That the file
// cannot be written is told, not fatal.
func (c *Client) remember(h *hop, key gossh.PublicKey) {
	c.mu.Lock()
	c.accepted[h.keyAddr()] = key
	c.mu.Unlock()
	if err := appendKnownHost(h.knownHosts[0], h.keyAddr(), key); err != nil {
		c.warn(fmt.Sprintf("the host key of %s was not recorded: %v", h.label(), err))
	}
}

func appendKnownHost(path, addr string, key gossh.PublicKey) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	line := knownhosts.Line([]string{addr}, key) + "\n"
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, st.Size()-1); err == nil && last[0] != '\n' {
			line = "\n" + line
		}
	}
	_, err = f.WriteString(line)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func (c *Client) warn(text string) {
	c.mu.Lock()
	said := c.warned[text]
	c.warned[text] = true
	c.mu.Unlock()
	if !said {
		c.cfg.Report.Emit(report.Event{Kind: report.Warning, Step: "connect", Text: text})
	}
}

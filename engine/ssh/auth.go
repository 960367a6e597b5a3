package ssh

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// A keyring is the keys to offer to one server, in order, and what is to be said about them when
// the server takes none.
type keyring struct {
	signers []gossh.Signer
	tried   []string // "/home/u/.ssh/id_ed25519 (SHA256:…)", "agent: u@laptop (SHA256:…)"
	locked  []string // files whose passphrase nobody gave
	notes   []string // what went wrong on the way, for the error only
	agent   io.Closer

	confirmed bool // a person did so with a signature of the agent
}

func (k *keyring) close() {
	if k.agent != nil {
		k.agent.Close()
	}
}

func (k *keyring) add(s gossh.Signer, from string) {
	for _, have := range k.signers {
		if bytes.Equal(have.PublicKey().Marshal(), s.PublicKey().Marshal()) {
			return
		}
	}
	k.signers = append(k.signers, s)
	k.tried = append(k.tried, fmt.Sprintf("%s (%s)", from, gossh.FingerprintSHA256(s.PublicKey())))
}

// agentTimeout bounds the question which keys the agent has.
const agentTimeout = 5 * time.Second

// keys gathers the keys for h.
func (c *Client) keys(h *hop) (*keyring, error) {
	k := &keyring{}
	if c.cfg.Signer != nil && h.last {
		k.add(c.cfg.Signer, "bifrost's own key")
		return k, nil
	}
	held := k.openAgent(c.cfg.AgentSocket)

	files := h.identities
	if len(files) == 0 {
		for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
			files = append(files, filepath.Join(c.home, ".ssh", name))
		}
	}
	fromAgent := func(pub gossh.PublicKey) gossh.Signer {
		for _, s := range held {
			if pub != nil && bytes.Equal(s.PublicKey().Marshal(), pub.Marshal()) {
				return s
			}
		}
		return nil
	}
	for _, f := range files {
		signer, pub, err := readKey(f)
		switch s := fromAgent(pub); {
		case s != nil:
			k.add(s, f+", through the agent")
		case signer != nil:
			k.add(signer, f)
		case errors.As(err, new(*gossh.PassphraseMissingError)):
			if h.named {
				k.close()
				return nil, lockedError(f, c.cfg.AgentSocket)
			}
			k.locked = append(k.locked, f)
		case h.named:
			k.close()
			return nil, identityError(f, err)
		case !errors.Is(err, os.ErrNotExist):
			k.notes = append(k.notes, err.Error())
		case len(h.identities) > 0:
			k.notes = append(k.notes, fmt.Sprintf("%s, which the SSH configuration names, does not exist", f))
		}
	}
	if !h.onlyIdentities || h.named {
		for _, s := range held {
			name := "agent"
			if key, ok := s.PublicKey().(*agent.Key); ok && key.Comment != "" {
				name = "agent: " + key.Comment
			}
			k.add(s, name)
		}
	}
	return k, nil
}

// openAgent returns the agent's keys; they sign only as long as the keyring is open.
func (k *keyring) openAgent(socket string) []gossh.Signer {
	if socket == "" {
		return nil
	}
	if runtime.GOOS == "windows" && strings.HasPrefix(socket, `\\`) {
		k.notes = append(k.notes, "the agent behind a named pipe is not supported on Windows; name a key file with -i")
		return nil
	}
	c, err := net.DialTimeout("unix", socket, agentTimeout)
	if err != nil {
		k.notes = append(k.notes, fmt.Sprintf("the agent does not answer: %v", err))
		return nil
	}
	c.SetDeadline(time.Now().Add(agentTimeout))
	signers, err := agent.NewClient(c).Signers()
	if err != nil {
		c.Close()
		k.notes = append(k.notes, fmt.Sprintf("the agent gives no keys: %v", err))
		return nil
	}
	c.SetDeadline(time.Time{}) // a signature may wait for a touch; the handshake has a limit of its own
	k.agent = c
	for i, s := range signers {
		if s, ok := s.(gossh.AlgorithmSigner); ok {
			signers[i] = &agentSigner{s, k}
		}
	}
	return signers
}

// confirmedAfter is how long a signature takes at least for which a person is asked; an agent alone takes
// milliseconds, a smart card some hundreds of them.
const confirmedAfter = 500 * time.Millisecond

// An agentSigner notes whether a person confirms its signatures: agents do not tell.
type agentSigner struct {
	gossh.AlgorithmSigner
	keys *keyring
}

func (s *agentSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*gossh.Signature, error) {
	start := time.Now()
	sig, err := s.AlgorithmSigner.SignWithAlgorithm(rand, data, algorithm)
	s.keys.confirmed = s.keys.confirmed || time.Since(start) >= confirmedAfter
	return sig, err
}

// readKey reads a private key file. The public key is returned where it is known, even if the
// private one is behind a passphrase or only the .pub file is there.
func readKey(path string) (gossh.Signer, gossh.PublicKey, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, readPublic(path + ".pub"), err
	}
	signer, err := gossh.ParsePrivateKey(data)
	if err == nil {
		return signer, signer.PublicKey(), nil
	}
	var missing *gossh.PassphraseMissingError
	if errors.As(err, &missing) {
		pub := missing.PublicKey
		if pub == nil {
			pub = readPublic(path + ".pub")
		}
		return nil, pub, err
	}
	// "-i key.pub" means: the agent's key of this name.
	if pub, _, _, _, perr := gossh.ParseAuthorizedKey(data); perr == nil {
		return nil, pub, fmt.Errorf("%s: a public key, and the agent does not hold its private one", path)
	}
	return nil, nil, fmt.Errorf("%s: not a private key that can be read: %w", path, err)
}

func readPublic(path string) gossh.PublicKey {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	pub, _, _, _, err := gossh.ParseAuthorizedKey(data)
	if err != nil {
		return nil
	}
	return pub
}

func identityError(path string, err error) error {
	e := &fault.Error{Kind: fault.Auth, Op: "read key", Target: path, Err: err, Hint: "name the private key file with -i"}
	var pe *os.PathError
	if errors.As(err, &pe) {
		e.Err = pe.Err
		e.Hint = "check the path after -i"
	} else {
		e.Target = "" // the cause names the file
	}
	return e
}

func lockedError(path, socket string) error {
	hint := "load it into the agent with: ssh-add " + Quote(path)
	if socket == "" {
		hint = `start an agent and load the key: eval "$(ssh-agent)" && ssh-add ` + Quote(path)
	}
	return &fault.Error{
		Kind: fault.Auth, Op: "read key", Target: path,
		Err:  errors.New("it has a passphrase and no agent holds it"),
		Hint: hint,
	}
}

// refused is the error for a server that took none of the keys.
func (k *keyring) refused(h *hop, methods []string, socket string) error {
	var b strings.Builder
	switch {
	case len(k.signers) == 0:
		b.WriteString("no key to offer")
	case len(k.signers) == 1:
		b.WriteString("the server refuses the key " + k.tried[0])
	default:
		b.WriteString("the server refuses all keys: " + strings.Join(k.tried, ", "))
	}
	if len(methods) > 0 && !contains(methods, "publickey") {
		b.WriteString("; it takes only " + strings.Join(methods, ", "))
	}
	for _, f := range k.locked {
		b.WriteString("; not tried, because it has a passphrase and no agent holds it: " + f)
	}
	for _, n := range k.notes {
		b.WriteString("; " + n)
	}
	e := &fault.Error{
		Kind: fault.Auth, Op: "log in to", Target: h.user + "@" + h.label(), Err: errors.New(b.String()),
	}
	switch {
	case len(k.locked) > 0 && socket == "":
		e.Hint = `start an agent and load the key: eval "$(ssh-agent)" && ssh-add ` + Quote(k.locked[0])
	case len(k.locked) > 0:
		e.Hint = "load it into the agent with: ssh-add " + Quote(k.locked[0])
	case len(k.signers) == 0:
		e.Hint = "name a key with -i, or make one with: ssh-keygen -t ed25519"
	default:
		e.Hint = fmt.Sprintf("check the user name (%s), add the public key to its ~/.ssh/authorized_keys there, or name another key with -i", h.user)
	}
	return e
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

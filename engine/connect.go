package engine

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// bootPatience is how long a machine of the user's own that boots may refuse connections.
const bootPatience = 10 * time.Minute

// client returns the connection to a node of the journal, the same one for everybody in this
// process. It is dialled at its first use.
func (e *Engine) client(n journal.Node) (*ssh.Client, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.clients[n.ID]; c != nil {
		return c, nil
	}
	cfg := ssh.Config{
		IdentityFile: e.cfg.IdentityFile,
		Home:         e.cfg.Home,
		AgentSocket:  e.cfg.AgentSocket,
		Confirm:      e.cfg.Confirm,
		Report:       e.cfg.Report,
	}
	if n.Provider == providerSSH {
		target, err := ssh.ParseTarget(n.SSH)
		if err != nil {
			return nil, err
		}
		cfg.Target = target
		if cfg.IdentityFile == "" {
			cfg.IdentityFile = n.IdentityFile
		}
	} else {
		signer, _, err := e.nodeKey()
		if err != nil {
			return nil, err
		}
		cfg.Target = ssh.Target{User: n.User, Host: n.Host, Port: n.Port}
		cfg.Signer = signer
		cfg.HostKey = n.HostKey
		cfg.TrustFirst = n.HostKey == ""
	}
	switch {
	case n.State == journal.NodeCreated:
		cfg.Patience = e.bootLimit(n.Provider, n.GPUCount)
	case n.Provider == providerSSH && n.State == journal.NodeIntent:
		cfg.Patience = bootPatience
	}
	c, err := ssh.Open(cfg)
	if err != nil {
		return nil, err
	}
	e.clients[n.ID] = c
	return c, nil
}

// forget closes the connection to a node that is gone.
func (e *Engine) forget(id string) {
	e.mu.Lock()
	c := e.clients[id]
	delete(e.clients, id)
	e.mu.Unlock()
	if c != nil {
		c.Close()
	}
}

// nodeKey returns the key with which bifrost logs in to the machines that it rents, and its public
// half in authorized_keys form. It is made at first use and never leaves the state folder.
func (e *Engine) nodeKey() (gossh.Signer, string, error) {
	path := filepath.Join(e.cfg.StateDir, "id_ed25519")
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		data, err = makeKey(path)
	}
	if err != nil {
		return nil, "", &fault.Error{Kind: fault.Auth, Op: "read key", Target: path, Err: err, Hint: "make the state folder readable and writable for you"}
	}
	signer, err := gossh.ParsePrivateKey(data)
	if err != nil {
		return nil, "", &fault.Error{
			Kind: fault.Auth, Op: "read key", Target: path, Err: err,
			Hint: "move the file away; a new key is made, and machines rented with the old one can then only be terminated",
		}
	}
	return signer, strings.TrimSpace(string(gossh.MarshalAuthorizedKey(signer.PublicKey()))), nil
}

// makeKey writes a new key to path. When two processes do it at once the first one's key stays.
func makeKey(path string) ([]byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := gossh.MarshalPrivateKey(private, "bifrost")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".id_ed25519-*") // 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(pem.Encode(f, block), f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	return os.ReadFile(path)
}

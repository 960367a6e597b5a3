// Package local is the provider "local": its instances are daemons on this very machine that speak
// SSH on a loopback port, each with a home folder of its own. They need no account and cost
// nothing, and whoever uses one cannot tell it from a rented machine. They are no security
// boundary: what runs on one runs as the user who made it.
//
//	func main() {
//		if local.RunIfDaemon() {
//			return
//		}
//		p := local.New(local.Config{StateDir: state})
//		inst, err := p.Create(ctx, gpu.CreateRequest{Name: name, AuthorizedKey: key})
//
// It depends on golang.org/x/crypto/ssh and github.com/pkg/sftp. Instances work on Linux and, with
// weaker means to find what has run away from them, on other Unix systems.
package local

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/bifrost-run/bifrost/gpu"
)

// Name is the provider's name.
const Name = "local"

// A Config says where instances live and how their daemon is started.
type Config struct {
	// StateDir is the folder that holds local/<id> for each instance. A short path is better:
	// programs put sockets beneath it, whose paths end at about 100 bytes.
	StateDir string
	// Daemon is the command that calls Serve; the instance's folder is appended. Nil means this
	// very program, whose main then has to begin with RunIfDaemon.
	Daemon []string
	// Env is added to the environment of what runs on the instances, as "name=value"; of two values the
	// later counts. It is kept in the instance's folder.
	Env []string
}

// A Provider makes and ends local instances. All state is in the folder: any number of processes
// may use the same one.
type Provider struct {
	dir    string
	daemon []string
	env    []string
}

// New returns the provider that keeps its instances in cfg.StateDir. It touches nothing.
func New(cfg Config) *Provider {
	return &Provider{dir: filepath.Join(cfg.StateDir, "local"), daemon: slices.Clone(cfg.Daemon), env: slices.Clone(cfg.Env)}
}

// Name implements gpu.Provider.
func (p *Provider) Name() string { return Name }

// Offers implements gpu.Provider. There is one offer, this machine, for every query that names the
// provider: it stands in for any GPU, and tells the truth about those that it has.
func (p *Provider) Offers(ctx context.Context, q gpu.Query) ([]gpu.Offer, error) {
	if !slices.Contains(q.Providers, Name) {
		return nil, nil
	}
	g := detectGPUs(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	host, _ := os.Hostname()
	return []gpu.Offer{{
		Provider: Name, ID: Name, GPUType: g.name, VRAMGB: g.vramGB, GPUCount: g.count,
		CloudType: "secure", Region: host, VCPU: runtime.NumCPU(), MemoryGB: memoryGB(), StandsIn: true,
	}}, nil
}

func refuse(op string, kind gpu.Kind, message string) error {
	return &gpu.Error{Provider: Name, Op: op, Kind: kind, Message: message}
}

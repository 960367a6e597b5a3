package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/ssh"
	"github.com/bifrost-run/bifrost/engine/transfer"
)

// A Node is a machine that answers. Its methods are safe for concurrent use and share one
// connection. After its scope ended they return an error of kind scope.
type Node struct {
	engine *Engine
	runner *ssh.Client // nil while the machine has no address

	switching sync.Mutex // held while the node's switch is set

	mu        sync.Mutex
	rec       journal.Node
	home      string // absolute; "" until asked for
	workspace string // absolute path of the last push; "" before any
	ended     string // why the scope ended; "" while it lasts
	answered  bool   // a command has run there
	foreign   bool   // the journal does not have it; see adopt
	unvouch   func() // stops what vouches for it; nil where nothing does
}

// record returns the node's record as it is now.
func (n *Node) record() journal.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rec
}

// ID is "provider:id", or "ssh:user@host:port".
func (n *Node) ID() string { return n.record().ID }

// Provider is the name of who rents the machine out, "ssh" for a machine that nobody rented.
func (n *Node) Provider() string { return n.record().Provider }

// SSH is the command line with which a person reaches the machine.
func (n *Node) SSH() string {
	rec := n.record()
	if rec.Provider == providerSSH {
		return "ssh " + n.runner.Target().String()
	}
	return "bifrost ssh " + rec.ID
}

// GPUType is the canonical name of the GPUs that were rented, "" when unknown.
func (n *Node) GPUType() string { return n.record().GPUType }

// GPUCount is the number of GPUs that were rented, 0 when unknown.
func (n *Node) GPUCount() int { return n.record().GPUCount }

// PricePerHour is in USD for the whole machine; 0 for machines that are not rented.
func (n *Node) PricePerHour() float64 { return n.record().PricePerHour }

// check refuses the use of a node whose scope ended, or that cannot be reached yet.
func (n *Node) check() error {
	if err := n.inScope(); err != nil || n.runner != nil {
		return err
	}
	return &fault.Error{
		Kind: fault.Unreachable, Op: "node", Target: n.ID(), Err: errors.New("its provider tells no address of it yet"),
		Hint: "find it again in a moment; node.terminate ends it as it is",
	}
}

// inScope refuses the use of a node whose scope ended.
func (n *Node) inScope() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended == "" {
		return nil
	}
	return &fault.Error{
		Kind: fault.Scope, Op: "node", Target: n.rec.ID, Err: fmt.Errorf("used after its end: %s", n.ended),
		Hint: "use it inside its scope, or keep the machine (keep_alive = True) and find it again with node_id",
	}
}

// end ends the node's scope in this process, which vouches for the machine no longer.
func (n *Node) end(why string) {
	n.mu.Lock()
	if n.ended == "" {
		n.ended = why
	}
	stop := n.unvouch
	n.unvouch = nil
	n.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// Home is the absolute path of the login's home folder on the node.
func (n *Node) Home(ctx context.Context) (string, error) {
	if err := n.check(); err != nil {
		return "", err
	}
	n.mu.Lock()
	home := n.home
	n.mu.Unlock()
	if home != "" {
		return home, nil
	}
	err := n.mend(ctx, "connect", func() error {
		var out strings.Builder
		err := n.runner.Run(ctx, ssh.Command{Script: `printf %s "$HOME"`, Stdout: &out})
		home = out.String()
		return err
	})
	if err != nil {
		var said *fault.Error
		if errors.As(err, &said) || ctx.Err() != nil {
			return "", err // no connection came about: what was to be run on it says nothing
		}
		return "", fmt.Errorf("read home folder of %s: %w", n.rec.ID, err)
	}
	if !path.IsAbs(home) {
		return "", &fault.Error{Kind: fault.Invalid, Op: "connect", Target: n.rec.ID, Err: fmt.Errorf("$HOME is %q there", home), Hint: "give the login a home folder"}
	}
	n.mu.Lock()
	n.home, n.answered = home, true
	n.mu.Unlock()
	return home, nil
}

func (n *Node) hasAnswered() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.answered
}

// base is what relative paths on the node start at.
func (n *Node) base() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.workspace != "" {
		return n.workspace
	}
	return "~"
}

// Keep lets a rented machine outlive its scope. It then costs money until it is terminated.
func (n *Node) Keep(ctx context.Context) error {
	if err := n.inScope(); err != nil {
		return err
	}
	if err := n.adopt(ctx); err != nil {
		return err
	}
	n.mu.Lock()
	n.rec.Keep = true
	n.mu.Unlock()
	n.disarm(ctx)
	return n.engine.journal.SetNode(ctx, n.rec.ID, func(rec *journal.Node) error {
		rec.Keep = true
		return nil
	})
}

// Terminate ends a rented machine now and confirms it. A machine under ssh is the user's: that is
// an error.
func (n *Node) Terminate(ctx context.Context) error {
	if err := n.inScope(); err != nil {
		return err
	}
	if err := n.adopt(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, n.engine.cfg.Timing.Release)
	defer cancel()
	return n.terminate(ctx, "it was terminated")
}

// Transfer says what a download or upload moved.
type Transfer struct {
	Files    int // that travelled
	Bytes    int64
	Skipped  int // that were there already, unchanged
	Duration time.Duration
}

func transferOf(r transfer.Result) Transfer {
	return Transfer{Files: r.Files, Bytes: r.Bytes, Skipped: r.Skipped, Duration: r.Duration}
}

// Upload copies a local file or folder to the node, as cp would.
func (n *Node) Upload(ctx context.Context, local, remote string) (_ Transfer, err error) {
	if err := n.check(); err != nil {
		return Transfer{}, err
	}
	end := n.engine.cfg.Report.Step("upload", local+" to "+remote)
	defer func() { end("", err) }()
	r, err := transfer.Upload(ctx, n.runner, transfer.UploadRequest{
		Local: local, LocalDir: n.engine.cfg.WorkDir, Remote: remote, RemoteDir: n.base(),
		Withhold: n.engine.cfg.Withhold, Report: n.engine.cfg.Report, Step: "upload",
	})
	return transferOf(r), err
}

// Download copies a file or folder of the node here, as cp would. A missing one is an error unless
// missingOK.
func (n *Node) Download(ctx context.Context, remote, local string, missingOK bool) (Transfer, error) {
	if err := n.check(); err != nil {
		return Transfer{}, err
	}
	r, err := n.download(ctx, "download", n.base(), ResultSpec{Remote: remote, Local: local, Optional: missingOK})
	return transferOf(r), err
}

// download is the one way by which files come from a node. What it wrote is remembered, so that no
// push sends it back.
func (n *Node) download(ctx context.Context, step, dir string, spec ResultSpec) (r transfer.Result, err error) {
	end := n.engine.cfg.Report.Step(step, spec.Remote+" to "+spec.Local)
	detail := ""
	defer func() { end(detail, err) }()
	var gaveUp error
	err = n.mend(ctx, step, func() (err error) {
		r, err = transfer.Download(ctx, &patientRunner{node: n}, transfer.Request{
			Remote: spec.Remote, RemoteDir: dir, Local: spec.Local, LocalDir: n.engine.cfg.WorkDir, MissingOK: spec.Optional,
			Protect: n.engine.cfg.Protect,
			Report:  n.engine.cfg.Report, Step: step,
		})
		if fault.KindOf(err) == fault.Lost { // it has tried again for as long as it makes sense
			gaveUp, err = err, nil
		}
		return err
	})
	err = cmp.Or(err, gaveUp)
	switch {
	case err != nil:
		return r, err
	case r.Missing:
		detail = "not there"
		return r, nil
	}
	detail = fmt.Sprintf("%d files, %d unchanged", r.Files, r.Skipped)
	return r, n.engine.journal.AddDownload(context.WithoutCancel(ctx), r.Target)
}

// maxRead bounds what ReadFile returns, in bytes.
const maxRead = 64 << 20

// ReadFile returns a file of the node, up to 64 MiB.
func (n *Node) ReadFile(ctx context.Context, name string) ([]byte, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	return transfer.ReadFile(ctx, n.runner, n.base(), name, maxRead)
}

// WriteFile writes a file on the node, whole or not at all; missing folders are made.
func (n *Node) WriteFile(ctx context.Context, name string, data []byte, mode os.FileMode) error {
	if err := n.check(); err != nil {
		return err
	}
	return transfer.WriteFile(ctx, n.runner, n.base(), name, data, mode)
}

// Exists reports whether a path exists on the node.
func (n *Node) Exists(ctx context.Context, name string) (bool, error) {
	if err := n.check(); err != nil {
		return false, err
	}
	return transfer.Exists(ctx, n.runner, n.base(), name)
}

// Glob returns the paths on the node that match a pattern, sorted. None is not an error.
func (n *Node) Glob(ctx context.Context, pattern string) ([]string, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	return transfer.Glob(ctx, n.runner, n.base(), pattern)
}

// ExpandPath returns the absolute form of a path on the node.
func (n *Node) ExpandPath(ctx context.Context, name string) (string, error) {
	if err := n.check(); err != nil {
		return "", err
	}
	return transfer.ExpandPath(ctx, n.runner, n.base(), name)
}

// resolve makes a path of the node absolute, or one that starts with "~".
func (n *Node) resolve(name string) string { return join(n.base(), name) }

// join puts a path of the node behind the folder that relative ones start at.
func join(dir, name string) string {
	if path.IsAbs(name) || name == "~" || strings.HasPrefix(name, "~/") {
		return name
	}
	if name == "" || name == "." {
		return dir
	}
	return dir + "/" + name
}

// Forward makes a port of the node's own network reachable here, until it is closed. A localPort of
// 0 chooses one.
func (n *Node) Forward(ctx context.Context, remotePort, localPort int) (*ssh.Forward, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	if remotePort < 1 || remotePort > 65535 || localPort < 0 || localPort > 65535 {
		return nil, invalid("forward", fmt.Sprintf("%d to %d", remotePort, localPort), errors.New("a port is a number from 1 to 65535"), "")
	}
	return n.runner.Forward(ctx, localPort, remotePort)
}

// Interactive runs a command with the streams and the terminal of the caller.
func (n *Node) Interactive(ctx context.Context, cmd ssh.Command) error {
	if err := n.check(); err != nil {
		return err
	}
	return n.runner.Run(ctx, cmd)
}

// makeWorkspace makes the folder that a job without source runs in.
func (n *Node) makeWorkspace(ctx context.Context, workspace string) error {
	var out, stderr strings.Builder
	dir := ssh.QuotePath(workspace)
	err := n.mend(ctx, "make workspace", func() error {
		out.Reset()
		stderr.Reset()
		return n.runner.Run(ctx, ssh.Command{
			Script: "mkdir -p " + dir + " && cd " + dir + " && pwd -P", Stdout: &out, Stderr: &stderr,
		})
	})
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		return &fault.Error{Kind: fault.Invalid, Op: "make workspace", Target: workspace, Err: errors.New(strings.TrimSpace(stderr.String())), Hint: "choose a folder that the login may write"}
	}
	if err != nil {
		return fmt.Errorf("make workspace %s: %w", workspace, err)
	}
	n.mu.Lock()
	n.workspace = strings.TrimSuffix(out.String(), "\n")
	n.mu.Unlock()
	return nil
}

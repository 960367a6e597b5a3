package plan

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"os"
	"time"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/engine"
)

// A node is a machine that is not there.
type node struct {
	engine   *Engine
	id       string
	provider string
	gpuType  string
	gpuCount int
	price    float64
	rented   bool
	keep     bool
	keepSaid bool
}

func (n *node) ID() string            { return n.id }
func (n *node) Provider() string      { return n.provider }
func (n *node) SSH() string           { return "bifrost ssh " + n.id }
func (n *node) GPUType() string       { return n.gpuType }
func (n *node) GPUCount() int         { return n.gpuCount }
func (n *node) PricePerHour() float64 { return n.price }
func (n *node) say(op, text string)   { n.engine.Say(Step{Op: op, Text: text}) }
func (n *node) job(op string) *handle { return &handle{node: n, id: op + "-planned"} }

func (n *node) Home(context.Context) (string, error) {
	return "", stop("node.home: the machine knows its home folder")
}

// Push tells what would be sent. The workspace is returned as it was written.
func (n *node) Push(ctx context.Context, workspace, source string, steps []engine.Step) (string, error) {
	workspace = cmp.Or(workspace, engine.DefaultWorkspace)
	if err := n.push(ctx, workspace, source); err != nil {
		return "", err
	}
	n.bootstrap(steps)
	return workspace, nil
}

func (n *node) push(ctx context.Context, workspace, source string) error {
	files, err := n.engine.world.Files(ctx, source)
	if err != nil {
		return err
	}
	n.engine.Say(pushStep(source, cmp.Or(workspace, engine.DefaultWorkspace), files))
	return nil
}

func (n *node) bootstrap(steps []engine.Step) {
	for _, s := range steps {
		n.engine.Say(Step{Op: "bootstrap", Text: s.Command, Data: map[string]any{"command": s.Command}})
	}
}

func (n *node) Exec(_ context.Context, x engine.Exec) (engine.ExecResult, error) {
	return engine.ExecResult{}, stop("node.exec(%q): what a command writes and how it exits, the machine knows", x.Command.String())
}

func (n *node) ExecStream(_ context.Context, x engine.Exec) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		yield("", stop("node.exec_stream(%q): what a command writes and how it exits, the machine knows", x.Command.String()))
	}
}

func (n *node) Submit(_ context.Context, s engine.Submit) (builtins.Handle, error) {
	n.engine.Say(startStep("submit", s))
	return n.job("submit"), nil
}

func (n *node) Serve(_ context.Context, s engine.Serve) (builtins.Server, error) {
	n.engine.Say(startStep("serve", s.Submit))
	return nil, stop("node.serve(%q): whether a server gets ready, the machine knows", s.Command.String())
}

func (n *node) Upload(_ context.Context, local, remote string) (engine.Transfer, error) {
	n.say("upload", local+" to "+remote)
	return engine.Transfer{}, nil
}

func (n *node) Download(_ context.Context, remote, local string, _ bool) (engine.Transfer, error) {
	n.say("download", remote+" to "+local)
	return engine.Transfer{}, nil
}

func (n *node) ReadFile(_ context.Context, path string) ([]byte, error) {
	return nil, stop("node.read_file(%q): the machine has the file, or has not", path)
}

func (n *node) WriteFile(_ context.Context, path string, data []byte, _ os.FileMode) error {
	n.say("write_file", fmt.Sprintf("%s, %s", path, size(int64(len(data)))))
	return nil
}

func (n *node) Exists(_ context.Context, path string) (bool, error) {
	return false, stop("node.exists(%q): the machine has the file, or has not", path)
}

func (n *node) Glob(_ context.Context, pattern string) ([]string, error) {
	return nil, stop("node.glob(%q): which files there are, the machine knows", pattern)
}

func (n *node) ExpandPath(_ context.Context, path string) (string, error) {
	return "", stop("node.expand_path(%q): the machine knows its home folder", path)
}

func (n *node) GPUs(context.Context) ([]engine.GPU, error) {
	return nil, stop("node.gpus(): how the GPUs are used, the machine knows")
}

// WaitForGPUs tells of it and goes on: they are free at last, or the script fails.
func (n *node) WaitForGPUs(_ context.Context, ids []int, timeout time.Duration) error {
	n.say("wait_for_gpus", fmt.Sprintf("%v, for at most %s", ids, timeout))
	return nil
}

func (n *node) Forward(_ context.Context, remotePort, localPort int) (int, error) {
	if localPort == 0 {
		return 0, stop("node.forward(%d): which local port is free, shows itself", remotePort)
	}
	n.say("forward", fmt.Sprintf("port %d of the machine to %d here", remotePort, localPort))
	return localPort, nil
}

func (n *node) Keep(context.Context) error {
	n.keep = true
	n.say("keep", "the machine outlives its scope")
	return nil
}

func (n *node) Terminate(context.Context) error {
	n.say("terminate", n.id)
	return nil
}

// A handle is a job that was not started.
type handle struct {
	node *node
	id   string
}

func (h *handle) JobID() string       { return h.id }
func (h *handle) SessionName() string { return h.id }
func (h *handle) LogFile() string     { return "~/.bifrost/jobs/" + h.id + "/log" }
func (h *handle) Node() builtins.Node { return h.node }

func (h *handle) Logs(context.Context, engine.LogOptions) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) { yield("", stop("handle.logs(): the job writes its log")) }
}

func (h *handle) Wait(context.Context, time.Duration) (int, error) {
	return 0, stop("handle.wait(): how the job ends, its run shows")
}

func (h *handle) Status(context.Context) (string, error) {
	return "", stop("handle.status(): how the job is, its machine knows")
}

func (h *handle) Cancel(context.Context) error {
	h.node.say("cancel", "the job")
	return nil
}

func (h *handle) Download(ctx context.Context, remote, local string, missingOK bool) (engine.Transfer, error) {
	return h.node.Download(ctx, remote, local, missingOK)
}

func (h *handle) Terminate(ctx context.Context) error { return h.node.Terminate(ctx) }

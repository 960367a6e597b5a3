package builtins

import (
	"context"
	"io"
	"iter"
	"os"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/gpu"
)

// An Engine does what verbs say. Wrap makes one of an *engine.Engine.
type Engine interface {
	Run(ctx context.Context, job Job, opts RunOptions) (engine.Result, error)
	Start(ctx context.Context, job Job, finish bool) (Handle, error)
	Acquire(ctx context.Context, spec engine.NodeSpec) (Node, error)
	WithNode(ctx context.Context, spec engine.NodeSpec, fn func(ctx context.Context, n Node) error) error
	Attach(ctx context.Context, jobID string) (Handle, error)
	Market
}

// A Market knows the machines that there are: those that can be rented and those that were.
type Market interface {
	// Offers searches; with explain it also returns what the query refuses. No offer is no error.
	Offers(ctx context.Context, query gpu.Query, explain bool) (engine.Offers, error)
	ListNodes(ctx context.Context) ([]Node, error)
	// FindNode returns nil when there is no such machine.
	FindNode(ctx context.Context, name string) (Node, error)
}

// A Job is engine.Job with a Prepare for the nodes of this package; that of engine.Job is unused.
type Job struct {
	engine.Job
	Prepare func(ctx context.Context, n Node) error
}

// RunOptions are engine.RunOptions for the handles of this package.
type RunOptions struct {
	Body    func(ctx context.Context, h Handle) error
	Stdout  io.Writer
	Started func(h Handle)
	Ending  func(h Handle)
}

// A Handle is a job that was started.
type Handle interface {
	JobID() string
	SessionName() string
	LogFile() string
	Node() Node
	Logs(ctx context.Context, o engine.LogOptions) iter.Seq2[string, error]
	Wait(ctx context.Context, timeout time.Duration) (int, error)
	Status(ctx context.Context) (string, error)
	Cancel(ctx context.Context) error
	Download(ctx context.Context, remote, local string, missingOK bool) (engine.Transfer, error)
	Terminate(ctx context.Context) error
}

// A Server is a job that answers HTTP.
type Server interface {
	Handle
	URL() string
	Port() int
	Healthy(ctx context.Context) bool
	Stop(ctx context.Context) error
}

// A Machine says what a node is.
type Machine interface {
	ID() string
	Provider() string
	SSH() string
	GPUType() string
	GPUCount() int
	PricePerHour() float64
	Home(ctx context.Context) (string, error)
}

// A Commander runs commands on a node.
type Commander interface {
	Push(ctx context.Context, workspace, source string, steps []engine.Step) (string, error)
	Exec(ctx context.Context, x engine.Exec) (engine.ExecResult, error)
	ExecStream(ctx context.Context, x engine.Exec) iter.Seq2[string, error]
	Submit(ctx context.Context, s engine.Submit) (Handle, error)
	Serve(ctx context.Context, s engine.Serve) (Server, error)
}

// Files are those of a node.
type Files interface {
	Upload(ctx context.Context, local, remote string) (engine.Transfer, error)
	Download(ctx context.Context, remote, local string, missingOK bool) (engine.Transfer, error)
	ReadFile(ctx context.Context, path string) ([]byte, error)
	WriteFile(ctx context.Context, path string, data []byte, mode os.FileMode) error
	Exists(ctx context.Context, path string) (bool, error)
	Glob(ctx context.Context, pattern string) ([]string, error)
	ExpandPath(ctx context.Context, path string) (string, error)
}

// A Node is a machine that answers.
type Node interface {
	Machine
	Commander
	Files
	GPUs(ctx context.Context) ([]engine.GPU, error)
	WaitForGPUs(ctx context.Context, ids []int, timeout time.Duration) error
	// Forward returns the local port that leads to the remote one until the node's scope ends.
	Forward(ctx context.Context, remotePort, localPort int) (int, error)
	Keep(ctx context.Context) error
	Terminate(ctx context.Context) error
}

// Wrap returns the Engine that scripts see of e.
func Wrap(e *engine.Engine) Engine { return realEngine{e} }

type realEngine struct{ e *engine.Engine }

func (r realEngine) Run(ctx context.Context, job Job, opts RunOptions) (engine.Result, error) {
	o := engine.RunOptions{Stdout: opts.Stdout}
	if opts.Body != nil {
		o.Body = func(ctx context.Context, h *engine.Handle) error { return opts.Body(ctx, realHandle{h}) }
	}
	if opts.Started != nil {
		o.Started = func(h *engine.Handle) { opts.Started(realHandle{h}) }
	}
	if opts.Ending != nil {
		o.Ending = func(h *engine.Handle) { opts.Ending(realHandle{h}) }
	}
	return r.e.Run(ctx, job.real(), o)
}

func (j Job) real() engine.Job {
	job := j.Job
	if j.Prepare != nil {
		job.Prepare = func(ctx context.Context, n *engine.Node) error { return j.Prepare(ctx, realNode{n}) }
	}
	return job
}

func (r realEngine) Start(ctx context.Context, job Job, finish bool) (Handle, error) {
	h, err := r.e.Start(ctx, job.real(), finish)
	if err != nil {
		return nil, err
	}
	return realHandle{h}, nil
}

func (r realEngine) Acquire(ctx context.Context, spec engine.NodeSpec) (Node, error) {
	n, err := r.e.Acquire(ctx, spec)
	if err != nil {
		return nil, err
	}
	return realNode{n}, nil
}

func (r realEngine) WithNode(ctx context.Context, spec engine.NodeSpec, fn func(ctx context.Context, n Node) error) error {
	return r.e.WithNode(ctx, spec, func(ctx context.Context, n *engine.Node) error { return fn(ctx, realNode{n}) })
}

func (r realEngine) Attach(ctx context.Context, jobID string) (Handle, error) {
	h, err := r.e.Attach(ctx, jobID)
	if err != nil {
		return nil, err
	}
	return realHandle{h}, nil
}

func (r realEngine) Offers(ctx context.Context, query gpu.Query, explain bool) (engine.Offers, error) {
	return r.e.Offers(ctx, query, explain)
}

func (r realEngine) ListNodes(ctx context.Context) ([]Node, error) {
	found, err := r.e.ListNodes(ctx)
	if err != nil {
		return nil, err
	}
	nodes := make([]Node, len(found))
	for i, n := range found {
		nodes[i] = realNode{n}
	}
	return nodes, nil
}

func (r realEngine) FindNode(ctx context.Context, name string) (Node, error) {
	n, err := r.e.FindNode(ctx, name)
	if err != nil || n == nil {
		return nil, err
	}
	return realNode{n}, nil
}

// A realHandle differs from its engine.Handle in the type of its node.
type realHandle struct{ *engine.Handle }

func (h realHandle) Node() Node { return realNode{h.Handle.Node()} }

type realServer struct{ *engine.Server }

func (s realServer) Node() Node { return realNode{s.Server.Node()} }

// A realNode differs from its engine.Node in the types of what it starts.
type realNode struct{ *engine.Node }

func (n realNode) Submit(ctx context.Context, s engine.Submit) (Handle, error) {
	h, err := n.Node.Submit(ctx, s)
	if err != nil {
		return nil, err
	}
	return realHandle{h}, nil
}

func (n realNode) Serve(ctx context.Context, s engine.Serve) (Server, error) {
	server, err := n.Node.Serve(ctx, s)
	if err != nil {
		return nil, err
	}
	return realServer{server}, nil
}

func (n realNode) Forward(ctx context.Context, remotePort, localPort int) (int, error) {
	f, err := n.Node.Forward(ctx, remotePort, localPort)
	if err != nil {
		return 0, err
	}
	return f.LocalPort, nil
}

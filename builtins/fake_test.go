package builtins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/gpu"
)

// A fakeEngine writes what it is asked to do to out and answers from the text of the command: a job
// "exit N" exits with N, one with "breaks" has a log that breaks, one with "lost" is lost.
type fakeEngine struct{ out io.Writer }

func (e *fakeEngine) say(format string, args ...any) {
	fmt.Fprintf(e.out, "[%s]\n", fmt.Sprintf(format, args...))
}

func (e *fakeEngine) Run(ctx context.Context, job Job, opts RunOptions) (engine.Result, error) {
	n, err := e.acquire(job.Provision, job.SSH, job.NodeID)
	if err != nil {
		return engine.Result{Status: "failed"}, err
	}
	e.describe(job.Job)
	h := &fakeHandle{node: n, command: job.Command.String()}
	res := engine.Result{JobID: h.JobID(), NodeID: n.ID(), Status: "succeeded", Duration: 1500 * time.Millisecond, Cost: 0.25}
	if job.Prepare != nil {
		if err := job.Prepare(ctx, n); err != nil {
			e.say("released")
			return engine.Result{Status: "failed"}, err
		}
	}
	if opts.Started != nil {
		opts.Started(h)
	}
	var bodyErr error
	if opts.Body != nil {
		bodyErr = opts.Body(ctx, h)
	} else if opts.Stdout != nil {
		io.WriteString(opts.Stdout, "bytes of the job\n")
	}
	if opts.Ending != nil {
		opts.Ending(h)
	}
	if errors.Is(context.Cause(ctx), engine.ErrDetach) {
		res.Status = "detached"
		return res, nil
	}
	if bodyErr != nil {
		e.say("job stopped")
		res.Status = "cancelled"
	} else if n, _ := fmt.Sscanf(h.command, "exit %d", &res.ExitCode); n == 1 && res.ExitCode != 0 {
		res.Status = "failed"
	}
	for _, r := range job.Results {
		e.say("fetch %s to %s, optional %v", r.Remote, r.Local, r.Optional)
		res.Results = append(res.Results, engine.Fetched{Files: 1})
	}
	e.say("released")
	var releaseErr error
	if strings.Contains(h.command, "unreleased") {
		releaseErr = &fault.Error{Kind: fault.Unreleased, Op: "terminate", Target: n.ID(), Err: errors.New("not confirmed")}
	}
	return res, errors.Join(bodyErr, releaseErr)
}

func (e *fakeEngine) describe(j engine.Job) {
	var env []string
	for _, v := range j.Env {
		env = append(env, fmt.Sprintf("%s(%d bytes, prepend %v)", v.Name, len(v.Value), v.Prepend))
	}
	keep := "not said"
	if j.KeepAlive != nil {
		keep = fmt.Sprint(*j.KeepAlive)
	}
	e.say("job %q argv %q name %q workspace %s working_dir %q timeout %s env %v bootstrap %+v keep %s on_failure %+v max_cost %g refuse %v",
		j.Command.Shell, j.Command.Argv, j.Name, j.Workspace, j.WorkingDir, j.Timeout, env, j.Bootstrap, keep, j.OnFailure, j.MaxCost, j.Refuse)
}

func (e *fakeEngine) acquire(q *gpu.Query, ssh, id string) (*fakeNode, error) {
	switch {
	case q != nil:
		shown := *q
		shown.Where, shown.Sort = nil, nil
		e.say("acquire %+v", shown)
		for _, o := range fakeOffers {
			if q.Where != nil {
				ok, err := q.Where(o)
				if err != nil {
					return nil, fmt.Errorf("where: %w", err)
				}
				e.say("where %s: %v", o.GPUType, ok)
			}
			if q.Sort != nil {
				key, err := q.Sort(o)
				if err != nil {
					return nil, fmt.Errorf("sort: %w", err)
				}
				e.say("sort %s: %g", o.GPUType, key)
			}
		}
		if q.Type == "H9000" {
			return nil, &fault.Error{Kind: fault.NoCapacity, Op: "provision", Err: errors.New("no offer for 1x H9000"), Hint: "raise max_price"}
		}
		return &fakeNode{engine: e, id: "local:1", provider: "local"}, nil
	case ssh != "":
		e.say("connect %s", ssh)
		return &fakeNode{engine: e, id: "ssh:" + ssh, provider: "ssh"}, nil
	}
	e.say("find %s", id)
	return &fakeNode{engine: e, id: id, provider: "local"}, nil
}

// fakeOffers are what can be rented.
var fakeOffers = []gpu.Offer{
	{Provider: "vast", GPUType: "A100", VRAMGB: 40, GPUCount: 1, PricePerGPU: 1},
	{Provider: "runpod", GPUType: "A100 80GB", VRAMGB: 80, GPUCount: 2, PricePerGPU: 2},
}

func (e *fakeEngine) Offers(_ context.Context, q gpu.Query, explain bool) (engine.Offers, error) {
	kept, missed, err := gpu.Rank(fakeOffers, q)
	if !explain {
		missed = nil
	}
	return engine.Offers{Kept: kept, Missed: missed}, err
}

func (e *fakeEngine) ListNodes(context.Context) ([]Node, error) {
	return []Node{&fakeNode{engine: e, id: "local:1", provider: "local"}, &fakeNode{engine: e, id: "local:2", provider: "local"}}, nil
}

func (e *fakeEngine) FindNode(_ context.Context, name string) (Node, error) {
	if name != "local:1" && name != "train-1" {
		return nil, nil
	}
	return &fakeNode{engine: e, id: "local:1", provider: "local"}, nil
}

func (e *fakeEngine) Start(_ context.Context, job Job, finish bool) (Handle, error) {
	n, err := e.acquire(job.Provision, job.SSH, job.NodeID)
	if err != nil {
		return nil, err
	}
	e.describe(job.Job)
	e.say("left running, finish %v", finish)
	return &fakeHandle{node: n, command: job.Command.String()}, nil
}

func (e *fakeEngine) Acquire(_ context.Context, s engine.NodeSpec) (Node, error) {
	n, err := e.acquire(s.Provision, s.SSH, s.NodeID)
	if err != nil {
		return nil, err
	}
	return n, nil
}

func (e *fakeEngine) WithNode(ctx context.Context, s engine.NodeSpec, fn func(ctx context.Context, n Node) error) error {
	n, err := e.acquire(s.Provision, s.SSH, s.NodeID)
	if err != nil {
		return err
	}
	defer e.say("released")
	return fn(ctx, n)
}

func (e *fakeEngine) Attach(_ context.Context, id string) (Handle, error) {
	if id != "train-1" {
		return nil, &fault.Error{Kind: fault.NotFound, Op: "attach", Target: id, Err: errors.New("no such job"), Hint: "bifrost ps -a lists them"}
	}
	return &fakeHandle{node: &fakeNode{engine: e, id: "local:1", provider: "local"}}, nil
}

type fakeHandle struct {
	node    *fakeNode
	command string
}

func (h *fakeHandle) JobID() string       { return "train-1" }
func (h *fakeHandle) SessionName() string { return "train" }
func (h *fakeHandle) LogFile() string     { return "/root/.bifrost/jobs/train-1/log" }
func (h *fakeHandle) Node() Node          { return h.node }
func (h *fakeHandle) Logs(_ context.Context, o engine.LogOptions) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		defer h.node.engine.say("log closed")
		h.node.engine.say("log tail %d follow %v", o.Tail, o.Follow)
		for _, line := range []string{"epoch 1", "epoch 2"} {
			if !yield(line, nil) {
				return
			}
		}
		if strings.Contains(h.command, "breaks") {
			yield("", &fault.Error{Kind: fault.Lost, Op: "follow", Target: "train-1", Err: errors.New("the node is gone"), Hint: "look at the provider's console"})
		}
	}
}

func (h *fakeHandle) Wait(_ context.Context, timeout time.Duration) (int, error) {
	if strings.Contains(h.command, "lost") {
		return 0, &fault.Error{Kind: fault.Lost, Op: "job", Target: h.JobID(), Err: errors.New("no exit record")}
	}
	h.node.engine.say("wait %s", timeout)
	var code int
	fmt.Sscanf(h.command, "exit %d", &code)
	return code, nil
}
func (h *fakeHandle) Status(context.Context) (string, error) { return "running", nil }
func (h *fakeHandle) Cancel(context.Context) error           { h.node.engine.say("cancel"); return nil }

func (h *fakeHandle) Terminate(context.Context) error { h.node.engine.say("terminate"); return nil }

func (h *fakeHandle) Download(ctx context.Context, remote, local string, missingOK bool) (engine.Transfer, error) {
	return h.node.Download(ctx, remote, local, missingOK)
}

type fakeServer struct{ *fakeHandle }

func (s *fakeServer) URL() string                  { return "http://127.0.0.1:4242" }
func (s *fakeServer) Port() int                    { return 8000 }
func (s *fakeServer) Healthy(context.Context) bool { return true }
func (s *fakeServer) Stop(context.Context) error   { s.node.engine.say("stop"); return nil }

type fakeNode struct {
	engine       *fakeEngine
	id, provider string
}

func (n *fakeNode) ID() string                           { return n.id }
func (n *fakeNode) Provider() string                     { return n.provider }
func (n *fakeNode) SSH() string                          { return "bifrost ssh " + n.id }
func (n *fakeNode) GPUType() string                      { return "" }
func (n *fakeNode) GPUCount() int                        { return 2 }
func (n *fakeNode) PricePerHour() float64                { return 3.5 }
func (n *fakeNode) Home(context.Context) (string, error) { return "/root", nil }

func (n *fakeNode) Push(_ context.Context, workspace, source string, steps []engine.Step) (string, error) {
	n.engine.say("push %s to %s, steps %v", source, workspace, steps)
	return "/root/" + strings.TrimPrefix(workspace, "~/"), nil
}

func (n *fakeNode) Exec(_ context.Context, x engine.Exec) (engine.ExecResult, error) {
	n.engine.say("exec %q %q env %d dir %q timeout %s stdin %q", x.Command.Shell, x.Command.Argv, len(x.Env), x.WorkingDir, x.Timeout, x.Stdin)
	var code int
	fmt.Sscanf(x.Command.Shell, "exit %d", &code)
	r := engine.ExecResult{Stdout: "out\n", Stderr: "err\n", ExitCode: code}
	if x.Command.Shell == "env" {
		r.Stdout, r.Stderr = x.Env[0].Value, x.Env[0].Value
	}
	return r, nil
}

func (n *fakeNode) ExecStream(_ context.Context, x engine.Exec) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if x.Command.Shell == "env" {
			yield(x.Env[0].Value, nil)
			return
		}
		if yield("one", nil) && yield("two", nil) && strings.HasPrefix(x.Command.Shell, "exit") {
			yield("", engine.CommandFailed(x.Command, n.id, 3, ""))
		}
	}
}

func (n *fakeNode) Submit(_ context.Context, s engine.Submit) (Handle, error) {
	n.engine.say("submit %+v", s)
	return &fakeHandle{node: n, command: s.Command.String()}, nil
}

func (n *fakeNode) Serve(_ context.Context, s engine.Serve) (Server, error) {
	n.engine.say("serve %+v", s)
	return &fakeServer{&fakeHandle{node: n}}, nil
}

func (n *fakeNode) Upload(_ context.Context, local, remote string) (engine.Transfer, error) {
	n.engine.say("upload %s to %s", local, remote)
	if local == "missing" {
		return engine.Transfer{}, fmt.Errorf("upload: %w", &os.PathError{Op: "open", Path: local, Err: os.ErrNotExist})
	}
	return engine.Transfer{Files: 1, Bytes: 10, Duration: time.Second}, nil
}

func (n *fakeNode) Download(_ context.Context, remote, local string, missingOK bool) (engine.Transfer, error) {
	n.engine.say("download %s to %s, missing_ok %v", remote, local, missingOK)
	return engine.Transfer{Files: 2, Bytes: 20, Skipped: 1, Duration: time.Second}, nil
}

func (n *fakeNode) ReadFile(_ context.Context, path string) ([]byte, error) {
	if path == "binary" {
		return []byte{0xff, 0xfe}, nil
	}
	if path == "token" {
		return []byte(theSecret), nil
	}
	return []byte("text of " + path), nil
}

func (n *fakeNode) WriteFile(_ context.Context, path string, data []byte, mode os.FileMode) error {
	n.engine.say("write %s %q %o", path, data, mode)
	return nil
}

func (n *fakeNode) Exists(_ context.Context, path string) (bool, error) { return path == "there", nil }

func (n *fakeNode) Glob(_ context.Context, pattern string) ([]string, error) {
	return []string{"a.json", "b.json"}, nil
}

func (n *fakeNode) ExpandPath(_ context.Context, path string) (string, error) {
	return "/root/" + path, nil
}

func (n *fakeNode) GPUs(context.Context) ([]engine.GPU, error) {
	return []engine.GPU{{Index: 0, Name: "NVIDIA A100", MemoryUsedMB: 10, MemoryTotalMB: 81920, Utilization: 1}}, nil
}

func (n *fakeNode) WaitForGPUs(_ context.Context, ids []int, timeout time.Duration) error {
	n.engine.say("wait for %v %s", ids, timeout)
	return nil
}

func (n *fakeNode) Forward(_ context.Context, remotePort, localPort int) (int, error) {
	return 4242, nil
}

func (n *fakeNode) Keep(context.Context) error { n.engine.say("keep"); return nil }

func (n *fakeNode) Terminate(context.Context) error { n.engine.say("terminate"); return nil }

var _ Engine = (*fakeEngine)(nil)

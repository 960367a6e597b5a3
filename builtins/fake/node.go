package fake

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
)

// A node is a machine in one scope.
type node struct {
	*machine
	over string // why the scope ended; "" while it lasts
	base string // the last pushed workspace; "" before any
}

// begin locks the world for an act, or says why there is none. The caller unlocks.
func (n *node) begin(ctx context.Context, act string) error {
	if err := ended(ctx); err != nil {
		return err
	}
	n.world.mu.Lock()
	err := n.check()
	if err == nil {
		err = n.world.trip(act, n.id)
	}
	if err != nil {
		n.world.mu.Unlock()
	}
	return err
}

func (n *node) check() error {
	switch {
	case n.over != "":
		return &fault.Error{
			Kind: fault.Scope, Op: "node", Target: n.id, Err: fmt.Errorf("used after its end: %s", n.over),
			Hint: "use it inside its scope, or keep the machine (keep_alive = True) and find it again with node_id",
		}
	case n.state == terminated:
		return &fault.Error{Kind: fault.Scope, Op: "node", Target: n.id, Err: errors.New("used after its end: it was terminated")}
	case n.dead:
		return lost("reach", n.id)
	}
	return nil
}

func (n *node) ID() string       { return n.id }
func (n *node) Provider() string { return n.provider }
func (n *node) SSH() string {
	if target, ok := strings.CutPrefix(n.id, "ssh:"); ok {
		return "ssh " + target
	}
	return "bifrost ssh " + n.id
}
func (n *node) GPUType() string                      { return n.gpuType }
func (n *node) GPUCount() int                        { return n.gpuCount }
func (n *node) PricePerHour() float64                { return n.price }
func (n *node) Home(context.Context) (string, error) { return home, nil }

// Push implements builtins.Commander. What git shows in the source exists on the node afterwards.
func (n *node) Push(ctx context.Context, workspace, source string, steps []engine.Step) (string, error) {
	if err := n.push(ctx, workspace, source); err != nil {
		return "", err
	}
	return n.base, n.bootstrap(ctx, steps, nil)
}

func (n *node) push(ctx context.Context, workspace, source string) error {
	if err := n.begin(ctx, "push"); err != nil {
		return err
	}
	defer n.world.mu.Unlock()
	if workspace == "" {
		workspace = engine.DefaultWorkspace
	}
	n.world.record("push", field{"source", source}, field{"workspace", workspace}, field{"node", n.id})
	n.base = n.absolute(workspace)
	n.pushed = append(n.pushed, pushed{workspace: n.base, source: n.world.local(source)})
	return nil
}

// bootstrap runs the steps. One that no test expects does well.
func (n *node) bootstrap(ctx context.Context, steps []engine.Step, env []engine.Var) error {
	for i, s := range steps {
		if err := n.begin(ctx, "bootstrap"); err != nil {
			return err
		}
		n.world.record("bootstrap", field{"command", s.Command}, field{"inputs", s.Inputs}, field{"env", env}, field{"node", n.id})
		e := n.world.optional("bootstrap", engine.Shell(s.Command))
		n.world.mu.Unlock()
		if e == nil {
			continue
		}
		if err := n.world.clock.Sleep(ctx, e.outcome.duration); err != nil {
			return err
		}
		if code := e.outcome.exitCode; code != 0 {
			cause := fmt.Errorf("exit code %d", code)
			if out := strings.TrimRight(e.outcome.stdout, "\n"); out != "" {
				cause = fmt.Errorf("%w\nthe last lines of its output:\n%s", cause, out)
			}
			return &fault.Error{
				Kind: fault.Bootstrap, Op: fmt.Sprintf("bootstrap step %d of %d", i+1, len(steps)), Target: fmt.Sprintf("%q", s.Command), Err: cause, ExitCode: code,
			}
		}
	}
	return nil
}

// Exec implements builtins.Commander.
func (n *node) Exec(ctx context.Context, x engine.Exec) (engine.ExecResult, error) {
	o, err := n.exec(ctx, "exec", x)
	if err != nil {
		return engine.ExecResult{}, err
	}
	return engine.ExecResult{Stdout: o.stdout, Stderr: o.stderr, ExitCode: o.exitCode}, nil
}

func (n *node) exec(ctx context.Context, op string, x engine.Exec) (outcome, error) {
	if err := n.begin(ctx, "exec"); err != nil {
		return outcome{}, err
	}
	n.world.record(op, field{"command", x.Command}, field{"env", x.Env}, field{"working_dir", x.WorkingDir}, field{"timeout", x.Timeout},
		field{"stdin", string(x.Stdin)}, field{"node", n.id})
	e, err := n.world.match("exec", x.Command)
	n.world.mu.Unlock()
	if err != nil {
		return outcome{}, err
	}
	takes := e.outcome.duration
	if x.Timeout > 0 && takes > x.Timeout {
		if err := n.world.clock.Sleep(ctx, x.Timeout); err != nil {
			return outcome{}, err
		}
		return outcome{}, &fault.Error{
			Kind: fault.Timeout, Op: "exec", Target: fmt.Sprintf("%q on %s", x.Command.String(), n.id), Err: fmt.Errorf("not done after %s", x.Timeout), ExitCode: 124,
		}
	}
	return e.outcome, n.world.clock.Sleep(ctx, takes)
}

// ExecStream implements builtins.Commander.
func (n *node) ExecStream(ctx context.Context, x engine.Exec) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		o, err := n.exec(ctx, "exec_stream", x)
		if err != nil {
			yield("", err)
			return
		}
		for line := range strings.Lines(o.stdout + o.stderr) {
			if !yield(strings.TrimSuffix(line, "\n"), nil) {
				return
			}
		}
		if o.exitCode != 0 {
			yield("", engine.CommandFailed(x.Command, n.id, o.exitCode, ""))
		}
	}
}

// Submit implements builtins.Commander.
func (n *node) Submit(ctx context.Context, s engine.Submit) (builtins.Handle, error) {
	j, err := n.start(ctx, "submit", "job", s)
	if err != nil {
		return nil, err
	}
	return j, nil
}

// Serve implements builtins.Commander.
func (n *node) Serve(ctx context.Context, s engine.Serve) (builtins.Server, error) {
	j, err := n.start(ctx, "serve", "serve", s.Submit)
	if err != nil {
		return nil, err
	}
	return n.world.serve(ctx, j, s)
}

// GPUs implements builtins.Node: what fake.gpus said, else idle ones as rented.
func (n *node) GPUs(ctx context.Context) ([]engine.GPU, error) {
	if err := n.begin(ctx, "gpus"); err != nil {
		return nil, err
	}
	defer n.world.mu.Unlock()
	n.world.record("gpus", field{"node", n.id})
	if len(n.world.gpus) > 0 {
		gpus := n.world.gpus[0]
		if len(n.world.gpus) > 1 {
			n.world.gpus = n.world.gpus[1:]
		}
		return gpus, nil
	}
	gpus := make([]engine.GPU, n.gpuCount)
	for i := range gpus {
		gpus[i] = engine.GPU{Index: i, Name: n.gpuType, MemoryTotalMB: 80 << 10}
	}
	return gpus, nil
}

// WaitForGPUs implements builtins.Node.
func (n *node) WaitForGPUs(ctx context.Context, ids []int, timeout time.Duration) error {
	deadline := n.world.clock.Now().Add(timeout)
	for {
		gpus, err := n.GPUs(ctx)
		if err != nil {
			return err
		}
		var busy []string
		for _, id := range ids {
			at := slices.IndexFunc(gpus, func(g engine.GPU) bool { return g.Index == id })
			if at < 0 {
				return notFound("wait for gpus", n.id, fmt.Sprintf("there is no GPU %d: the node has %d", id, len(gpus)), "")
			}
			if gpus[at].Busy() {
				busy = append(busy, fmt.Sprintf("GPU %d (%d MB, %d %%)", id, gpus[at].MemoryUsedMB, gpus[at].Utilization))
			}
		}
		if len(busy) == 0 {
			return nil
		}
		if !n.world.clock.Now().Before(deadline) {
			return &fault.Error{Kind: fault.Timeout, Op: "wait for gpus", Target: n.id, Err: fmt.Errorf("still busy after %s: %s", timeout, strings.Join(busy, ", ")), ExitCode: 124}
		}
		if err := n.world.clock.Sleep(ctx, min(5*time.Second, deadline.Sub(n.world.clock.Now()))); err != nil {
			return err
		}
	}
}

// Forward implements builtins.Node. Nothing listens on the port.
func (n *node) Forward(ctx context.Context, remotePort, localPort int) (int, error) {
	if err := n.begin(ctx, "forward"); err != nil {
		return 0, err
	}
	defer n.world.mu.Unlock()
	n.world.record("forward", field{"remote_port", remotePort}, field{"local_port", localPort}, field{"node", n.id})
	if localPort == 0 {
		localPort = 40000 + remotePort%10000
	}
	return localPort, nil
}

// Keep implements builtins.Node.
func (n *node) Keep(ctx context.Context) error {
	if err := n.begin(ctx, "keep"); err != nil {
		return err
	}
	defer n.world.mu.Unlock()
	n.keep = true
	n.world.record("keep", field{"node", n.id})
	return nil
}

// Terminate implements builtins.Node.
func (n *node) Terminate(ctx context.Context) error {
	if err := ended(ctx); err != nil {
		return err
	}
	n.world.mu.Lock()
	defer n.world.mu.Unlock()
	if n.provider == "ssh" {
		return invalid("terminate", n.id, "bifrost did not rent this machine and never ends it", "")
	}
	if n.state == terminated {
		return nil
	}
	return n.terminate()
}

// absolute is a path on the node without "~" and "..".
func (n *node) absolute(name string) string {
	switch {
	case name == "~" || strings.HasPrefix(name, "~/"):
		return path.Join(home, name[1:])
	case path.IsAbs(name):
		return path.Clean(name)
	case n.base == "":
		return path.Join(home, name)
	}
	return path.Join(n.base, name)
}

package engine

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"time"

	"github.com/bifrost-run/bifrost/engine/bootstrap"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/follow"
	"github.com/bifrost-run/bifrost/engine/push"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/engine/session"
)

// Push sends a local folder to the workspace and runs the bootstrap steps that are due there. It
// returns the absolute path of the workspace, from which relative paths of the node start then.
func (n *Node) Push(ctx context.Context, workspace, source string, steps []Step) (string, error) {
	if err := n.check(); err != nil {
		return "", err
	}
	if workspace == "" {
		workspace = DefaultWorkspace
	}
	pushed, err := n.push(ctx, workspace, source)
	if err != nil {
		return "", err
	}
	if len(steps) > 0 {
		id, err := n.engine.journal.NewJobID(ctx, "bootstrap")
		if err != nil {
			return "", err
		}
		if err := n.bootstrap(ctx, id, pushed, steps, nil, false); err != nil {
			return "", err
		}
	}
	return pushed.Workspace, nil
}

func (n *Node) push(ctx context.Context, workspace, source string) (_ push.Result, err error) {
	e := n.engine
	source = e.localPath(source)
	end := e.cfg.Report.Step("push", source+" to "+workspace)
	detail := ""
	defer func() { end(detail, err) }()
	if info, err := os.Stat(source); err != nil || !info.IsDir() {
		if err == nil {
			err = errors.New("not a folder")
		}
		return push.Result{}, invalid("push", source, err, "source is the local folder to send; the folder of the script is the default")
	}
	client, err := e.clientName(ctx)
	if err != nil {
		return push.Result{}, err
	}
	downloads, err := e.journal.DownloadsUnder(ctx, source)
	if err != nil {
		return push.Result{}, err
	}
	var pushed push.Result
	attempt := rand.Text()
	err = n.mend(ctx, "push", func() (err error) { // it verifies, and begins where the workspace is
		pushed, err = push.Push(ctx, n.runner, push.Request{
			Source: source, Workspace: workspace, Client: client, Exclude: append(downloads, e.cfg.StateDir), Withhold: e.cfg.Withhold,
			Confirm: e.cfg.Confirm, Report: e.cfg.Report, Cache: filepath.Join(e.cfg.StateDir, "pushes"), Attempt: attempt,
		})
		return err
	})
	if err != nil {
		return push.Result{}, err
	}
	n.mu.Lock()
	n.workspace, n.home = pushed.Workspace, pushed.Home
	n.mu.Unlock()
	detail = fmt.Sprintf("%d of %d files sent, %d removed", pushed.Sent, pushed.Files, pushed.Deleted)
	return pushed, nil
}

// clientName says who pushes: for people, and unique for this user on this machine.
func (e *Engine) clientName(ctx context.Context) (string, error) {
	id, err := e.journal.ClientID(ctx)
	if err != nil {
		return "", err
	}
	who := "somebody"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return who + "@" + host + " " + id, nil
}

// bootstrap runs the steps that are not recorded as done in the workspace, in order, each as a
// supervised process of its own: a broken connection neither ends a step nor loses its output.
func (n *Node) bootstrap(ctx context.Context, id string, pushed push.Result, steps []Step, env []Var, fresh bool) error {
	plain := make([]bootstrap.Step, len(steps))
	for i, s := range steps {
		plain[i] = bootstrap.Step{Command: s.Command, Inputs: s.Inputs}
	}
	keys, err := bootstrap.Keys(plain, pushed)
	if err != nil {
		return err
	}
	done := make([]bool, len(steps))
	if !fresh {
		done = bootstrap.Done(keys, pushed.StepKeys)
	}
	for i, s := range steps {
		name := fmt.Sprintf("bootstrap %d/%d", i+1, len(steps))
		end := n.engine.cfg.Report.Step(name, s.Command)
		if done[i] {
			end("unchanged, not run again", nil)
			continue
		}
		err := n.mend(ctx, name, func() error { return bootstrap.Forget(ctx, n.runner, pushed.Workspace, i) })
		if err == nil {
			err = n.bootstrapStep(ctx, fmt.Sprintf("%s-bootstrap-%d", id, i+1), i, pushed.Workspace, s, env, name, len(steps))
		}
		if err == nil {
			err = n.mend(ctx, name, func() error { return bootstrap.Record(ctx, n.runner, pushed.Workspace, i, keys[i]) })
		}
		end("exit code 0", err)
		if err != nil {
			return err
		}
	}
	return nil
}

// stepTail is how many lines of a failed step its error quotes.
const stepTail = 40

func (n *Node) bootstrapStep(ctx context.Context, id string, i int, workspace string, s Step, env []Var, name string, total int) error {
	e := n.engine
	failed := func(cause error, code int, log string) error {
		return &fault.Error{
			Kind: fault.Bootstrap, Op: fmt.Sprintf("bootstrap step %d of %d", i+1, total), Target: fmt.Sprintf("%q", s.Command), Err: cause, ExitCode: code,
			Hint: "the whole log is " + log,
		}
	}
	_, err := n.launch(ctx, name, session.Spec{
		ID: id, Name: id, Shell: s.Command, WorkingDir: workspace, Env: n.sessionEnv(env), NoTmux: true, Replace: true,
	})
	if err != nil {
		return err
	}
	log := filepath.Join(e.jobDir(id), "log")
	local, err := follow.OpenCopy(log)
	if err != nil {
		return err
	}
	defer local.Close()
	status, err := follow.Follow(ctx, &patientRunner{node: n}, follow.Request{JobID: id, Log: local, Report: e.cfg.Report}, outputWriter{e.cfg.Report, name})
	if err != nil {
		if ctx.Err() != nil { // the user stopped it: the step must not go on alone
			cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
			defer cancel()
			_, stopErr := session.Cancel(cleanup, n.runner, id, "interrupted")
			return errors.Join(err, stopErr)
		}
		return err
	}
	switch {
	case status.State == session.Exited && status.ExitCode == 0:
		return nil
	case status.State == session.Lost, status.State == session.Missing:
		return failed(errors.New("its process is gone without an exit code"), 0, log)
	}
	text, readErr := os.ReadFile(log)
	if readErr != nil {
		return readErr
	}
	cause := fmt.Errorf("exit code %d", status.ExitCode)
	if status.Signal != "" {
		cause = fmt.Errorf("killed by signal %s", status.Signal)
	}
	if tail := lastLines(string(bytes.ToValidUTF8(text, []byte("\uFFFD"))), stepTail); tail != "" {
		cause = fmt.Errorf("%w\nthe last lines of its output:\n%s", cause, tail)
	}
	return failed(cause, status.ExitCode, log)
}

// cancelTimeout bounds how long the end of a process is waited for after it was asked to stop.
const cancelTimeout = time.Minute

// An outputWriter turns what a step writes into events.
type outputWriter struct {
	sink report.Sink
	step string
}

func (w outputWriter) Write(p []byte) (int, error) {
	w.sink.Emit(report.Event{Kind: report.Output, Step: w.step, Data: p})
	return len(p), nil
}

// sessionEnv is the environment of what runs on the node. Where a volume was rented, the Hugging Face cache
// is on it, unless vars say otherwise: models are what a volume is for.
func (n *Node) sessionEnv(vars []Var) []session.Env {
	var out []session.Env
	volume := n.record().Volume
	if volume != "" && !slices.ContainsFunc(vars, func(v Var) bool { return v.Name == "HF_HOME" }) {
		out = append(out, session.Env{Name: "HF_HOME", Value: volume + "/huggingface"})
	}
	for _, v := range vars {
		out = append(out, session.Env{Name: v.Name, Value: v.Value, Prepend: v.Prepend})
	}
	return out
}

package builtins

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

func remoteJobEntry() *Entry {
	return &Entry{
		Name: "remote_job", Result: "job", Capabilities: pure,
		Example: "job = remote_job(\n    ssh = \"root@gpu.example.org\",\n    bootstrap = \"uv sync\",\n    command = [\"python\", \"train.py\"],\n    env = {\"HF_TOKEN\": secret(\"HF_TOKEN\")},\n    results = {\"results/\": \"./local_results/\"},\n)\nprint(job.command)  # [\"python\", \"train.py\"]",
		Doc: "Describes one run: the machine, what to send, what to run, what to bring home. Nothing happens until `with_job` or `job.start`. " +
			"Exactly one of provision, ssh and node_id is given.",
		Params: []Param{
			{Name: "provision", Kind: orNone(objectKind("gpu_query", "gpu_query(...)")), Default: star.None, KeywordOnly: true, Doc: "the machine to rent"},
			{Name: "ssh", Kind: orNone(nameKind()), Default: star.None, KeywordOnly: true, Doc: `a machine of one's own: "user@host:22", or a Host of ~/.ssh/config; it is never terminated`},
			{Name: "node_id", Kind: orNone(nameKind()), Default: star.None, KeywordOnly: true, Doc: `a machine that exists, "runpod:abc123"; one that bifrost did not rent needs keep_alive said`},
			{Name: "command", Kind: commandKind(), KeywordOnly: true, Doc: "a string for bash -c (sh -c where there is none), or a list of arguments that no shell reads"},
			{Name: "name", Kind: orNone(nameKind()), Default: star.None, KeywordOnly: true, Doc: "of the job and its tmux session; None derives one from the command"},
			{Name: "workspace", Kind: nameKind(), Default: star.String(engine.DefaultWorkspace), KeywordOnly: true, Doc: "folder on the node that the source is pushed to"},
			{Name: "source", Kind: orNone(localPathKind()), Default: star.None, KeywordOnly: true, Doc: "local folder to push; None means the script's root: the nearest folder upward with a bifrost.toml, else with a .git, else the script's own"},
			{Name: "prepare", Kind: orNone(functionKind("node")), Default: star.None, KeywordOnly: true, Doc: "called after the push and before the bootstrap"},
			{Name: "bootstrap", Kind: orNone(stepsKind()), Default: star.None, KeywordOnly: true, Doc: "what to run in the workspace before the command; a step whose text, inputs and predecessors are unchanged is skipped"},
			{Name: "working_dir", Kind: orNone(nameKind()), Default: star.None, KeywordOnly: true, Doc: "folder inside the workspace that the command runs in; remote relative paths of the handle start there"},
			{Name: "log_file", Kind: orNone(nameKind()), Default: star.None, KeywordOnly: true, Doc: "path of the log on the node, from working_dir; its folder is made; None means the job's own folder"},
			{Name: "env", Kind: envKind(), Default: star.NewDict(0), KeywordOnly: true, Doc: "variables of the bootstrap and the command, never expanded by a shell; None leaves one out"},
			{Name: "timeout", Kind: orNone(durationKind()), Default: star.MakeInt(int(engine.DefaultTimeout / time.Second)), KeywordOnly: true, Doc: `seconds or "2h", enforced on the node; None means none`},
			{Name: "results", Kind: resultsKind(), Default: star.NewDict(0), KeywordOnly: true, Doc: "what is fetched at the end whatever happened: {remote: local or optional(local)}"},
			{Name: "keep_alive", Kind: orNone(boolKind()), Default: star.None, KeywordOnly: true, Doc: "True keeps the machine afterwards; None is False for machines that this job rents"},
			{Name: "on_failure", Kind: failureKind(), Default: star.String("terminate"), KeywordOnly: true, Doc: `what happens to the machine on anything but success: "terminate", "keep", "hold 15m"`},
			{Name: "max_cost", Kind: orNone(positiveKind("USD")), Default: star.None, KeywordOnly: true, Doc: "USD for the whole job; with the price of the machine it sets a deadline"},
			{Name: "replace", Kind: boolKind(), Default: star.True, KeywordOnly: true, Doc: "end a job of the same name that still runs on the node; False refuses to start"},
		},
		run: func(c *Call) (star.Value, error) {
			if err := c.oneNode(); err != nil {
				return nil, err
			}
			job := engine.Job{
				Name: arg[string](c, "name"), SSH: arg[string](c, "ssh"), NodeID: arg[string](c, "node_id"),
				Source: arg[string](c, "source"), Workspace: arg[string](c, "workspace"),
				Bootstrap: arg[[]engine.Step](c, "bootstrap"), Command: arg[engine.Command](c, "command"),
				WorkingDir: arg[string](c, "working_dir"), LogFile: arg[string](c, "log_file"), Env: arg[[]engine.Var](c, "env"),
				Timeout: arg[time.Duration](c, "timeout"), Results: arg[[]engine.ResultSpec](c, "results"),
				OnFailure: arg[engine.Failure](c, "on_failure"), MaxCost: arg[float64](c, "max_cost"), Refuse: !arg[bool](c, "replace"),
				Fresh: c.lib.opts.Fresh, Script: c.thread.Run().Entry,
			}
			if job.Source == "" {
				job.Source = c.thread.Run().Root
			}
			if keep := c.raw["keep_alive"]; keep != star.None {
				b := arg[bool](c, "keep_alive")
				job.KeepAlive = &b
			}
			checked := job
			if c.raw["provision"] != star.None {
				checked.Provision = &gpu.Query{}
			}
			if err := checked.Check(); err != nil {
				return nil, err
			}
			return c.description("job", &jobData{job: job, defaultTimeout: !c.given["timeout"]})
		},
	}
}

// A jobData is what a job value describes, but for what is called back.
type jobData struct {
	job            engine.Job
	defaultTimeout bool
}

func remoteJobType() *Type {
	return &Type{
		Name: "job", Doc: "What `remote_job` returns: its arguments, frozen.", Fields: fieldsOf(remoteJobEntry()),
		Methods: []*Entry{startEntry()},
		show: func(o *object) string {
			text := "remote_job("
			for i, name := range o.shown {
				if i > 0 {
					text += ", "
				}
				text += name + " = " + o.values[name].String()
			}
			return text + ")"
		},
	}
}

// failureKind is the words of on_failure.
func failureKind() Kind {
	return Kind{"str", func(_ *Call, v star.Value) (any, error) {
		s, ok := star.AsString(v)
		if !ok {
			return nil, want(v, `"terminate", "keep" or "hold 15m"`)
		}
		f, err := engine.ParseFailure(s)
		if err != nil {
			return nil, want(v, `"terminate", "keep" or "hold 15m"`)
		}
		return f, nil
	}}
}

// needsOfJob is what running a job asks for.
func needsOfJob(c *Call, o *object) []policy.Request {
	d := o.data.(*jobData)
	provision, _ := o.values["provision"].(*object)
	all := targets(provision, d.job.SSH, d.job.NodeID)
	all = append(all, policy.Request{Capability: policy.ReadFile, Target: c.lib.absolute(d.job.Source)})
	return append(all, needsOfResults(c, d.job.Results)...)
}

// needsOfResults is what bringing files here asks for.
func needsOfResults(c *Call, results []engine.ResultSpec) []policy.Request {
	var all []policy.Request
	for _, r := range results {
		all = append(all, policy.Request{Capability: policy.WriteFile, Target: c.lib.absolute(r.Local)})
	}
	return all
}

// absolute is a local path as the gate wants it and as it is used. Relative ones start at
// Options.WorkDir; others stay as they are, for what .. means depends on the links before it.
func (l *Library) absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	if l.opts.WorkDir != "" {
		return filepath.Join(l.opts.WorkDir, path)
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path // no current folder; the engine will say so
}

// job returns the engine's job of a job value. Its prepare runs on the caller's thread, with nodes
// that last as long as the scope.
func (c *Call) job(o *object, s *scope) (Job, error) {
	d := o.data.(*jobData)
	job := Job{Job: d.job}
	provision, _ := o.values["provision"].(*object)
	job.Provision = c.query(provision)
	if info, err := os.Stat(c.lib.absolute(job.Source)); err != nil || !info.IsDir() {
		cause := errors.New("it is no folder")
		if errors.Is(err, fs.ErrNotExist) {
			cause = errors.New("it does not exist")
		} else if err != nil {
			cause = err
		}
		return Job{}, &fault.Error{
			Kind: fault.NotFound, Op: "push", Target: c.lib.absolute(job.Source), Err: cause,
			Hint: "source is the local folder to push; without it, the script's root is",
		}
	}
	if prepare := o.values["prepare"]; prepare != star.None {
		job.Prepare = func(ctx context.Context, n Node) error {
			defer c.thread.Lend(o.origin)()
			_, err := c.callIn(ctx, prepare, c.node(n, s))
			return err
		}
	}
	if d.defaultTimeout {
		c.notice("timeout: %s, the default; timeout = None in remote_job for none", job.Timeout)
	}
	return job, nil
}

// callIn calls a function of the script's on this thread while ctx lasts.
func (c *Call) callIn(ctx context.Context, fn star.Value, args ...star.Value) (star.Value, error) {
	pop := c.thread.Push(ctx)
	defer pop()
	return c.thread.Call(fn, args, nil)
}

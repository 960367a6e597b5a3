package builtins

import (
	"context"
	"iter"
	"time"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// handle returns the value of a job, good as long as the scope (nil: for ever).
func (c *Call) handle(h Handle, s *scope) *object {
	o := c.lib.make("handle", star.StringDict{}, h)
	o.thread, o.scope = c.thread, s
	return o
}

// onNode asks for the machine of a handle, server or node alone.
func onNode(c *Call) []policy.Request {
	n, ok := c.recv.data.(Node)
	if !ok {
		n = c.recv.data.(Handle).Node()
	}
	return []policy.Request{machineRequest(n.ID())}
}

// onNodeAnd asks for the machine and for a local path.
func onNodeAnd(capability policy.Capability, param string) func(c *Call) []policy.Request {
	return func(c *Call) []policy.Request {
		return append(onNode(c), policy.Request{Capability: capability, Target: c.lib.absolute(arg[string](c, param))})
	}
}

func handleType() *Type {
	return &Type{
		Name: "handle", Doc: "A job that was started. Inside `with_job` it is good until the function ends.",
		Fields: handleFields(), Methods: handleMethods(),
		show: func(o *object) string { return "<handle " + o.id() + ">" },
	}
}

func handleFields() []Field {
	text := func(get func(h Handle) string) func(o *object) (star.Value, error) {
		return func(o *object) (star.Value, error) { return star.String(get(o.data.(Handle))), nil }
	}
	node := func(o *object) *object {
		c := &Call{lib: o.lib, thread: o.thread}
		return c.node(o.data.(Handle).Node(), o.scope)
	}
	return []Field{
		{Name: "job_id", Kind: "str", Doc: "names the job in every command of bifrost", get: text(Handle.JobID)},
		{Name: "session_name", Kind: "str", Doc: `tmux session on the node ("" where it has no tmux), on the server tmux -L bifrost`, get: text(Handle.SessionName)},
		{Name: "log_file", Kind: "str", Doc: "path of the log on the node", get: text(Handle.LogFile)},
		{Name: "client", Kind: "node", Doc: "the machine", get: func(o *object) (star.Value, error) { return node(o), nil }},
		{Name: "instance", Kind: "node or None", Doc: "the machine where it is a rented one, None for ssh=", get: func(o *object) (star.Value, error) {
			if o.data.(Handle).Node().Provider() == "ssh" {
				return star.None, nil
			}
			return node(o), nil
		}},
	}
}

func handleMethods() []*Entry {
	of := func(c *Call) Handle { return c.recv.data.(Handle) }
	ssh := []policy.Capability{policy.SSH}
	return []*Entry{
		{
			Name: "logs", Result: "lines", Effect: true, Capabilities: ssh, needs: onNode,
			Example: "for line in handle.logs():\n    if \"epoch 2\" in line:\n        print(line)  # epoch 2",
			Doc:     "Returns the lines of the job's log, to go through with for; they come as the job writes them. A broken connection is mended unseen; a stream that is broken for good fails at the loop, and attempt around the loop catches it.",
			Params: []Param{
				{Name: "tail", Kind: orNone(intKind(1, 1<<30)), Default: star.None, Doc: "only that many of the last lines; None means from the beginning"},
				{Name: "follow", Kind: boolKind(), Default: star.True, Doc: "go on until the job has ended"},
			},
			run: func(c *Call) (star.Value, error) {
				h, o := of(c), engine.LogOptions{Tail: arg[int](c, "tail"), Follow: arg[bool](c, "follow")}
				return &lines{owner: c.recv, thread: c.thread, open: func(ctx context.Context) iter.Seq2[string, error] { return h.Logs(ctx, o) }}, nil
			},
		},
		{
			Name: "wait", Result: "int", Effect: true, Capabilities: ssh, needs: onNode,
			Example: "print(handle.wait(timeout = \"2h\"))  # 0",
			Doc:     `Waits for the job's end and returns its exit code, or 124 when the timeout of the wait or of the job has passed. A job that is gone without an exit record is an error of kind "lost".`,
			Params:  []Param{{Name: "timeout", Kind: orNone(durationKind()), Default: star.None, Doc: `seconds or "2h"; the job goes on when it has passed`}},
			run: func(c *Call) (star.Value, error) {
				code, err := of(c).Wait(c.context(), arg[time.Duration](c, "timeout"))
				return star.MakeInt(code), err
			},
		},
		{
			Name: "status", Result: "str", Effect: true, Capabilities: ssh, needs: onNode,
			Example: "print(handle.status())  # running",
			Doc:     `Returns the job's state: "running", "succeeded", "failed", "timeout", "cancelled" or "lost".`,
			run: func(c *Call) (star.Value, error) {
				s, err := of(c).Status(c.context())
				return star.String(s), err
			},
		},
		{
			Name: "cancel", Result: "None", Effect: true, Capabilities: ssh, needs: onNode,
			Example: "handle.cancel()",
			Doc:     "Stops the job and returns when it has ended: TERM, a grace of seconds, KILL.",
			run:     func(c *Call) (star.Value, error) { return star.None, of(c).Cancel(c.context()) },
		},
		{
			Name: "download", Result: "transfer", Effect: true, Capabilities: []policy.Capability{policy.SSH, policy.WriteFile},
			Example: "print(handle.download(\"results/\", \"./local_results/\").files)  # 2",
			Doc:     "Fetches a file or folder, as cp would: an existing folder or a trailing slash receives it, else the name is the target.",
			Params:  downloadParams("relative to the job's working folder"),
			needs:   onNodeAnd(policy.WriteFile, "local"),
			run: func(c *Call) (star.Value, error) {
				t, err := of(c).Download(c.context(), arg[string](c, "remote"), arg[string](c, "local"), arg[bool](c, "missing_ok"))
				return c.lib.transfer(t), err
			},
		},
		{
			Name: "terminate", Result: "None", Effect: true, Capabilities: ssh, needs: onNode,
			Example: "handle.terminate()",
			Doc:     "Ends the machine now, whatever runs on it. A machine given with ssh= is never terminated.",
			run:     func(c *Call) (star.Value, error) { return star.None, of(c).Terminate(c.context()) },
		},
	}
}

func downloadParams(start string) []Param {
	return []Param{
		{Name: "remote", Kind: nameKind(), Doc: "path on the node, " + start + "; a trailing slash means the folder's contents"},
		{Name: "local", Kind: localPathKind(), Doc: "path here, from the current folder"},
		{Name: "missing_ok", Kind: boolKind(), Default: star.False, Doc: "a missing path is no error"},
	}
}

package fake

import (
	"fmt"
	"math"
	"strings"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/gpu"
)

// Module is the module fake, as tests see it.
func (w *World) Module() *builtins.Module {
	return &builtins.Module{
		Name: "fake",
		Doc: "In tests only (`bifrost test`): the world that the script runs in. Nothing is rented and no time passes. " +
			"What a script does must be expected: a command, job, server or question that nothing here expects fails the test, and so does an expectation that was not met. " +
			"In a pattern `*` stands for any characters; a list matches the list of the same words. The first expectation that matches and is not used up answers, whatever order things happen in.",
		Entries: append([]*builtins.Entry{
			w.offersEntry(), w.nodesEntry(), w.gpusEntry(), w.filesEntry(), w.envEntry(),
			w.onExecEntry(), w.onJobEntry(), w.onServeEntry(), w.onBootstrapEntry(), w.onConfirmEntry(), w.failEntry(),
		}, w.observers()...),
	}
}

// set makes an entry that changes the world.
func (w *World) set(e builtins.Entry, change func(c *builtins.Call) error) *builtins.Entry {
	e.Result, e.Effect = "None", true
	return e.Runs(func(c *builtins.Call) (star.Value, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return star.None, change(c)
	})
}

func (w *World) offersEntry() *builtins.Entry {
	return w.set(builtins.Entry{
		Name: "offers", Doc: "Says what is for sale. Without it every query finds one machine that fits, at 1 USD per GPU and hour; with an empty list nothing is found.",
		Params:  []builtins.Param{{Name: "offers", Kind: offersKind(), Doc: "dicts with the fields of offer; gpu_type and price_per_gpu are required, the rest has defaults"}},
		Example: "fake.offers([{\"gpu_type\": \"A100 80GB\", \"gpu_count\": 2, \"price_per_gpu\": 1.5, \"provider\": \"vast\"}])\nprint(acquire_node(provision = gpu_query(count = 2)).price_per_hour)  # 3.0",
	}, func(c *builtins.Call) error {
		w.offers = builtins.Arg[[]gpu.Offer](c, "offers")
		return nil
	})
}

func (w *World) nodesEntry() *builtins.Entry {
	return w.set(builtins.Entry{
		Name: "nodes", Doc: "Makes machines that exist already, for node_id.",
		Params:  []builtins.Param{{Name: "nodes", Kind: nodesKind(), Doc: "dicts with id, name, gpu_type, gpu_count, price_per_hour, and rented = True for one that an earlier run of bifrost rented"}},
		Example: "fake.nodes([{\"id\": \"runpod:abc123\", \"gpu_count\": 8}])\nprint(acquire_node(node_id = \"runpod:abc123\", keep_alive = True).gpu_count)  # 8",
	}, func(c *builtins.Call) error {
		for _, m := range builtins.Arg[[]*machine](c, "nodes") {
			m.world = w
			w.machines = append(w.machines, m)
		}
		return nil
	})
}

func (w *World) gpusEntry() *builtins.Entry {
	return w.set(builtins.Entry{
		Name: "gpus", Doc: "Says what the GPUs of every node are doing. Several lists are the answers one after the other; the last one stays. Without it a node has idle GPUs as rented.",
		Params:  []builtins.Param{{Name: "gpus", Kind: gpusKind(), Doc: "dicts with the fields of gpu"}},
		Args:    "later",
		Example: "fake.gpus([{\"index\": 0, \"memory_used_mb\": 70000}], [{\"index\": 0}])\nnode = acquire_node(ssh = \"gpu\")\nprint(node.gpus()[0].memory_used_mb)  # 70000\nnode.wait_for_gpus([0])",
	}, func(c *builtins.Call) error {
		w.gpus = [][]engine.GPU{builtins.Arg[[]engine.GPU](c, "gpus")}
		later, _ := c.Further()
		for _, v := range later {
			gpus, err := takeGPUs(v)
			if err != nil {
				return &builtins.ArgError{Entry: "gpus", Message: err.Error()}
			}
			w.gpus = append(w.gpus, gpus.([]engine.GPU))
		}
		return nil
	})
}

func (w *World) filesEntry() *builtins.Entry {
	return w.set(builtins.Entry{
		Name: "files", Doc: "Puts files on every node. Relative paths start where those of the node do.",
		Params:  []builtins.Param{{Name: "files", Kind: filesKind(), Doc: "{path: text or bytes}"}},
		Example: "fake.files({\"/etc/motd\": \"hello\"})\nprint(acquire_node(ssh = \"gpu\").read_file(\"/etc/motd\"))  # hello",
	}, func(c *builtins.Call) error {
		for name, data := range builtins.Arg[map[string][]byte](c, "files") {
			w.files[name] = data
		}
		return nil
	})
}

func (w *World) envEntry() *builtins.Entry {
	return w.set(builtins.Entry{
		Name: "env", Doc: "Sets variables of this machine's environment, for secret and its like. The real environment and .env files are not there in tests.",
		Params:  []builtins.Param{{Name: "env", Kind: filesKind(), Doc: "{name: value}"}},
		Example: "fake.env({\"HF_TOKEN\": \"hf_0000\"})\nprint(secret(\"HF_TOKEN\"))  # <secret HF_TOKEN>",
	}, func(c *builtins.Call) error {
		for name, value := range builtins.Arg[map[string][]byte](c, "env") {
			w.env[name] = string(value)
		}
		return nil
	})
}

// timesParam is how often an expectation is to be met.
func timesParam() builtins.Param {
	return builtins.Param{Name: "times", Kind: builtins.OrNone(builtins.IntKind(1, math.MaxInt32)), Default: star.MakeInt(1), KeywordOnly: true, Doc: "how often it happens; None means any number of times, never included"}
}

// expect adds an expectation.
func (w *World) expect(c *builtins.Call, e *expectation) {
	e.times = anyTimes
	if times := builtins.Arg[int](c, "times"); times > 0 {
		e.times = times
	}
	e.where = c.Thread().Caller()
	w.expectations = append(w.expectations, e)
}

func (w *World) failEntry() *builtins.Entry {
	return w.set(builtins.Entry{
		Name: "fail", Doc: "Makes the next act of that name fail. What can be caught of it in reality, attempt catches here.",
		Params: []builtins.Param{
			{Name: "act", Kind: builtins.WordKind("acquire", "push", "bootstrap", "exec", "start", "status", "cancel", "upload", "download", "read_file", "write_file", "exists", "glob", "gpus", "forward", "terminate"), Doc: "what fails"},
			{Name: "kind", Kind: builtins.TextKind(), Doc: `of the error: "no_capacity", "unreachable", "lost", "unreleased", ...`},
			{Name: "message", Kind: builtins.TextKind(), Default: star.String("the test says so"), Doc: "why"},
			timesParam(),
		},
		Example: "fake.fail(\"acquire\", \"no_capacity\", \"sold out\")\nprint(attempt(acquire_node, provision = gpu_query())[1].kind)  # no_capacity",
	}, func(c *builtins.Call) error {
		kind := fault.Kind(builtins.Arg[string](c, "kind"))
		if strings.TrimSpace(string(kind)) == "" {
			return &builtins.ArgError{Entry: "fail", Message: "kind: it is empty", Hint: `the kinds are those of err.kind: "no_capacity", "lost", ...`}
		}
		w.expect(c, &expectation{verb: builtins.Arg[string](c, "act"), fails: true, outcome: outcome{
			err: &fault.Error{Kind: kind, Err: fmt.Errorf("%s", builtins.Arg[string](c, "message"))},
		}})
		return nil
	})
}

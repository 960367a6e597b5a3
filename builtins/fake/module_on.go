package fake

import (
	"fmt"
	"strings"
	"time"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/engine"
)

func commandParam() builtins.Param {
	return builtins.Param{Name: "command", Kind: builtins.CommandKind(), Doc: "pattern: text with *, or a list of words"}
}

func keyword(name string, kind builtins.Kind, value star.Value, doc string) builtins.Param {
	return builtins.Param{Name: name, Kind: kind, Default: value, KeywordOnly: true, Doc: doc}
}

func codeParam(doc string) builtins.Param {
	return keyword("exit_code", builtins.IntKind(0, 255), star.MakeInt(0), doc)
}

func logsParam() builtins.Param {
	return keyword("logs", builtins.StringsKind(), star.NewList(nil), "the lines that it writes, spread over its duration")
}

// command is the pattern of a call.
func command(c *builtins.Call) engine.Command { return builtins.Arg[engine.Command](c, "command") }

func (w *World) onExecEntry() *builtins.Entry {
	return w.set(builtins.Entry{
		Name: "on_exec", Doc: "Expects a command of node.exec or node.exec_stream.",
		Params: []builtins.Param{
			commandParam(),
			keyword("stdout", builtins.TextKind(), star.String(""), "what it writes"),
			keyword("stderr", builtins.TextKind(), star.String(""), "what it writes there"),
			codeParam("that it exits with"),
			keyword("duration", secondsKind(), star.MakeInt(0), "how long it takes"),
			timesParam(),
		},
		Example: "fake.on_exec(\"nvidia-smi*\", stdout = \"A100\\n\")\nprint(acquire_node(ssh = \"gpu\").exec(\"nvidia-smi -L\").stdout.strip())  # A100",
	}, func(c *builtins.Call) error {
		w.expect(c, &expectation{verb: "exec", pattern: command(c), outcome: outcome{
			stdout: builtins.Arg[string](c, "stdout"), stderr: builtins.Arg[string](c, "stderr"), exitCode: builtins.Arg[int](c, "exit_code"),
			duration: builtins.Arg[time.Duration](c, "duration"),
		}})
		return nil
	})
}

func (w *World) onJobEntry() *builtins.Entry {
	return w.set(builtins.Entry{
		Name: "on_job", Doc: "Expects a job: of with_job, job.start or node.submit. A job whose duration is longer than its timeout runs into it.",
		Params: []builtins.Param{
			commandParam(),
			logsParam(),
			codeParam("that it exits with"),
			keyword("files", filesKind(), star.NewDict(0), "{path: text or bytes} that it leaves when it exits, from its working folder"),
			keyword("duration", builtins.OrNone(secondsKind()), star.MakeInt(60), "how long it runs; None means until it is stopped"),
			keyword("signal", builtins.OrNone(builtins.WordKind("HUP", "INT", "QUIT", "ABRT", "KILL", "SEGV", "TERM")), star.None, "that ends it"),
			keyword("lost", builtins.BoolKind(), star.False, "it ends without an exit record"),
			keyword("breaks", builtins.BoolKind(), star.False, "contact with the machine is lost for good after the logs"),
			timesParam(),
		},
		Example: "fake.on_job(\"python train.py*\", logs = [\"epoch 1\"], files = {\"results/loss.txt\": \"0.1\"})\n" +
			"job = remote_job(ssh = \"gpu\", command = \"python train.py\", timeout = \"1h\", results = {\"results/\": \"out/\"})\nprint(with_job(job, lambda handle: handle.wait()).files)  # 1",
	}, func(c *builtins.Call) error {
		o := outcome{
			logs: builtins.Arg[[]string](c, "logs"), exitCode: builtins.Arg[int](c, "exit_code"), files: builtins.Arg[map[string][]byte](c, "files"),
			duration: endless, signal: builtins.Arg[string](c, "signal"), lost: builtins.Arg[bool](c, "lost"), breaks: builtins.Arg[bool](c, "breaks"),
		}
		if d, ok := builtins.Arg[any](c, "duration").(time.Duration); ok {
			o.duration = d
		}
		if ends := map[string]bool{"exit_code": o.exitCode != 0, "signal": o.signal != "", "lost": o.lost, "breaks": o.breaks}; count(ends) > 1 {
			return &builtins.ArgError{Entry: "on_job", Message: "a job ends in one way: give one of exit_code, signal, lost and breaks"}
		}
		w.expect(c, &expectation{verb: "job", pattern: command(c), outcome: o})
		return nil
	})
}

func count(of map[string]bool) int {
	n := 0
	for _, yes := range of {
		if yes {
			n++
		}
	}
	return n
}

func (w *World) onServeEntry() *builtins.Entry {
	return w.set(builtins.Entry{
		Name: "on_serve", Doc: "Expects a server of node.serve. It is healthy until it is stopped.",
		Params: []builtins.Param{
			commandParam(),
			keyword("ready", builtins.OrNone(secondsKind()), star.MakeInt(5), "seconds until it answers, or ends with exit_code; None means never"),
			codeParam("that it ends with instead of getting ready"),
			logsParam(),
			timesParam(),
		},
		Example: "fake.on_serve(\"vllm serve*\", ready = 30)\nserver = acquire_node(ssh = \"gpu\").serve(\"vllm serve m\", port = 8000)\nprint(server.healthy())  # True",
	}, func(c *builtins.Call) error {
		o := outcome{logs: builtins.Arg[[]string](c, "logs"), exitCode: builtins.Arg[int](c, "exit_code"), duration: endless}
		if d, ok := builtins.Arg[any](c, "ready").(time.Duration); ok {
			o.duration = d
		}
		w.expect(c, &expectation{verb: "serve", pattern: command(c), outcome: o})
		return nil
	})
}

func (w *World) onBootstrapEntry() *builtins.Entry {
	return w.set(builtins.Entry{
		Name: "on_bootstrap", Doc: "Says how a bootstrap step ends. Steps that are not expected succeed.",
		Params: []builtins.Param{
			commandParam(),
			codeParam("that it exits with"),
			keyword("output", builtins.TextKind(), star.String(""), "what it writes"),
			keyword("duration", secondsKind(), star.MakeInt(0), "how long it takes"),
			timesParam(),
		},
		Example: "fake.on_bootstrap(\"uv sync*\", exit_code = 1, output = \"no such package\")\nprint(attempt(acquire_node(ssh = \"gpu\").push, \"~/w\", bootstrap = \"uv sync\")[1].kind)  # bootstrap",
	}, func(c *builtins.Call) error {
		w.expect(c, &expectation{verb: "bootstrap", pattern: command(c), outcome: outcome{
			exitCode: builtins.Arg[int](c, "exit_code"), stdout: builtins.Arg[string](c, "output"), duration: builtins.Arg[time.Duration](c, "duration"),
		}})
		return nil
	})
}

func (w *World) onConfirmEntry() *builtins.Entry {
	return w.set(builtins.Entry{
		Name: "on_confirm", Doc: "Expects a question of confirm and answers it.",
		Params: []builtins.Param{
			{Name: "prompt", Kind: builtins.TextKind(), Doc: "pattern of the question"},
			keyword("yes", builtins.BoolKind(), star.True, "the answer"),
			timesParam(),
		},
		Example: "fake.on_confirm(\"Proceed*\", yes = False)\nprint(confirm(\"Proceed?\"))  # False",
	}, func(c *builtins.Call) error {
		w.expect(c, &expectation{verb: "confirm", pattern: engine.Shell(builtins.Arg[string](c, "prompt")), outcome: outcome{yes: builtins.Arg[bool](c, "yes")}})
		return nil
	})
}

// endless is the duration of what runs until it is stopped.
const endless = time.Duration(-1)

// secondsKind is a duration that may be 0.
func secondsKind() builtins.Kind {
	return builtins.NewKind("seconds", func(v star.Value) (any, error) {
		f, ok := star.AsFloat(v)
		if !ok || f < 0 || f > 1e9 {
			return nil, fmt.Errorf("got %s, want seconds", v)
		}
		return time.Duration(f * float64(time.Second)), nil
	})
}

// filesKind is a dict of text, as map[string][]byte.
func filesKind() builtins.Kind {
	return builtins.NewKind("dict of str to str or bytes", func(v star.Value) (any, error) {
		dict, ok := v.(*star.Dict)
		if !ok {
			return nil, fmt.Errorf(`got %s, want a dict, {"name": "text"}`, v.Type())
		}
		files := map[string][]byte{}
		for _, kv := range dict.Items() {
			name, ok := star.AsString(kv[0])
			if !ok || strings.TrimSpace(name) == "" {
				return nil, fmt.Errorf("got the name %s, want a string that is not empty", kv[0])
			}
			switch data := kv[1].(type) {
			case star.String:
				files[name] = []byte(data)
			case star.Bytes:
				files[name] = []byte(data)
			default:
				return nil, fmt.Errorf("%s: got %s, want a string or bytes", name, data.Type())
			}
		}
		return files, nil
	})
}

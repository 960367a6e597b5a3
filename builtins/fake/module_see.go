package fake

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	star "go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/starlark"
)

// acts are what a call's op can be.
var acts = []string{
	"acquire", "push", "bootstrap", "start", "submit", "serve", "exec", "exec_stream", "gpus", "upload", "download", "read_file", "write_file", "exists", "glob",
	"forward", "cancel", "attach", "confirm", "terminate", "keep", "hold", "leave", "leave_to_guardian", "detach", "lost",
}

// observers are the entries that look at what happened.
func (w *World) observers() []*builtins.Entry {
	return []*builtins.Entry{w.callsEntry(), w.noLeaksEntry(), w.interruptEntry(), w.runEntry()}
}

func (w *World) callsEntry() *builtins.Entry {
	return builtins.Entry{
		Name: "calls", Result: "list of call", Effect: true,
		Doc: "Lists what the script did to the world, in order: values with op and the arguments of the act, as command, env, node, local, remote. Secrets are shown as `<secret NAME>`. " +
			"The ops are " + strings.Join(acts, ", ") + ".",
		Params:  []builtins.Param{{Name: "op", Kind: builtins.OrNone(builtins.WordKind(acts...)), Default: star.None, Doc: "only those"}},
		Example: "fake.on_exec(\"*\")\nacquire_node(ssh = \"gpu\").exec([\"ls\", \"-l\"], env = {\"A\": \"b\"})\nprint(fake.calls(\"exec\")[0].command)  # [\"ls\", \"-l\"]\nprint([c.op for c in fake.calls()])  # [\"acquire\", \"exec\"]",
	}.Runs(func(c *builtins.Call) (star.Value, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		op := builtins.Arg[string](c, "op")
		var items []star.Value
		for _, one := range w.calls {
			if op == "" || one.op == op {
				items = append(items, one.value(c.Thread().Run().Redactor.Redact))
			}
		}
		return star.NewList(items), nil
	})
}

func (w *World) noLeaksEntry() *builtins.Entry {
	return builtins.Entry{
		Name: "assert_no_leaks", Result: "None", Effect: true,
		Doc:     "Fails the test when a machine that the script rented still costs money, on purpose or not: kept, held, left to its job, or not terminated. One of acquire_node, which ends with the script, is none. Machines that nobody decided to keep fail every test without being asked for.",
		Example: "fake.on_job(\"true\")\nwith_job(remote_job(provision = gpu_query(), command = \"true\", timeout = \"1h\"))\nfake.assert_no_leaks()",
	}.Runs(func(*builtins.Call) (star.Value, error) {
		if all := w.leaks(); len(all) > 0 {
			w.mu.Lock()
			defer w.mu.Unlock()
			return nil, w.unexpected("machines that the script rented still cost money: %s", strings.Join(all, ", "))
		}
		return star.None, nil
	})
}

func (w *World) interruptEntry() *builtins.Entry {
	return builtins.Entry{
		Name: "interrupt", Result: "None", Effect: true,
		Doc: "Calls fn and interrupts it, as Ctrl-C does, when the clock of the test has gone on by that much. The job is stopped, or left running with by = \"detach\". What fn had left to do does not happen. A function that ends before fails the test.",
		Params: []builtins.Param{
			{Name: "fn", Kind: builtins.FunctionKind("*args, **kwargs"), Doc: "what to call"},
			{Name: "after", Kind: builtins.DurationKind(), KeywordOnly: true, Doc: `seconds or "90s"`},
			{Name: "by", Kind: builtins.WordKind("stop", "detach"), Default: star.String("stop"), KeywordOnly: true, Doc: "what the user chose"},
		},
		Args: "args", Kwargs: "kwargs",
		Example: "fake.on_job(\"python train.py\", duration = 600)\njob = remote_job(provision = gpu_query(), command = \"python train.py\", timeout = \"1h\")\n" +
			"fake.interrupt(with_job, job, after = 60)\nprint([c.op for c in fake.calls()])  # [\"acquire\", \"push\", \"start\", \"cancel\", \"terminate\"]",
	}.Runs(func(c *builtins.Call) (star.Value, error) {
		cause, after := engine.ErrStop, builtins.Arg[time.Duration](c, "after")
		if builtins.Arg[string](c, "by") == "detach" {
			cause = engine.ErrDetach
		}
		args, kwargs := c.Further()
		t := c.Thread()
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		w.clock.set(&alarm{at: w.clock.Now().Add(after), ring: func() { cancel(cause) }})
		pop := t.Push(ctx)
		_, err := t.Call(builtins.Arg[star.Callable](c, "fn"), args, kwargs)
		pop()
		pending := w.clock.set(nil)
		switch {
		case pending && err != nil:
			return nil, err
		case pending:
			w.mu.Lock()
			defer w.mu.Unlock()
			return nil, w.unexpected("interrupt: the function ended before %s had passed", after)
		case err == nil, errors.Is(err, cause), fault.KindOf(err) == fault.Cancelled:
			return star.None, nil
		}
		return nil, err
	})
}

func (w *World) runEntry() *builtins.Entry {
	return builtins.Entry{
		Name: "run", Result: "struct(exit_code, output, log, error)", Effect: true,
		Doc: "Runs a whole script, as bifrost exec does, in this world. It returns the exit code, what went to standard output (the script's prints and its jobs' bytes), the lines of logging (\"error: no GPU\"), and what exec would say of an error, or None.",
		Params: []builtins.Param{
			{Name: "file", Kind: builtins.TextKind(), Doc: "the script, from the folder of the test file"},
			{Name: "args", Kind: builtins.StringsKind(), Default: star.NewList(nil), Doc: "its arguments; a string is one, whatever spaces it has"},
		},
		Example: "def test_deploy():\n    fake.on_job(\"python train.py\")\n    assert.eq(fake.run(\"deploy.star\", [\"--gpu-count\", \"2\"]).exit_code, 0)",
	}.Runs(func(c *builtins.Call) (star.Value, error) {
		if w.scripts == nil {
			return nil, errors.New("run: this program runs no scripts within tests")
		}
		file := builtins.Arg[string](c, "file")
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(c.Thread().Run().Entry), file)
		}
		var out, log strings.Builder
		host := *w.scripts
		host.Stdout, host.Redactor = &out, c.Thread().Run().Redactor
		w.jobOutput.use(&out)
		w.logging.use(&log)
		outcome, err := host.Exec(c.Thread().Context(), file, slices.Clone(builtins.Arg[[]string](c, "args")))
		w.jobOutput.use(nil)
		w.logging.use(nil)
		w.endScript()
		values := star.StringDict{"exit_code": star.MakeInt(w.exitCode(outcome, err)), "output": star.String(out.String()), "log": star.String(log.String()), "error": star.None}
		var exit *starlark.ExitError
		if err != nil && !errors.As(err, &exit) {
			values["error"] = star.String(rendered(err))
		}
		return starlarkstruct.FromStringDict(starlarkstruct.Default, values), nil
	})
}

// rendered is an error as exec shows it.
func rendered(err error) string {
	var shown interface{ Render(w io.Writer) error }
	if !errors.As(err, &shown) {
		return err.Error()
	}
	var b strings.Builder
	_ = shown.Render(&b) // a strings.Builder takes everything
	return b.String()
}

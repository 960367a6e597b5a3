package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"syscall"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/cmd/bifrost/internal/screen"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
	"github.com/bifrost-run/bifrost/starlark/std"
)

// runScript runs a script on the real engine and tells runs of its jobs.
func (a *app) runScript(ctx context.Context, file string, args []string, r *runs, raw bool) (starlark.Outcome, error) {
	// What is wrong with the script is found without the engine: it opens nothing in vain.
	host := a.host(builtins.New(nil, builtins.Options{}))
	host.Limits = r.limits
	if err := host.Check(ctx, file); err != nil {
		return starlark.Outcome{}, err
	}
	judge, err := a.judge(file, r.permissions)
	if err != nil {
		return starlark.Outcome{}, err
	}
	host.Gate = policy.NewGate(judge.Decide)
	eng, err := a.engine()
	if err != nil {
		return starlark.Outcome{}, err
	}
	out := &jobWriter{
		open: func() io.WriteCloser { return a.jobOutput(raw) },
		broken: func(err error) {
			a.screen.Warn("standard output cannot be written to (" + reason(err).Error() + "): the run goes on without it; bifrost logs shows what is missing")
		},
	}
	host.Predeclared = builtins.New(builtins.Wrap(eng), builtins.Options{
		JobOutput:  out,
		Fresh:      r.fresh,
		Getenv:     a.env.Lookup, // asked through the gate only
		Confirm:    a.confirm,
		Stderr:     stderr{a.screen},
		Report:     a.screen.Event,
		Log:        a.screen.Log,
		Verbose:    a.verbose,
		RunProgram: builtins.RunProgram,
		Begin:      r.stopper.begin,
		Started:    func(h builtins.Handle) { r.stopper.started(h.JobID()) },
		Ending:     func(h builtins.Handle) { r.stopper.ending(h.JobID()) },
		Ended: func(res engine.Result, err error) {
			_ = out.Flush() // its error stays, for the end
			r.add(res, err)
		},
		Left: func(h builtins.Handle, finish bool) { a.screen.Note(leftRunning(h.JobID(), finish)) },
	}).Predeclared()
	outcome, err := host.Exec(ctx, file, args)
	return outcome, errors.Join(err, out.Flush())
}

// host returns what runs scripts over a library.
func (a *app) host(lib *builtins.Library) *starlark.Host {
	return &starlark.Host{
		Predeclared: lib.Predeclared(), Libraries: libraries(),
		Stdout: a.screen.Stdout(), Redactor: a.redact,
		Describe: builtins.Describe, HabitHint: builtins.HabitHint,
	}
}

// stderr writes whole lines between those of the screen.
type stderr struct{ screen *screen.Screen }

func (w stderr) Write(lines []byte) (int, error) {
	w.screen.Line(string(lines))
	return len(lines), nil
}

// libraries are the trees of modules that every script may load.
func libraries() map[string]fs.FS { return map[string]fs.FS{"std": std.FS} }

func leftRunning(id string, finish bool) string {
	text := "job " + id + " runs on by itself; bifrost attach " + id + " shows it"
	if finish {
		text = "job " + id + " runs on; a guardian finishes it; bifrost attach " + id + " shows it"
	}
	return text
}

// A jobWriter is the output of a script's jobs, one after the other or several at once. A run does
// not fail because nobody reads what it prints: from the first error on, bytes are dropped.
type jobWriter struct {
	open   func() io.WriteCloser
	broken func(err error) // told of the first error

	mu  sync.Mutex
	cur io.WriteCloser // nil between jobs
	err error
}

func (w *jobWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return len(p), nil
	}
	if w.cur == nil {
		w.cur = w.open()
	}
	if _, err := w.cur.Write(p); err != nil {
		w.fail(err)
	}
	return len(p), nil
}

func (w *jobWriter) fail(err error) {
	if w.err == nil {
		w.err = err
		w.broken(err)
	}
}

// Flush writes what a job left unfinished, before what the script prints next. The error is that of
// output which got lost; one that nobody wanted to read is none.
func (w *jobWriter) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cur != nil {
		cur := w.cur
		w.cur = nil
		if err := cur.Close(); err != nil {
			w.fail(err)
		}
	}
	if errors.Is(w.err, syscall.EPIPE) {
		return nil
	}
	return w.err
}

// plainValue is a value of a script as JSON has it: numbers, strings, lists, dicts, or else its text.
func plainValue(v star.Value) any {
	switch v := v.(type) {
	case nil, star.NoneType:
		return nil
	case star.Bool:
		return bool(v)
	case star.String:
		return string(v)
	case star.Float:
		return float64(v)
	case star.Int:
		return json.Number(v.String())
	case star.Tuple:
		return plainList(v)
	case *star.List:
		return plainList(v)
	case *star.Dict:
		object := map[string]any{}
		for _, item := range v.Items() {
			key, ok := star.AsString(item[0])
			if !ok {
				key = item[0].String()
			}
			object[key] = plainValue(item[1])
		}
		return object
	}
	return v.String()
}

func plainList(items star.Indexable) []any {
	list := []any{}
	for i := range items.Len() {
		list = append(list, plainValue(items.Index(i)))
	}
	return list
}

// compactJSON is value on one line.
func compactJSON(value any) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return "", fmt.Errorf("print verdict: %w", err)
	}
	return strings.TrimSpace(b.String()), nil
}

package builtins

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

func localModule() *Module {
	return &Module{
		Name: "local", Doc: "This machine. What runs here runs with the rights of its user and out of the policy's reach, so that nothing does unless --allow-run names it.",
		Entries: []*Entry{{
			Name: "run", Result: "exec_result", Effect: true, Capabilities: []policy.Capability{policy.Run},
			Doc: "Runs a program on this machine and returns what it wrote and its exit code. No shell reads the arguments, and nothing is there for it to read on standard input. Of the environment it has PATH, HOME and what " +
				"tells the language, the time zone and the user, and what env adds. Its output may have as many bytes as a value may. It ends, with the processes that it has started, when the run is interrupted or the timeout has passed.",
			Example: "result = local.run([\"git\", \"rev-parse\", \"HEAD\"])\nprint(result.ok, result.stdout.strip())  # True 5d3c1f0",
			Params: []Param{
				{Name: "args", Kind: programKind(), Doc: "the program, found in PATH, and its arguments"},
				{Name: "check", Kind: boolKind(), Default: star.True, KeywordOnly: true, Doc: `another exit code than 0 is an error of kind "command"`},
				{Name: "cwd", Kind: orNone(localPathKind()), Default: star.None, KeywordOnly: true, Doc: "folder that it runs in; None means the script's root"},
				{Name: "timeout", Kind: orNone(durationKind()), Default: star.None, KeywordOnly: true, Doc: `seconds or "90s"; an error of kind "timeout" when it has passed`},
				{Name: "env", Kind: envKind(), Default: star.NewDict(0), KeywordOnly: true, Doc: "more variables; prepend(value) puts one in front of what is there"},
			},
			needs: ask(policy.Run, func(c *Call) string { return c.lib.programTarget(arg[[]string](c, "args")[0]) }),
			run: func(c *Call) (star.Value, error) {
				r, err := c.runProgram()
				if err != nil {
					return nil, err
				}
				return c.execResult(r), nil
			},
		}},
	}
}

// programKind is a program and its arguments, as []string. A Path is the text of it.
func programKind() Kind {
	const wanted = `a list of arguments, ["git", "status"]`
	return Kind{"list of str or Path", func(_ *Call, v star.Value) (any, error) {
		if s, ok := star.AsString(v); ok {
			return nil, &valueError{want(v, wanted).Error(), fmt.Sprintf("no shell reads it: write [%q, …], or shlex.split(…)", strings.SplitN(s+" ", " ", 2)[0])}
		}
		switch v.(type) {
		case *star.List, star.Tuple:
		default:
			return nil, want(v, wanted)
		}
		argv, err := each(v, wanted, func(v star.Value) (string, error) {
			if p, ok := v.(*pathValue); ok {
				return p.LocalPath(), nil
			}
			return text(v, "a string; str(x) makes one")
		})
		if err == nil && (len(argv) == 0 || strings.TrimSpace(argv[0]) == "") {
			err = errors.New("it names no program")
		}
		return argv, err
	}}
}

// A Program is one that is to run on this machine.
type Program struct {
	Path      string   // absolute
	Argv      []string // with the name as the first
	Dir       string   // absolute
	Env       []string // NAME=value, all that it gets
	MaxOutput int64    // bytes of stdout and stderr together
}

// passedOn are the variables that a program on this machine has by itself: none that may be a secret.
func passedOn() []string {
	return []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TERM", "SYSTEMROOT"}
}

// runProgram runs what the call says.
func (c *Call) runProgram() (engine.ExecResult, error) {
	argv := arg[[]string](c, "args")
	fails := func(kind fault.Kind, cause error, hint string) error {
		return &fault.Error{Kind: kind, Op: "local.run", Target: argv[0], Err: cause, Hint: hint}
	}
	if c.lib.opts.RunProgram == nil {
		return engine.ExecResult{}, fails(fault.Invalid, errors.New("no program runs on this machine here"), "")
	}
	env := map[string]string{}
	for _, name := range passedOn() {
		if c.lib.opts.Getenv == nil {
			break
		}
		if v, ok := c.lib.opts.Getenv(name); ok {
			env[name] = v
		}
	}
	path, err := c.lib.findProgram(argv[0], env["PATH"])
	if err != nil {
		return engine.ExecResult{}, fails(fault.NotFound, err, "")
	}
	for _, v := range arg[[]engine.Var](c, "env") {
		if old := env[v.Name]; v.Prepend && old != "" {
			v.Value += string(os.PathListSeparator) + old
		}
		env[v.Name] = v.Value
	}
	p := Program{Path: path, Argv: argv, Dir: c.thread.Run().Root, MaxOutput: c.thread.Run().Limits().Value}
	for name, value := range env {
		p.Env = append(p.Env, name+"="+value)
	}
	if dir := arg[string](c, "cwd"); dir != "" {
		p.Dir = c.lib.absolute(dir)
	}
	ctx := c.context()
	if timeout := arg[time.Duration](c, "timeout"); timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, fails(fault.Timeout, fmt.Errorf("it did not end within %s", timeout), ""))
		defer cancel()
	}
	r, err := c.lib.opts.RunProgram(ctx, p)
	switch {
	case ctx.Err() != nil:
		return r, context.Cause(ctx)
	case err != nil:
		return r, fails(fault.Invalid, err, "")
	case r.ExitCode != 0 && arg[bool](c, "check"):
		return r, engine.CommandFailed(engine.Argv(argv...), "this machine", r.ExitCode, r.Stderr)
	}
	return r, nil
}

// programTarget is a program as the gate wants it: a name as it is, a path as an absolute one.
func (l *Library) programTarget(name string) string {
	if strings.ContainsRune(filepath.ToSlash(name), '/') {
		return l.absolute(name)
	}
	return name
}

// findProgram returns the absolute path of a program: a name in the folders of PATH, or a path.
func (l *Library) findProgram(name, path string) (string, error) {
	candidates := []string{}
	if target := l.programTarget(name); target != name || filepath.IsAbs(name) {
		candidates = append(candidates, target)
	} else {
		for _, dir := range filepath.SplitList(path) {
			if filepath.IsAbs(dir) { // a relative one would find what a checkout brought along
				candidates = append(candidates, filepath.Join(dir, name))
			}
		}
	}
	for _, file := range candidates {
		for _, suffix := range []string{"", ".exe"} {
			if info, err := os.Stat(file + suffix); err == nil && executable(info) {
				return file + suffix, nil
			}
		}
	}
	if len(candidates) == 1 {
		return "", errors.New("there is no such program")
	}
	return "", errors.New("no folder of PATH has such a program")
}

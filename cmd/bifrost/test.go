package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/builtins/fake"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
	"github.com/bifrost-run/bifrost/starlark/startest"
)

// testFlags say how tests are run and shown.
type testFlags struct {
	match           string
	verbose, asJSON bool
	limits          starlark.Limits
}

func newTest(a *app) *cobra.Command {
	var f testFlags
	cmd := &cobra.Command{
		Use:     "test [-run REGEXP] [-v] [--json] [PATH...]",
		Short:   "Run the tests of scripts; nothing is rented",
		GroupID: groupScripts,
		Long: `Runs the functions test_... of files *_test.star, each in a run of its own: the file is loaded anew, and
the world is a new one. PATH is a file, a folder, or a folder and /... for those beneath it too; without
any it is the current folder.

The world is the module fake: nothing is rented, no time passes, no host is reached, the environment is
empty. A test says what comes of the commands and jobs of a script. What it did not expect fails it, and
so does what it expected and did not happen. Reading is allowed beneath the root; relative local paths
start in an empty folder of the test's own, which alone may be written to.

  load("./deploy.star", "main")

  def test_success():
      fake.on_job("python train.py*", logs = ["epoch 1"], files = {"results/loss.txt": "0.1"})
      assert.eq(main(["--gpu-count", "2"]), 0)
      assert.eq(fake.calls("start")[0].command, "python train.py --gpus 2")
      fake.assert_no_leaks()

fake.run("deploy.star", ["--gpu-count", "2"]) runs a script as exec does, one without a main too.

ASSERTIONS
` + assertions() + `
--json prints one object per line: {"version": 1, "action": "run", "pass" or "fail", "file", "test",
"line", "elapsed_s", "output", "errors"}. Of a file, "test" is empty and "tests" says how many ran.

EXIT STATUS
  0 all passed   1 one failed, or there was none   2 usage   125 a file has errors and could not run`,
		Example: `  bifrost test
  bifrost test -run success -v deploy_test.star
  bifrost test ./...`,
		Args: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				if arg == "" {
					return usage(cmd, "", "PATH is empty")
				}
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"star"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"."}
			}
			match, err := regexp.Compile(f.match)
			if err != nil {
				return usage(cmd, "it is a regular expression: -run 'success|leak'", "-run: %v", err)
			}
			files, err := startest.Find(args)
			var wrong *startest.PathError
			if errors.As(err, &wrong) {
				return usage(cmd, wrong.Hint, "%v", wrong)
			} else if err != nil {
				return err
			}
			a.settles = false
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			return a.test(ctx, files, match, f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.match, "run", "", "run the tests whose names match `REGEXP` alone")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "show every test and what it prints")
	flags.BoolVar(&f.asJSON, "json", false, "one JSON object per event")
	addLimitFlags(cmd, &f.limits)
	return cmd
}

// goFlags lets bifrost test take -run as go test does.
func goFlags(args []string) []string {
	if len(args) == 0 || args[0] != "test" {
		return args
	}
	out := []string{"test"}
	for i, arg := range args[1:] {
		if arg == "--" {
			return append(out, args[1+i:]...)
		}
		if arg == "-run" || strings.HasPrefix(arg, "-run=") {
			arg = "-" + arg
		}
		out = append(out, arg)
	}
	return out
}

func assertions() string {
	var b strings.Builder
	for _, a := range startest.Assertions() {
		fmt.Fprintf(&b, "  %-36s %s\n", a.Signature, strings.ReplaceAll(a.Doc, "`", ""))
	}
	return b.String()
}

// test runs files and shows what comes of it.
func (a *app) test(ctx context.Context, files []string, match *regexp.Regexp, f testFlags) error {
	show := &testPrinter{out: a.screen.Stdout(), verbose: f.verbose}
	report := show.event
	if f.asJSON {
		report = show.json
	}
	summary := startest.Run(ctx, files, startest.Config{
		Match: match, Report: report,
		New: func(file, test string, out io.Writer) (*starlark.Host, func() []error, error) {
			return a.world(f, file, test, out)
		},
	})
	switch {
	case show.err != nil:
		return show.err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case summary.Unreadable > 0:
		return exitError(exitStatic)
	case summary.Failed > 0:
		return exitError(exitFailed)
	case summary.Tests == 0:
		text := "no tests found"
		if summary.Files > 0 && f.match != "" {
			text = fmt.Sprintf("no test matches %q", f.match)
		}
		return &usageless{text, "tests are functions test_... in files *" + startest.Suffix + "; ./... looks in all folders"}
	}
	return nil
}

// A usageless error is one of a command that was understood and had nothing to do.
type usageless struct{ text, hint string }

func (e *usageless) Error() string { return e.text }

// Render writes the error with the way out.
func (e *usageless) Render(w io.Writer) error {
	_, err := fmt.Fprintf(w, "bifrost: test: %s\n  hint: %s\n", e.text, e.hint)
	return err
}

// world makes the world of one test. Without a name it is for reading the file alone.
func (a *app) world(f testFlags, file, test string, out io.Writer) (*starlark.Host, func() []error, error) {
	if test == "" {
		host := a.host(fake.New("/").Library(builtins.Options{}))
		host.Limits = f.limits
		return host, nil, nil
	}
	dir, err := os.MkdirTemp("", "bifrost-test-")
	if err != nil {
		return nil, nil, err
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	root, err := starlark.RootOf(file)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	w := fake.New(dir)
	host := a.host(w.Library(builtins.Options{JobOutput: out, Stderr: out}))
	host.Limits, host.Stdout, host.Redactor = f.limits, out, new(starlark.Redactor)
	host.Gate, host.Describe = policy.NewGate(w.Policy(root)), fake.Describe
	w.RunScripts(host, func(o starlark.Outcome, err error) int {
		if err == nil {
			return o.ExitCode
		}
		return exitCode(err)
	})
	return host, func() []error {
		errs := w.Finish()
		if err := os.RemoveAll(dir); err != nil {
			errs = append(errs, err)
		}
		return errs
	}, nil
}

// A testPrinter shows events as go test does.
type testPrinter struct {
	out     io.Writer
	verbose bool
	err     error // the first one of out
}

func (p *testPrinter) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(p.out, format, args...); err != nil && p.err == nil {
		p.err = err
	}
}

func (p *testPrinter) event(e startest.Event) {
	switch {
	case e.Test == "" && len(e.Errors) > 0:
		for _, err := range e.Errors {
			p.printf("%s\n", startest.Text(err))
		}
		p.printf("FAIL\t%s [it has errors and could not run]\n", e.File)
	case e.Test == "":
		word, note := "ok  ", ""
		if e.Action == startest.Fail {
			word = "FAIL"
		}
		if e.Tests == 0 {
			note = " [no tests to run]"
		}
		p.printf("%s\t%s\t%s%s\n", word, e.File, shortSeconds(e.Elapsed), note)
	case e.Action == startest.Start:
		if p.verbose {
			p.printf("=== RUN   %s\n", e.Test)
		}
	case e.Action == startest.Fail || p.verbose:
		p.printf("--- %s: %s (%s)\n", strings.ToUpper(string(e.Action)), e.Test, shortSeconds(e.Elapsed))
		p.indented(e.Output)
		for _, err := range e.Errors {
			p.indented(startest.Text(err))
		}
	}
}

func (p *testPrinter) indented(text string) {
	for line := range strings.Lines(text) {
		p.printf("    %s\n", strings.TrimSuffix(line, "\n"))
	}
}

// shortSeconds is a time as go test has it: 0.05s.
func shortSeconds(d time.Duration) string { return fmt.Sprintf("%.2fs", d.Seconds()) }

// The shape of test --json, version 1.
type jsonTest struct {
	Version  int      `json:"version"`
	Action   string   `json:"action"`
	File     string   `json:"file"`
	Test     string   `json:"test"`
	Line     int      `json:"line,omitempty"`
	Tests    int      `json:"tests,omitempty"`
	ElapsedS float64  `json:"elapsed_s"`
	Output   string   `json:"output"`
	Errors   []string `json:"errors"`
}

func (p *testPrinter) json(e startest.Event) {
	j := jsonTest{
		Version: 1, Action: string(e.Action), File: e.File, Test: e.Test, Line: e.Line, Tests: e.Tests, ElapsedS: e.Elapsed.Seconds(), Output: e.Output, Errors: []string{},
	}
	for _, err := range e.Errors {
		j.Errors = append(j.Errors, startest.Text(err))
	}
	line, err := compactJSON(j)
	if err != nil {
		p.err = err
		return
	}
	p.printf("%s\n", line)
}

package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes this test binary bifrost itself, for the tests of what happens at once: with -race the
// guardians and the local nodes that it starts are watched too. The scripts run the program as users have it.
func TestMain(m *testing.M) {
	testscript.Main(withProgram{m}, map[string]func(){"bifrost": main})
}

// program is the path of bifrost as make builds it: no race detector, which costs each of the thousand
// commands of the scripts several times its own work.
var program string

// withProgram builds the program before the tests.
type withProgram struct{ *testing.M }

func (m withProgram) Run() int {
	dir, err := os.MkdirTemp("", "bifrost-program-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "bifrost")
	build := exec.Command("go", "build", "-trimpath", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build bifrost: %v\n%s", err, out)
		return 1
	}
	return m.M.Run()
}

// TestScripts runs testdata/script. Those that need a local node begin with [unix].
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, scripts(t, testscript.Params{Dir: "testdata/script"}))
}

// scripts completes what testscript is to run: each script has a home and a state folder of its own.
func scripts(t *testing.T, p testscript.Params) testscript.Params {
	p.RequireExplicitExec = true
	more := p.Setup
	p.Setup = func(env *testscript.Env) error {
		home := filepath.Join(env.WorkDir, "home")
		env.Setenv("PATH", filepath.Dir(program)+string(filepath.ListSeparator)+env.Getenv("PATH"))
		env.Setenv("HOME", home)
		env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, "state"))
		env.Setenv("SSH_AUTH_SOCK", "")
		env.Setenv("CI", "")
		env.Setenv("NO_COLOR", "")
		env.Setenv("TERM", "dumb")
		env.Defer(func() { endMachines(t, env) })
		if more != nil {
			if err := more(env); err != nil {
				return err
			}
		}
		return errors.Join(
			os.Mkdir(home, 0o700),
			os.WriteFile(filepath.Join(env.WorkDir, "latin1.star"), []byte("print('caf\xe9')\n"), 0o600),
		)
	}
	cmds := map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"exits":      exits,
		"eventually": eventually,
	}
	maps.Copy(cmds, p.Cmds)
	p.Cmds = cmds
	return p
}

// endMachines leaves nothing running behind a script, whatever failed in it.
func endMachines(t *testing.T, env *testscript.Env) {
	if _, err := os.Stat(filepath.Join(env.WorkDir, "state", "bifrost", "journal.db")); err != nil {
		return
	}
	cmd := exec.Command(program, "terminate", "--all", "--yes")
	cmd.Env, cmd.Dir = env.Vars, env.WorkDir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Logf("terminate --all: %v\n%s", err, out)
	}
}

// exits runs a command that must exit with a code: exits 2 bifrost wait
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	if err != nil {
		ts.Fatalf("%s is no exit code", args[0])
	}
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%s: %v", args[1], err)
	}
	if got != want {
		ts.Fatalf("%q: got exit code %d want %d", args[1:], got, want)
	}
}

// eventually repeats a command until it succeeds: eventually sh -c 'test -f x'
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: eventually COMMAND [ARG...]")
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%q: still %v", args, err)
		}
		time.Sleep(50 * time.Millisecond) // between two looks; the deadline decides
	}
}

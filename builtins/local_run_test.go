//go:build unix

package builtins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/starlark/policy"
)

// runLocal runs a script that may run programs, for real, and returns what it prints.
func runLocal(t *testing.T, ctx context.Context, dir, script string) (string, error) {
	t.Helper()
	path := filepath.Join(dir, "x.star")
	if err := os.WriteFile(path, []byte(script+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := new(syncBuffer)
	opts := testLibrary(out).opts
	opts.RunProgram = RunProgram
	host := testHost(New(&fakeEngine{io.Discard}, opts), out, func(context.Context, policy.Request) error { return nil })
	_, err := host.Exec(ctx, path, nil)
	return out.b.String(), err
}

func TestLocalRun(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "sub"), 0o755), os.WriteFile(filepath.Join(dir, "noexec"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ script, want string }{
		{`print(local.run(["echo", "a b", "$HOME", "*"]).stdout)`, "a b $HOME *\n\n"},
		{`r = local.run(["sh", "-c", "echo out; echo err >&2; exit 3"], check = False); print(r.stdout, r.stderr, r.exit_code, r.ok)`, "out\n err\n 3 False\n"},
		{`err = attempt(local.run, ["sh", "-c", "echo no >&2; exit 3"])[1]; print(err.kind, err.exit_code, err.message)`, "command 3 exec \"sh -c echo no >&2; exit 3\" on this machine: exit code 3\nno\n"},
		{`print(local.run(["sh", "-c", "kill -9 $$"], check = False).exit_code)`, "137\n"},
		{`print(local.run(["pwd"]).stdout.strip() == str(Path(__file__).parent), local.run(["pwd"], cwd = Path(__file__).parent / "sub").stdout.strip().endswith("/sub"))`, "True True\n"},
		{`print(local.run(["sh", "-c", "echo $HF_TOKEN-$RUNPOD_API_KEY-$WANDB_ENTITY_KEY-$A"], env = {"A": "b"}).stdout.strip())`, "---b\n"},
		{`print(local.run(["sh", "-c", "echo ${PATH%%:*}"], env = {"PATH": prepend("/first")}).stdout.strip())`, "/first\n"},
		{`print(local.run(["sh", "-c", "echo $T"], env = {"T": secret("HF_TOKEN")}).stdout.strip())`, "<secret HF_TOKEN>\n"},
		{`print(local.run(["cat"]).stdout == "")`, "True\n"},
		{`print(attempt(local.run, ["no-such-program-here"])[1])`, "not_found: local.run no-such-program-here: no folder of PATH has such a program\n"},
		{`print(attempt(local.run, [str(Path(__file__).parent / "noexec")])[1].kind, attempt(local.run, ["/"])[1].kind)`, "not_found not_found\n"},
		{`print(local.run([Path("/bin/sh"), "-c", "echo $0"]).stdout.strip())`, "/bin/sh\n"},
		{`print(attempt(local.run, ["true"], cwd = "/nonexistent")[1].kind)`, "invalid\n"},
	} {
		got, err := runLocal(t, t.Context(), dir, test.script)
		if err != nil || got != test.want {
			t.Errorf("%s\n got %q, error %v\nwant %q", test.script, got, err, test.want)
		}
	}
	for script, want := range map[string]string{
		`local.run("git status")`:              "want a list of arguments",
		`local.run([])`:                        "it names no program",
		`local.run(["a", 1])`:                  "element 1: got 1, want a string",
		`local.run(["a"], shell = True)`:       "it has no parameter shell",
		`local.run(["a", secret("HF_TOKEN")])`: "got secret, want a string",
	} {
		if _, err := runLocal(t, t.Context(), dir, script); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", script, err, want)
		}
	}
}

// TestLocalRunEnds runs programs that go on for ever, one with another beneath it: the end of the run,
// too much output and a timeout end them all.
func TestLocalRunEnds(t *testing.T) {
	t.Parallel()
	errStop := errors.New("stopped")
	for _, test := range []struct {
		script string
		stop   bool
		want   string
	}{
		{`local.run(["sh", "-c", "sleep 1000 & echo $! > pid; wait"])`, true, "stopped"},
		{`local.run(["sh", "-c", "echo $$ > pid; exec cat /dev/zero"])`, false, "it wrote more than 64 MiB"},
		{`local.run(["sh", "-c", "echo $$ > pid; exec sleep 1000"], timeout = 2)`, false, "timeout: local.run sh: it did not end within 2s"},
	} {
		dir := t.TempDir()
		ctx, cancel := context.WithCancelCause(t.Context())
		pipe := filepath.Join(dir, "pid")
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
		pids := make(chan int, 1)
		go func() {
			text, err := os.ReadFile(pipe) // waits for the program
			pid, numErr := strconv.Atoi(strings.TrimSpace(string(text)))
			if test.stop {
				cancel(errStop)
			}
			if err != nil || numErr != nil {
				pid = 0
			}
			pids <- pid
		}()
		_, err := runLocal(t, ctx, dir, test.script)
		cancel(nil)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", test.script, err, test.want)
		}
		if w, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
			w.Close() // one that never ran leaves the reader waiting
		}
		pid := <-pids
		if pid == 0 {
			t.Fatalf("%s: it never ran", test.script)
		}
		for deadline := time.Now().Add(10 * time.Second); alive(pid); {
			if time.Now().After(deadline) {
				t.Fatalf("%s: process %d is still there", test.script, pid)
			}
		}
	}
}

// alive reports whether the process runs; one whose parent has not asked for its end does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

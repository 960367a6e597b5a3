package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
)

// onNode calls fn with a local node that has programs of the test's own in ~/bin.
func onNode(t *testing.T, fn func(ctx context.Context, n *engine.Node)) {
	t.Helper()
	eng, _ := open(t)
	if err := eng.WithNode(t.Context(), engine.NodeSpec{Provision: onLocal()}, func(ctx context.Context, n *engine.Node) error {
		fn(ctx, n)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestWithNodeResults wants files here however the scope ended, and none of them to keep a machine.
func TestWithNodeResults(t *testing.T) {
	t.Parallel()
	eng, _ := open(t)
	dir := t.TempDir()
	failed := errors.New("the test says so")
	ctx, stop := context.WithCancelCause(t.Context())
	err := eng.WithNode(ctx, engine.NodeSpec{Provision: onLocal(), Results: []engine.ResultSpec{
		{Remote: "~/out.txt", Local: dir + "/"}, {Remote: "~/none.txt", Local: dir + "/", Optional: true}, {Remote: "~/missing.txt", Local: dir + "/"},
	}}, func(ctx context.Context, n *engine.Node) error {
		if err := n.WriteFile(ctx, "~/out.txt", []byte("data"), 0o644); err != nil {
			return err
		}
		stop(engine.ErrStop) // as Ctrl-C does
		return failed
	})
	if !errors.Is(err, failed) || !strings.Contains(err.Error(), "results of local:") || !strings.Contains(err.Error(), "~/missing.txt not complete") {
		t.Errorf("WithNode = %v", err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "out.txt")); err != nil || string(data) != "data" {
		t.Errorf("out.txt %q, %v", data, err)
	}
	if left, err := eng.ListNodes(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("machines %v are left, %v", left, err)
	}
}

func TestNodeExec(t *testing.T) {
	t.Parallel()
	onNode(t, func(ctx context.Context, n *engine.Node) {
		r, err := n.Exec(ctx, engine.Exec{
			Command: engine.Shell(`cat; echo "$A-$P" >&2; pwd; exit 3`), Stdin: []byte("in\n"), WorkingDir: "/",
			Env: []engine.Var{{Name: "A", Value: "it's"}, {Name: "P", Value: "front", Prepend: true}},
		})
		if err != nil || r.Stdout != "in\n/\n" || r.Stderr != "it's-front\n" || r.ExitCode != 3 || r.OK() {
			t.Errorf("exec: %+v, %v", r, err)
		}
		if r, err := n.Exec(ctx, engine.Exec{Command: engine.Argv("printf", "%s|", "a b", "$HOME", "")}); err != nil || r.Stdout != "a b|$HOME||" {
			t.Errorf("argv: %+v, %v", r, err)
		}
		if _, err := n.Exec(ctx, engine.Exec{Command: engine.Shell("sleep 1000"), Timeout: 50 * time.Millisecond}); fault.KindOf(err) != fault.Timeout {
			t.Errorf("timeout: %v", err)
		}
		if _, err := n.Exec(ctx, engine.Exec{Command: engine.Shell(" ")}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("empty command: %v", err)
		}
		if _, err := n.Exec(ctx, engine.Exec{Command: engine.Shell("true"), Env: []engine.Var{{Name: "A-B"}}}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("name with a dash: %v", err)
		}
		if _, err := n.Exec(ctx, engine.Exec{Command: engine.Shell("head -c 70000000 /dev/zero")}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "64 MiB") {
			t.Errorf("too much output: %v", err)
		}
		var lines []string
		var last error
		for line, err := range n.ExecStream(ctx, engine.Exec{Command: engine.Shell("seq 3; exit 4")}) {
			if last = err; err == nil {
				lines = append(lines, line)
			}
		}
		if strings.Join(lines, " ") != "1 2 3" || fault.KindOf(last) != fault.CommandFail {
			t.Errorf("stream: %q, %v", lines, last)
		}
		for range n.ExecStream(ctx, engine.Exec{Command: engine.Shell("yes")}) {
			break // leaving early must end the command; the scope's end waits for it
		}
	})
}

func TestNodeFiles(t *testing.T) {
	t.Parallel()
	onNode(t, func(ctx context.Context, n *engine.Node) {
		home, err := n.Home(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.WriteFile(ctx, "~/deep/a b", []byte("x\x00y"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := n.ReadFile(ctx, "deep/a b"); err != nil || string(got) != "x\x00y" {
			t.Errorf("read: %q, %v", got, err)
		}
		if got, err := n.Glob(ctx, "deep/*"); err != nil || len(got) != 1 || got[0] != "deep/a b" {
			t.Errorf("glob: %q, %v", got, err)
		}
		if got, err := n.ExpandPath(ctx, "~/x"); err != nil || got != filepath.Join(home, "x") {
			t.Errorf("expand: %q, %v", got, err)
		}
		if _, err := n.ReadFile(ctx, "nope"); fault.KindOf(err) != fault.NotFound {
			t.Errorf("read nothing: %v", err)
		}
		source := tree(t, map[string]string{"up/f": "1"})
		if _, err := n.Upload(ctx, filepath.Join(source, "up"), "there/"); err != nil {
			t.Errorf("upload: %v", err)
		}
		target := t.TempDir()
		if tr, err := n.Download(ctx, "there/up", target, false); err != nil || tr.Files != 1 {
			t.Errorf("download: %+v, %v", tr, err)
		}
		if got, err := os.ReadFile(filepath.Join(target, "up", "f")); err != nil || string(got) != "1" {
			t.Errorf("downloaded %q, %v", got, err)
		}
		// After a push relative paths start in the workspace.
		ws, err := n.Push(ctx, "~/ws", source, []engine.Step{{Command: "echo stepped > stepped"}})
		if err != nil || ws != filepath.Join(home, "ws") {
			t.Errorf("push: %q, %v", ws, err)
		}
		if ok, err := n.Exists(ctx, "stepped"); err != nil || !ok {
			t.Errorf("the step did not run in the workspace: %v, %v", ok, err)
		}
	})
}

func TestNodeGPUs(t *testing.T) {
	t.Parallel()
	onNode(t, func(ctx context.Context, n *engine.Node) {
		if _, err := n.GPUs(ctx); err != nil && fault.KindOf(err) != fault.NotFound {
			t.Errorf("without nvidia-smi: %v", err)
		}
	})
}

func TestServe(t *testing.T) {
	t.Parallel()
	// The server is this test binary's own little one: python is not everywhere.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close() // the server on the node takes it
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	onNode(t, func(ctx context.Context, n *engine.Node) {
		s, err := n.Serve(ctx, engine.Serve{
			Submit: engine.Submit{Name: "web", Command: engine.Argv(exe, fmt.Sprint(port)), Env: []engine.Var{{Name: serverEnv, Value: "1"}}},
			Port:   port,
		})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Get(s.URL() + "/hello")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != "hello" || !s.Healthy(ctx) || s.Port() != port {
			t.Errorf("served %q, %v", body, err)
		}
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
		if status, err := s.Status(ctx); err != nil || status != "cancelled" {
			t.Errorf("status %s, %v", status, err)
		}
		_, err = n.Serve(ctx, engine.Serve{Submit: engine.Submit{Name: "dead", Command: engine.Shell("echo no model; exit 5")}, Port: port, Ready: time.Minute})
		if fault.KindOf(err) != fault.JobFailed || !strings.Contains(err.Error(), "no model") || !strings.Contains(err.Error(), "code 5") {
			t.Errorf("a server that ends: %v", err)
		}
	})
}

// serve is the body of the server process.
func serve(port string) int {
	err := http.ListenAndServe("127.0.0.1:"+port, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
	}))
	fmt.Fprintln(os.Stderr, err)
	return 1
}

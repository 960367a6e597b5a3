package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/enginetest"
)

// onServer makes an engine log in to a test server as a user's own ssh would: by a key file and
// known_hosts. It returns what to write behind ssh=.
func onServer(t *testing.T, s *enginetest.Server, port int) (target string, change func(*engine.Config)) {
	t.Helper()
	known, err := os.ReadFile(s.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	// Through a proxy the same host key answers at another port.
	known = bytes.ReplaceAll(known, fmt.Appendf(nil, ":%d", s.Port), fmt.Appendf(nil, ":%d", port))
	return fmt.Sprintf("%s@127.0.0.1:%d", s.User, port), func(c *engine.Config) {
		c.IdentityFile = s.ClientKey
		if err := os.MkdirAll(filepath.Join(c.Home, ".ssh"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.Home, ".ssh", "known_hosts"), known, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRunEverywhere runs the same job on every kind of node: the six steps must not notice the
// difference.
func TestRunEverywhere(t *testing.T) {
	t.Parallel()
	nodes := []struct {
		name  string
		start func(t *testing.T) *enginetest.Server
		tmux  bool
	}{
		{"openssh, root", openSSH(enginetest.Options{User: enginetest.Root}), true},
		{"openssh, ordinary user, a space in the home", openSSH(enginetest.Options{User: enginetest.Plain}), true},
		{"openssh, fish", openSSH(enginetest.Options{User: enginetest.Fish}), true},
		{"openssh, csh", openSSH(enginetest.Options{User: enginetest.Csh}), true},
		{"openssh, bash with a chatty rc file", openSSH(enginetest.Options{User: enginetest.Chatty}), true},
		{"openssh, no sftp", openSSH(enginetest.Options{User: enginetest.Plain, NoSFTP: true}), true},
		{"openssh, no tmux, git, rsync", openSSH(enginetest.Options{User: enginetest.Plain, Without: []string{"tmux", "git", "rsync"}}), false},
		{"openssh, one session per connection", openSSH(enginetest.Options{User: enginetest.Plain, MaxSessions: 1}), true},
		{"openssh, busybox", openSSH(enginetest.Options{User: enginetest.Root, Busybox: true}), false},
		{"dropbear", func(t *testing.T) *enginetest.Server {
			return enginetest.Dropbear(t, enginetest.Options{User: enginetest.Plain})
		}, true},
	}
	for _, node := range nodes {
		t.Run(node.name, func(t *testing.T) {
			t.Parallel()
			server := node.start(t)
			target, change := onServer(t, server, server.Port)
			state := stateDir(t)
			eng, _ := openAt(t, state, change)
			source := tree(t, map[string]string{
				"train.sh":        "echo \"secret has $(printf %s \"$TOKEN\" | wc -c | tr -d ' ') bytes\"; mkdir -p results; cp 'data/with space' results/; printf no-newline",
				"data/with space": "content",
			})
			job := engine.Job{
				Name: "train", SSH: target, Source: source, Workspace: "~/work space", Bootstrap: []engine.Step{{Command: "echo booted"}},
				Command: engine.Shell("sh train.sh"), Env: []engine.Var{{Name: "TOKEN", Value: "ca'na\nry$"}},
				Timeout: time.Minute, Results: []engine.ResultSpec{{Remote: "./results/", Local: "got/"}},
			}
			for _, round := range []string{"cold", "warm"} {
				var out bytes.Buffer
				var session string
				res, err := eng.Run(t.Context(), job, engine.RunOptions{Stdout: &out, Started: func(h *engine.Handle) { session = h.SessionName() }})
				if err != nil {
					t.Fatalf("%s: %v", round, err)
				}
				if got, want := out.String(), "secret has 9 bytes\nno-newline"; got != want || res.Status != "succeeded" {
					t.Errorf("%s: log %q, want %q; %+v", round, got, want, res)
				}
				if got := session != ""; got != node.tmux {
					t.Errorf("%s: session %q, tmux wanted: %v", round, session, node.tmux)
				}
				if got, err := os.ReadFile(filepath.Join(state, "got", "with space")); err != nil || string(got) != "content" {
					t.Errorf("%s: result %q, %v", round, got, err)
				}
			}
		})
	}
}

func openSSH(o enginetest.Options) func(t *testing.T) *enginetest.Server {
	return func(t *testing.T) *enginetest.Server { return enginetest.OpenSSH(t, o) }
}

// TestSecretIsNowhere looks for a secret's value on the node, everywhere, while the job runs and
// after it.
func TestSecretIsNowhere(t *testing.T) {
	t.Parallel()
	server := enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Plain})
	target, change := onServer(t, server, server.Port)
	state := stateDir(t)
	eng, seen := openAt(t, state, change)
	const canary = "hf_c4n4ry_9f3b"
	leaks := func() (found []string) {
		procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range procs {
			if text, _ := os.ReadFile(p); bytes.Contains(text, []byte(canary)) { // a process may have ended
				found = append(found, p+": "+string(text))
			}
		}
		for _, dir := range []string{server.Home, state} {
			err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() {
					if text, _ := os.ReadFile(p); bytes.Contains(text, []byte(canary)) {
						found = append(found, p)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return found
	}
	res, err := eng.Run(t.Context(), engine.Job{
		SSH: target, Command: engine.Shell("test -n \"$TOKEN\" && touch up && until [ -e go ]; do sleep 0.05; done"), Env: []engine.Var{{Name: "TOKEN", Value: canary}},
	}, engine.RunOptions{Body: func(ctx context.Context, h *engine.Handle) error {
		enginetest.Until(t, "the job to be up", func() bool { ok, err := h.Node().Exists(ctx, "up"); return ok && err == nil })
		if found := leaks(); len(found) > 0 {
			t.Errorf("while the job runs the secret is in %v", found)
		}
		env, err := h.Node().Exec(ctx, engine.Exec{Command: engine.Shell("tmux -L bifrost show-environment -g; tmux -L bifrost show-environment -t " + h.SessionName())})
		if err != nil || strings.Contains(env.Stdout, canary) || !strings.Contains(env.Stdout, "HOME=") {
			t.Errorf("tmux knows the secret, or nothing: %+v, %v", env, err)
		}
		return h.Node().WriteFile(ctx, "go", nil, 0o644)
	}})
	if err != nil || res.Status != "succeeded" {
		t.Fatalf("%+v, %v", res, err)
	}
	if found := leaks(); len(found) > 0 {
		t.Errorf("after the job the secret is in %v", found)
	}
	if strings.Contains(seen.text(), canary) {
		t.Error("the secret was reported")
	}
}

// TestLogsSurviveCuts runs a job behind a connection that breaks again and again: the bytes must be
// the ones that were written, once and in order.
func TestLogsSurviveCuts(t *testing.T) {
	t.Parallel()
	server := enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Plain})
	proxy := enginetest.NewProxy(t, server.Addr)
	target, change := onServer(t, server, proxy.Port)
	eng, _ := open(t, change)
	const lines = 20000
	var want bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&want, "line %d of the log\r\n", i)
	}
	source := tree(t, map[string]string{"log": want.String()})
	var out bytes.Buffer
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	res, err := eng.Run(t.Context(), engine.Job{
		SSH: target, Source: source,
		Command: engine.Shell(`i=0; while [ $i -lt 20 ]; do tail -c +$((i * 40000 + 1)) log | head -c 40000; sleep 0.1; i=$((i + 1)); done; mkdir r; cp log r; exit 9`),
		Results: []engine.ResultSpec{{Remote: "r", Local: "r/"}},
	}, engine.RunOptions{
		Stdout:  &out,
		Started: func(*engine.Handle) { proxy.CutRandomly(t, seed, 100*time.Millisecond, 600*time.Millisecond) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.ExitCode != 9 || res.Status != "failed" {
		t.Errorf("result %+v", res)
	}
	if !bytes.Equal(out.Bytes(), want.Bytes()[:min(want.Len(), 800000)]) {
		t.Errorf("log of %d bytes differs from the %d that were written", out.Len(), want.Len())
	}
	if proxy.Accepted() < 3 {
		t.Errorf("only %d connections: nothing was cut", proxy.Accepted())
	}
}

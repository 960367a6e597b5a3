//go:build unix

package session_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/session"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// What the other tests show with a shell holds over real connections, whatever the server, the
// login shell and the userland are.
func TestOnServers(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T) *enginetest.Server{
		"root": func(t *testing.T) *enginetest.Server {
			return enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Root})
		},
		"plain": func(t *testing.T) *enginetest.Server {
			return enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Plain})
		},
		"fish": func(t *testing.T) *enginetest.Server {
			return enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Fish})
		},
		"csh": func(t *testing.T) *enginetest.Server {
			return enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Csh})
		},
		"chatty": func(t *testing.T) *enginetest.Server {
			return enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Chatty})
		},
		"no tmux": func(t *testing.T) *enginetest.Server {
			return enginetest.OpenSSH(t, enginetest.Options{Without: []string{"tmux"}})
		},
		"busybox":  func(t *testing.T) *enginetest.Server { return enginetest.OpenSSH(t, enginetest.Options{Busybox: true}) },
		"dropbear": func(t *testing.T) *enginetest.Server { return enginetest.Dropbear(t, enginetest.Options{}) },
	}
	for name, serve := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t)
			client := server.Client(t)
			id := fmt.Sprintf("servers-%d", os.Getpid()) // a name of its own: root's tmux server is everybody's
			name := id + "." + strings.ReplaceAll(name, " ", "-")
			spec := session.Spec{
				ID: id, Name: name, Shell: `printf '%s\n' "$KEY"; sleep 600`,
				Env: []session.Env{{Name: "KEY", Value: "of\nmine 'x'"}}, Timeout: time.Hour,
			}
			started, err := session.Start(t.Context(), client, spec)
			if err != nil {
				t.Fatal(err)
			}
			if want := name != id+".no-tmux" && name != id+".busybox"; started.Tmux != want {
				t.Errorf("tmux: got %v, %q, want %v", started.Tmux, started.TmuxNote, want)
			}
			// The job outlives the connection that started it.
			if err := client.Close(); err != nil {
				t.Error(err)
			}
			client = server.Client(t)
			status, err := session.Read(t.Context(), client, id)
			if err != nil || status.State != session.Running {
				t.Errorf("over another connection: got %+v, %v", status, err)
			}
			deadline := time.Now().Add(30 * time.Second)
			for log := ""; log != "of\nmine 'x'\n"; log = run(t, client, "cat "+session.Dir(id)+"/log") {
				if time.Now().After(deadline) {
					t.Fatalf("got log %q", log)
				}
			}
			spec.ID, spec.Shell, spec.Replace = id+"-b", "exit 143", true
			started, err = session.Start(t.Context(), client, spec)
			if err != nil || started.Replaced != id {
				t.Fatalf("replace: got %+v, %v", started, err)
			}
			status, err = session.Read(t.Context(), client, id)
			if err != nil || status.State != session.Cancelled || status.Signal != "TERM" {
				t.Errorf("replaced job: got %+v, %v", status, err)
			}
			for status.State = ""; !status.Final(); {
				if status, err = session.Read(t.Context(), client, id+"-b"); err != nil || time.Now().After(deadline) {
					t.Fatalf("got %+v, %v", status, err)
				}
			}
			if status.State != session.Exited || status.ExitCode != 143 || status.Signal != "" {
				t.Errorf("got %+v", status)
			}
			if _, err := os.Stat(filepath.Join(server.Home, ".bifrost")); err != nil {
				t.Error(err)
			}
			run(t, client, `rm -rf "$HOME/.bifrost"`)
		})
	}
}

func run(t *testing.T, client ssh.Runner, script string) string {
	t.Helper()
	var out strings.Builder
	if err := client.Run(context.WithoutCancel(t.Context()), ssh.Command{Script: script, Stdout: &out}); err != nil {
		t.Errorf("%s: %v", script, err)
	}
	return out.String()
}

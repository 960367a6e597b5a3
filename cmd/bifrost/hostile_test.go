package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// canaries are what no hostile script may bring to light: by where they are kept.
var canaries = map[string]string{
	"outside/secret.txt": "canary-outside-1f0c", // beside the root
	".env":               "canary-dotenv-77ab",  // in the root's .env, as PRIME_API_KEY
	"RUNPOD_API_KEY":     "canary-runpod-93de",  // in the environment
	"HF_TOKEN":           "canary-hftoken-42",   // in the environment; some scripts may use it, none may show it
}

// TestHostileScripts runs the scripts of testdata/hostile with the real program. Each begins with the exit
// code that it must end with and a pattern of what it is told:
//
//	# 206 not allowed
//	# flags: --allow-env=HF_TOKEN
//
// None may crash the program, go on for ever, leave anything outside of its root, or show a canary.
func TestHostileScripts(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/hostile/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	cases := 0
	for _, file := range archives {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			if strings.Contains(f.Name, "/") || filepath.Ext(f.Name) != ".star" {
				continue
			}
			cases++
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar")+"/"+strings.TrimSuffix(f.Name, ".star"), func(t *testing.T) {
				t.Parallel()
				runHostile(t, archive, f.Name, string(f.Data))
			})
		}
	}
	if cases < 40 {
		t.Errorf("%d hostile scripts, want at least 40", cases)
	}
}

var hostileHead = regexp.MustCompile(`^# (\d+) (.*)\n(?:# flags: (.*)\n)?`)

func runHostile(t *testing.T, archive *txtar.Archive, name, script string) {
	head := hostileHead.FindStringSubmatch(script)
	if head == nil {
		t.Fatalf("%s does not begin with # CODE PATTERN", name)
	}
	wantCode, err := strconv.Atoi(head[1])
	if err != nil {
		t.Fatal(err)
	}
	wantText, err := regexp.Compile(head[2])
	if err != nil {
		t.Fatal(err)
	}
	w := newHostileWorld(t, archive)
	before := w.outside(t)

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	args := append([]string{"exec"}, strings.Fields(head[3])...)
	cmd := exec.CommandContext(ctx, program, append(args, name)...)
	cmd.Dir, cmd.Env = w.root, w.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	text := out.String()
	shown := text
	if len(shown) > 4000 {
		shown = shown[:2000] + "\n…\n" + shown[len(shown)-2000:]
	}
	if ctx.Err() != nil {
		t.Fatalf("it did not end:\n%s", shown)
	}
	if code := cmd.ProcessState.ExitCode(); code != wantCode || !wantText.MatchString(text) {
		t.Errorf("exit code %d, want %d and %q in\n%s", code, wantCode, wantText, shown)
	}
	for _, crash := range []string{"goroutine ", "panic:", "fatal error:", "internal:"} {
		if strings.Contains(text, crash) {
			t.Errorf("it crashed:\n%s", shown)
		}
	}
	for where, canary := range canaries {
		if strings.Contains(text, canary) {
			t.Errorf("it shows what is in %s:\n%s", where, shown)
		}
	}
	if after := w.outside(t); before != after {
		t.Errorf("it changed what is outside of its root, from\n%s\nto\n%s", before, after)
	}
	w.leftNothing(t)
}

// A hostileWorld is the machine of somebody who runs a script that they should not trust.
type hostileWorld struct {
	dir, root string
	env       []string
}

func newHostileWorld(t *testing.T, archive *txtar.Archive) *hostileWorld {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &hostileWorld{dir: dir, root: filepath.Join(dir, "root")}
	write := func(path, text string) {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range archive.Files {
		write(filepath.Join(w.root, f.Name), string(f.Data))
	}
	write(filepath.Join(w.root, "bifrost.toml"), "")
	write(filepath.Join(w.root, ".bifrostignore"), "/away*\n/env.txt\n/loop\n") // a push refuses links that lead out
	write(filepath.Join(w.root, ".env"), "PRIME_API_KEY="+canaries[".env"]+"\n")
	write(filepath.Join(w.root, ".git/config"), "[core]\n")
	write(filepath.Join(dir, "outside/secret.txt"), canaries["outside/secret.txt"]+"\n")
	write(filepath.Join(dir, "outside/evil.star"), "evil = \""+canaries["outside/secret.txt"]+"\"\n")
	write(filepath.Join(dir, "home/.ssh/id_rsa"), canaries["outside/secret.txt"]+"\n")
	for name, target := range map[string]string{
		"away.txt": "../outside/secret.txt", "away.star": "../outside/evil.star", "away": "../outside", "env.txt": ".env", "loop": "loop",
	} {
		if err := os.Symlink(target, filepath.Join(w.root, name)); err != nil {
			t.Fatal(err)
		}
	}
	// The keys are canaries; whoever asks a provider with one asks this server.
	provider := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		http.Error(rw, "go away", http.StatusUnauthorized)
	}))
	t.Cleanup(provider.Close)
	w.env = append(os.Environ(),
		"BIFROST_RUNPOD_URL="+provider.URL, "BIFROST_PRIME_URL="+provider.URL,
		"HOME="+filepath.Join(dir, "home"), "XDG_STATE_HOME="+filepath.Join(dir, "state"), "SSH_AUTH_SOCK=", "CI=true",
		"HF_TOKEN="+canaries["HF_TOKEN"], "RUNPOD_API_KEY="+canaries["RUNPOD_API_KEY"],
	)
	return w
}

// outside describes every file that is neither in the root nor bifrost's own.
func (w *hostileWorld) outside(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, part := range []string{"outside", "home", "root/bifrost.toml", "root/.env", "root/.git"} {
		err := filepath.WalkDir(filepath.Join(w.dir, part), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			fmt.Fprintf(&b, "%s %q\n", strings.TrimPrefix(path, w.dir), data)
			return err
		})
		if err != nil {
			fmt.Fprintf(&b, "%s: %v\n", part, err)
		}
	}
	return b.String()
}

// leftNothing looks for canaries in what bifrost keeps, and for machines that were not released.
func (w *hostileWorld) leftNothing(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(w.dir, "state"), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		for where, canary := range canaries {
			if bytes.Contains(data, []byte(canary)) {
				t.Errorf("%s has what is in %s", path, where)
			}
		}
		if errors.Is(err, fs.ErrNotExist) { // a guardian that has just closed the journal
			return nil
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if nodes, err := filepath.Glob(filepath.Join(w.dir, "state/bifrost/local/[^.]*")); err != nil || len(nodes) > 0 {
		t.Errorf("machines are left: %v %v", nodes, err)
	}
}

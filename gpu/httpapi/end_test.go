package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bifrost-run/bifrost/gpu/httpapi"
)

// endServer records what an end script asks of it.
type endServer struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []string
	status int
}

func newEndServer(t *testing.T) *endServer {
	s := &endServer{status: http.StatusOK}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked = append(s.asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
		w.WriteHeader(s.status)
	}))
	t.Cleanup(s.Close)
	return s
}

// requests are those that it has had.
func (s *endServer) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// answer sets the status of the next answers.
func (s *endServer) answer(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

// tools makes a folder for PATH that has the shell's own tools and, of those that can ask a server, one.
func tools(t *testing.T, tool string) string {
	dir := t.TempDir()
	for _, name := range []string{"sh", "tr", "sed", "head", "grep", "mktemp", "rm", tool} {
		path, err := exec.LookPath(name)
		if err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is needed: %v", name, err)
			}
			t.Skipf("left out: %v", err)
		}
		// A script and not a link: shims find themselves by their name.
		script := "#!/bin/sh\nPATH='" + os.Getenv("PATH") + "' exec '" + path + "' \"$@\"\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestEndScript(t *testing.T) {
	t.Parallel()
	const key = "instance-key-5f2a"
	for _, tool := range []string{"curl", "wget", "python3"} {
		t.Run(tool, func(t *testing.T) {
			t.Parallel()
			s := newEndServer(t)
			script := httpapi.EndScript(httpapi.End{URL: s.URL + "/instances/7/", ID: "7", KeyVar: "CONTAINER_API_KEY", IDVar: "CONTAINER_ID"})
			path := tools(t, tool)
			run := func(args []string, env ...string) (string, error) {
				cmd := exec.CommandContext(t.Context(), "/bin/sh", append([]string{"-c", script, "sh"}, args...)...)
				cmd.Env = append([]string{"PATH=" + path}, env...)
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			if out, err := run([]string{"check"}, "CONTAINER_API_KEY="+key, "CONTAINER_ID=C.7"); err != nil || len(s.requests()) != 0 {
				t.Fatalf("check: got %v, %s, requests %q, want success and none", err, out, s.requests())
			}
			if out, err := run(nil, "CONTAINER_API_KEY="+key, "CONTAINER_ID=8"); err == nil || len(s.requests()) != 0 {
				t.Fatalf("on another machine: got success, %s, requests %q, want an error and none", out, s.requests())
			}
			for _, args := range [][]string{nil, {"check"}} {
				if out, err := run(args); err == nil || !strings.Contains(out, "CONTAINER_API_KEY") || len(s.requests()) != 0 {
					t.Fatalf("%q without a key: got %v, %s, requests %q, want an error that names the variable", args, err, out, s.requests())
				}
			}
			want := []string{"DELETE /instances/7/ Bearer " + key}
			if out, err := run(nil, "CONTAINER_API_KEY="+key, "CONTAINER_ID=7"); err != nil || !slices.Equal(s.requests(), want) {
				t.Fatalf("got %v, %s, requests %q, want success and %q", err, out, s.requests(), want)
			}
			s.answer(http.StatusTooManyRequests)
			if out, err := run(nil, "CONTAINER_API_KEY="+key); err == nil || strings.Contains(out, key) {
				t.Errorf("refused: got %v, %s, want an error without the key", err, out)
			}
		})
	}
	t.Run("no tool", func(t *testing.T) {
		t.Parallel()
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", httpapi.EndScript(httpapi.End{URL: "http://127.0.0.1:1/", ID: "7", KeyVar: "K", IDVar: "I"}), "sh", "check")
		cmd.Env = []string{"PATH=" + tools(t, "cat"), "K=" + key}
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "curl") {
			t.Errorf("got %v, %s, want an error that names the tools", err, out)
		}
	})
}

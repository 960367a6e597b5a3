//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// newAsker prepares a folder with a script that wants two variables.
func newAsker(t *testing.T) *session {
	t.Helper()
	s := newFolder(t)
	s.env = append(s.env, "TOKEN_A=aaaaaaaaaaaa", "TOKEN_B=bbbbbbbbbbbb")
	s.script("deploy.star", `print("start")
print(secret("TOKEN_A", optional = True))
print(secret("TOKEN_A", optional = True))
print(secret("TOKEN_B"))
`)
	return s
}

func (s *session) file(name string) string {
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		return ""
	}
	return string(data)
}

func TestPermissionYes(t *testing.T) {
	t.Parallel()
	s := newAsker(t)
	s.startOnTerminal("exec", "--yes", "deploy.star")
	s.await("deploy.star:2 reads TOKEN_A: allow? [y/N/always]")
	s.press("y\r")
	s.await("deploy.star:4 reads TOKEN_B: allow? [y/N/always]")
	s.press("YES\r")
	s.exits(0)
	s.wants(s.text(), "<secret TOKEN_A>\r\n<secret TOKEN_A>\r\n")
	if n := strings.Count(s.text(), "reads TOKEN_A"); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	if s.file("bifrost.toml") != "" {
		t.Error("bifrost.toml was made for an answer that holds for one run")
	}
}

func TestPermissionNo(t *testing.T) {
	t.Parallel()
	s := newAsker(t)
	s.startOnTerminal("exec", "deploy.star")
	s.await("reads TOKEN_A: allow?")
	s.press("\r")
	s.await("reads TOKEN_B: allow?")
	s.press("no\r")
	s.exits(206)
	s.wants(s.text(), "None\r\nNone\r\n")
	s.wants(s.text(), "deploy.star may not read TOKEN_B: nothing allows it")
	s.wants(s.text(), "hint: bifrost exec --allow-env=TOKEN_B deploy.star")
}

func TestPermissionAlways(t *testing.T) {
	t.Parallel()
	s := newAsker(t)
	s.script("bifrost.toml", "# ours\n[allow]\nenv = [ # why\n  \"X\",\n]\n")
	s.startOnTerminal("exec", "deploy.star")
	s.await("reads TOKEN_A: allow?")
	s.press("always\r")
	s.await("reads TOKEN_B: allow?")
	s.press("a\r")
	s.exits(0)
	s.wants(s.text(), "/project/bifrost.toml: [allow] env = [\"TOKEN_A\"]")
	if got, want := s.file("bifrost.toml"), "# ours\n[allow]\nenv = [ # why\n  \"X\",\n  \"TOKEN_A\",\n  \"TOKEN_B\",\n]\n"; got != want {
		t.Errorf("bifrost.toml: got %q want %q", got, want)
	}
	// The next run asks nothing, with a terminal or without.
	s.keys = nil
	s.start("exec", "deploy.star")
	s.exits(0)
}

func TestPermissionInterrupted(t *testing.T) {
	t.Parallel()
	s := newAsker(t)
	s.startOnTerminal("exec", "deploy.star")
	s.await("reads TOKEN_A: allow?")
	s.press(ctrlC)
	s.exits(130)
	if strings.Contains(s.text(), "None") || strings.Contains(s.text(), "may not read") {
		t.Error("the interruption was taken for an answer")
	}
}

// While a job runs, Ctrl-C in the question is no question of its own: the job is stopped and its results
// come home.
func TestPermissionInterruptedWhileTheJobRuns(t *testing.T) {
	t.Parallel()
	s := newFolder(t)
	s.env = append(s.env, "TOKEN_A=aaaaaaaaaaaa")
	s.script("deploy.star", `def body(h):
    for line in h.logs():
        secret("TOKEN_A")

with_job(remote_job(provision = gpu_query(type = None, providers = "local"), name = "job",
    command = "echo half > result.txt; echo begun; sleep 60", results = {"result.txt": "./"}), body)
`)
	s.startOnTerminal("exec", "deploy.star")
	s.await("reads TOKEN_A: allow?")
	s.press(ctrlC)
	s.exits(130)
	s.wants(s.text(), "terminated and confirmed")
	if strings.Contains(s.text(), "d detach") {
		t.Error("two questions at once")
	}
	if got := s.file("result.txt"); got != "half\n" {
		t.Errorf("result.txt: got %q want %q", got, "half\n")
	}
}

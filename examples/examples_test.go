package examples_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bifrost-run/bifrost/engine/enginetest"
)

// bifrost is the program, built once for all tests.
var bifrost string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "bifrost-examples-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bifrost = filepath.Join(dir, "bifrost")
	program := exec.Command("go", "build", "-trimpath", "-o", bifrost, "../cmd/bifrost")
	program.Env = append(os.Environ(), "CGO_ENABLED=0") // as the Makefile builds it: compiled once
	if out, err := program.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// A user is somebody with a folder of scripts and a home of their own.
type user struct {
	t    *testing.T
	dir  string // where they stand
	home string
	env  []string
}

// newUser gives a user a copy of the examples.
func newUser(t *testing.T) *user {
	t.Helper()
	u := &user{t: t, dir: t.TempDir(), home: t.TempDir()}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(u.dir, os.DirFS(here)); err != nil {
		t.Fatal(err)
	}
	return u
}

// reaches lets the user log in to a server, and returns what to write behind ssh =.
func (u *user) reaches(s *enginetest.Server) string {
	u.t.Helper()
	known, err := os.ReadFile(s.KnownHosts)
	if err != nil {
		u.t.Fatal(err)
	}
	key, err := os.ReadFile(s.ClientKey)
	if err != nil {
		u.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(u.home, ".ssh"), 0o700); err != nil {
		u.t.Fatal(err)
	}
	u.write(filepath.Join(u.home, ".ssh", "known_hosts"), string(known))
	u.write(filepath.Join(u.home, ".ssh", "id_ed25519"), string(key))
	return fmt.Sprintf("%s@%s", s.User, s.Addr)
}

func (u *user) write(path, text string) {
	u.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		u.t.Fatal(err)
	}
}

// change edits a script as the user would to run it elsewhere. Every old text must be there.
func (u *user) change(script string, oldNew ...string) {
	u.t.Helper()
	path := filepath.Join(u.dir, script)
	text, err := os.ReadFile(path)
	if err != nil {
		u.t.Fatal(err)
	}
	for i := 0; i < len(oldNew); i += 2 {
		if !bytes.Contains(text, []byte(oldNew[i])) {
			u.t.Fatalf("%s has no %q", script, oldNew[i])
		}
	}
	u.write(path, strings.NewReplacer(oldNew...).Replace(string(text)))
}

// run types a command and returns what it printed and its exit code.
func (u *user) run(args ...string) (stdout, stderr string, code int) {
	u.t.Helper()
	cmd := exec.Command(bifrost, args...)
	cmd.Dir = u.dir
	cmd.Env = append([]string{"HOME=" + u.home, "PATH=" + os.Getenv("PATH"), "CI=true"}, u.env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		u.t.Fatal(err)
	}
	u.t.Logf("$ bifrost %s\n%s%s(exit code %d)", strings.Join(args, " "), out.String(), errs.String(), cmd.ProcessState.ExitCode())
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// must is run for a command that has to succeed.
func (u *user) must(args ...string) (stdout, stderr string) {
	u.t.Helper()
	stdout, stderr, code := u.run(args...)
	if code != 0 {
		u.t.Fatalf("bifrost %s: exit code %d", strings.Join(args, " "), code)
	}
	return stdout, stderr
}

// got checks a file that a job brought home.
func (u *user) got(path, want string) {
	u.t.Helper()
	text, err := os.ReadFile(filepath.Join(u.dir, path))
	if err != nil || strings.TrimSpace(string(text)) != want {
		u.t.Errorf("%s is %q, %v, want %q", path, text, err, want)
	}
}

// localNodes are the folders of those that exist, in a user's home.
const localNodes = ".local/state/bifrost/local/[^.]*"

// nothingCosts checks that no machine is left.
func (u *user) nothingCosts() {
	u.t.Helper()
	left, err := filepath.Glob(filepath.Join(u.home, localNodes))
	if err != nil || len(left) > 0 {
		u.t.Errorf("local nodes are left: %v, %v", left, err)
	}
}

func TestQuickstart(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	for _, round := range []string{"first", "second"} {
		stdout, stderr := u.must("exec", "quickstart.star")
		if !strings.HasPrefix(stdout, "step 1/5 loss 0.700\n") || !strings.HasSuffix(stdout, "done: results/metrics.json\n") {
			t.Errorf("%s: stdout is not the job's log: %q", round, stdout)
		}
		for _, want := range []string{"provision", "push", "bootstrap 1/1", "start", "results", "release", "terminated and confirmed"} {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s: stderr says nothing of %q", round, want)
			}
		}
		u.got("quickstart_results/metrics.json", `{"steps": 5, "loss": 0.168}`)
		u.nothingCosts()
	}
}

// TestMakeQuickstart types the README's first command, where the README says.
func TestMakeQuickstart(t *testing.T) {
	t.Parallel()
	examples := newUser(t)
	root := t.TempDir()
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Rename(examples.dir, filepath.Join(root, "examples")), os.WriteFile(filepath.Join(root, "Makefile"), makefile, 0o600),
		os.Mkdir(filepath.Join(root, "bin"), 0o700), os.Symlink(bifrost, filepath.Join(root, "bin", "bifrost")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("make", "--old-file=build", "--old-file=bin/bifrost", "quickstart") // the program is there
	cmd.Dir = root
	cmd.Env = []string{"HOME=" + examples.home, "PATH=" + os.Getenv("PATH"), "CI=true"}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "terminated and confirmed") {
		t.Errorf("make quickstart: %v\n%s", err, out)
	}
	examples.dir = root
	examples.got("examples/quickstart_results/metrics.json", `{"steps": 5, "loss": 0.168}`)
	examples.nothingCosts()
}

// standIns is a test server whose user has a uv and a python that are shell scripts.
func standIns(t *testing.T) *enginetest.Server {
	t.Helper()
	s := enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Plain, Config: []string{"PermitUserEnvironment yes"}})
	bin := filepath.Join(s.Dir, "bin")
	for path, text := range map[string]string{
		filepath.Join(bin, "uv"):                     "#!/bin/sh\necho \"uv $*\"\n",
		filepath.Join(bin, "python"):                 "#!/bin/sh\nexec sh \"$@\"\n",
		filepath.Join(s.Home, ".ssh", "environment"): "PATH=" + bin + ":/usr/bin:/bin\n",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

const rented = `provision = gpu_query(type = "A100", count = 2, max_price = 3.0)`

func TestTrain(t *testing.T) {
	t.Parallel()
	for _, script := range []string{"train.star", "train_body.star"} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			u.change(script, rented, `ssh = "`+u.reaches(standIns(t))+`"`)
			u.write(filepath.Join(u.dir, "train.py"), "echo training; test -n \"$HF_TOKEN\" && mkdir -p results && echo 0.1 > results/loss\n")
			u.env = []string{"HF_TOKEN=hf_canary"}
			stdout, stderr := u.must("exec", script)
			if stdout != "training\n" {
				t.Errorf("stdout %q", stdout)
			}
			if strings.Count(stderr, script+" connects to ") != 1 {
				t.Error("stderr does not show once where the script connects to")
			}
			if !strings.Contains(stderr, "uv sync --extra dev") || strings.Contains(stderr, "hf_canary") {
				t.Errorf("stderr %s", stderr)
			}
			u.got("local_results/loss", "0.1")
			_, stderr = u.must("exec", script)
			if !strings.Contains(stderr, "unchanged") {
				t.Error("the bootstrap ran again without a reason")
			}
		})
	}
}

func TestReuse(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.write(filepath.Join(u.dir, "rent.star"), `print(acquire_node(provision = gpu_query(type = None, providers = "local"), keep_alive = True).id)`)
	stdout, _ := u.must("exec", "rent.star")
	id := strings.TrimSpace(stdout)
	u.change("reuse.star", "runpod:abc123", id, "python eval.py", "sh eval.py")
	u.write(filepath.Join(u.dir, "eval.py"), "echo '{}' > output.json\n")
	_, stderr := u.must("exec", "reuse.star")
	if !strings.Contains(stderr, "kept") {
		t.Errorf("stderr does not say that the machine was kept: %s", stderr)
	}
	u.got("output.json", "{}")
	u.must("terminate", id)
	u.nothingCosts()
}

func TestDetached(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s := standIns(t)
	u.change("detached.star", "root@gpu:22", u.reaches(s))
	u.write(filepath.Join(u.dir, "long_train.py"), "echo begun; until [ -e go ]; do sleep 0.05; done; echo ended; exit 3\n")
	stdout, _ := u.must("exec", "detached.star")
	said := regexp.MustCompile(`Job running in tmux: (\S+)\nReconnect: bifrost attach (\S+)\n`).FindStringSubmatch(stdout)
	if said == nil {
		t.Fatalf("stdout %q", stdout)
	}
	u.must("ssh", said[2], "tmux -L bifrost has-session -t "+said[1]+" && touch .bifrost/workspace/go")
	stdout, _, code := u.run("attach", said[2])
	if stdout != "begun\nended\n" || code != 3 {
		t.Errorf("attach printed %q, exit code %d", stdout, code)
	}
	if _, _, code := u.run("wait", said[2]); code != 3 {
		t.Errorf("wait: exit code %d", code)
	}
}

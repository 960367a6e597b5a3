//go:build unix

package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest"
)

func TestMain(m *testing.M) {
	if RunIfDaemon() {
		return
	}
	os.Exit(m.Run())
}

func newProvider(t *testing.T) *Provider {
	t.Helper()
	if !supported {
		t.Skip("there are no local nodes on this system")
	}
	dir, err := os.MkdirTemp("", "bl") // shorter than t.TempDir: sockets are made beneath it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeTree(dir); err != nil {
			t.Error(err)
		}
	})
	return New(Config{StateDir: dir})
}

func TestContract(t *testing.T) {
	t.Parallel()
	gputest.TestProvider(t, func(t *testing.T) gpu.Provider { return newProvider(t) })
}

// A node is an instance with a connection to it.
type node struct {
	*ssh.Client
	t    *testing.T
	p    *Provider
	inst gpu.Instance
	dir  string
	key  ssh.Signer
}

func newNode(t *testing.T) *node {
	t.Helper()
	return nodeOf(t, newProvider(t))
}

func nodeOf(t *testing.T, p *Provider) *node {
	t.Helper()
	req, key := gputest.NewRequest(t, p)
	inst := gputest.Create(t, p, req)
	n := &node{t: t, p: p, inst: inst, dir: filepath.Join(p.dir, inst.ID), key: key}
	n.Client = n.dial()
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(n.dir, logFile))
			t.Logf("daemon.log: %s", log)
		}
	})
	return n
}

func (n *node) dial() *ssh.Client {
	n.t.Helper()
	hostKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(n.inst.HostKey))
	must(n.t, err)
	client, err := ssh.Dial("tcp", net.JoinHostPort(n.inst.Host, strconv.Itoa(n.inst.Port)), &ssh.ClientConfig{
		User: "whoever", Auth: []ssh.AuthMethod{ssh.PublicKeys(n.key)}, HostKeyCallback: ssh.FixedHostKey(hostKey), Timeout: 10 * time.Second,
	})
	must(n.t, err)
	n.t.Cleanup(func() { client.Close() })
	return client
}

func (n *node) session() *ssh.Session {
	n.t.Helper()
	s, err := n.NewSession()
	must(n.t, err)
	n.t.Cleanup(func() { s.Close() })
	return s
}

// sh runs a command and returns its output; it must succeed.
func (n *node) sh(command string) string {
	n.t.Helper()
	s := n.session()
	var stderr bytes.Buffer
	s.Stderr = &stderr
	out, err := s.Output(command)
	if err != nil {
		n.t.Fatalf("%s: %v: %s", command, err, stderr.String())
	}
	return string(out)
}

// pidFile waits for a file in the home that holds a process id.
func (n *node) pidFile(name string) int {
	n.t.Helper()
	pid := 0
	eventually(n.t, "process id in "+name, func() bool {
		data, _ := os.ReadFile(filepath.Join(n.dir, homeDir, name))
		pid, _ = strconv.Atoi(strings.TrimSpace(string(data)))
		return pid != 0
	})
	return pid
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func alive(pid int) bool {
	all, err := processes()
	if err != nil {
		return false
	}
	for _, p := range all {
		if p.pid == pid {
			return !p.dead
		}
	}
	return false
}

func daemonPid(t *testing.T, n *node) int {
	t.Helper()
	in, err := readInfo(n.dir)
	must(t, err)
	return in.Pid
}

func TestOffers(t *testing.T) {
	t.Parallel()
	p := New(Config{StateDir: t.TempDir()})
	for _, tt := range []struct {
		query gpu.Query
		want  int
	}{
		{gpu.Query{Providers: []string{"local"}}, 1},
		{gpu.Query{Providers: []string{"runpod", "local"}, Type: "H100", Count: 8, MaxPrice: 0.01}, 1},
		{gpu.Query{Providers: []string{"runpod"}}, 0},
		{gpu.Query{}, 0}, // only when named
	} {
		got, err := p.Offers(t.Context(), tt.query)
		if err != nil || len(got) != tt.want {
			t.Errorf("%+v: got %v, %v, want %d offers", tt.query, got, err, tt.want)
		}
		for _, o := range got {
			if o.PriceTotal != 0 || o.GPUCount != detectGPUs(t.Context()).count {
				t.Errorf("got %+v, want it free and with the GPUs that are here", o)
			}
		}
	}
	if entries, _ := os.ReadDir(p.dir); len(entries) != 0 {
		t.Errorf("got files %v, want nothing touched", entries)
	}
}

func TestParseGPUs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]gpus{
		"": {},
		"NVIDIA H100 80GB HBM3, 81559\nNVIDIA H100 80GB HBM3, 81559\n": {"H100 80GB SXM", 80, 2},
		"NVIDIA GeForce RTX 4090, 24564\r\n":                           {"RTX 4090 24GB", 24, 1},
		"Tesla T4, 15360":                                              {"T4 16GB", 16, 1},
		"No devices were found\n":                                      {},
	} {
		if got := parseGPUs(text); got != want {
			t.Errorf("parseGPUs(%q): got %+v, want %+v", text, got, want)
		}
	}
}

func TestSessionEnv(t *testing.T) {
	t.Parallel()
	got := sessionEnv([]string{
		"PATH=/opt/bin:/bin", "HF_TOKEN=secret", "RUNPOD_API_KEY=secret", "SSH_AUTH_SOCK=/x", "HOME=/root", "TMUX=/y", "LANG=C.UTF-8",
		"LC_ALL=C", "TZ=UTC", "CUDA_VISIBLE_DEVICES=0", "NVIDIA_VISIBLE_DEVICES=all", "LD_LIBRARY_PATH=/l", "LD_PRELOAD=/x", markEnv + "=other",
	})
	want := []string{"PATH=/opt/bin:/bin", "LANG=C.UTF-8", "LC_ALL=C", "TZ=UTC", "CUDA_VISIBLE_DEVICES=0", "NVIDIA_VISIBLE_DEVICES=all", "LD_LIBRARY_PATH=/l"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := sessionEnv([]string{"PATH="}); len(got) != 1 || !strings.Contains(got[0], "/usr/bin") {
		t.Errorf("got %q without a path, want a default", got)
	}
}

func TestFolder(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for _, dir := range []string{n.dir, filepath.Join(n.dir, homeDir), socketDir(n.inst.ID)} {
		info, err := os.Stat(dir)
		must(t, err)
		if info.Mode().Perm() != 0o700 {
			t.Errorf("%s: got mode %v, want 0700", dir, info.Mode())
		}
	}
	for _, file := range []string{hostKeyFile, infoFile, authFile, logFile} {
		info, err := os.Stat(filepath.Join(n.dir, file))
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got mode %v, want 0600", file, info.Mode())
		}
	}
	if n.inst.HostKey == "" || n.inst.Host != "127.0.0.1" || n.inst.State != gpu.Running {
		t.Errorf("got %+v, want it running with a host key", n.inst)
	}
}

// What an instance was created with is no longer needed: another provider on the same folder, as
// another process has it, finds and ends it.
func TestOtherProvider(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	pid := daemonPid(t, n)
	other := New(Config{StateDir: filepath.Dir(n.p.dir)})
	got, err := other.Get(t.Context(), n.inst.ID)
	must(t, err)
	if diff := cmp.Diff(n.inst, got); diff != "" {
		t.Errorf("Get (-created +got):\n%s", diff)
	}
	must(t, other.Terminate(t.Context(), n.inst.ID))
	eventually(t, "the daemon ends", func() bool { return !alive(pid) })
	if _, err := n.p.Get(t.Context(), n.inst.ID); kindOf(err) != gpu.NotFound {
		t.Errorf("got %v, want it gone", err)
	}
	wantNothingLeft(t, n)
}

func kindOf(err error) gpu.Kind {
	var e *gpu.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

func wantNothingLeft(t *testing.T, n *node) {
	t.Helper()
	entries, err := os.ReadDir(n.p.dir)
	must(t, err)
	for _, e := range entries {
		if strings.Contains(e.Name(), n.inst.ID) {
			t.Errorf("got %s left", e.Name())
		}
	}
	if _, err := os.Stat(socketDir(n.inst.ID)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got the sockets' folder left: %v", err)
	}
}

func TestCreateFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		daemon []string
		words  string
	}{
		{"no such program", []string{"/no/such/program"}, "no such file"},
		{"ends at once", []string{"/bin/sh", "-c", "echo out of order >&2; exit 1", "sh"}, "out of order"},
		{"says nothing", []string{"/bin/true"}, "without a word"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.daemon = tt.daemon
			req, _ := gputest.NewRequest(t, p)
			_, err := p.Create(t.Context(), req)
			if kindOf(err) != gpu.Validation || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("got %v, want a refusal with %q", err, tt.words)
			}
			wantEmpty(t, p)
		})
	}
	t.Run("never ready", func(t *testing.T) {
		t.Parallel()
		p := newProvider(t)
		p.daemon = []string{"/bin/sh", "-c", "sleep 1000 & sleep 1000", "sh"}
		req, _ := gputest.NewRequest(t, p)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := p.Create(ctx, req)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 5*time.Second {
			t.Errorf("got %v after %v, want the context's error", err, time.Since(start))
		}
		wantEmpty(t, p)
	})
}

func wantEmpty(t *testing.T, p *Provider) {
	t.Helper()
	entries, err := os.ReadDir(p.dir)
	must(t, err)
	for _, e := range entries {
		if e.Name() != ".lock" {
			t.Errorf("got %s left", e.Name())
		}
	}
}

// What a process that was killed while it created an instance leaves is cleared by the next one.
func TestCreateClearsRemains(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	for _, name := range []string{".new-22222222/home/x", ".gone-33333333/home/y"} {
		must(t, os.MkdirAll(filepath.Join(p.dir, name), 0o700))
	}
	n := nodeOf(t, p)
	entries, err := os.ReadDir(p.dir)
	must(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff([]string{".lock", n.inst.ID}, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	req, _ := gputest.NewRequest(t, p)
	type answer struct {
		inst gpu.Instance
		err  error
	}
	answers := make(chan answer)
	const callers = 6
	for range callers {
		go func() {
			inst, err := p.Create(t.Context(), req)
			answers <- answer{inst, err}
		}()
	}
	created := 0
	for range callers {
		a := <-answers
		if a.err == nil {
			created++
			t.Cleanup(func() { must(t, p.Terminate(context.Background(), a.inst.ID)) })
		} else if kindOf(a.err) != gpu.Conflict {
			t.Errorf("got %v, want a conflict", a.err)
		}
	}
	if created != 1 {
		t.Errorf("got %d instances of one name, want 1", created)
	}
}

func TestWrongKey(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	_, other := gputest.NewRequest(t, n.p)
	for name, auth := range map[string][]ssh.AuthMethod{
		"another key": {ssh.PublicKeys(other)},
		"password":    {ssh.Password("")},
		"none":        nil,
	} {
		_, err := ssh.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", n.inst.Port), &ssh.ClientConfig{
			User: "root", Auth: auth, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 10 * time.Second,
		})
		if err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
			t.Errorf("%s: got %v, want it refused", name, err)
		}
	}
	// The right key after many wrong ones, as an agent may offer them.
	signers := []ssh.Signer{}
	for range 8 {
		_, wrong := gputest.NewRequest(t, n.p)
		signers = append(signers, wrong)
	}
	client, err := ssh.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", n.inst.Port), &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(append(signers, n.key)...)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		t.Fatalf("the ninth key: %v", err)
	}
	client.Close()
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	data, err := io.ReadAll(r)
	must(t, err)
	return string(data)
}

func newRequest(t *testing.T) (gpu.CreateRequest, ssh.Signer) {
	t.Helper()
	return gputest.NewRequest(t, New(Config{StateDir: "/nonexistent"}))
}

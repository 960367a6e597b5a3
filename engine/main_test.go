package engine_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/local"
)

// The test binary is also the processes that an engine starts: the daemon of a local node, a
// guardian, and a client that a test kills.
const (
	guardianEnv = "BIFROST_TEST_GUARDIAN"
	clientEnv   = "BIFROST_TEST_CLIENT"
	serverEnv   = "BIFROST_TEST_HTTP"
)

func TestMain(m *testing.M) {
	if local.RunIfDaemon() {
		return
	}
	if state := os.Getenv(guardianEnv); state != "" {
		os.Exit(guardian(state, os.Args[len(os.Args)-1]))
	}
	if state := os.Getenv(clientEnv); state != "" {
		os.Exit(client(state, os.Args[len(os.Args)-1]))
	}
	if os.Getenv(serverEnv) != "" {
		os.Exit(serve(os.Args[len(os.Args)-1]))
	}
	os.Exit(m.Run())
}

// guardian is the body of the guardian process.
func guardian(state, runID string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	eng, err := engine.Open(ctx, config(state, nil))
	if err == nil {
		defer eng.Close()
		err = eng.Guard(ctx, runID)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "guardian:", err)
		return 1
	}
	return 0
}

// config is that of an engine with local nodes whose guardians are this test binary.
func config(state string, sink report.Sink) engine.Config {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return engine.Config{
		StateDir:  state,
		Providers: []gpu.Provider{local.New(local.Config{StateDir: state})},
		Home:      filepath.Join(state, "home"),
		WorkDir:   state,
		Report:    sink,
		Guardian:  []string{"env", guardianEnv + "=" + state, exe},
	}
}

// stateDir returns a state folder of the test's own. Guardians are gone before it is removed.
func stateDir(t *testing.T) string {
	t.Helper()
	state := t.TempDir()
	t.Cleanup(func() { // after the engines were closed
		enginetest.Until(t, "the guardians to end", func() bool { return len(guardians(t, state)) == 0 })
	})
	return state
}

// open returns an engine with a state folder of its own. At the end of the test nothing may be left
// of its local nodes.
func open(t *testing.T, change ...func(*engine.Config)) (*engine.Engine, *events) {
	t.Helper()
	state := stateDir(t)
	return openAt(t, state, change...)
}

func openAt(t *testing.T, state string, change ...func(*engine.Config)) (*engine.Engine, *events) {
	t.Helper()
	seen := &events{t: t}
	cfg := config(state, seen.sink)
	for _, f := range change {
		f(&cfg)
	}
	eng, err := engine.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		seen.mu.Lock()
		seen.t = nil // a test's log ends with the test
		seen.mu.Unlock()
		if err := eng.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return eng, seen
}

// events keeps what an engine reported.
type events struct {
	mu  sync.Mutex
	t   *testing.T
	all []report.Event
}

func (e *events) sink(ev report.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	ev.Data = append([]byte(nil), ev.Data...)
	e.all = append(e.all, ev)
	if e.t != nil && ev.Kind != report.Progress {
		e.t.Logf("%d %s %s %s %v", ev.Kind, ev.Step, ev.Text, strings.TrimSpace(string(ev.Data)), ev.Err)
	}
}

// text is all that was reported, for searching.
func (e *events) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var b strings.Builder
	for _, ev := range e.all {
		fmt.Fprintf(&b, "%s %s %s %v\n", ev.Step, ev.Text, ev.Data, ev.Err)
	}
	return b.String()
}

// tree writes files beneath a new folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// onLocal asks for a local node.
func onLocal() *gpu.Query { return &gpu.Query{Providers: []string{"local"}} }

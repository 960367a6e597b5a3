package moneytest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest/clients"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
	"github.com/bifrost-run/bifrost/gpu/lambda"
)

// allEnv is set where all cases are run. Without it a test runs a sample of them: these tables have no
// surprises between two changes of the engine, and CI has other things to do.
const (
	allEnv    = "BIFROST_MONEY_ALL"
	fewFaults = 120
)

// sample takes n of all, evenly.
func sample[T any](all []T, n int) []T {
	var some []T
	for i := range min(n, len(all)) {
		some = append(some, all[i*len(all)/min(n, len(all))])
	}
	return some
}

// stateDir makes a folder for an engine's state, in memory where that can be had: a journal is written
// through to the disk at each step.
func stateDir() (string, error) {
	if dir, err := os.MkdirTemp("/dev/shm", "money-"); err == nil {
		return dir, nil
	}
	return os.MkdirTemp("", "money-")
}

// available are the providers whose machines can be had here, with CI=true all of them.
func available(t *testing.T) []string {
	t.Helper()
	err := cloud.Port22()
	if err == nil {
		return clients.Names()
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Logf("left out: %s: %v", lambda.Name, err)
	return slices.DeleteFunc(clients.Names(), func(name string) bool { return name == lambda.Name })
}

// timing is short where a fault has to be waited out, and long enough where a slow computer has to be waited
// for.
var timing = engine.Timing{
	Search: 10 * time.Second, Ask: 10 * time.Second,
	Refused: 300 * time.Millisecond,
	Adopt:   400 * time.Millisecond, AdoptPoll: 10 * time.Millisecond,
	Boot: time.Minute, BootPoll: 50 * time.Millisecond, Driver: time.Second, Visible: 200 * time.Millisecond,
	Release: 1500 * time.Millisecond, ReleasePoll: 20 * time.Millisecond, Confirm: 10 * time.Millisecond,
	Watch: 50 * time.Millisecond, Guard: 50 * time.Millisecond,
}

// config is that of an engine which rents from one provider.
func config(state string, p gpu.Provider, sink report.Sink) engine.Config {
	return engine.Config{
		StateDir: state, Providers: []gpu.Provider{p}, Home: filepath.Join(state, "home"), WorkDir: state,
		Report: sink, Timing: timing,
	}
}

// A count is how many machines there are, who knows of them, and what went wrong.
type count struct {
	there  int // at the provider
	known  int // of them in the journal as not gone
	open   int // records in the journal that are not gone, of machines that are not there
	rented int // ever
	wrong  []string
}

// take counts the machines of an account, and of a state folder's journal.
func take(ctx context.Context, acct *cloud.Account, state string) (c count) {
	j, err := journal.Open(ctx, filepath.Join(state, "journal.db"))
	if err != nil {
		return count{wrong: []string{err.Error()}}
	}
	defer j.Close()
	nodes, err := j.Nodes(ctx, false)
	if err != nil {
		return count{wrong: []string{err.Error()}}
	}
	there := acct.Machines()
	c.there = len(there)
	for _, m := range there {
		if slices.ContainsFunc(nodes, func(n journal.Node) bool { return n.ID == acct.Provider+":"+m.ID || n.Name == m.Name }) {
			c.known++
		}
	}
	for _, n := range nodes {
		if !slices.ContainsFunc(there, func(m cloud.Machine) bool { return n.ID == acct.Provider+":"+m.ID || n.Name == m.Name }) {
			c.open++
		}
	}
	c.rented = len(acct.Rented())
	c.wrong = twice(acct.Rented())
	return c
}

// twice says which machines were there at the same time: each test wants one.
func twice(machines []cloud.Machine) (wrong []string) {
	for i, m := range machines {
		for _, later := range machines[i+1:] {
			if m.Ended.IsZero() || later.Created.Before(m.Ended) {
				wrong = append(wrong, fmt.Sprintf("rented twice: %s at %s, until %s, and %s at %s",
					m.Name, m.Created.Format(clock), m.Ended.Format(clock), later.Name, later.Created.Format(clock)))
			}
		}
	}
	return wrong
}

const clock = "15:04:05.000"

// A transcript is what an engine reported, for the error of a test.
type transcript struct {
	mu    sync.Mutex
	lines []string
}

func (t *transcript) all() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.lines)
}

func (t *transcript) sink(ev report.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, strings.TrimSpace(fmt.Sprintf("%s %d %s %s %v", time.Now().Format(clock), ev.Kind, ev.Step, ev.Text, ev.Err)))
}

package moneytest

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest/clients"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
)

// fewCrashes is how many of the crashes a test has that does not run all, and randomCrashes how many there
// are at random instants, beside those at the journal's transitions.
const (
	fewCrashes    = 24
	randomCrashes = 500
)

// A crashCase is one process of bifrost that is killed in the middle of a job.
type crashCase struct {
	provider string
	moment   moment
	after    time.Duration // of a crash at a random instant: since the process began
}

// A moment is when a process is killed.
type moment struct {
	Transition int  // of the journal, counted from 1; 0 is at an instant that its test chooses
	Committed  bool // right after the transition is in the journal, else right before
	Guardian   bool // is killed too
}

func (c crashCase) String() string {
	text := fmt.Sprintf("%s at %s", c.provider, c.after)
	if c.moment.Transition > 0 {
		text = fmt.Sprintf("%s before transition %d", c.provider, c.moment.Transition)
		if c.moment.Committed {
			text = fmt.Sprintf("%s after transition %d", c.provider, c.moment.Transition)
		}
	}
	if c.moment.Guardian {
		text += ", the guardian too"
	}
	return text
}

// A crashRow is what came of it.
type crashRow struct {
	crashCase
	killed bool
	found  count // after the crash
	left   count // after the next command
	wrong  []string
}

// TestCrashes is the table of crashes: a process that runs a job is killed, its guardian too in half of the
// cases, at each transition of the journal and at random instants. After the next command nothing is left, and
// no two machines were there at once.
func TestCrashes(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("left out: guardians are found in /proc")
	}
	var cases []crashCase
	for _, provider := range available(t) {
		// How a run without a crash goes, for the moments of the others.
		calm := runCrash(t.Context(), crashCase{provider: provider, after: time.Minute})
		if calm.killed || len(calm.wrong) > 0 {
			t.Fatalf("%s without a crash: %s", provider, strings.Join(calm.wrong, "\n"))
		}
		for _, guardian := range []bool{false, true} {
			for n := range calm.transitions {
				for _, committed := range []bool{false, true} {
					cases = append(cases, crashCase{provider, moment{n + 1, committed, guardian}, 0})
				}
			}
		}
		for i := range randomCrashes / len(clients.Names()) {
			after := time.Duration(rand.Int64N(int64(2 * calm.took))) // several at once take longer than one alone
			cases = append(cases, crashCase{provider, moment{Guardian: i%2 == 0}, after})
		}
	}
	all := len(cases)
	if os.Getenv(allEnv) == "" {
		cases = sample(cases, fewCrashes)
		t.Logf("%d of %d crashes; make money has all", len(cases), all)
	}
	rows := make([]crashRow, len(cases))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 3*runtime.GOMAXPROCS(0)) // half of a case is waiting
	for i, c := range cases {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			rows[i] = runCrash(t.Context(), c).crashRow
		})
	}
	wg.Wait()
	for _, r := range rows {
		for _, w := range r.wrong {
			t.Errorf("%s: %s", r.crashCase, w)
		}
	}
	t.Log("\n" + crashTable(rows))
}

// A run is a crashRow with what a run without a crash tells of itself.
type run struct {
	crashRow
	transitions int
	took        time.Duration
}

// runCrash runs one case.
func runCrash(ctx context.Context, c crashCase) (r run) {
	r.crashCase = c
	var reports sync.Mutex
	wrong := func(format string, args ...any) {
		reports.Lock()
		defer reports.Unlock()
		r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	state, err := stateDir()
	if err != nil {
		wrong("%v", err)
		return r
	}
	defer os.RemoveAll(state)
	acct, err := cloud.Start(c.provider, cloud.Options{Report: wrong})
	if err != nil {
		wrong("%v", err)
		return r
	}
	defer func() {
		if err := acct.Close(); err != nil {
			wrong("%v", err)
		}
	}()
	j, err := journal.Open(ctx, filepath.Join(state, "journal.db")) // its tables are there before the process begins
	if err == nil {
		err = j.Close()
	}
	if err != nil {
		wrong("%v", err)
		return r
	}
	p := process{State: state, Provider: c.provider, URL: acct.URL, Key: acct.Key, Moment: c.moment}
	cmd := p.command(clientEnv)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	began := time.Now()
	if err := cmd.Start(); err != nil {
		wrong("%v", err)
		return r
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var timer <-chan time.Time
	if c.moment.Transition == 0 {
		timer = time.After(c.after)
	}
	select {
	case err = <-ended:
	case <-timer:
		if c.moment.Guardian { // first: it acts within a moment, and to look for it takes longer
			p.killGuardians()
		}
		_ = cmd.Process.Kill() // it may have ended this moment
		if c.moment.Guardian { // one that was just being started
			p.killGuardians()
		}
		err = <-ended
	}
	r.took = time.Since(began)
	var exit *exec.ExitError
	r.killed = errors.As(err, &exit) && exit.ExitCode() == -1
	if err != nil && !r.killed {
		wrong("the process: %v", err)
	}
	r.found = take(ctx, acct, state)
	if r.transitions, err = transitions(ctx, state); err != nil {
		wrong("%v", err)
	}
	if r.found.known != r.found.there {
		wrong("%d machines at the provider, the journal knows %d", r.found.there, r.found.known)
	}
	// A create whose answer nobody has seen is looked for during that time; people are not faster.
	select {
	case <-ctx.Done():
	case <-time.After(timing.Adopt):
	}
	var seen transcript
	next := command(ctx, config(state, clients.New(c.provider, acct.URL, acct.Key), seen.sink), func(e *engine.Engine) error {
		if err := e.Settle(ctx); err != nil {
			return err
		}
		_, err := e.Reap(ctx, false)
		return err
	})
	for ctx.Err() == nil && len(p.guardians()) > 0 { // one that lives does it, and the command leaves it alone
		time.Sleep(20 * time.Millisecond)
	}
	r.left = take(ctx, acct, state)
	if r.left.there > 0 || r.left.open > 0 {
		wrong("after the next command (%v): %d machines at the provider, %d open records", next, r.left.there, r.left.open)
	}
	r.wrong = append(r.wrong, r.left.wrong...)
	if len(r.wrong) > 0 {
		logs, _ := filepath.Glob(filepath.Join(state, "guardians", "*"))
		for _, log := range logs {
			text, _ := os.ReadFile(log)
			seen.lines = append(seen.lines, "guardian: "+string(text))
		}
		wrong("%s\nthe next command:\n%s", said.String(), strings.Join(seen.all(), "\n"))
	}
	return r
}

// transitions counts those of a journal.
func transitions(ctx context.Context, state string) (n int, err error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(state, "journal.db")+"?mode=ro&_pragma=busy_timeout(10000)") // a guardian may write
	if err != nil {
		return 0, err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM transitions").Scan(&n)
	return n, err
}

// crashTable sums rows up.
func crashTable(rows []crashRow) string {
	type sum struct{ cases, killed, there, known, left int }
	sums := map[string]*sum{}
	total := &sum{}
	for _, r := range rows {
		kind := "random instant"
		if r.moment.Transition > 0 {
			kind = "transition"
		}
		if r.moment.Guardian {
			kind += ", guardian too"
		}
		name := fmt.Sprintf("%-8s %s", r.provider, kind)
		if sums[name] == nil {
			sums[name] = &sum{}
		}
		for _, s := range []*sum{sums[name], total} {
			s.cases++
			if r.killed {
				s.killed++
			}
			s.there += r.found.there
			s.known += r.found.known
			s.left += r.left.there + r.left.open
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-38s %6s %7s %12s %11s %5s\n", "", "cases", "killed", "at provider", "in journal", "left")
	line := func(name string, s *sum) {
		fmt.Fprintf(&b, "%-38s %6d %7d %12d %11d %5d\n", name, s.cases, s.killed, s.there, s.known, s.left)
	}
	var names []string
	for name := range sums {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		line(name, sums[name])
	}
	line("all", total)
	return b.String()
}

// job is what the killed process runs.
func job(provider string) engine.Job {
	return engine.Job{
		Name: "crash", Provision: &gpu.Query{Providers: []string{provider}},
		Command: engine.Shell("echo begun; sleep 0.1; echo kept > out.txt"),
		Results: []engine.ResultSpec{{Remote: "out.txt", Local: "./"}},
	}
}

// process is a process of bifrost that these tests start: this binary, told by its environment.
type process struct {
	State, Provider, URL, Key string
	Moment                    moment
}

// The variables by which the test binary knows that it is a client, or a guardian.
const (
	clientEnv   = "BIFROST_MONEY_CLIENT"
	guardianEnv = "BIFROST_MONEY_GUARDIAN"
)

func (p process) environment(role string) string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return role + "=" + string(text)
}

func (p process) command(role string) *exec.Cmd {
	cmd := exec.Command(executable())
	cmd.Env = append(os.Environ(), p.environment(role))
	cmd.Dir = p.State
	return cmd
}

func executable() string {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return exe
}

// guardians are the guardian processes of the state folder.
func (p process) guardians() (found []*os.Process) {
	procs, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is right
	for _, path := range procs {
		env, _ := os.ReadFile(path) // it may have ended
		if !strings.Contains("\x00"+string(env), "\x00"+guardianEnv+"=") || !strings.Contains(string(env), `"State":"`+p.State+`"`) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		if proc, err := os.FindProcess(pid); err == nil {
			found = append(found, proc)
		}
	}
	return found
}

func (p process) killGuardians() {
	for _, g := range p.guardians() {
		_ = g.Kill() // it may have ended
	}
}

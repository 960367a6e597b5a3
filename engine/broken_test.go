//go:build unix

package engine_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/report"
)

// A sample is a job with a known log and known results, which counts how often it was started.
type sample struct {
	job          engine.Job
	log, results []byte
	count        string // on this machine: grows by a line with each start
}

const sampleCode = 7

// newSample makes a sample for a node whose home is a folder of this machine.
func newSample(t *testing.T, home, name string) sample {
	t.Helper()
	s := sample{log: noise(60 << 10), results: noise(90 << 10), count: filepath.Join(home, "count-"+name)}
	source := tree(t, map[string]string{"log": string(s.log), "results": string(s.results), "a/b c": "small"})
	s.job = engine.Job{
		Name: name, Source: source, Workspace: "~/work-" + name, Bootstrap: []engine.Step{{Command: "echo prepared > ready"}},
		Command: engine.Shell(fmt.Sprintf("echo >> ~/count-%s; cat log; mkdir -p out; cp results ready out; exit %d", name, sampleCode)),
		Env:     []engine.Var{{Name: "TOKEN", Value: "x"}}, Timeout: 5 * time.Minute, Results: []engine.ResultSpec{{Remote: "out", Local: "got-" + name}},
	}
	return s
}

func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// starts is how often the job was started.
func (s sample) starts() int {
	text, _ := os.ReadFile(s.count) // missing before the first
	return bytes.Count(text, []byte("\n"))
}

// check looks at what a run that succeeded brought.
func (s sample) check(t *testing.T, state string, res engine.Result, log []byte) {
	t.Helper()
	if res.Status != "failed" || res.ExitCode != sampleCode {
		t.Errorf("status %s, exit code %d, want failed, %d", res.Status, res.ExitCode, sampleCode)
	}
	if !bytes.Equal(log, s.log) {
		t.Errorf("a log of %d bytes differs from the %d that were written", len(log), len(s.log))
	}
	if kept, err := os.ReadFile(res.LogPath); err != nil || !bytes.Equal(kept, s.log) {
		t.Errorf("the log's copy of %d bytes differs, %v", len(kept), err)
	}
	got := filepath.Join(state, s.job.Results[0].Local)
	for name, want := range map[string][]byte{"results": s.results, "ready": []byte("prepared\n")} {
		if have, err := os.ReadFile(filepath.Join(got, name)); err != nil || !bytes.Equal(have, want) {
			t.Errorf("result %s of %d bytes differs from %d, %v", name, len(have), len(want), err)
		}
	}
}

// run runs the sample and checks what came of it; where it failed on the connection it must do so
// in a clear way, and a second run must succeed. It returns the error of the first.
func (s sample) run(t *testing.T, state string, eng *engine.Engine, mended func()) error {
	t.Helper()
	var out bytes.Buffer
	res, err := eng.Run(t.Context(), s.job, engine.RunOptions{Stdout: &out})
	mended()
	n := s.starts()
	if n > 1 {
		t.Errorf("the job was started %d times", n)
	}
	if err == nil {
		s.check(t, state, res, out.Bytes())
		return nil
	}
	t.Logf("failed: %v", err)
	switch kind := fault.KindOf(err); kind {
	case fault.Lost, fault.Unreachable, fault.Transfer, fault.Results:
	default:
		t.Errorf("error of kind %s: %v", kind, err)
	}
	if res.ExitCode != 0 && res.ExitCode != sampleCode {
		t.Errorf("exit code %d was reported with an error", res.ExitCode)
	}
	out.Reset()
	res, again := eng.Run(t.Context(), s.job, engine.RunOptions{Stdout: &out})
	if again != nil {
		t.Fatalf("the second run: %v", again)
	}
	s.check(t, state, res, out.Bytes())
	if got := s.starts(); got > n+1 {
		t.Errorf("the second run started the job %d times", got-n)
	}
	return err
}

// at calls f when a step starts, once.
func at(step string, f func()) func(*engine.Config) {
	var once sync.Once
	return func(c *engine.Config) {
		next := c.Report
		c.Report = func(ev report.Event) {
			next(ev)
			if ev.Kind == report.Started && ev.Step == step {
				once.Do(f)
			}
		}
	}
}

// TestCutAtEveryStep breaks the connection once, at byte counts that are spread over every step of
// a run.
func TestCutAtEveryStep(t *testing.T) {
	t.Parallel()
	server := enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Plain})
	run := func(t *testing.T, name, step string, cut func(p *enginetest.Proxy, began int64)) *enginetest.Proxy {
		proxy := enginetest.NewProxy(t, server.Addr)
		target, change := onServer(t, server, proxy.Port)
		s := newSample(t, server.Home, name)
		s.job.SSH = target
		state := stateDir(t)
		eng, _ := openAt(t, state, change, at(step, func() { cut(proxy, proxy.Carried()) }))
		if err := s.run(t, state, eng, func() { proxy.CutAfter(-1) }); err != nil {
			t.Errorf("a single cut was not mended: %v", err)
		}
		return proxy
	}
	steps := []string{"connect", "push", "bootstrap 1/1", "start", "results"}
	began := map[string]int64{}
	var total, started int64
	{ // how many bytes each step takes
		proxy := enginetest.NewProxy(t, server.Addr)
		target, change := onServer(t, server, proxy.Port)
		s := newSample(t, server.Home, "whole")
		s.job.SSH = target
		changes := []func(*engine.Config){change}
		for _, step := range steps {
			changes = append(changes, at(step, func() { began[step] = proxy.Carried() }))
		}
		state := stateDir(t)
		eng, _ := openAt(t, state, changes...)
		var out bytes.Buffer
		res, err := eng.Run(t.Context(), s.job, engine.RunOptions{Stdout: &out, Started: func(*engine.Handle) { started = proxy.Carried() }})
		if err != nil {
			t.Fatal(err)
		}
		total = proxy.Carried()
		s.check(t, state, res, out.Bytes())
	}
	for i, step := range steps {
		end := total
		if i+1 < len(steps) {
			end = began[steps[i+1]]
		}
		size := end - began[step]
		points := []int64{1, size / 5, size * 2 / 5, size * 3 / 5, size * 4 / 5, size - 1}
		if step == "start" { // the log is in it too; look closely at the answer, which may be lost
			asked := started - began[step]
			points = append(points, asked/4, asked/2, asked-700, asked-500, asked-400, asked-300, asked-200, asked-100, asked-50, asked+50)
		}
		slices.Sort(points)
		for k, n := range points {
			t.Run(fmt.Sprintf("%s, byte %d of %d", step, n, size), func(t *testing.T) {
				t.Parallel()
				proxy := run(t, fmt.Sprintf("cut-%d-%d", i, k), step, func(p *enginetest.Proxy, _ int64) { p.CutAfter(max(n, 1)) })
				if proxy.Accepted() < 2 && n < size*9/10 {
					t.Error("nothing was cut")
				}
			})
		}
	}
}

// TestCutAgainAndAgain breaks the connection at random moments, to every kind of server.
func TestCutAgainAndAgain(t *testing.T) {
	t.Parallel()
	servers := map[string]func(t *testing.T) *enginetest.Server{
		"openssh": openSSH(enginetest.Options{User: enginetest.Plain}),
		"busybox": openSSH(enginetest.Options{User: enginetest.Root, Busybox: true}),
		"dropbear": func(t *testing.T) *enginetest.Server {
			return enginetest.Dropbear(t, enginetest.Options{User: enginetest.Plain})
		},
	}
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			for i := range 3 {
				proxy := enginetest.NewProxy(t, server.Addr)
				target, change := onServer(t, server, proxy.Port)
				s := newSample(t, server.Home, fmt.Sprintf("random-%d", i))
				s.job.SSH = target
				s.job.Command.Shell = "for i in 1 2 3 4 5 6 7 8 9 10; do head -c 6144; sleep 0.1; done <log; " + strings.Replace(s.job.Command.Shell, "cat log; ", "", 1)
				state := stateDir(t)
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				stop := func() {}
				eng, _ := openAt(t, state, change, at("push", func() {
					stop = proxy.CutRandomly(t, seed, 150*time.Millisecond, 900*time.Millisecond)
				}))
				_ = s.run(t, state, eng, func() { stop() }) // run has judged it
			}
		})
	}
}

// together runs subtests that mostly wait, all at once whatever -parallel says.
func together(t *testing.T, names []string, test func(t *testing.T, name string)) {
	t.Helper()
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() { t.Run(name, func(t *testing.T) { test(t, name) }) })
	}
	all.Wait()
}

// TestStartAnswerLost cuts the connection when the job runs and its start has not been answered.
func TestStartAnswerLost(t *testing.T) {
	t.Parallel()
	server := enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Plain})
	together(t, []string{"the node comes back", "the node stays away"}, func(t *testing.T, name string) {
		back := name == "the node comes back"
		proxy := enginetest.NewProxy(t, server.Addr)
		target, change := onServer(t, server, proxy.Port)
		s := newSample(t, server.Home, fmt.Sprintf("answer-%v", back))
		s.job.SSH = target
		state := stateDir(t)
		var watch sync.WaitGroup
		eng, seen := openAt(t, state, change, func(c *engine.Config) {
			if c.Guardian = nil; !back {
				c.Patience = time.Second
			}
		}, at("start", func() {
			watch.Go(func() {
				for deadline := time.Now().Add(time.Minute); s.starts() == 0 && time.Now().Before(deadline); {
					time.Sleep(time.Millisecond) // between two looks at the condition
				}
				proxy.Refuse(!back)
				proxy.Cut()
			})
		}))
		if back {
			if err := s.run(t, state, eng, watch.Wait); err != nil {
				t.Error(err)
			}
			if !strings.Contains(seen.text(), "start: the connection broke; trying again") {
				t.Log("the answer came before the cut")
			}
			return
		}
		res, err := eng.Run(t.Context(), s.job, engine.RunOptions{})
		watch.Wait()
		if fault.KindOf(err) != fault.Lost || res.Status != "lost" || res.ExitCode != 0 {
			t.Errorf("%+v, %v", res, err)
		}
		if job, err := eng.Job(t.Context(), "@last"); err != nil || job.State != journal.JobRunning || job.ExitCode != nil {
			t.Errorf("journal: %+v, %v", job, err)
		}
		proxy.Refuse(false)
		var out bytes.Buffer
		res, err = eng.Follow(t.Context(), res.JobID, &out)
		if err != nil {
			t.Fatal(err)
		}
		s.check(t, state, res, out.Bytes())
		if s.starts() != 1 {
			t.Errorf("started %d times", s.starts())
		}
	})
}

// TestStall lets no byte through at some moment: the silence is noticed, and mended as a cut is.
func TestStall(t *testing.T) {
	t.Parallel()
	server := enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Plain})
	together(t, []string{"push", "start", "results"}, func(t *testing.T, step string) {
		proxy := enginetest.NewProxy(t, server.Addr)
		target, change := onServer(t, server, proxy.Port)
		s := newSample(t, server.Home, "stall-"+step)
		s.job.SSH = target
		state := stateDir(t)
		var noticed time.Duration
		var watch sync.WaitGroup
		eng, _ := openAt(t, state, change, at(step, func() {
			proxy.Stall()
			began, before := time.Now(), proxy.Accepted()
			watch.Go(func() {
				for proxy.Accepted() == before && time.Since(began) < time.Minute {
					time.Sleep(10 * time.Millisecond) // between two looks at the condition
				}
				noticed = time.Since(began)
				proxy.Resume()
			})
		}))
		if err := s.run(t, state, eng, watch.Wait); err != nil {
			t.Errorf("a stall was not mended: %v", err)
		}
		if noticed > 25*time.Second { // 15, and something for a busy machine
			t.Errorf("noticed after %v", noticed)
		}
	})
}

// TestSlowNetwork runs over a connection that takes its time.
func TestSlowNetwork(t *testing.T) {
	t.Parallel()
	server := enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Plain})
	proxy := enginetest.NewProxy(t, server.Addr)
	proxy.Delay(50 * time.Millisecond)
	target, change := onServer(t, server, proxy.Port)
	s := newSample(t, server.Home, "slow")
	s.job.SSH = target
	state := stateDir(t)
	eng, seen := openAt(t, state, change)
	if err := s.run(t, state, eng, func() {}); err != nil {
		t.Error(err)
	}
	if proxy.Accepted() != 1 || strings.Contains(seen.text(), "again") {
		t.Errorf("%d connections were made", proxy.Accepted())
	}
}

// TestBigResultsResume cuts a download in the middle: what is here is not sent again.
func TestBigResultsResume(t *testing.T) {
	t.Parallel()
	server := enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Plain})
	proxy := enginetest.NewProxy(t, server.Addr)
	target, change := onServer(t, server, proxy.Port)
	state := stateDir(t)
	const size = 50 << 20
	eng, _ := openAt(t, state, change, at("results", func() { proxy.CutAfter(size / 2) }))
	var out bytes.Buffer
	_, err := eng.Run(t.Context(), engine.Job{
		SSH: target, Command: engine.Shell(fmt.Sprintf("head -c %d /dev/urandom > big; sha256sum < big", size)),
		Results: []engine.ResultSpec{{Remote: "big", Local: "./"}},
	}, engine.RunOptions{Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(state, "big"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(got)
	if want, _, _ := strings.Cut(out.String(), " "); hex.EncodeToString(sum[:]) != want {
		t.Errorf("%d bytes with another hash than on the node", len(got))
	}
	if carried := proxy.Carried(); proxy.Accepted() < 2 || carried > size*13/10 {
		t.Errorf("%d connections carried %d bytes for %d", proxy.Accepted(), carried, size)
	}
}

//go:build linux

package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/gpu"
)

// behind is a provider whose machines are reached through a proxy.
type behind struct {
	gpu.Provider
	proxy *enginetest.Proxy
}

// behindProxy puts the local nodes of an engine behind a proxy.
func behindProxy(p *enginetest.Proxy) func(*engine.Config) {
	return func(c *engine.Config) { c.Providers[0] = behind{c.Providers[0], p} }
}

func (b behind) through(inst gpu.Instance, err error) (gpu.Instance, error) {
	if inst.Port != 0 {
		b.proxy.SetTarget(fmt.Sprintf("%s:%d", inst.Host, inst.Port))
		inst.Host, inst.Port = "127.0.0.1", b.proxy.Port
	}
	return inst, err
}

func (b behind) Create(ctx context.Context, req gpu.CreateRequest) (gpu.Instance, error) {
	return b.through(b.Provider.Create(ctx, req))
}

func (b behind) Get(ctx context.Context, id string) (gpu.Instance, error) {
	return b.through(b.Provider.Get(ctx, id))
}

// ended counts how often a step came to a good end.
func (e *events) ended(step string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, ev := range e.all {
		if ev.Kind == report.Ended && ev.Step == step && ev.Err == nil {
			n++
		}
	}
	return n
}

// TestNodeAwayForGood takes the node away while the job runs. The run gives up in the end and says
// so; the job goes on, and whoever attaches later gets all of it.
func TestNodeAwayForGood(t *testing.T) {
	t.Parallel()
	together(t, []string{"ssh", "local", "local, finished by its guardian"}, func(t *testing.T, kind string) {
		state := stateDir(t)
		job := engine.Job{
			Command: engine.Shell("echo begun; until [ -e " + state + "/go ]; do sleep 0.05; done; echo result > out; chmod 644 out; echo ended; exit 6"),
			Results: []engine.ResultSpec{{Remote: "out", Local: "./"}}, OnFailure: engine.Failure{},
		}
		var proxy *enginetest.Proxy
		var change func(*engine.Config)
		if kind == "ssh" {
			server := enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Root})
			proxy = enginetest.NewProxy(t, server.Addr)
			job.SSH, change = onServer(t, server, proxy.Port)
		} else {
			proxy = enginetest.NewProxy(t, "")
			job.Provision, change = onLocal(), behindProxy(proxy)
		}
		eng, _ := openAt(t, state, change, func(c *engine.Config) { c.Patience = time.Second })
		var out bytes.Buffer
		res, err := eng.Run(t.Context(), job, engine.RunOptions{Stdout: &out, Started: func(*engine.Handle) {
			proxy.Refuse(true)
			proxy.Cut()
		}})
		if fault.KindOf(err) != fault.Lost || !strings.Contains(err.Error(), "no answer since") || !strings.Contains(fault.HintOf(err), "attach") {
			t.Errorf("error %v (%s), hint %q", err, fault.KindOf(err), fault.HintOf(err))
		}
		if res.Status != "lost" || res.ExitCode != 0 || !strings.Contains(res.Machine, "not released") {
			t.Errorf("result %+v", res)
		}
		if rec, err := eng.Job(t.Context(), res.JobID); err != nil || rec.State != journal.JobRunning || rec.ExitCode != nil {
			t.Errorf("journal: %+v, %v", rec, err)
		}
		if rec, err := eng.Node(t.Context(), res.NodeID); err != nil || rec.State != journal.NodeReady {
			t.Errorf("node: %+v, %v", rec, err)
		}
		proxy.Refuse(false)
		if err := os.WriteFile(filepath.Join(state, "go"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if kind == "local, finished by its guardian" {
			if err := eng.Close(); err != nil {
				t.Fatal(err)
			}
			eng, _ = openAt(t, state, func(c *engine.Config) { c.Guardian = nil })
			enginetest.Until(t, "the guardian to finish the job", func() bool {
				nodes, err := eng.Nodes(t.Context(), false)
				return err == nil && len(nodes) == 0
			})
		}
		if res, err = eng.Follow(t.Context(), res.JobID, &out); err != nil {
			t.Fatal(err)
		}
		if res.Status != "failed" || res.ExitCode != 6 {
			t.Errorf("result %+v", res)
		}
		if got := out.String(); got != "begun\nended\n" {
			t.Errorf("log %q", got)
		}
		if got, err := os.ReadFile(filepath.Join(state, "out")); err != nil || string(got) != "result\n" {
			t.Errorf("result %q, %v", got, err)
		}
		if kind != "ssh" {
			if res.Machine != "terminated and confirmed" {
				t.Errorf("machine %s", res.Machine)
			}
			nothingLeft(t, state)
		}
	})
}

// TestTwoAttach has two processes finish one job: both see it whole, one of them does the rest.
func TestTwoAttach(t *testing.T) {
	t.Parallel()
	state := stateDir(t)
	proxy := enginetest.NewProxy(t, "")
	alone := func(c *engine.Config) { c.Guardian = nil }
	eng, _ := openAt(t, state, alone, behindProxy(proxy))
	h, err := eng.Start(t.Context(), engine.Job{
		Provision: onLocal(), Command: engine.Shell("until [ -e " + state + "/go ]; do sleep 0.05; done; seq 5000; echo x > out; exit 4"),
		Results: []engine.ResultSpec{{Remote: "out", Local: "./"}},
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	id := h.JobID()
	if err := eng.Close(); err != nil {
		t.Fatal(err)
	}
	before := proxy.Accepted()
	var want bytes.Buffer
	for i := range 5000 {
		fmt.Fprintln(&want, i+1)
	}
	var both sync.WaitGroup
	var seen [2]*events
	for i := range 2 {
		var e *engine.Engine
		e, seen[i] = openAt(t, state, alone, behindProxy(proxy))
		both.Go(func() {
			var out bytes.Buffer
			res, err := e.Follow(t.Context(), id, &out)
			if err != nil || res.ExitCode != 4 || res.Status != "failed" || res.Machine != "terminated and confirmed" {
				t.Errorf("%+v, %v", res, err)
			}
			if !bytes.Equal(out.Bytes(), want.Bytes()) {
				t.Errorf("a log of %d bytes, want %d", out.Len(), want.Len())
			}
		})
	}
	enginetest.Until(t, "both to be connected", func() bool { return proxy.Accepted() == before+2 })
	if err := os.WriteFile(filepath.Join(state, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	both.Wait()
	for _, step := range []string{"results", "release"} {
		if n := seen[0].ended(step) + seen[1].ended(step); n != 1 {
			t.Errorf("%s was done %d times", step, n)
		}
	}
	if got, err := os.ReadFile(filepath.Join(state, "out")); err != nil || string(got) != "x\n" {
		t.Errorf("result %q, %v", got, err)
	}
	nothingLeft(t, state)
}

// TestMachineDies kills the daemon of a local node, which is as much as a machine can die.
func TestMachineDies(t *testing.T) {
	t.Parallel()
	for _, attached := range []bool{false, true} {
		t.Run(fmt.Sprintf("attached: %v", attached), func(t *testing.T) {
			t.Parallel()
			state := stateDir(t)
			eng, _ := openAt(t, state)
			kill := func() {
				text, err := os.ReadFile(onlyFile(t, state, "local/[^.]*/info.json"))
				var info struct{ Pid int }
				if err == nil {
					err = json.Unmarshal(text, &info)
				}
				if err != nil || info.Pid == 0 {
					t.Errorf("%s: %v", text, err)
					return
				}
				if err := syscall.Kill(info.Pid, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}
			job := engine.Job{Provision: onLocal(), Command: engine.Shell("echo begun; sleep 1000"), Results: []engine.ResultSpec{{Remote: "x", Local: "./"}}}
			killer := &onWrite{do: kill}
			var res engine.Result
			var err error
			if attached {
				h, startErr := eng.Start(t.Context(), job, true)
				if startErr != nil {
					t.Fatal(startErr)
				}
				res, err = eng.Follow(t.Context(), h.JobID(), killer)
			} else {
				res, err = eng.Run(t.Context(), job, engine.RunOptions{Stdout: killer})
			}
			if fault.KindOf(err) != fault.Lost || !strings.Contains(err.Error(), "the machine has died") || fault.HintOf(err) == "" {
				t.Errorf("error %v (%s)", err, fault.KindOf(err))
			}
			if res.Status != "lost" || res.ExitCode != 0 || res.Machine != "terminated and confirmed" {
				t.Errorf("result %+v", res)
			}
			if job, err := eng.Job(t.Context(), res.JobID); err != nil || job.State != journal.JobLost {
				t.Errorf("job %+v, %v", job, err)
			}
			if nodes, err := eng.Nodes(t.Context(), true); err != nil || len(nodes) != 1 || nodes[0].State != journal.NodeGone {
				t.Errorf("nodes %+v, %v", nodes, err)
			}
			nothingLeft(t, state)
		})
	}
}

func onlyFile(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Errorf("%s: %v, %v", pattern, found, err)
		return ""
	}
	return found[0]
}

// onWrite does something at the first byte of a log.
type onWrite struct {
	once sync.Once
	do   func()
	bytes.Buffer
}

func (o *onWrite) Write(p []byte) (int, error) {
	o.once.Do(o.do)
	return o.Buffer.Write(p)
}

// smallDisk mounts a small file system that everybody may write to.
func smallDisk(t *testing.T, dir, size string) {
	t.Helper()
	enginetest.Need(t, "root")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=777,size="+size); err != nil {
		t.Skipf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

func TestDiskFullWhilePushing(t *testing.T) {
	t.Parallel()
	server := enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Plain})
	smallDisk(t, server.Home, "1m")
	target, change := onServer(t, server, server.Port)
	eng, _ := open(t, change)
	res, err := eng.Run(t.Context(), engine.Job{SSH: target, Source: tree(t, map[string]string{"big": string(noise(3 << 20))}), Command: engine.Shell("true")}, engine.RunOptions{})
	if fault.KindOf(err) != fault.DiskFull || !strings.Contains(err.Error(), "no space left on the node") || fault.HintOf(err) == "" {
		t.Errorf("error %v (%s), hint %q", err, fault.KindOf(err), fault.HintOf(err))
	}
	if res.Status != "failed" || res.Machine != "left as it was (ssh)" {
		t.Errorf("result %+v", res)
	}
}

func TestDiskFullWhileTheJobWrites(t *testing.T) {
	t.Parallel()
	server := enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Plain})
	smallDisk(t, server.Home, "1m")
	target, change := onServer(t, server, server.Port)
	eng, seen := open(t, change)
	var out bytes.Buffer
	res, err := eng.Run(t.Context(), engine.Job{
		SSH: target, Command: engine.Shell("echo begun; head -c 3000000 /dev/zero; exit 9"),
	}, engine.RunOptions{Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	if res.Status != "failed" || res.ExitCode != 9 {
		t.Errorf("result %+v", res)
	}
	if !strings.HasPrefix(out.String(), "begun\n") || out.Len() < 500000 {
		t.Errorf("log of %d bytes", out.Len())
	}
	if !strings.Contains(seen.text(), "the disk of "+res.NodeID+" is full") {
		t.Error("no warning names the disk")
	}
}

func TestDiskFullHereHoldsTheMachine(t *testing.T) {
	t.Parallel()
	state := stateDir(t)
	eng, _ := openAt(t, state, func(c *engine.Config) { c.Guardian = nil })
	full := filepath.Join(state, "small")
	smallDisk(t, full, "100k")
	res, err := eng.Run(t.Context(), engine.Job{
		Provision: onLocal(), Command: engine.Shell("head -c 1000000 /dev/urandom > out"), Results: []engine.ResultSpec{{Remote: "out", Local: "small/"}},
	}, engine.RunOptions{})
	var cause *fault.Error
	for e := err; errors.As(e, &cause) && cause.Kind != fault.DiskFull; e = cause.Err {
	}
	if fault.KindOf(err) != fault.Results || cause == nil || cause.Kind != fault.DiskFull || !strings.Contains(err.Error(), full) {
		t.Errorf("error %v (%s)", err, fault.KindOf(err))
	}
	if res.Status != "succeeded" || res.HeldUntil.IsZero() || !strings.HasPrefix(res.Machine, "held until") {
		t.Errorf("result %+v", res)
	}
	if err := unix.Mount("tmpfs", full, "tmpfs", unix.MS_REMOUNT, "size=4m"); err != nil {
		t.Fatal(err)
	}
	if _, err := eng.Sync(t.Context(), res.JobID); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(full, "out")); err != nil || info.Size() != 1000000 {
		t.Errorf("result: %v, %v", info, err)
	}
	nothingLeft(t, state)
}

// TestCancelledFromElsewhere ends a job whose exec is attached.
func TestCancelledFromElsewhere(t *testing.T) {
	t.Parallel()
	state := stateDir(t)
	eng, _ := openAt(t, state)
	other, _ := openAt(t, state)
	var out bytes.Buffer
	res, err := eng.Run(t.Context(), engine.Job{
		Provision: onLocal(), Command: engine.Shell("echo half > out; echo begun; sleep 1000"), Results: []engine.ResultSpec{{Remote: "out", Local: "./"}},
	}, engine.RunOptions{Stdout: &onWrite{do: func() {
		go func() { // the log must go on meanwhile
			if err := other.Cancel(context.WithoutCancel(t.Context()), "@last"); err != nil {
				t.Errorf("cancel: %v", err)
			}
		}()
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if res.Status != "cancelled" || !strings.Contains(res.Reason, "cancelled by") {
		t.Errorf("result %+v, log %q", res, out.String())
	}
	if got, err := os.ReadFile(filepath.Join(state, "out")); err != nil || string(got) != "half\n" {
		t.Errorf("result %q, %v", got, err)
	}
	nothingLeft(t, state)
}

// TestReplacedFromElsewhere starts a job in the session of another one that runs.
func TestReplacedFromElsewhere(t *testing.T) {
	t.Parallel()
	server := enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Plain})
	target, change := onServer(t, server, server.Port)
	state := stateDir(t)
	eng, _ := openAt(t, state, change)
	other, seen := openAt(t, state, change)
	second := engine.Job{Name: "train", SSH: target, Workspace: "~/second", Command: engine.Shell("exit 3"), Refuse: true}
	var secondID string
	var wg sync.WaitGroup
	res, err := eng.Run(t.Context(), engine.Job{
		Name: "train", SSH: target, Command: engine.Shell("echo half > out; echo begun; sleep 1000"), Results: []engine.ResultSpec{{Remote: "out", Local: "./"}},
	}, engine.RunOptions{Stdout: &onWrite{do: func() {
		wg.Go(func() {
			_, err := other.Run(context.WithoutCancel(t.Context()), second, engine.RunOptions{})
			if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "still runs") {
				t.Errorf("refuse: %v (%s)", err, fault.KindOf(err))
			}
			second.Refuse = false
			res, err := other.Run(context.WithoutCancel(t.Context()), second, engine.RunOptions{})
			if err != nil || res.ExitCode != 3 || res.Status != "failed" {
				t.Errorf("second: %+v, %v", res, err)
			}
			secondID = res.JobID
		})
	}}})
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if res.Status != "cancelled" || res.Reason != "replaced by "+secondID {
		t.Errorf("result %+v, want one replaced by %s", res, secondID)
	}
	if got, err := os.ReadFile(filepath.Join(state, "out")); err != nil || string(got) != "half\n" {
		t.Errorf("result %q, %v", got, err)
	}
	if job, err := eng.Job(t.Context(), res.JobID); err != nil || job.State != journal.JobCancelled || job.Reason != res.Reason || !job.ResultsDone {
		t.Errorf("journal %+v, %v", job, err)
	}
	if !strings.Contains(seen.text(), res.JobID+" still ran under the name train") {
		t.Error("nothing was said of the job that was replaced")
	}
}

// TestManyJobsOnOneNode runs sixteen jobs at once over the connections of one engine.
func TestManyJobsOnOneNode(t *testing.T) {
	t.Parallel()
	server := enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Plain})
	target, change := onServer(t, server, server.Port)
	state := stateDir(t)
	eng, _ := openAt(t, state, change)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			var out bytes.Buffer
			res, err := eng.Run(t.Context(), engine.Job{
				Name: fmt.Sprintf("many-%d", i), SSH: target, Workspace: fmt.Sprintf("~/many/%d", i),
				Command: engine.Shell(fmt.Sprintf("for i in $(seq 200); do echo %d-$i; done; echo %d > out; exit %d", i, i, i)),
				Results: []engine.ResultSpec{{Remote: "out", Local: fmt.Sprintf("out-%d", i)}},
			}, engine.RunOptions{Stdout: &out})
			if err != nil || res.ExitCode != i {
				t.Errorf("job %d: %+v, %v", i, res, err)
				return
			}
			var want bytes.Buffer
			for k := range 200 {
				fmt.Fprintf(&want, "%d-%d\n", i, k+1)
			}
			if !bytes.Equal(out.Bytes(), want.Bytes()) {
				t.Errorf("job %d: a log of %d bytes, want %d", i, out.Len(), want.Len())
			}
			if got, err := os.ReadFile(filepath.Join(state, fmt.Sprintf("out-%d", i))); err != nil || string(got) != fmt.Sprintln(i) {
				t.Errorf("job %d: result %q, %v", i, got, err)
			}
		})
	}
	all.Wait()
}

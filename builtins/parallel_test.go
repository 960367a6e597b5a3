package builtins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// A stagedEngine runs jobs that last until all of them have started, or until their context ends. It
// counts those that were begun and torn down.
type stagedEngine struct {
	*fakeEngine
	together chan struct{} // closed when as many as count run at once
	all      sync.Once
	count    int32

	begun, running, ended atomic.Int32
	tooMany               atomic.Bool
}

func newStagedEngine(count int32) *stagedEngine {
	return &stagedEngine{fakeEngine: &fakeEngine{io.Discard}, together: make(chan struct{}), count: count}
}

func (e *stagedEngine) Run(ctx context.Context, job Job, opts RunOptions) (engine.Result, error) {
	defer e.ended.Add(1)
	e.begun.Add(1)
	running := e.running.Add(1)
	defer e.running.Add(-1)
	if running == e.count {
		e.all.Do(func() { close(e.together) })
	}
	if running > e.count {
		e.tooMany.Store(true)
	}
	res := engine.Result{JobID: job.Name, Status: "succeeded"}
	select {
	case <-e.together:
	case <-ctx.Done():
		res.Status = "cancelled"
		return res, context.Cause(ctx)
	}
	for range 20 {
		io.WriteString(opts.Stdout, "part one, ")
		io.WriteString(opts.Stdout, "part two of "+job.Name+"\n")
	}
	if job.Command.Shell == "forever" {
		<-ctx.Done()
		res.Status = "cancelled"
		return res, context.Cause(ctx)
	}
	_, err := fmt.Sscanf(job.Command.Shell, "exit %d", &res.ExitCode)
	if err == nil && res.ExitCode != 0 {
		res.Status = "failed"
	}
	return res, nil
}

// execute runs a script on an engine in a folder of its own.
func execute(t *testing.T, e Engine, opts Options, limits starlark.Limits, script string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "x.star")
	if err := os.WriteFile(path, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	out := new(syncBuffer)
	opts.JobOutput, opts.WorkDir = out, dir
	host := testHost(New(e, opts), out, policy.Typed())
	host.Limits = limits
	_, err := host.Exec(t.Context(), path, nil)
	return out.b.String(), err
}

const threeJobs = `
def run(job):
    return with_job(job).status

def jobs(*commands):
    return [remote_job(ssh = "gpu", name = "job%d" % i, command = c, timeout = None) for i, c in enumerate(commands)]
`

func TestParallelJobs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, script string
		limits       starlark.Limits
		want         string // the lines that no job wrote
		err          string // in the error; "" for none
	}{
		{
			name:   "all end",
			script: `print(parallel(run, jobs("x", "x", "x"), limit = 3))`,
			want:   `[("succeeded", None), ("succeeded", None), ("succeeded", None)]`,
		},
		{
			name:   "one fails",
			script: `print([err and err.kind for _, err in parallel(run, jobs("x", "exit 3", "x"), limit = 3)])`,
			want:   `[None, "job_failed", None]`,
		},
		{
			name:   "fail_fast",
			script: `print([err.kind for _, err in parallel(run, jobs("forever", "exit 3", "forever"), limit = 3, fail_fast = True)])`,
			want:   `["cancelled", "job_failed", "cancelled"]`,
		},
		{
			name:   "typo",
			script: "def wrong(job):\n    run(job)\n    return job.nmae\nattempt(parallel, wrong, jobs(\"forever\", \"x\", \"forever\"), limit = 3)\nprint('after')",
			err:    "x.star:9: error: job has no .nmae",
		},
		{
			name:   "exit",
			script: "def leave(job):\n    run(job)\n    exit(7)\nattempt(parallel, leave, jobs(\"forever\", \"x\", \"forever\"), limit = 3)\nprint('after')",
			err:    "exit(7)",
		},
		{
			name:   "limit",
			script: "def loop(job):\n    run(job)\n    for _ in range(1 << 40):\n        pass\nattempt(parallel, loop, jobs(\"forever\", \"x\", \"forever\"), limit = 3)\nprint('after')",
			limits: starlark.Limits{Steps: 1_000_000}, err: "x.star:9: limit: the script took 1,000,000 steps",
		},
		{
			name:   "denied",
			script: "def read(job):\n    run(job)\n    secret('RUNPOD_API_KEY')\nattempt(parallel, read, jobs(\"forever\", \"x\", \"forever\"), limit = 3)\nprint('after')",
			err:    "x.star:9: denied: ",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e := newStagedEngine(3)
			text, err := execute(t, e, Options{}, test.limits, threeJobs+test.script+"\n")
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("Exec = %v, want %q in it", err, test.err)
			}
			if begun, ended := e.begun.Load(), e.ended.Load(); begun != 3 || ended != 3 {
				t.Errorf("%d jobs have begun and %d have ended, want 3 and 3", begun, ended)
			}
			var rest []string
			for line := range strings.Lines(text) {
				var i, j int
				if n, _ := fmt.Sscanf(line, "[job%d] part one, part two of job%d\n", &i, &j); n == 2 && i == j {
					continue
				}
				rest = append(rest, strings.TrimRight(line, "\n"))
			}
			if diff := cmp.Diff(test.want, strings.Join(rest, "\n")); diff != "" {
				t.Errorf("what is printed beside the jobs' lines, -want +got:\n%s", diff)
			}
		})
	}
}

func TestParallelLimit(t *testing.T) {
	t.Parallel()
	e := newStagedEngine(2)
	text, err := execute(t, e, Options{}, starlark.Limits{}, threeJobs+"print(len(parallel(run, jobs(*(['x'] * 10)), limit = 2)))\n")
	if err != nil || !strings.HasSuffix(text, "\n10\n") {
		t.Errorf("Exec = %v, printed %q", err, text)
	}
	if e.tooMany.Load() {
		t.Error("more than 2 jobs ran at once")
	}
}

func TestParallelLogs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text, err := execute(t, newStagedEngine(1), Options{}, starlark.Limits{}, threeJobs+`
def work(name):
    print(name, "begins")
    with_job(remote_job(ssh = "gpu", name = "n", command = "x", timeout = None))
    print("open end", end = "")
parallel(work, ["a/1", "b"], limit = 1, log_dir = "`+dir+`/logs")
`)
	if err != nil || text != "" {
		t.Errorf("Exec = %v, printed %q", err, text)
	}
	for name, first := range map[string]string{"a-1.log": "a/1 begins\n", "b.log": "b begins\n"} {
		data, err := os.ReadFile(filepath.Join(dir, "logs", name))
		want := first + strings.Repeat("part one, part two of n\n", 20) + "open end\n"
		if diff := cmp.Diff(want, string(data)); err != nil || diff != "" {
			t.Errorf("%s: %v, -want +got:\n%s", name, err, diff)
		}
	}
}

// What the jobs among the items need is asked for before the first item starts.
func TestParallelAsksFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "x.star")
	script := `
def work(item):
    print("started")
other = remote_job(ssh = "forbidden", command = "x", timeout = None)
parallel(work, [1, ("a", {"deep": [other]})])
`
	if err := os.WriteFile(path, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	out := new(syncBuffer)
	host := testHost(testLibrary(io.Discard), out, func(_ context.Context, r policy.Request) error {
		if r.Target == "forbidden" {
			return errors.New("the test forbids it")
		}
		return nil
	})
	_, err := host.Exec(t.Context(), path, nil)
	var denied *policy.Denied
	if !errors.As(err, &denied) || out.b.Len() > 0 {
		t.Errorf("Exec = %v, printed %q; want a refusal before anything starts", err, out.b.String())
	}
}

// A countingClock lets time pass when it is asked to.
type countingClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *countingClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *countingClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return context.Cause(ctx)
}

func TestParallelStagger(t *testing.T) {
	t.Parallel()
	clock := &countingClock{now: time.Unix(0, 0)}
	if _, err := execute(t, newStagedEngine(1), Options{Clock: clock}, starlark.Limits{}, "parallel(lambda x: x, [1, 2, 3], stagger = \"30s\")\n"); err != nil {
		t.Fatal(err)
	}
	if got, want := clock.Now().Unix(), int64(60); got != want {
		t.Errorf("the starts took %d s, want %d", got, want)
	}
}

// A cancelled run stops every item, and each tears down.
func TestParallelCancelled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.star")
	if err := os.WriteFile(path, []byte(threeJobs+"attempt(parallel, run, jobs('forever', 'forever'))\nprint('after')\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	e := newStagedEngine(2)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("a key was pressed")
	go func() {
		<-e.together
		cancel(stop)
	}()
	out := new(syncBuffer)
	_, err := testHost(New(e, Options{JobOutput: io.Discard}), out, policy.Typed()).Exec(ctx, path, nil)
	if !errors.Is(err, stop) || e.ended.Load() != 2 || out.b.Len() > 0 {
		t.Errorf("Exec = %v, %d jobs ended, printed %q", err, e.ended.Load(), out.b.String())
	}
}

// TestBegin looks at when what may have a job is announced (+), has one that runs (run), and is ready (-), one
// item at a time.
func TestBegin(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, script, want string }{
		{"a job", `with_job(jobs("x")[0])`, "+ run - ending"},
		{"a job that does not start", `attempt(with_job, remote_job(ssh = "gpu", command = "x", timeout = None, prepare = lambda n: fail("no")))`, "+ -"},
		{"a body that fails", `attempt(with_job, jobs("x")[0], lambda h: fail("no"))`, "+ run - ending"},
		{"two jobs", `[run(job) for job in jobs("x", "y")]`, "+ run - ending + run - ending"},
		{"items", `parallel(run, jobs("x", "y"), limit = 1)`, "+ + + run - - ending + run - - ending"},
		{"items without a job", `parallel(len, ["a", "b"], limit = 1)`, "+ + - -"},
		{"items that fail", `parallel(fail, ["a", "b"], limit = 1)`, "+ + - -"},
		{"items that are not begun", `parallel(fail, ["a", "b"], limit = 1, fail_fast = True)`, "+ + - -"},
		{"an item with two jobs", `parallel(lambda _: [run(job) for job in jobs("x", "y")], [1])`, "+ + run - - ending + run - ending"},
		{"items of an item", `parallel(lambda _: parallel(run, jobs("x", "y"), limit = 1), [1])`, "+ + + + run - - - ending + run - - ending"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var got []string
			saw := func(what string) {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, what)
			}
			_, err := execute(t, &fakeEngine{io.Discard}, Options{
				Begin: func() func() {
					saw("+")
					return func() { saw("-") }
				},
				Started: func(Handle) { saw("run") },
				Ending:  func(Handle) { saw("ending") },
			}, starlark.Limits{}, threeJobs+test.script)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

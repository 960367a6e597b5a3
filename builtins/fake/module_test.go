package fake

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

var printed = regexp.MustCompile(`(?m)^\s*print\(.*\)  # (.*)$`)

var (
	file  = regexp.MustCompile(`\S*/x\.star`)
	place = regexp.MustCompile(`^x\.star:\d+: `)
)

// play runs a script in a world of its own and returns what it prints, and its errors with those of the
// world's end.
func play(t *testing.T, script string) (string, []error) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "x.star")
	if err := os.WriteFile(path, []byte(script+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	w := New(t.TempDir())
	var out strings.Builder
	host := &starlark.Host{
		Predeclared: w.Library(builtins.Options{JobOutput: &out}).Predeclared(), Gate: policy.NewGate(w.Policy(dir)), Stdout: &out, Describe: Describe,
	}
	_, err = host.Exec(t.Context(), path, nil)
	var errs []error
	if err != nil {
		errs = []error{err}
	}
	return out.String(), append(errs, w.Finish()...)
}

// TestModule checks that everything in the module is documented, and runs its examples.
func TestModule(t *testing.T) {
	t.Parallel()
	for _, e := range New(t.TempDir()).Module().Entries {
		if !strings.HasSuffix(e.Doc, ".") || e.Result == "" || !slices.Equal(e.Capabilities, []policy.Capability{policy.Pure}) || !e.Effect {
			t.Errorf("%s: doc, result, capability or effect is missing", e.Name)
		}
		for _, p := range e.Params {
			if p.Doc == "" {
				t.Errorf("%s: %s has no doc", e.Name, p.Name)
			}
		}
		if !strings.Contains(e.Example, e.Name) {
			t.Errorf("%s: no example of it", e.Name)
			continue
		}
		if e.Name == "run" {
			continue // it needs a script beside it; the tests of bifrost test have one
		}
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			got, errs := play(t, e.Example)
			if err := errors.Join(errs...); err != nil {
				t.Fatalf("%v\nin\n%s", err, e.Example)
			}
			var want strings.Builder
			for _, m := range printed.FindAllStringSubmatch(e.Example, -1) {
				want.WriteString(m[1] + "\n")
			}
			if diff := cmp.Diff(want.String(), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestWorld runs whole scripts and compares what they print, then what fails the test.
func TestWorld(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, script, want string }{
		{"nodes of a sweep share the world", `
fake.on_exec("run *", stdout = "done", duration = 60, times = 8)
def one(i):
    return with_node(lambda n: n.exec("run %d" % i).stdout, provision = gpu_query())
def main():
    print([v for v, err in parallel(one, list(range(8)), limit = 8)])
    fake.assert_no_leaks()
    print(len(fake.calls("terminate")))
`, "[\"done\", \"done\", \"done\", \"done\", \"done\", \"done\", \"done\", \"done\"]\n8\n"},
		{"the clock", `
fake.on_job("x", logs = ["a", "b"], duration = 300)
h = acquire_node(ssh = "gpu").submit("x")
print(h.status(), h.wait(timeout = 60), h.status())
t = time.time()
print(h.wait(), h.status(), time.time() - t)
`, "running 124 running\n0 succeeded 240.0\n"},
		{"a log that is read twice", `
fake.on_job("x", logs = ["a", "b", "c"], duration = 40)
h = acquire_node(ssh = "gpu").submit("x")
print([l for l in h.logs(follow = False)])
time.sleep(25)
print([l for l in h.logs(follow = False)], [l for l in h.logs(tail = 1)])
`, "[]\n[\"a\", \"b\"] [\"b\", \"c\"]\n"},
		{"files", `
fake.files({"etc/a.conf": "a"})
fake.on_job("x", files = {"out/1.txt": "1", "out/sub/2.txt": "22"})
n = acquire_node(ssh = "gpu")
n.push("~/w")
n.write_file("b.txt", "b")
h = n.submit("x", working_dir = "run")
print(n.exists("run/out/1.txt"), n.exists("x.star"), n.exists("nosuch"), n.read_file("etc/a.conf"), n.expand_path("b.txt"))
h.wait()
print(n.glob("run/out/*"), h.download("out/", "here/").files, Path("here/sub/2.txt").read_text())
print(h.download("out", "./").files, Path("out/1.txt").exists(), attempt(h.download, "nosuch", "x")[1].kind, h.download("nosuch", "x", missing_ok = True).files)
Path("up.txt").write_text("up")
n.upload("up.txt", "dir/")
print(n.read_file("dir/up.txt"), attempt(n.read_file, "nosuch")[1].kind)
`, "False True False a /root/w/b.txt\n[\"run/out/1.txt\", \"run/out/sub\"] 2 22\n2 True not_found 0\nup not_found\n"},
		{"a log in a place of its own", `
fake.on_job("x", logs = ["a", "b"], exit_code = 1, duration = 60)
job = remote_job(ssh = "gpu", command = "x", timeout = 100, working_dir = "run", log_file = "out/x.log", results = {"out/x.log": "./"})
print(with_job(job, lambda h: h.log_file, check = False).value, Path("x.log").read_text())
`, "/root/.bifrost/workspace/run/out/x.log a\nb\n\n"},
		{"how jobs end", `
def end(**how):
    fake.on_job("x", **how)
    return str(attempt(with_job, remote_job(provision = gpu_query(), command = "x", timeout = 100))[1])
print(end(exit_code = 3))
print(end(signal = "KILL"))
print(end(lost = True))
print(end(duration = None))
print(end(breaks = True))
print(len(fake.calls("terminate")))
`, "job_failed: job job-1: it exited with code 3\njob_failed: job job-2: it was ended by signal KILL\nlost: job job-3: it is gone and left no exit record\n" +
			"timeout: job job-4: it ran into its timeout\nlost: follow job-5: the machine does not answer any more\n4\n"},
		{"what is kept", `
def run(**how):
    fake.on_job("x", exit_code = how.pop("code", 0))
    attempt(with_job, remote_job(provision = gpu_query(), command = "x", timeout = 100, **how))
    return fake.calls()[-1].op
print(run(), run(keep_alive = True), run(code = 1, on_failure = "keep"), run(code = 1, on_failure = "hold 15m"), run(code = 1))
fake.assert_no_leaks()
`, "terminate keep keep hold terminate\n" +
			"unexpected: machines that the script rented still cost money: fake:fake-2 (kept), fake:fake-3 (kept), fake:fake-4 (held)\n"},
		{"servers", `
fake.on_serve("a", ready = 30)
fake.on_serve("b", exit_code = 1, logs = ["no memory"])
fake.on_serve("c", ready = None)
n = acquire_node(ssh = "gpu")
s = n.serve("a", port = 8000)
print(s.healthy(), s.url)
s.stop()
print(s.healthy(), attempt(n.serve, "b", port = 1)[1].kind, attempt(n.serve, "c", port = 1)[1].kind)
`, "True http://127.0.0.1:48000\nFalse job_failed timeout\n"},
		{"scopes end", `
fake.on_job("x")
kept = []
with_job(remote_job(ssh = "gpu", command = "x", timeout = 100), lambda h: kept.append(h))
print(attempt(kept[0].status)[1].kind, attach_job("@last").status())
`, "scope succeeded\n"},
		{"machines that exist", `
fake.nodes([{"id": "vast:1", "name": "mine", "rented": True}, {"id": "vast:2"}])
print(find_node("mine").id, find_node("nosuch"), len(list_nodes()))
print(attempt(acquire_node, node_id = "vast:2")[1].message.split(": ")[-1])
print(attempt(acquire_node, node_id = "vast:3")[1].kind)
`, "vast:1 None 2\nbifrost did not rent this machine, so keep_alive must be said\nnot_found\n"},
		{"order and counts", `
fake.on_exec("a*", stdout = "first")
fake.on_exec("*", stdout = "rest", times = 2)
fake.on_exec("never", times = None)
fake.fail("push", "conflict")
n = acquire_node(ssh = "gpu")
print(n.exec("ab").stdout, n.exec("ab").stdout)
`, "first rest\nfake.on_exec(\"*\") at x.star:3 happened 1 of 2 times\nfake.fail(\"push\") at x.star:5 did not happen\n"},
		{"a question that was not expected", `print(attempt(confirm, "Proceed?"))`, "unexpected: confirm \"Proceed?\" was not expected\nnothing is expected: fake.on_confirm(\"Proceed?\", ...) says what comes of it\n"},
		{"no secret but those of the test", `print(attempt(secret, "HOME")[1].kind, secret("PATH", optional = True))`, "not_found None\n"},
		{"a job that never ends", `
fake.on_job("x", duration = None)
acquire_node(ssh = "gpu").submit("x").wait()
`, "unexpected: job job-1 never ends: the script waits for it for ever\nduration says how long it runs, and timeout in remote_job ends it\n"},
		{"an interruption that comes too late", `
fake.on_job("x", duration = 5)
fake.interrupt(with_job, remote_job(ssh = "gpu", command = "x", timeout = 100), after = 60)
`, "unexpected: interrupt: the function ended before 1m0s had passed\n"},
		{"wrong words", `fake.offers([{"gpu_typ": "A100", "gpu_type": "A100", "price_per_gpu": 1}])`, "invalid: fake.offers: offers: element 0: it has no field gpu_typ; did you mean gpu_type?\n"},
		{"missing words", `fake.offers([{"gpu_type": "A100"}])`, "invalid: fake.offers: offers: element 0: price_per_gpu is missing\n"},
		{"two ends", `fake.on_job("x", lost = True, exit_code = 1)`, "invalid: on_job: a job ends in one way: give one of exit_code, signal, lost and breaks\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, errs := play(t, test.script)
			var said []string
			for _, err := range errs {
				text := place.ReplaceAllString(file.ReplaceAllString(err.Error(), "x.star"), "")
				if len(said) == 0 || !strings.HasSuffix(said[0], text) { // the script's own error is recorded too
					said = append(said, text)
				}
			}
			for _, text := range said {
				got += text + "\n"
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// jobsScript runs jobs that are alike at the same time, each with a workspace and a result of its own.
const jobsScript = `def one(i):
    return with_job(remote_job(
        ssh = %q,
        name = "many-%%d" %% i,
        workspace = "~/many/%%d" %% i,
        command = "sleep 1; echo job %%d >result; echo done %%d" %% (i, i),
        results = {"result": "out/%%d" %% i},
    ))

def main(argv):
    failed = [err for _, err in parallel(one, range(int(argv[0])), limit = int(argv[0])) if err]
    for err in failed:
        print(err.message)
    return 1 if failed else 0
`

// manyJobs runs one job, and then 64 at once from one process.
func manyJobs(_ context.Context, b *bench, s *site) ([]contender, error) {
	var all []contender
	for _, count := range []int{1, 64} {
		c, err := b.jobsAtOnce(s, count)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// jobsAtOnce is a contender for so many jobs. Extra of its samples is the processor time that the rest of the
// machine spent meanwhile, which on a quiet one is the node's.
func (b *bench) jobsAtOnce(s *site, count int) (contender, error) {
	dir := b.file(fmt.Sprintf("jobs-%d", s.trip))
	file := filepath.Join(dir, "deploy.star")
	err := errors.Join(
		os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "bifrost.toml"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, ".gitignore"), []byte("out/\n"), 0o644),
		os.WriteFile(file, fmt.Appendf(nil, jobsScript, s.host), 0o644),
	)
	return contender{
		name:  fmt.Sprintf("%d jobs", count),
		reset: func(context.Context) error { return os.RemoveAll(filepath.Join(dir, "out")) },
		run: func(ctx context.Context) (sample, error) {
			before := busy()
			p, err := b.bifrost(ctx, dir, "exec", file, strconv.Itoa(count))
			return sample{Took: p.took(), Peak: p.peak, Extra: busy() - before - p.cpu}, err
		},
		check: func(context.Context) error {
			for i := range count {
				got, err := os.ReadFile(filepath.Join(dir, "out", strconv.Itoa(i)))
				if want := fmt.Sprintf("job %d\n", i); err != nil || string(got) != want {
					return fmt.Errorf("the result of job %d is %q: %w", i, got, err)
				}
			}
			return nil
		},
	}, err
}

// busy is the time that the machine's processors have worked since it was started.
func busy() time.Duration {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	var ticks int64
	for i, f := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 8 { // the name, idle, waiting for a disk, counted elsewhere
			continue
		}
		n, _ := strconv.ParseInt(f, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100
}

// linesOfManyJobs holds 64 jobs against one: half as much again, and the work that the node has with the
// others.
func linesOfManyJobs(s *site, all map[string][]sample) []line {
	one, many := all["1 jobs"], all["64 jobs"]
	work := one[0].Extra
	for _, o := range one {
		work = min(work, o.Extra)
	}
	others := 63 * max(work, 0) / time.Duration(runtime.NumCPU())
	most := median(one)*3/2 + others
	l := line{
		Row: "64 jobs at once on one node", Trip: s.trip, Ours: median(many), Runs: len(many),
		Others: fmt.Sprintf("one alone %s, its work on the node %s, memory %s", seconds(median(one)), seconds(work), size(peak(many))),
		Wants: []want{
			atMost("≤ 1.5 of one alone + the others' work on the node = "+seconds(most), median(many).Seconds(), most.Seconds()),
			atMost("memory < 200 MB", float64(peak(many)), 200<<20),
		},
	}
	if n := many[len(many)-1].Net; n.Conns > 0 {
		l.Others += fmt.Sprintf(", %d connections", n.Conns)
	}
	return []line{l}
}

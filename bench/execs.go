//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// deployScript runs job.sh of the tree that it stands in.
const deployScript = `job = remote_job(
    ssh = %q,
    name = "bench",
    workspace = "~/exec-%d",
    bootstrap = "true",
    command = "bash job.sh",
    results = {"results/": "out/"},
)
with_job(job)
`

// jobScript says something at once, and when it ended; in between it leaves ten results.
const jobScript = `echo the first line
mkdir -p results
for i in 0 1 2 3 4 5 6 7 8 9; do echo "$i $RANDOM $EPOCHREALTIME" >results/$i.txt; done
sleep 1
echo "$EPOCHREALTIME" >ended
`

// execs runs a deploy script on a node that knows it already: nothing has changed since the run before.
func execs(ctx context.Context, b *bench, s *site) ([]contender, error) {
	dir, err := b.source(ctx, "exec")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "deploy.star")
	err = errors.Join(
		os.WriteFile(file, fmt.Appendf(nil, deployScript, s.host, s.trip), 0o644),
		os.WriteFile(filepath.Join(dir, "job.sh"), []byte(jobScript), 0o644),
		os.WriteFile(filepath.Join(dir, ".gitignore"), []byte("out/\n"), 0o644),
	)
	if err != nil {
		return nil, err
	}
	workspace := b.onNode(fmt.Sprintf("exec-%d", s.trip))
	return []contender{{
		name: "bifrost",
		run: func(ctx context.Context) (sample, error) {
			p, err := b.bifrost(ctx, dir, "exec", file)
			if err != nil {
				return sample{}, err
			}
			line, err := find(p.out, "the first line")
			if err != nil {
				return sample{}, err
			}
			ended, err := os.ReadFile(filepath.Join(workspace, "ended"))
			if err != nil {
				return sample{}, err
			}
			at, err := moment(string(ended))
			return sample{Took: line.at.Sub(p.start), Extra: p.end.Sub(at), Peak: p.peak, Work: span{p.start, line.at}, More: span{at, p.end}}, err
		},
		check: func(context.Context) error {
			return sameTree(filepath.Join(workspace, "results"), filepath.Join(dir, "out"))
		},
	}}, nil
}

// moment reads what EPOCHREALTIME says.
func moment(text string) (time.Time, error) {
	// Some locales have a comma.
	sec, frac, ok := strings.Cut(strings.ReplaceAll(strings.TrimSpace(text), ",", "."), ".")
	s, err1 := strconv.ParseInt(sec, 10, 64)
	us, err2 := strconv.ParseInt(frac, 10, 64)
	if err := errors.Join(err1, err2); !ok || err != nil {
		return time.Time{}, fmt.Errorf("%q is no time: %w", text, err)
	}
	return time.Unix(s, us*1000), nil
}

// linesOfExecs are two: until the job's first line is printed, and from its end until bifrost has exited.
func linesOfExecs(s *site, all map[string][]sample) []line {
	ours := all["bifrost"]
	ends := slices.Clone(ours)
	for i := range ends {
		ends[i].Took, ends[i].Trips = ends[i].Extra, ends[i].MoreTrips
	}
	l := line{
		Row: "exec until the job's first line", Trip: s.trip, Ours: median(ours), Runs: len(ours),
		Others: fmt.Sprintf("memory %s", size(peak(ours))),
		Wants:  []want{tripsAnd(median(ours), s, 14, 250*time.Millisecond)},
	}
	if n := ours[len(ours)-1].Net; n.Conns > 0 {
		l.Others += fmt.Sprintf(", %d connections, %s up, %s down", n.Conns, size(n.Up), size(n.Down))
	}
	end := line{
		Row: "end of the job until exec has exited", Trip: s.trip, Ours: median(ends), Runs: len(ends),
		Wants: []want{tripsAnd(median(ends), s, 6, 150*time.Millisecond)},
	}
	if s.link != nil {
		l.Wants = append(l.Wants, wantTrips(ours, 14))
		end.Wants = append(end.Wants, wantTrips(ends, 6))
	}
	return []line{l, end}
}

// tripsAnd wants at most some round trips and some time.
func tripsAnd(took time.Duration, s *site, trips int, more time.Duration) want {
	return atMost(fmt.Sprintf("≤ %d round trips + %d ms", trips, more.Milliseconds()), took.Seconds(), (time.Duration(trips)*s.rtt() + more).Seconds())
}

// delayScript writes lines that say when they were written.
const delayScript = `for i in $(seq %d); do echo "at $EPOCHREALTIME"; sleep 0.01; done`

// delays measures how long a line of a running job is on its way to the output of bifrost, and of others.
func delays(ctx context.Context, b *bench, s *site) ([]contender, error) {
	count := 400
	if b.quick {
		count = 100
	}
	script := fmt.Sprintf(delayScript, count)
	dir := b.file("delays")
	file := filepath.Join(dir, "deploy.star")
	err := errors.Join(
		os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "bifrost.toml"), nil, 0o644),
		os.WriteFile(file, fmt.Appendf(nil, "with_job(remote_job(ssh = %q, name = \"delays\", workspace = \"~/delays\", command = [\"bash\", \"-c\", %q]))\n", s.host, script), 0o644),
	)
	return []contender{
		{name: "bifrost", run: func(ctx context.Context) (sample, error) {
			p, err := b.bifrost(ctx, dir, "exec", file)
			if err != nil {
				return sample{}, err
			}
			return delaysOf(p.out, count, "at ")
		}},
		{name: "ssh tail -F", extra: true, run: func(ctx context.Context) (sample, error) {
			return b.delaysOfTail(ctx, s, script, count)
		}},
	}, err
}

// delaysOfTail has ssh follow a file that a process on the node writes.
func (b *bench) delaysOfTail(ctx context.Context, s *site, script string, count int) (sample, error) {
	log := b.onNode(fmt.Sprintf("tail-%d.log", b.next()))
	if err := os.WriteFile(log, nil, 0o644); err != nil {
		return sample{}, err
	}
	argv := b.ssh(s.host, "bash -c '("+strings.ReplaceAll(script, "'", `'\''`)+") >"+log+"' & timeout 60 tail -n +1 -F --pid=$! "+log+" 2>/dev/null")
	cmd := command(ctx, argv[0], argv[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return sample{}, err
	}
	if err := cmd.Start(); err != nil {
		return sample{}, err
	}
	lines := listen(out)
	if err := cmd.Wait(); err != nil {
		return sample{}, err
	}
	return delaysOf(lines, count, "at ")
}

// delaysOf gives the median as Took and the 99th percentile as Extra. The lines that were written before
// the log was followed are not in it.
func delaysOf(lines []saying, count int, prefix string) (sample, error) {
	var all []time.Duration
	seen := 0
	for _, l := range lines {
		text, ok := strings.CutPrefix(l.text, prefix)
		if !ok {
			continue
		}
		written, err := moment(text)
		if err != nil {
			return sample{}, err
		}
		if seen++; seen > count/4 {
			all = append(all, l.at.Sub(written))
		}
	}
	if seen != count {
		return sample{}, fmt.Errorf("%d lines of %d have arrived", seen, count)
	}
	slices.Sort(all)
	return sample{Took: all[len(all)/2], Extra: all[min(len(all)-1, int(math.Ceil(0.99*float64(len(all)))))]}, nil
}

func linesOfDelays(s *site, all map[string][]sample) []line {
	ours, tail := all["bifrost"], all["ssh tail -F"]
	worst := slices.Clone(ours)
	for i := range worst {
		worst[i].Took = worst[i].Extra
	}
	half := s.rtt() / 2
	return []line{
		{
			Row: "delay of a log line, median", Trip: s.trip, Ours: median(ours), Runs: len(ours), Others: "ssh tail -F " + seconds(median(tail)),
			Wants: []want{atMost("≤ half a round trip + 10 ms", median(ours).Seconds(), (half + 10*time.Millisecond).Seconds())},
		},
		{
			Row: "delay of a log line, 99 of 100", Trip: s.trip, Ours: median(worst), Runs: len(worst),
			Wants: []want{atMost("≤ half a round trip + 50 ms", median(worst).Seconds(), (half + 50*time.Millisecond).Seconds())},
		},
	}
}

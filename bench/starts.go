//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/bifrost-run/bifrost/engine/journal"
)

// starts runs a command of bifrost that needs no node, in a folder that is also where its state is, beside
// the start of Python with the library that the scripts it replaces begin with.
func starts(args func(ctx context.Context, b *bench) (dir string, argv []string, err error)) func(context.Context, *bench, *site) ([]contender, error) {
	return func(ctx context.Context, b *bench, _ *site) ([]contender, error) {
		dir, argv, err := args(ctx, b)
		if err != nil {
			return nil, err
		}
		if _, err := b.program(ctx); err != nil {
			return nil, err
		}
		return []contender{
			{name: "bifrost", run: func(ctx context.Context) (sample, error) {
				p, err := b.bifrostOf(ctx, dir, dir, argv...)
				return sample{Took: p.took(), Peak: p.peak}, err
			}},
			{name: "python3 with paramiko", run: func(ctx context.Context) (sample, error) {
				return b.peer(ctx, "/usr/bin/python3", "-c", "import paramiko")
			}},
		}, nil
	}
}

func wantsOfStarts(_ *site, ours, peer time.Duration, _ map[string][]sample) []want {
	return append(ratio(ours, peer, 0.5), atMost("≤ 30 ms", ours.Seconds(), 0.03))
}

func execNothing(_ context.Context, b *bench) (string, []string, error) {
	dir := b.file("nothing")
	file := filepath.Join(dir, "nothing.star")
	return dir, []string{"exec", file}, errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(file, []byte("nothing = None\n"), 0o644))
}

// psOf lists the jobs of a journal in which so many have ended.
func psOf(jobs int, more ...string) func(context.Context, *bench) (string, []string, error) {
	return func(ctx context.Context, b *bench) (string, []string, error) {
		dir := b.file(fmt.Sprintf("journal-%d", jobs))
		_, err := b.once(filepath.Join(dir, "bifrost", "journal.db"), func(path string) error {
			return fillJournal(ctx, path, jobs)
		})
		return dir, append([]string{"ps"}, more...), err
	}
}

// fillJournal records jobs that have ended.
func fillJournal(ctx context.Context, path string, jobs int) error {
	j, err := journal.Open(ctx, path)
	if err != nil {
		return err
	}
	code := 0
	for i := range jobs {
		id := fmt.Sprintf("train-%06d", i)
		at := time.Now().Add(-time.Duration(jobs-i) * time.Minute)
		if err := j.PutJob(ctx, journal.Job{
			ID: id, Name: "train", RunID: "bench", NodeID: "ssh:root@gpu:22", State: journal.JobSucceeded, Script: "/home/dana/deploy.star", Root: "/home/dana",
			Command: "uv run train.py --config big.toml", Workspace: "~/.bifrost/workspace", SessionName: "train", RemoteLog: "/root/.bifrost/jobs/" + id + "/log",
			LocalLog: "/home/dana/.local/state/bifrost/jobs/" + id + "/log", Results: []journal.ResultSpec{{Remote: "results/", Local: "/home/dana/out/"}},
			ExitCode: &code, ResultsDone: true, Created: at, Started: at, Ended: at.Add(time.Minute),
		}); err != nil {
			return errors.Join(err, j.Close())
		}
	}
	return j.Close()
}

//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// writeLog writes lines of 100 bytes each.
func writeLog(path string, lines int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	r := rand.New(chacha(7))
	for i := range lines {
		line := fmt.Sprintf("step %08d loss %.6f accuracy %.6f learning_rate %.3e tokens_per_second %9.1f grad_norm %.4f ", i, r.Float64()*3, r.Float64(), r.Float64()*1e-3, r.Float64()*50_000, r.Float64())
		fmt.Fprintf(w, "%-99.99s\n", line)
	}
	return errors.Join(w.Flush(), f.Close())
}

// finishedJob leaves the log of a job that has ended on the node, of so many lines, and returns its id.
func (b *bench) finishedJob(ctx context.Context, lines int) (id, log string, err error) {
	if log, err = b.once(b.onNode(fmt.Sprintf("data/log-%d", lines)), func(path string) error { return writeLog(path, lines) }); err != nil {
		return "", "", err
	}
	id = fmt.Sprintf("log-%d", lines)
	_, err = b.once(b.file("jobs/"+id), func(string) error {
		near := b.sites[b.trips[0]]
		o := b.order(near, "start")
		o.Remote, o.Local = id, "cat "+log
		if _, err := place(ctx, o); err != nil {
			return err
		}
		o.Op, o.Local = "follow", b.file("followed")
		defer os.Remove(o.Local)
		_, err := place(ctx, o) // until it has ended
		return errors.Join(err, sameFile(log, b.onNode(".bifrost/jobs/"+id+"/log")))
	})
	return id, log, err
}

// longLogs brings a long log of a job that has ended.
func longLogs(ctx context.Context, b *bench, s *site) ([]contender, error) {
	lines := 1_000_000
	if b.quick {
		lines = 100_000
	}
	id, log, err := b.finishedJob(ctx, lines)
	if err != nil {
		return nil, err
	}
	to := b.file("got/log")
	o := b.order(s, "follow")
	o.Remote, o.Local = id, to
	reset := func(context.Context) error {
		return errors.Join(os.RemoveAll(filepath.Dir(to)), os.MkdirAll(filepath.Dir(to), 0o755))
	}
	check := func(context.Context) error { return sameFile(log, to) }
	return []contender{
		{name: "bifrost", reset: reset, check: check, run: func(ctx context.Context) (sample, error) { return place(ctx, o) }},
		{name: "ssh cat", reset: reset, check: check, run: func(ctx context.Context) (sample, error) {
			f, err := os.Create(to)
			if err != nil {
				return sample{}, err
			}
			got, err := b.peerInto(ctx, f, b.ssh(s.host, "cat", log)...)
			return got, errors.Join(err, f.Close())
		}},
	}, nil
}

func wantsOfLongLogs(_ *site, ours, peer time.Duration, all map[string][]sample) []want {
	return append(ratio(ours, peer, 1), atMost("memory < 64 MB", float64(peak(all["bifrost"])), 64<<20))
}

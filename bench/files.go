//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// oneFile moves one large file that does not compress. Over a distance it is a smaller one, unless all of it is
// asked for: the peers need a minute for each run.
func (b *bench) oneFile(s *site, up bool) ([]contender, error) {
	mib := int64(1024)
	switch {
	case b.quick:
		mib = 64
	case b.large:
	case s.trip >= 100:
		mib = 256
	case s.trip > 0:
		mib = 128
	}
	name := fmt.Sprintf("noise-%d", mib)
	from, to := b.onNode("data/"+name), b.file("got/"+name)
	if up {
		from, to = b.file("data/"+name), b.onNode("got/"+name)
	}
	if _, err := b.once(from, func(path string) error { return writeNoise(path, mib<<20, 1) }); err != nil {
		return nil, err
	}
	o := b.order(s, "download")
	o.Remote, o.Local = from, to
	away, home := s.host+":"+from, to
	if up {
		o.Op, o.Remote, o.Local = "upload", to, from
		away, home = from, s.host+":"+to
	}
	reset := func(context.Context) error {
		if err := os.RemoveAll(filepath.Dir(to)); err != nil {
			return err
		}
		return os.MkdirAll(filepath.Dir(to), 0o755)
	}
	check := func(context.Context) error { return sameFile(from, to) }
	all := []contender{
		{name: "bifrost", reset: reset, check: check, run: func(ctx context.Context) (sample, error) { return place(ctx, o) }},
		{name: "rsync", reset: reset, check: check, run: func(ctx context.Context) (sample, error) { return b.peer(ctx, b.rsync(away, home)...) }},
	}
	if s.trip == 0 { // over a distance both carry a window in each round trip, and rsync is within 2 % ahead
		all = append(all, contender{name: "scp", reset: reset, check: check, run: func(ctx context.Context) (sample, error) {
			return b.peer(ctx, "scp", "-q", "-F", b.sshConfig(), away, home)
		}})
	}
	return all, nil
}

func wantsOfOneFile(s *site, ours, peer time.Duration, _ map[string][]sample) []want {
	switch {
	case s.trip == 0:
		return ratio(ours, peer, 1)
	case s.trip >= 100:
		return ratio(ours, peer, 0.25)
	}
	return nil
}

// manyFiles moves a folder of small files.
func manyFiles(count, size int, up bool) func(context.Context, *bench, *site) ([]contender, error) {
	return func(_ context.Context, b *bench, s *site) ([]contender, error) {
		n := count
		if b.quick {
			n = count / 5
		}
		name := fmt.Sprintf("files-%d-%d", n, size)
		from, to := b.onNode("data/"+name), b.file("got/"+name)
		if up {
			from, to = b.file("data/"+name), b.onNode("got/"+name)
		}
		if _, err := b.once(from, func(path string) error { return writeResults(path, n, size, 2) }); err != nil {
			return nil, err
		}
		o := b.order(s, "download")
		o.Remote, o.Local = from, to
		away, home := s.host+":"+from+"/", to+"/"
		if up {
			o.Op, o.Remote, o.Local = "upload", to, from
			away, home = from+"/", s.host+":"+to+"/"
		}
		reset := func(context.Context) error {
			if err := os.RemoveAll(filepath.Dir(to)); err != nil {
				return err
			}
			return os.MkdirAll(filepath.Dir(to), 0o755)
		}
		check := func(context.Context) error { return sameTree(from, to) }
		return []contender{
			{name: "bifrost", reset: reset, check: check, run: func(ctx context.Context) (sample, error) { return place(ctx, o) }},
			{name: "rsync", reset: reset, check: check, run: func(ctx context.Context) (sample, error) { return b.peer(ctx, b.rsync(away, home)...) }},
		}, nil
	}
}

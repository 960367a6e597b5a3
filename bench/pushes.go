//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// A change says what is different from the push before.
type change int

const (
	unchanged change = iota
	changed          // three files
	first            // everything: there was none before
)

// pushes brings a source tree into a workspace that an earlier push has filled, or not. Each contender
// has a tree and a workspace of its own, all of the same content.
func pushes(what change) func(context.Context, *bench, *site) ([]contender, error) {
	return func(ctx context.Context, b *bench, s *site) ([]contender, error) {
		ours, err := b.ourPush(ctx, s, what, false)
		if err != nil {
			return nil, err
		}
		rsync, err := b.rsyncPush(ctx, s, what)
		if err != nil {
			return nil, err
		}
		git, err := b.gitPush(ctx, s, what)
		if err != nil {
			return nil, err
		}
		all := []contender{ours, rsync, git}
		if what == changed { // what has changed makes no difference to it
			bundle, err := b.bundlePush(ctx, s)
			if err != nil {
				return nil, err
			}
			all = append(all, bundle)
		}
		return all, nil
	}
}

// pushesOpen is ours on an open connection.
func pushesOpen(what change) func(context.Context, *bench, *site) ([]contender, error) {
	return func(ctx context.Context, b *bench, s *site) ([]contender, error) {
		ours, err := b.ourPush(ctx, s, what, true)
		return []contender{ours}, err
	}
}

// sourceFiles is how many files a pushed tree has.
func (b *bench) sourceFiles() int {
	if b.quick {
		return 1000
	}
	return 5000
}

// source makes a tree of git with everything committed.
func (b *bench) source(ctx context.Context, name string) (string, error) {
	return b.once(b.file("source/"+name), func(path string) error {
		if err := writeSource(path, b.sourceFiles(), 3); err != nil {
			return err
		}
		for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"config", "gc.auto", "0"}, {"add", "-A"}, {"commit", "-q", "-m", "all"}} {
			if _, err := b.peer(ctx, append([]string{"git", "-C", path}, args...)...); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *bench) ourPush(ctx context.Context, s *site, what change, open bool) (contender, error) {
	from, err := b.source(ctx, "bifrost")
	if err != nil {
		return contender{}, err
	}
	to := b.onNode(fmt.Sprintf("push/bifrost-%d", s.trip))
	o := b.order(s, "push")
	o.Local, o.Remote, o.Cache, o.Open = from, to, b.file(fmt.Sprintf("cache-%d", s.trip)), open
	c := contender{
		name:  "bifrost",
		run:   func(ctx context.Context) (sample, error) { return place(ctx, o) },
		check: func(context.Context) error { return sameTree(from, to) },
	}
	return b.pushTurns(ctx, c, what, from, nil, to, o.Cache)
}

func (b *bench) rsyncPush(ctx context.Context, s *site, what change) (contender, error) {
	from, err := b.source(ctx, "rsync")
	if err != nil {
		return contender{}, err
	}
	to := b.onNode(fmt.Sprintf("push/rsync-%d", s.trip))
	c := contender{
		name: "rsync",
		run: func(ctx context.Context) (sample, error) {
			return b.peer(ctx, b.rsync("--delete", "--exclude=.git", from+"/", s.host+":"+to+"/")...)
		},
		check: func(context.Context) error { return sameTree(from, to) },
	}
	return b.pushTurns(ctx, c, what, from, nil, to)
}

// gitPush pushes into a repository that updates its working tree. What it pushes was committed before.
func (b *bench) gitPush(ctx context.Context, s *site, what change) (contender, error) {
	from, err := b.source(ctx, "git")
	if err != nil {
		return contender{}, err
	}
	to := b.onNode(fmt.Sprintf("push/git-%d", s.trip))
	c := contender{
		name: "git push", extra: true,
		run: func(ctx context.Context) (sample, error) {
			return b.peer(ctx, "git", "-C", from, "push", "-q", "-f", s.host+":"+to, "main")
		},
		check: func(context.Context) error { return sameTree(from, to) },
	}
	prepare := func(ctx context.Context) error {
		if _, err := b.peer(ctx, "git", "-C", from, "commit", "-q", "--allow-empty", "-am", "more"); err != nil {
			return err
		}
		if _, err := os.Stat(to); err == nil {
			return nil
		}
		if _, err := b.peer(ctx, "git", "init", "-q", "-b", "main", to); err != nil {
			return err
		}
		_, err := b.peer(ctx, "git", "-C", to, "config", "receive.denyCurrentBranch", "updateInstead")
		return err
	}
	if what == unchanged { // not even an empty commit
		err := prepare(ctx)
		if err == nil {
			_, err = c.run(ctx)
		}
		return c, err
	}
	return b.pushTurns(ctx, c, what, from, prepare, to)
}

// bundlePush is the stand-in's: everything in a bundle, each time.
func (b *bench) bundlePush(ctx context.Context, s *site) (contender, error) {
	from, err := b.source(ctx, "bundle")
	if err != nil {
		return contender{}, err
	}
	to := b.onNode(fmt.Sprintf("push/bundle-%d", s.trip))
	return contender{
		name: "predecessor", extra: true,
		reset: func(ctx context.Context) error {
			if err := touch(from, 3, b.next()); err != nil {
				return err
			}
			_, err := b.peer(ctx, "git", "-C", from, "commit", "-q", "-am", "more")
			return err
		},
		run:   func(ctx context.Context) (sample, error) { return b.peer(ctx, b.predecessor(s, "push", from, to)...) },
		check: func(context.Context) error { return sameTree(from, to) },
	}, nil
}

// pushTurns gives a contender the reset that belongs to the change, and sees to it that there was an earlier push
// where there must be. prepare, if not nil, follows each change. A first push finds neither its target nor what else
// is to be removed.
func (b *bench) pushTurns(ctx context.Context, c contender, what change, from string, prepare func(context.Context) error, to string, remove ...string) (contender, error) {
	clear := func() error {
		errs := []error{os.RemoveAll(to)}
		for _, path := range remove {
			errs = append(errs, os.RemoveAll(path))
		}
		return errors.Join(errs...)
	}
	c.reset = func(ctx context.Context) error {
		switch what {
		case first:
			if err := clear(); err != nil {
				return err
			}
		case changed:
			if err := touch(from, 3, b.next()); err != nil {
				return err
			}
		}
		if prepare != nil {
			return prepare(ctx)
		}
		return nil
	}
	if what == first {
		return c, os.MkdirAll(b.onNode("push"), 0o755)
	}
	if _, err := os.Stat(to); err == nil {
		return c, nil
	}
	if err := errors.Join(clear(), os.MkdirAll(b.onNode("push"), 0o755), c.reset(ctx)); err != nil {
		return c, err
	}
	_, err := c.run(ctx)
	return c, err
}

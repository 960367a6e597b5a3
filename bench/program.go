//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// program builds bifrost, once.
func (b *bench) program(ctx context.Context) (string, error) {
	return b.once(filepath.Join(b.folder.path, "bifrost"), func(path string) error {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./cmd/bifrost")
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build has it
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build: %w\n%s", err, out)
		}
		return nil
	})
}

// A played is a run of bifrost.
type played struct {
	start, end time.Time
	out, err   []saying // the lines of both streams, each with its time
	peak       int64    // bytes of memory
	cpu        time.Duration
}

// took is how long it ran.
func (p played) took() time.Duration { return p.end.Sub(p.start) }

// bifrost runs the program in a folder, with a state of the bench's own.
func (b *bench) bifrost(ctx context.Context, dir string, args ...string) (played, error) {
	return b.bifrostOf(ctx, b.file("state"), dir, args...)
}

// bifrostOf does so with another state, which is a value of XDG_STATE_HOME.
func (b *bench) bifrostOf(ctx context.Context, state, dir string, args ...string) (played, error) {
	path, err := b.program(ctx)
	if err != nil {
		return played{}, err
	}
	cmd := command(ctx, path, args...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Env, "HOME="+b.home, "XDG_STATE_HOME="+state, "SSH_AUTH_SOCK=", "NO_COLOR=1", "TERM=dumb")
	stdout, errOut := cmd.StdoutPipe()
	stderr, errErr := cmd.StderrPipe()
	if err := errors.Join(errOut, errErr); err != nil {
		return played{}, err
	}
	p := played{start: time.Now()}
	if err := cmd.Start(); err != nil {
		return p, err
	}
	done := make(chan struct{})
	var wg, readers sync.WaitGroup
	readers.Go(func() { p.out = listen(stdout) })
	readers.Go(func() { p.err = listen(stderr) })
	wg.Go(func() { p.peak = watchMemory(cmd.Process.Pid, done) })
	readers.Wait()
	err = cmd.Wait()
	p.end = time.Now()
	p.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	close(done)
	wg.Wait()
	if err != nil {
		var said []string
		for _, l := range p.err[max(0, len(p.err)-30):] {
			said = append(said, l.text)
		}
		return p, fmt.Errorf("bifrost %s: %w: %s", strings.Join(args, " "), err, strings.Join(said, "\n"))
	}
	b.said = append(append(b.said, p.err...), p.out...)
	return p, nil
}

// listen notes when each line arrives.
func listen(r io.Reader) []saying {
	var all []saying
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		all = append(all, saying{time.Now(), lines.Text()})
	}
	return all
}

// watchMemory returns the most memory that a process had until done.
func watchMemory(pid int, done <-chan struct{}) int64 {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var most int64
	for {
		if n, err := peakOf(strconv.Itoa(pid)); err == nil {
			most = max(most, n)
		}
		select {
		case <-done:
			return most
		case <-tick.C:
		}
	}
}

// find returns the first line with a text in it.
func find(lines []saying, text string) (saying, error) {
	for _, l := range lines {
		if strings.Contains(l.text, text) {
			return l, nil
		}
	}
	return saying{}, fmt.Errorf("no line of the output has %q", text)
}

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A bench is what all rows share: the node, the links to it, the data. What is expensive to make is made
// when the first row asks for it.
type bench struct {
	folder *folder
	home   string // of the client: .ssh, and what bifrost and the peers keep
	node   *node
	sites  map[int]*site
	trips  []int // round trip times in ms
	runs   int
	quick  bool
	large  bool                             // what is smaller over a distance to save time is not
	note   func(format string, args ...any) // to whoever waits
	made   map[string]bool                  // data, by folder or file
	serial int
	said   []saying // by a traced run
}

// A site is the node at a distance.
type site struct {
	trip int    // ms
	host string // its name in the client's ssh_config
	link *link  // nil at no distance, where nothing is between
	port int
}

// rtt is the site's round trip time.
func (s *site) rtt() time.Duration { return time.Duration(s.trip) * time.Millisecond }

// newBench starts the node. close ends everything.
func newBench(trips []int, runs int, quick, large bool, note func(string, ...any)) (*bench, error) {
	f, err := newFolder()
	if err != nil {
		return nil, err
	}
	b := &bench{folder: f, home: filepath.Join(f.path, "client"), trips: trips, runs: runs, quick: quick, large: large, note: note, sites: map[int]*site{}, made: map[string]bool{}}
	if err := b.start(); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) start() error {
	dir := filepath.Join(b.folder.path, "node")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.MkdirAll(filepath.Join(b.home, ".ssh"), 0o700)); err != nil {
		return err
	}
	var err error
	if b.node, err = startNode(dir); err != nil {
		return err
	}
	var config strings.Builder
	for _, trip := range b.trips {
		s := &site{trip: trip, host: fmt.Sprintf("node%d", trip)}
		addr := b.node.addr
		if trip > 0 {
			if s.link, err = newLink(b.node.addr, time.Duration(trip)*time.Millisecond); err != nil {
				return err
			}
			addr = s.link.addr
		}
		_, port, _ := net.SplitHostPort(addr)
		s.port, _ = strconv.Atoi(port)
		b.sites[trip] = s
		// Everybody gets the cipher that is fastest here, and that ours asks for.
		fmt.Fprintf(&config, "Host %s\n  HostName 127.0.0.1\n  Port %d\n  User %s\n  HostKeyAlias bench\n  IdentityFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n  BatchMode yes\n  LogLevel ERROR\n  Ciphers aes128-gcm@openssh.com\n\n",
			s.host, s.port, b.node.user, b.node.key, b.file("known_hosts"))
	}
	return errors.Join(
		os.WriteFile(b.sshConfig(), []byte(config.String()), 0o600),
		os.WriteFile(b.file("known_hosts"), []byte("bench "+b.node.hostKey+"\n"), 0o600),
	)
}

func (b *bench) sshConfig() string { return filepath.Join(b.home, ".ssh", "config") }

// file is a path in the client's part of the bench's folder.
func (b *bench) file(name string) string { return filepath.Join(b.home, name) }

// onNode is a path in the home of the node's user.
func (b *bench) onNode(name string) string { return filepath.Join(b.node.home, name) }

// next returns another number with each call, for names that nobody has used.
func (b *bench) next() int {
	b.serial++
	return b.serial
}

func (b *bench) close() {
	if b.node != nil {
		b.node.close()
	}
	for _, s := range b.sites {
		if s.link != nil {
			s.link.close()
		}
	}
	b.folder.remove()
}

// once makes data at path, unless that was done.
func (b *bench) once(path string, build func(path string) error) (string, error) {
	if b.made[path] {
		return path, nil
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), build(path)); err != nil {
		return "", err
	}
	b.made[path] = true
	return path, nil
}

// order is one for the site.
func (b *bench) order(s *site, op string) order {
	return order{Op: op, Target: ssh.Target{Host: s.host}, Home: b.home}
}

// peer runs another program and takes the time.
func (b *bench) peer(ctx context.Context, argv ...string) (sample, error) {
	return b.peerInto(ctx, io.Discard, argv...)
}

func (b *bench) peerInto(ctx context.Context, stdout io.Writer, argv ...string) (sample, error) {
	var said strings.Builder
	cmd := command(ctx, argv[0], argv[1:]...)
	cmd.Env = append(cmd.Env, "HOME="+b.home, "GIT_SSH_COMMAND=ssh -F "+b.sshConfig(), "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=b", "GIT_AUTHOR_EMAIL=b@b", "GIT_COMMITTER_NAME=b", "GIT_COMMITTER_EMAIL=b@b", "XDG_STATE_HOME="+b.file("state"))
	cmd.Stdout, cmd.Stderr = stdout, &said
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return sample{}, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(said.String()))
	}
	return sample{Took: time.Since(start)}, nil
}

// ssh is the command line of OpenSSH to a site, with more words.
func (b *bench) ssh(more ...string) []string {
	return append([]string{"ssh", "-F", b.sshConfig()}, more...)
}

// rsync is that of rsync.
func (b *bench) rsync(more ...string) []string {
	return append([]string{"rsync", "-a", "-e", "ssh -F " + b.sshConfig()}, more...)
}

// predecessor is that of the stand-in for what is in use today.
func (b *bench) predecessor(s *site, more ...string) []string {
	return append([]string{"/usr/bin/python3", "bench/peers/predecessor.py", "127.0.0.1", strconv.Itoa(s.port), b.node.user, b.node.key}, more...)
}

// A contender does the same work in its own way.
type contender struct {
	name  string
	extra bool // for comparison only: no figure is about it, and it runs fewer times
	// reset brings things back to where the work begins, and check says whether it was done. Neither is
	// measured; nil does nothing.
	reset func(ctx context.Context) error
	run   func(ctx context.Context) (sample, error)
	check func(ctx context.Context) error
}

// extraRuns is how often a contender runs that is there for comparison only.
const extraRuns = 1

// race lets contenders do the work in turns, after one turn that does not count if warm is set.
func (b *bench) race(ctx context.Context, s *site, runs int, warm bool, all []contender) (map[string][]sample, error) {
	results := map[string][]sample{}
	first := 0
	if warm {
		first = -1
	}
	for i := first; i < runs; i++ {
		for _, c := range all {
			if c.extra && i >= extraRuns {
				continue
			}
			got, err := b.turn(ctx, s, c)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			if i >= 0 {
				results[c.name] = append(results[c.name], got)
			}
		}
	}
	return results, nil
}

func (b *bench) turn(ctx context.Context, s *site, c contender) (sample, error) {
	if c.reset != nil {
		if err := c.reset(ctx); err != nil {
			return sample{}, fmt.Errorf("reset: %w", err)
		}
	}
	if s.link != nil {
		s.link.take()
		s.link.record()
	}
	got, err := c.run(ctx)
	if err != nil {
		return sample{}, err
	}
	if s.link != nil {
		got.Net = s.link.take()
		seen := s.link.recorded()
		got.Trips = roundTrips(seen, s.rtt(), got.Work.From, got.Work.To)
		got.MoreTrips = roundTrips(seen, s.rtt(), got.More.From, got.More.To)
	}
	if c.check != nil {
		if err := c.check(ctx); err != nil {
			return sample{}, fmt.Errorf("the work was not done: %w", err)
		}
	}
	return got, nil
}

// median of the times.
func median(all []sample) time.Duration {
	took := make([]time.Duration, len(all))
	for i, s := range all {
		took[i] = s.Took
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// peak is the most memory that any of the runs had.
func peak(all []sample) int64 {
	var most int64
	for _, s := range all {
		most = max(most, s.Peak)
	}
	return most
}

// trips is the median of the round trips.
func trips(all []sample) float64 {
	n := make([]float64, len(all))
	for i, s := range all {
		n[i] = s.Trips
	}
	slices.Sort(n)
	return n[len(n)/2]
}

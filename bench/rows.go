//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
)

// A row is one kind of work.
type row struct {
	name string
	near bool // measured at no distance only
	warm bool // a first turn does not count
	runs int  // where it is not what was asked for: of what is short, or measures many times in one run
	// contenders prepares the work at a site; ours come first.
	contenders func(ctx context.Context, b *bench, s *site) ([]contender, error)
	// wants are the figures about a site: ours and the fastest peer that is not extra, 0 where there is none.
	wants func(s *site, ours, peer time.Duration, all map[string][]sample) []want
	// lines replaces the one line that a site gives, where a run gives more than one time.
	lines func(s *site, all map[string][]sample) []line
	// roundTrips is the most that the work may take, over a distance; 0 wants nothing.
	roundTrips float64
	traced     bool // the results show one run
}

// measure runs the row at each distance.
func (r row) measure(ctx context.Context, b *bench) ([]line, error) {
	var all []line
	for _, trip := range b.trips {
		if r.near && trip != b.trips[0] {
			break
		}
		s := b.sites[trip]
		b.note("%s, %d ms", r.name, trip)
		contenders, err := r.contenders(ctx, b, s)
		if err != nil {
			return all, err
		}
		runs := b.runs
		if r.runs > 0 && (r.runs < runs || !b.quick) {
			runs = r.runs
		}
		results, err := b.race(ctx, s, runs, r.warm, contenders)
		if err != nil {
			return all, err
		}
		if r.lines != nil {
			all = append(all, r.lines(s, results)...)
			continue
		}
		all = append(all, r.line(s, contenders, results))
	}
	return all, nil
}

// line is what the contenders' runs at one site come to.
func (r row) line(s *site, contenders []contender, results map[string][]sample) line {
	ours := results[contenders[0].name]
	l := line{Row: r.name, Trip: s.trip, Ours: median(ours), Runs: len(ours)}
	var beside []string
	for _, c := range contenders[1:] {
		took := median(results[c.name])
		if !c.extra && (l.Peer == 0 || took < l.Peer) {
			l.Peer, l.Name = took, c.name
		}
	}
	for _, c := range contenders[1:] {
		if c.name != l.Name {
			beside = append(beside, fmt.Sprintf("%s %s", c.name, seconds(median(results[c.name]))))
		}
	}
	if p := peak(ours); p > 0 {
		beside = append(beside, "memory "+size(p))
	}
	if last := ours[len(ours)-1].Net; last.Conns > 0 {
		beside = append(beside, fmt.Sprintf("%d connections, %s up, %s down", last.Conns, size(last.Up), size(last.Down)))
	}
	l.Others = strings.Join(beside, ", ")
	if r.wants != nil {
		l.Wants = r.wants(s, l.Ours, l.Peer, results)
	}
	if r.roundTrips > 0 && s.link != nil {
		l.Wants = append(l.Wants, wantTrips(ours, r.roundTrips))
	}
	return l
}

// wantTrips wants at most so many round trips.
func wantTrips(all []sample, most float64) want {
	n := trips(all)
	return atMost(fmt.Sprintf("%g round trips, at most %g", n, most), n, most)
}

// ratio wants ours to be at most that part of the peer's time.
func ratio(ours, peer time.Duration, most float64) []want {
	return []want{atMost(fmt.Sprintf("≤ %.2f", most), ours.Seconds()/peer.Seconds(), most)}
}

// everywhere is a wants with the same ratio at each distance.
func everywhere(most float64) func(*site, time.Duration, time.Duration, map[string][]sample) []want {
	return func(_ *site, ours, peer time.Duration, _ map[string][]sample) []want { return ratio(ours, peer, most) }
}

// rows are all of the table, in its order.
var rows = []row{
	{
		name: "connect and run true", warm: true, traced: true,
		contenders: func(ctx context.Context, b *bench, s *site) ([]contender, error) {
			return []contender{
				{name: "bifrost", run: func(ctx context.Context) (sample, error) { return place(ctx, b.order(s, "true")) }},
				{name: "ssh", run: func(ctx context.Context) (sample, error) { return b.peer(ctx, b.ssh(s.host, "true")...) }},
				{name: "predecessor", extra: true, run: func(ctx context.Context) (sample, error) { return b.peer(ctx, b.predecessor(s, "true")...) }},
			}, nil
		},
		wants: func(s *site, ours, peer time.Duration, _ map[string][]sample) []want {
			switch {
			case s.trip == 0:
				return ratio(ours, peer, 0.6)
			case s.trip >= 100:
				return ratio(ours, peer, 0.85)
			}
			return nil
		},
	},
	{
		name: "one more command on an open connection",
		contenders: func(ctx context.Context, b *bench, s *site) ([]contender, error) {
			o := b.order(s, "commands")
			o.Open = true
			return []contender{{name: "bifrost", run: func(ctx context.Context) (sample, error) { return place(ctx, o) }}}, nil
		},
		wants: func(s *site, ours, _ time.Duration, _ map[string][]sample) []want {
			return []want{atMost("≤ one round trip + 5 ms", ours.Seconds(), s.rtt().Seconds()+0.005)}
		},
	},
	{name: "one file down", contenders: func(ctx context.Context, b *bench, s *site) ([]contender, error) { return b.oneFile(s, false) }, wants: wantsOfOneFile},
	{name: "one file up", contenders: func(ctx context.Context, b *bench, s *site) ([]contender, error) { return b.oneFile(s, true) }, wants: wantsOfOneFile},
	{name: "2,000 files of 20 kB down", contenders: manyFiles(2000, 20_000, false), wants: everywhere(0.5)},
	{name: "2,000 files of 20 kB up", contenders: manyFiles(2000, 20_000, true), wants: everywhere(0.5)},
	{name: "20,000 files of 1 kB down", contenders: manyFiles(20_000, 1000, false), wants: everywhere(0.5)},
	{name: "20,000 files of 1 kB up", contenders: manyFiles(20_000, 1000, true), wants: everywhere(0.5)},
	{name: "first push of 5,000 files, 60 MB", contenders: pushes(first), wants: everywhere(1 / 1.5)},
	{name: "push, nothing changed, of 5,000", contenders: pushes(unchanged), wants: everywhere(0.5)},
	{name: "push, nothing changed, open connection", contenders: pushesOpen(unchanged), roundTrips: 3, traced: true},
	{name: "push, 3 files changed of 5,000", contenders: pushes(changed), wants: everywhere(0.5)},
	{name: "push, 3 files changed, open connection", contenders: pushesOpen(changed), roundTrips: 4, traced: true},
	{name: "delay of a log line", contenders: delays, lines: linesOfDelays, runs: 1},
	{name: "log of 1,000,000 lines, 100 MB", contenders: longLogs, wants: wantsOfLongLogs},
	{name: "exec on a warm node: first line and end", warm: true, contenders: execs, lines: linesOfExecs, traced: true},
	{name: "exec of a script that does nothing", near: true, warm: true, runs: 11, contenders: starts(execNothing), wants: wantsOfStarts},
	{name: "ps with 1,000 jobs in the journal", near: true, warm: true, runs: 11, contenders: starts(psOf(1000)), wants: wantsOfStarts},
	{name: "64 jobs at once on one node", near: true, warm: true, runs: 3, contenders: manyJobs, lines: linesOfManyJobs},
}

// trace does ours of the row once and prints what crosses the link, one line for what goes in one direction
// without an answer in between.
func (b *bench) trace(ctx context.Context, w io.Writer, s *site, r row) error {
	if s.link == nil {
		return errors.New("at no distance there is no link to look at")
	}
	contenders, err := r.contenders(ctx, b, s)
	if err != nil {
		return err
	}
	ours := contenders[0]
	if _, err := b.turn(ctx, s, ours); err != nil { // so that what is there once is there
		return err
	}
	b.said = nil
	var start time.Time
	work := ours.run
	ours.run = func(ctx context.Context) (sample, error) {
		start = time.Now()
		return work(ctx)
	}
	got, err := b.turn(ctx, s, ours)
	if err != nil {
		return err
	}
	seen := s.link.recorded()
	if !got.Work.From.IsZero() && got.More.From.IsZero() { // what was before it is not of the work
		start = got.Work.From
		seen = slices.DeleteFunc(seen, func(p passage) bool { return p.at.Before(start) || p.at.After(got.Work.To) })
	}
	fmt.Fprintf(w, "\n%s at %d ms: %s, %g round trips, %d connections, %s up, %s down\n", r.name, s.trip, seconds(got.Took), got.Trips, got.Net.Conns, size(got.Net.Up), size(got.Net.Down))
	for i, l := range b.said {
		text := strings.ReplaceAll(l.text, b.home+"/", "")
		if stamp, rest, ok := strings.Cut(text, " "); ok && stampOf.MatchString(stamp) {
			text = rest
		}
		b.said[i].text = text
	}
	writeTrace(w, start, seen, b.said)
	return nil
}

// stampOf is the time with which bifrost begins a line where no terminal is.
var stampOf = regexp.MustCompile(`^\d{4}-\d\d-\d\dT[\d:]+Z$`)

// A saying is a line of output, with its time.
type saying struct {
	at   time.Time
	text string
}

// writeTrace prints what went through a link and what was said meanwhile. The time is that at which it
// enters the link.
func writeTrace(w io.Writer, start time.Time, seen []passage, said []saying) {
	type entry struct {
		at   time.Time
		text string
	}
	var entries []entry
	first := map[int]int{} // of connections, by their number in the link
	for i := 0; i < len(seen); {
		p := seen[i]
		n := 0
		for ; i < len(seen) && seen[i].conn == p.conn && seen[i].up == p.up; i++ {
			n += seen[i].size
		}
		if first[p.conn] == 0 {
			first[p.conn] = len(first) + 1
		}
		arrow := "<-"
		if p.up {
			arrow = "->"
		}
		text := size(int64(n))
		if n == 0 {
			text = "opens"
		}
		entries = append(entries, entry{p.at, fmt.Sprintf("connection %d %s %s", first[p.conn], arrow, text)})
	}
	for _, l := range said {
		if l.text == "" {
			continue
		}
		entries = append(entries, entry{l.at, "    " + l.text})
	}
	sort.SliceStable(entries, func(i, k int) bool { return entries[i].at.Before(entries[k].at) })
	for _, e := range entries {
		fmt.Fprintf(w, "%8.1f ms  %s\n", float64(e.at.Sub(start).Microseconds())/1000, e.text)
	}
}

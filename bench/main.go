//go:build linux

// Command bench measures what bifrost does beside the programs that people would use instead, over links of
// different length to a node on this machine, and prints a table with the figures that are wanted.
//
//	go run ./bench                          all of it
//	go run ./bench -quick                   fewer runs, smaller data
//	go run ./bench -only 'push' -rtt 0,40   some rows
//	go run ./bench -only 'exec' -trace 100  what crosses the link when, in one run
//
// Rows are measured in turns, ours and the peers', and the median counts. Every transfer is checked by
// content. Run it in the root of the repository.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	var err error
	if len(os.Args) == 3 && os.Args[1] == orderArg {
		err = doOrder(ctx, os.Args[2])
	} else {
		err = run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// where traces the rows that round trips are wanted of, at the largest distance: where each of them goes.
func (b *bench) where(ctx context.Context, pattern *regexp.Regexp) (string, error) {
	var text strings.Builder
	far := b.sites[slices.Max(b.trips)]
	if far.link == nil {
		return "", nil
	}
	for _, r := range rows {
		if !r.traced || !pattern.MatchString(r.name) {
			continue
		}
		b.note("%s, traced at %d ms", r.name, far.trip)
		if err := b.trace(ctx, &text, far, r); err != nil {
			return text.String(), fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return text.String(), nil
}

// A table is standard output. A reader that has seen enough ends the bench, which leaves nothing behind.
type table struct{ gone func() }

// openTable returns one that calls gone when nobody reads it any more.
func openTable(gone func()) table {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // it would end the process on the spot
	return table{gone}
}

func (t table) Write(b []byte) (int, error) {
	n, err := os.Stdout.Write(b)
	if err != nil {
		t.gone()
	}
	return n, err
}

func run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stdout := openTable(cancel)
	quick := flag.Bool("quick", false, "fewer runs and smaller data: under 3 minutes")
	large := flag.Bool("large", false, "one file of 1 GiB over a distance too: at 100 ms each run of a peer takes a minute")
	only := flag.String("only", "", "only the rows whose name matches this `regexp`")
	trips := flag.String("rtt", "", "round trip times in `ms` (default 0,40,100; with -quick 0,100)")
	runs := flag.Int("n", 0, "runs of each (default 5; with -quick 2)")
	trace := flag.Int("trace", -1, "show what crosses the link at this round trip time in `ms` in one run of each row, ours only")
	out := flag.String("o", "", "write the results to this `file` too, with the machine they were measured on")
	list := flag.Bool("list", false, "list the rows")
	flag.Parse()
	pattern, err := regexp.Compile("(?i)" + *only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	if *list {
		for _, r := range rows {
			fmt.Println(r.name)
		}
		for _, g := range growths {
			fmt.Println("growth: " + g.name)
		}
		return nil
	}
	if *trips == "" {
		*trips = map[bool]string{false: "0,40,100", true: "0,100"}[*quick]
	}
	var ms []int
	for text := range strings.SplitSeq(*trips, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 0 || n > 10_000 {
			return fmt.Errorf("-rtt: %q is not a number of milliseconds", text)
		}
		ms = append(ms, n)
	}
	if *trace >= 0 {
		ms = []int{*trace}
	}
	if *runs == 0 {
		*runs = map[bool]int{false: 5, true: 2}[*quick]
	}
	start := time.Now()
	b, err := newBench(ms, *runs, *quick, *large, func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%4.0fs "+format+"\n", append([]any{time.Since(start).Seconds()}, args...)...)
	})
	if err != nil {
		return err
	}
	defer b.close()
	var lines []line
	var failed error
	var grown strings.Builder
	where := ""
	save := func() { // after each row: what is there counts even if the run does not get to its end
		if *out != "" {
			if err := writeReport(*out, b, lines, grown.String(), where, time.Since(start)); err != nil {
				failed = errors.Join(failed, err)
			}
		}
	}
	if *trace < 0 && slices.ContainsFunc(rows, func(r row) bool { return pattern.MatchString(r.name) }) {
		io.WriteString(stdout, tableHead)
	}
	for _, r := range rows {
		if !pattern.MatchString(r.name) {
			continue
		}
		if *trace >= 0 {
			if err := b.trace(ctx, stdout, b.sites[*trace], r); err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			continue
		}
		got, err := r.measure(ctx, b)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if err != nil { // the other rows are worth having
			failed = errors.Join(failed, fmt.Errorf("%s: %w", r.name, err))
			b.note("%s: %v", r.name, err)
			continue
		}
		writeLines(stdout, got)
		lines = append(lines, got...)
		save()
	}
	if *trace >= 0 {
		return nil
	}
	for _, g := range growths {
		if !pattern.MatchString("growth: " + g.name) {
			continue
		}
		if grown.Len() == 0 {
			grown.WriteString(growthHead)
			io.WriteString(stdout, "\n"+growthHead)
		}
		steps, err := g.measure(ctx, b)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("growth: %s: %w", g.name, err))
			b.note("growth: %s: %v", g.name, err)
		}
		g.writeSteps(io.MultiWriter(stdout, &grown), steps)
		save()
	}
	if *out != "" {
		where, err = b.where(ctx, pattern)
		failed = errors.Join(failed, err)
		save()
	}
	b.note("done")
	return failed
}

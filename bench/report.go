//go:build linux

package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A line is one of the table: one row of work at one distance.
type line struct {
	Row    string
	Trip   int // ms
	Ours   time.Duration
	Peer   time.Duration // of the fastest that the figure is about; 0 where it is about none
	Name   string        // of that peer
	Others string        // contenders for comparison, connections, memory
	Runs   int
	Wants  []want
}

// A want is a figure to reach.
type want struct {
	Text    string
	Reached bool
}

// atMost wants a value below a limit.
func atMost(text string, value, limit float64) want { return want{text, value <= limit} }

// seconds prints a duration with three digits that mean something.
func seconds(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", float64(d.Nanoseconds())/1000)
	case d < time.Second:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	case d < 10*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// size prints bytes.
func size(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%d MB", n/1_000_000)
	case n >= 10_000:
		return fmt.Sprintf("%d kB", n/1000)
	}
	return fmt.Sprintf("%d B", n)
}

// tableHead begins the table, which is one of Markdown.
const tableHead = "| work | rtt ms | ours | peer | ratio | wanted | reached | runs | beside it |\n|---|---|---|---|---|---|---|---|---|\n"

// writeLines prints lines of the table.
func writeLines(w io.Writer, lines []line) {
	for _, l := range lines {
		peer, ratio := "", ""
		if l.Peer > 0 {
			peer = fmt.Sprintf("%s %s", l.Name, seconds(l.Peer))
			ratio = fmt.Sprintf("%.2f", l.Ours.Seconds()/l.Peer.Seconds())
		}
		var texts, reached []string
		for _, want := range l.Wants {
			texts = append(texts, want.Text)
			reached = append(reached, map[bool]string{true: "yes", false: "**no**"}[want.Reached])
		}
		fmt.Fprintf(w, "| %s | %d | %s | %s | %s | %s | %s | %d | %s |\n", l.Row, l.Trip, seconds(l.Ours), peer, ratio,
			strings.Join(texts, "; "), strings.Join(reached, ", "), l.Runs, l.Others)
	}
}

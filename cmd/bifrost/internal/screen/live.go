package screen

import (
	"fmt"
	"strings"
	"time"
)

// The escape sequences that every terminal of the last forty years knows.
const (
	clearLine = "\r\x1b[2K"
	lineUp    = "\x1b[1A"
)

func red(s string) string    { return "\x1b[31m" + s + "\x1b[0m" }
func yellow(s string) string { return "\x1b[33m" + s + "\x1b[0m" }

// erase returns what removes the live lines and leaves the cursor at the start of the first. Each
// change of the screen is one write, so that it does not flicker.
func (s *Screen) erase() string {
	if s.drawn == 0 {
		return ""
	}
	n := s.drawn
	s.drawn = 0
	return clearLine + strings.Repeat(lineUp+clearLine, n-1)
}

// drawSoon draws unless the last drawing was only just: the ticker comes by again.
func (s *Screen) drawSoon(now time.Time) {
	if now.Sub(s.last) >= redrawEvery {
		s.draw(now, "")
	}
}

// draw shows the live lines after text.
func (s *Screen) draw(now time.Time, text string) {
	if text = s.erase() + text + s.live(now); text != "" {
		s.write(text)
	}
}

// live returns the live lines, none while the job's bytes have left the cursor within a line.
func (s *Screen) live(now time.Time) string {
	if !s.opt.Live || s.closed || s.midline {
		return ""
	}
	s.last = now
	cols := max(s.opt.Width()-1, 1)
	var lines []string
	for _, st := range s.steps {
		lines = append(lines, fit(st.line(now), cols))
	}
	if s.sticky != "" {
		lines = append(lines, fit(s.sticky, cols))
	}
	s.drawn = len(lines)
	return strings.Join(lines, "\n")
}

// line is the live line of a step.
func (st *step) line(now time.Time) string {
	text := st.text
	if p := st.progress(now); p != "" {
		text = p
	}
	return strings.TrimRight(fmt.Sprintf("%-14s %6s  %s", clean(st.name), Duration(now.Sub(st.begun)), text), " ")
}

// progress says how far a transfer is, how fast it is, and how long it will still take.
func (st *step) progress(now time.Time) string {
	if st.moving.IsZero() {
		return ""
	}
	text := Bytes(st.bytes)
	if st.total > 0 {
		text += " of " + Bytes(st.total)
	}
	passed := now.Sub(st.moving).Seconds()
	if passed < 0.5 || st.bytes == 0 {
		return text
	}
	rate := float64(st.bytes) / passed
	text += ", " + Bytes(int64(rate)) + "/s"
	if left := st.total - st.bytes; left > 0 {
		text += ", " + Duration(time.Duration(float64(left)/rate*float64(time.Second))) + " left"
	}
	return text
}

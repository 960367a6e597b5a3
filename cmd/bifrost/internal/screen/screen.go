// Package screen shows what the engine does. On a terminal each running step has a live line, which
// a permanent line with its duration replaces; anywhere else each event is a plain line with a time
// stamp. It also has the forms that all commands print in: tables, durations, money, sizes.
//
// It depends on engine/report and writes to the two streams it is given, nothing else.
//
//	s := screen.New(screen.Options{Out: os.Stdout, Err: os.Stderr, Live: true, Shared: true, Width: width})
//	defer s.Close()
//	eng, err := engine.Open(ctx, engine.Config{Report: s.Event})
//	… the job's bytes go to s.Stdout()
package screen

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bifrost-run/bifrost/engine/report"
)

// Options say what a Screen writes to and how.
type Options struct {
	Out io.Writer // what was asked for
	Err io.Writer // everything about bifrost itself

	Live   bool       // Err is a terminal whose lines can be drawn again
	Shared bool       // Out is a terminal too: its bytes and the live lines share the screen
	Width  func() int // columns of that terminal; nil means 80

	Redact func(string) string // takes the secrets out of what is printed; nil changes nothing
}

const (
	redrawEvery   = 100 * time.Millisecond // live lines, at most
	progressEvery = 10 * time.Second       // plain lines about one transfer, at most
	heldLine      = 64 << 10               // of a bootstrap step's line without an end, at most
)

// A Screen shows events. It is safe for concurrent use.
type Screen struct {
	opt Options

	mu      sync.Mutex
	steps   []*step
	sticky  string // a line beneath those of the steps; "" is none
	drawn   int    // live lines on the terminal now
	midline bool   // the job's bytes left the cursor within a line
	last    time.Time

	ticking bool
	closed  bool
	stop    chan struct{}
	done    chan struct{}
}

// A step is one that was announced and has not ended.
type step struct {
	name, text   string
	begun        time.Time
	bytes, total int64
	moving       time.Time // when the first bytes moved
	told         time.Time // plain: when progress was last printed
	partial      []byte    // output without an end of line yet
}

// New returns a screen. The caller closes it.
func New(opt Options) *Screen {
	if opt.Width == nil {
		opt.Width = func() int { return 80 }
	}
	if opt.Redact == nil {
		opt.Redact = func(text string) string { return text }
	}
	return &Screen{opt: opt, stop: make(chan struct{}), done: make(chan struct{})}
}

// Event shows e. It is a report.Sink.
func (s *Screen) Event(e report.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	text := s.text(e.Text)
	switch e.Kind {
	case report.Started:
		s.steps = append(s.steps, &step{name: e.Step, text: text, begun: now})
		if s.opt.Live {
			s.tick()
			s.draw(now, "")
			return
		}
		if text == "" {
			text = "started"
		}
		s.stamped(now, e.Step+": "+text)
	case report.Progress:
		st := s.find(e.Step)
		if st == nil {
			return
		}
		if st.moving.IsZero() {
			st.moving, st.told = now, now
		}
		st.bytes, st.total = e.Bytes, e.Total
		if s.opt.Live {
			s.drawSoon(now)
		} else if now.Sub(st.told) >= progressEvery {
			st.told = now
			s.stamped(now, st.name+": "+st.progress(now))
		}
	case report.Output:
		s.output(s.find(e.Step), e.Data)
	case report.Ended:
		s.ended(now, e, text)
	case report.Notice:
		s.note(now, "", text)
	case report.Warning:
		s.note(now, "warning: ", text)
	}
}

// Line prints text to Err as it is, as lines of their own.
func (s *Screen) Line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.permanent(strings.TrimRight(s.opt.Redact(text), "\n"))
}

// Note prints a line about bifrost itself, as a Notice does.
func (s *Screen) Note(text string) { s.Event(report.Event{Kind: report.Notice, Text: text}) }

// Warn prints a line as a Warning does.
func (s *Screen) Warn(text string) { s.Event(report.Event{Kind: report.Warning, Text: text}) }

// Log prints what a script logs, as it is, behind its level.
func (s *Screen) Log(level, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	head, text := level+": ", strings.TrimRight(s.opt.Redact(text), "\n")
	if level == "info" || level == "debug" { // nothing to look up for
		head, text = "", head+text
	}
	s.note(time.Now(), head, text)
}

// Sticky keeps text on the terminal's last line, beneath those of the steps, until it is called
// with "". It does nothing where there are no live lines.
func (s *Screen) Sticky(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.opt.Live || s.closed {
		return
	}
	s.sticky = s.text(text)
	if text != "" {
		s.tick()
	}
	s.draw(time.Now(), "")
}

// Ask prints a question and leaves the cursor behind it; no live line is drawn until Answered.
func (s *Screen) Ask(question string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.erase() + s.text(question)
	if s.midline {
		text = "\n" + text
	}
	s.midline = true
	s.write(text)
}

// Answered ends a question; enter tells whether the user ended its line.
func (s *Screen) Answered(enter bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := ""
	if s.midline && !enter {
		end = "\n"
	}
	s.midline = false
	s.draw(time.Now(), end)
}

// Stdout returns the writer for what was asked for. Bytes pass unchanged; live lines make way.
func (s *Screen) Stdout() io.Writer { return (*stdout)(s) }

type stdout Screen

func (w *stdout) Write(p []byte) (int, error) {
	s := (*Screen)(w)
	if !s.opt.Live || !s.opt.Shared {
		return s.opt.Out.Write(p) // no lock: a slow reader of a pipe must not hold up the events
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	if e := s.erase(); e != "" {
		s.write(e)
	}
	n, err := s.opt.Out.Write(p)
	s.midline = p[len(p)-1] != '\n'
	s.drawSoon(time.Now())
	return n, err
}

// Close removes the live lines. Events after it are still printed, without them.
func (s *Screen) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	end := s.erase()
	if s.midline {
		end += "\n"
		s.midline = false
	}
	if end != "" {
		s.write(end)
	}
	ticking := s.ticking
	close(s.stop)
	s.mu.Unlock()
	if ticking {
		<-s.done
	}
}

// tick starts the goroutine that draws the live lines again while time passes.
func (s *Screen) tick() {
	if s.ticking || s.closed {
		return
	}
	s.ticking = true
	go func() {
		defer close(s.done)
		t := time.NewTicker(redrawEvery)
		defer t.Stop()
		for {
			select {
			case <-s.stop:
				return
			case now := <-t.C:
				s.mu.Lock()
				if len(s.steps) > 0 || s.sticky != "" {
					s.drawSoon(now)
				}
				s.mu.Unlock()
			}
		}
	}()
}

// find returns the running step of that name, the youngest when there are several.
func (s *Screen) find(name string) *step {
	for _, st := range slices.Backward(s.steps) {
		if st.name == name {
			return st
		}
	}
	return nil
}

func (s *Screen) ended(now time.Time, e report.Event, text string) {
	if st := s.find(e.Step); st != nil {
		if len(st.partial) > 0 {
			s.outputLine(st.partial)
		}
		if text == "" || e.Err != nil {
			text = st.text // what was tried; a detail belongs to what was done
		}
		s.steps = slices.DeleteFunc(s.steps, func(x *step) bool { return x == st })
	}
	if s.opt.Live {
		line := fmt.Sprintf("%-14s %6s  ", clean(e.Step), Duration(e.Duration))
		if e.Err != nil {
			text = strings.TrimSpace(red("failed") + "  " + text)
		}
		s.permanent(strings.TrimRight(line+text, " "))
		return
	}
	if e.Err != nil { // what was tried stands in the line of the beginning
		reason, _, _ := strings.Cut(e.Err.Error(), "\n")
		s.stamped(now, fmt.Sprintf("%s: failed after %s: %s", e.Step, Duration(e.Duration), s.text(reason)))
		return
	}
	if text != "" {
		text = ": " + text
	}
	s.stamped(now, fmt.Sprintf("%s: done in %s%s", e.Step, Duration(e.Duration), text))
}

func (s *Screen) note(now time.Time, head, text string) {
	if !s.opt.Live {
		s.stamped(now, head+text)
		return
	}
	if head != "" {
		head = yellow(head)
	}
	s.permanent(head + text)
}

// output prints the whole lines that a bootstrap step wrote and keeps what is left of them.
func (s *Screen) output(st *step, data []byte) {
	if st == nil {
		st = &step{}
		defer func() {
			if len(st.partial) > 0 {
				s.outputLine(st.partial)
			}
		}()
	}
	for {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			break
		}
		s.outputLine(append(st.partial, line...))
		st.partial, data = st.partial[:0], rest
	}
	st.partial = append(st.partial, data...)
	if i := bytes.LastIndexByte(bytes.TrimRight(st.partial, "\r"), '\r'); i >= 0 {
		st.partial = append(st.partial[:0], st.partial[i+1:]...) // a frame that another has replaced
	}
	if len(st.partial) > heldLine {
		s.outputLine(st.partial)
		st.partial = nil
	}
}

func (s *Screen) outputLine(line []byte) {
	line = bytes.TrimRight(line, "\r")
	if i := bytes.LastIndexByte(line, '\r'); i >= 0 {
		line = line[i+1:]
	}
	s.permanent("  " + strings.ToValidUTF8(s.opt.Redact(string(line)), "?"))
}

func (s *Screen) text(t string) string { return clean(s.opt.Redact(t)) }

func (s *Screen) stamped(now time.Time, line string) {
	s.permanent(now.UTC().Format(time.RFC3339) + " " + line)
}

// permanent prints lines that stay.
func (s *Screen) permanent(lines string) {
	if s.midline {
		lines = "\n" + lines
		s.midline = false
	}
	s.draw(time.Now(), lines+"\n")
}

// write ignores errors: nothing can be told to somebody who cannot be reached.
func (s *Screen) write(text string) { _, _ = io.WriteString(s.opt.Err, text) }

package main

import (
	"bytes"
	"io"
	"time"
)

// A backlogWriter passes on the bytes of a log, of those that were there at the beginning only the
// last lines.
type backlogWriter struct {
	w       io.Writer
	left    int64  // bytes that are still of the past
	tail    int    // lines of the past to pass on; -1 means all
	present func() // called once, when the past is over
	held    []byte
	over    bool
}

// begin ends a past that is empty.
func (b *backlogWriter) begin() error {
	if b.left == 0 {
		return b.end()
	}
	return nil
}

func (b *backlogWriter) end() error {
	b.over = true
	_, err := b.w.Write(b.held)
	b.held = nil
	b.present()
	return err
}

func (b *backlogWriter) Write(p []byte) (int, error) {
	n := len(p)
	if !b.over {
		past := p[:min(int64(len(p)), b.left)]
		b.left -= int64(len(past))
		p = p[len(past):]
		if b.tail < 0 {
			if _, err := b.w.Write(past); err != nil {
				return 0, err
			}
		} else {
			b.held = append(b.held, past...)
			b.held = lastLines(b.held, b.tail)
		}
		if b.left > 0 {
			return n, nil
		}
		if err := b.end(); err != nil {
			return 0, err
		}
	}
	if len(p) > 0 {
		if _, err := b.w.Write(p); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// lastLines returns the last lines of b; one without an end of line counts.
func lastLines(b []byte, lines int) []byte {
	if lines == 0 {
		return b[:0]
	}
	at := len(b)
	if at > 0 && b[at-1] == '\n' {
		at--
	}
	for ; lines > 0; lines-- {
		i := bytes.LastIndexByte(b[:at], '\n')
		if i < 0 {
			return b
		}
		at = i
	}
	return b[at+1:]
}

// A timedWriter puts in front of each line when it arrived; "-" before Present was called.
type timedWriter struct {
	w      io.Writer
	now    func() time.Time // nil means time.Now
	within bool             // the line that p continues has its time
	live   bool
}

// Present says that what is written from now on is new.
func (t *timedWriter) Present() { t.live = true }

func (t *timedWriter) Write(p []byte) (int, error) {
	var out []byte
	for rest := p; len(rest) > 0; {
		line := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line = rest[:i+1]
		}
		rest = rest[len(line):]
		if !t.within {
			out = append(out, t.stamp()...)
		}
		out = append(out, line...)
		t.within = line[len(line)-1] != '\n'
	}
	if _, err := t.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (t *timedWriter) stamp() string {
	if !t.live {
		return "-                    "
	}
	now := time.Now
	if t.now != nil {
		now = t.now
	}
	return now().UTC().Format(time.RFC3339) + " "
}

package main

import (
	"bytes"
	"io"
	"time"
)

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

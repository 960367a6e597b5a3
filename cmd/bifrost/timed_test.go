package main

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

func TestTimedWriter(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := &timedWriter{w: &out, now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }}
	fmt.Fprint(w, "old\nha")
	w.Present()
	fmt.Fprint(w, "lf\nnew\n\n")
	want := "-                    old\n-                    half\n2026-01-02T03:04:05Z new\n2026-01-02T03:04:05Z \n"
	if got := out.String(); got != want {
		t.Errorf("got %q want %q", got, want)
	}
}

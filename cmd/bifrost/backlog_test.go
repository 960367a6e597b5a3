package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestBacklogWriter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		past string
		now  string
		tail int
		want string
	}{
		{"all", "a\nb\n", "c\n", -1, "a\nb\n|c\n"},
		{"one line", "a\nb\n", "c\n", 1, "b\n|c\n"},
		{"none", "a\nb\n", "c\n", 0, "|c\n"},
		{"more than there are", "a\nb\n", "c\n", 9, "a\nb\n|c\n"},
		{"the last has no end", "a\nb", "c\n", 1, "b|c\n"},
		{"no past", "", "c\n", 5, "|c\n"},
	} {
		for _, chunk := range []int{1, 2, 3, 100} {
			t.Run(fmt.Sprintf("%s by %d", tt.name, chunk), func(t *testing.T) {
				t.Parallel()
				var out bytes.Buffer
				b := &backlogWriter{w: &out, left: int64(len(tt.past)), tail: tt.tail, present: func() { out.WriteByte('|') }}
				if err := b.begin(); err != nil {
					t.Fatal(err)
				}
				for data := []byte(tt.past + tt.now); len(data) > 0; {
					n := min(chunk, len(data))
					if _, err := b.Write(data[:n]); err != nil {
						t.Fatal(err)
					}
					data = data[n:]
				}
				if got := out.String(); got != tt.want {
					t.Errorf("got %q want %q", got, tt.want)
				}
			})
		}
	}
}

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

func TestCopyTail(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789\n", 30_000)
	for _, tt := range []struct {
		text  string
		lines int
		want  string
	}{
		{"a\nb\nc\n", 2, "b\nc\n"},
		{"a\nb\nc", 2, "b\nc"},
		{"a\nb\n", 9, "a\nb\n"},
		{"a\n", 0, ""},
		{"", 3, ""},
		{"\n\n\n", 2, "\n\n"},
		{long, 20_000, long[10_000*11:]},
	} {
		var out bytes.Buffer
		if err := copyTail(&out, strings.NewReader(tt.text), tt.lines); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != tt.want {
			t.Errorf("last %d of %d bytes: got %d bytes want %d", tt.lines, len(tt.text), len(got), len(tt.want))
		}
	}
}

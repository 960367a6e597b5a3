package screen

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/engine/report"
)

// A term is as much of a terminal as the screen uses: it shows what a person would see.
type term struct {
	mu       sync.Mutex
	lines    []string
	row, col int
}

func (t *term) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := string(p); s != ""; {
		for len(t.lines) <= t.row {
			t.lines = append(t.lines, "")
		}
		switch {
		case strings.HasPrefix(s, "\x1b[2K"):
			t.lines[t.row], s = "", s[4:]
		case strings.HasPrefix(s, "\x1b[1A"):
			t.row, s = t.row-1, s[4:]
		case strings.HasPrefix(s, "\x1b["):
			_, s, _ = strings.Cut(s, "m") // colour
		case s[0] == '\r':
			t.col, s = 0, s[1:]
		case s[0] == '\n':
			t.row, t.col, s = t.row+1, 0, s[1:]
		default:
			line := t.lines[t.row]
			line += strings.Repeat(" ", max(0, t.col-len(line)))
			t.lines[t.row] = line[:t.col] + s[:1] + line[min(len(line), t.col+1):]
			t.col, s = t.col+1, s[1:]
		}
	}
	return len(p), nil
}

func (t *term) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimRight(strings.Join(t.lines, "\n"), "\n")
}

func TestLive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tt term
		s := New(Options{Out: &tt, Err: &tt, Live: true, Shared: true, Width: func() int { return 60 }})
		see := func(want ...string) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(strings.Join(want, "\n"), tt.String()); diff != "" {
				t.Errorf("screen (-want +got):\n%s", diff)
			}
		}
		s.Event(report.Event{Kind: report.Started, Step: "push", Text: "12 files"})
		see("push             0.0s  12 files")
		time.Sleep(2 * time.Second)
		see("push             2.0s  12 files")
		s.Event(report.Event{Kind: report.Progress, Step: "push", Bytes: 0, Total: 10_000_000})
		time.Sleep(1950 * time.Millisecond)
		s.Event(report.Event{Kind: report.Progress, Step: "push", Bytes: 4_000_000, Total: 10_000_000})
		time.Sleep(50 * time.Millisecond)
		see("push             4.0s  4.0 MB of 10 MB, 2.0 MB/s, 3.0s left")
		s.Event(report.Event{Kind: report.Started, Step: "connect", Text: strings.Repeat("x", 100)})
		see("push             4.0s  4.0 MB of 10 MB, 2.0 MB/s, 3.0s left",
			"connect          0.0s  "+strings.Repeat("x", 36))
		s.Event(report.Event{Kind: report.Ended, Step: "connect", Text: "gpu:22", Duration: time.Second})
		s.Event(report.Event{Kind: report.Ended, Step: "push", Text: "12 files, 10 MB", Duration: 5 * time.Second})
		s.Event(report.Event{Kind: report.Started, Step: "bootstrap 1/1", Text: "uv sync"})
		s.Event(report.Event{Kind: report.Output, Step: "bootstrap 1/1", Data: []byte("a\nb 1%\rb 50%\rb 100%\r\nha")})
		see("connect          1.0s  gpu:22",
			"push             5.0s  12 files, 10 MB",
			"  a",
			"  b 100%",
			"bootstrap 1/1    0.0s  uv sync")
		s.Event(report.Event{Kind: report.Output, Step: "bootstrap 1/1", Data: []byte("lf")})
		s.Event(report.Event{Kind: report.Ended, Step: "bootstrap 1/1", Duration: 61 * time.Second, Err: errors.New("exit code 1")})
		s.Event(report.Event{Kind: report.Warning, Text: "it\x1b[2Jcosts"})
		s.Close()
		see("connect          1.0s  gpu:22",
			"push             5.0s  12 files, 10 MB",
			"  a",
			"  b 100%",
			"  half",
			"bootstrap 1/1   1m01s  failed  uv sync",
			"warning: it?[2Jcosts")
	})
}

// The job's bytes and the live lines share a terminal: the bytes must come out as if there were no
// lines, whatever the chunks are.
func TestJobBytesOnTheSameTerminal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tt term
		s := New(Options{Out: &tt, Err: &tt, Live: true, Shared: true})
		out := s.Stdout()
		s.Sticky("d detach, s stop, c carry on")
		fmt.Fprint(out, "one\ntw")
		time.Sleep(time.Second)
		synctest.Wait()
		if got, want := tt.String(), "one\ntw"; got != want {
			t.Errorf("within a line: got %q want %q", got, want)
		}
		fmt.Fprint(out, "o\n")
		time.Sleep(time.Second)
		synctest.Wait()
		if got, want := tt.String(), "one\ntwo\nd detach, s stop, c carry on"; got != want {
			t.Errorf("after the line: got %q want %q", got, want)
		}
		fmt.Fprint(out, "50%\r100%")
		s.Note("connection lost, reconnecting")
		s.Close()
		if got, want := tt.String(), "one\ntwo\n100%\nconnection lost, reconnecting"; got != want {
			t.Errorf("at the end: got %q want %q", got, want)
		}
	})
}

func TestPlain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // begins at 2000-01-01T00:00:00Z
		var out, errs bytes.Buffer
		redact := func(text string) string { return strings.ReplaceAll(text, "hunter22", "<secret>") }
		s := New(Options{Out: &out, Err: &errs, Redact: redact})
		s.Event(report.Event{Kind: report.Started, Step: "connect", Text: "gpu:22"})
		s.Event(report.Event{Kind: report.Ended, Step: "connect", Duration: 300 * time.Millisecond})
		s.Event(report.Event{Kind: report.Started, Step: "push"})
		for i := range 25 {
			time.Sleep(time.Second)
			s.Event(report.Event{Kind: report.Progress, Step: "push", Bytes: int64(i) * 1000, Total: 100_000})
		}
		s.Event(report.Event{Kind: report.Ended, Step: "push", Duration: time.Second, Err: errors.New("no space left")})
		s.Event(report.Event{Kind: report.Notice, Text: "the token is hunter22"})
		s.Event(report.Event{Kind: report.Output, Data: []byte("x\ny")})
		s.Line("a\nb\n")
		fmt.Fprint(s.Stdout(), "job")
		s.Close()
		want := `2000-01-01T00:00:00Z connect: gpu:22
2000-01-01T00:00:00Z connect: done in 0.3s: gpu:22
2000-01-01T00:00:00Z push: started
2000-01-01T00:00:11Z push: 10 kB of 100 kB, 1.0 kB/s, 90s left
2000-01-01T00:00:21Z push: 20 kB of 100 kB, 1.0 kB/s, 80s left
2000-01-01T00:00:25Z push: failed after 1.0s: no space left
2000-01-01T00:00:25Z the token is <secret>
  x
  y
a
b
`
		want = strings.NewReplacer("90s left", "1m30s left", "80s left", "1m20s left").Replace(want)
		if diff := cmp.Diff(want, errs.String()); diff != "" {
			t.Errorf("stderr (-want +got):\n%s", diff)
		}
		if got := out.String(); got != "job" {
			t.Errorf("stdout: got %q want %q", got, "job")
		}
	})
}

func TestOutputOfHugeLineIsBounded(t *testing.T) {
	t.Parallel()
	var errs bytes.Buffer
	s := New(Options{Out: &errs, Err: &errs})
	s.Event(report.Event{Kind: report.Started, Step: "bootstrap 1/1", Text: "x"})
	for range 100 {
		s.Event(report.Event{Kind: report.Output, Step: "bootstrap 1/1", Data: bytes.Repeat([]byte("x"), 10<<10)})
	}
	if held := cap(s.steps[0].partial); held > 4*heldLine {
		t.Errorf("holds %d bytes of a line", held)
	}
	s.Close()
}

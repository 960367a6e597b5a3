//go:build unix

package transfer

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

func noise(seed uint64, n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return string(b)
}

// noHalf fails when a file has its real name and not the content that it has on the node.
func noHalf(t *testing.T, dir string, want tree) (parts int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(full string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && full == dir {
			return nil // not even begun
		}
		if err != nil || e.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, full)
		if strings.HasSuffix(name, partSuffix) {
			parts++
			return nil
		}
		b, err := os.ReadFile(full)
		if string(b) != want[name] {
			t.Errorf("%s has its name but not its content (%d bytes of %d)", name, len(b), len(want[name]))
		}
		return err
	})
	must(t, err)
	return parts
}

// A download that is cut, and given up, leaves whole files and parts; the next one fetches the rest.
func TestDownloadResumesInTheNextCall(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		want := tree{"big": noise(1, 3<<20), "empty": "", "d/mid": noise(2, 300<<10), "d/small": "s", "z/odd\nbig": noise(3, 700<<10), "a b": noise(4, 200<<10)}
		total := int64(0)
		for _, c := range want {
			total += int64(len(c))
		}
		want.write(t, filepath.Join(node.Home, "r"))
		for range 12 {
			dir := t.TempDir()
			req := Request{Remote: "r", RemoteDir: "~", Local: "to", LocalDir: dir}
			cut := rand.Int64N(total + 10_000)
			broken := &breaker{Runner: node, after: []int64{cut, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}
			first, err := download(t.Context(), broken, req, retry{patience: 1})
			if cut <= total {
				wantKind(t, err, fault.Lost, "the same download goes on")
			} else if err != nil && fault.KindOf(err) != fault.Lost {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(dir, "to")); err == nil {
				noHalf(t, filepath.Join(dir, "to"), want)
			}
			second, err := Download(t.Context(), node, req)
			must(t, err)
			diffTree(t, filepath.Join(dir, "to"), want)
			// Only parts that are too small to resume travel twice.
			if again := first.Bytes + second.Bytes - total; again < 0 || again > minResume+512 {
				t.Errorf("cut at %d: %d + %d bytes travelled for %d", cut, first.Bytes, second.Bytes, total)
			}
			if names, _ := os.ReadDir(dir); len(names) != 1 {
				t.Errorf("got %v beside the target, want nothing", names)
			}
		}
	})
}

// A download whose connection breaks again and again completes in one call.
func TestDownloadReconnects(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		want := tree{"big": noise(5, 4<<20), "b": noise(6, 1<<20)}
		for i := range 50 {
			want[fmt.Sprintf("s/%d", i)] = noise(uint64(i), 2000)
		}
		want.write(t, filepath.Join(node.Home, "r"))
		dir := t.TempDir()
		var ev events
		broken := &breaker{Runner: node, after: []int64{50, 3000, 500_000, 9_000, 1_200_000, 700_001, 1_000_000}}
		broken.then = func(int) { noHalf(t, filepath.Join(dir, "to"), want) }
		res, err := download(t.Context(), broken, Request{Remote: "r", RemoteDir: "~", Local: "to", LocalDir: dir, Report: ev.sink, Step: "results"}, patientRetry())
		must(t, err)
		diffTree(t, filepath.Join(dir, "to"), want)
		if res.Files != len(want) || res.Skipped != 0 {
			t.Errorf("got %+v, want %d files", res, len(want))
		}
		if limit := int64(5<<20 + 100_000 + 8*minResume); broken.sent.Load() > limit+50_000 {
			t.Errorf("%d bytes travelled, want at most %d", broken.sent.Load(), limit)
		}
		notices := ev.texts(report.Notice)
		if !strings.Contains(notices, "connection lost") || !strings.Contains(notices, "reconnected") {
			t.Errorf("got notices %q", notices)
		}
	})
}

func TestDownloadSingleFileResumes(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		content := noise(7, 2<<20)
		tree{"o dd\n": content}.write(t, node.Home)
		dir := t.TempDir()
		broken := &breaker{Runner: node, after: []int64{1 << 20}}
		res, err := download(t.Context(), broken, Request{Remote: "o dd\n", RemoteDir: "~", Local: "x/here", LocalDir: dir}, patientRetry())
		must(t, err)
		diffTree(t, dir, tree{"x/here": content})
		if broken.runs != 3 || res.Bytes != 2<<20 { // one asks for the sum of what is here in part
			t.Errorf("got %+v in %d commands, want each byte once in 3", res, broken.runs)
		}
	})
}

// What a part holds is trusted only as far as the sum of the whole.
func TestDownloadParts(t *testing.T) {
	t.Parallel()
	content := noise(8, 500<<10)
	tests := []struct {
		name     string
		part     string // own part's content; "" is none
		stale    bool
		commands int // one of them asks for the sum of what is here in part
		bytes    int
	}{
		{"none", "", false, 1, len(content)},
		{"beginning", content[:300<<10], false, 2, 200 << 10},
		{"whole", content, false, 2, 0},
		{"whole but wrong", noise(9, 500<<10), false, 2, len(content)},
		{"too small to resume", content[:100], false, 2, len(content)},
		{"too long", content + "x", false, 2, len(content)},
		{"wrong beginning", noise(9, 300<<10), false, 3, 200<<10 + len(content)},
		{"of other content", "", true, 1, len(content)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			node := &counter{Runner: &enginetest.Shell{Home: t.TempDir()}}
			tree{"f": content}.write(t, node.Runner.(*enginetest.Shell).Home)
			dir := t.TempDir()
			if tt.part != "" {
				own := partName("f", keyOf(t, filepath.Join(node.Runner.(*enginetest.Shell).Home, "f")))
				tree{own: tt.part}.write(t, dir)
			}
			if tt.stale {
				tree{partName("f", digest{1}): "old", partName("g", digest{1}): "other"}.write(t, dir)
			}
			res, err := Download(t.Context(), node, Request{Remote: "f", RemoteDir: "~", Local: "f", LocalDir: dir})
			must(t, err)
			want := tree{"f": content}
			if tt.stale {
				want[partName("g", digest{1})] = "other"
			}
			diffTree(t, dir, want)
			if node.runs != tt.commands || res.Bytes != int64(tt.bytes) {
				t.Errorf("got %d bytes in %d commands, want %d in %d", res.Bytes, node.runs, tt.bytes, tt.commands)
			}
		})
	}
}

func TestPartNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"f", "a/f", ".x", "x.deadbeef.bifrost-part", strings.Repeat("n", 255), strings.Repeat("é", 127), "a/" + strings.Repeat("\xff", 250)} {
		part := partName(name, digest{0xab, 0xcd, 0xef, 1})
		base := filepath.Base(part)
		got, ok := partOf(base)
		if len(base) > 255 || filepath.Dir(part) != filepath.Dir(name) || !ok || got != partBase(filepath.Base(name)) {
			t.Errorf("partName(%q) = %q, of %q, %v", name, part, got, ok)
		}
	}
	for _, name := range []string{"", ".bifrost-part", ".f.12345678", "f.12345678.bifrost-part", ".f.1234567g.bifrost-part", "..12345678.bifrost-part"} {
		if base, ok := partOf(name); ok {
			t.Errorf("partOf(%q) = %q, want none", name, base)
		}
	}
}

func TestDownloadOfChangingFiles(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		file := func(name string) string { return filepath.Join(node.Home, "r", name) }
		tree{"same": "S", "grows": "1", "other": "xxx", "shrinks": noise(1, 100_000), "goes": "G"}.write(t, filepath.Join(node.Home, "r"))
		dir := t.TempDir()
		runner := &listenRunner{Runner: node, change: func(run int) {
			if run > 1 {
				return
			}
			must(t, os.WriteFile(file("grows"), []byte("12"), 0o644))
			must(t, os.WriteFile(file("other"), []byte("yyy"), 0o644))
			must(t, os.WriteFile(file("shrinks"), []byte("short"), 0o644))
			must(t, os.Remove(file("goes")))
		}}
		res, err := Download(t.Context(), runner, Request{Remote: "r", RemoteDir: "~", Local: "to", LocalDir: dir})
		must(t, err)
		diffTree(t, filepath.Join(dir, "to"), tree{"same": "S", "grows": "12", "other": "yyy", "shrinks": "short"})
		if runner.runs != 2 || res.Files != 4 {
			t.Errorf("got %+v in %d commands, want 4 files in 2", res, runner.runs)
		}

		// A file that never holds still is named; the others are there.
		tree{"also": "A"}.write(t, filepath.Join(node.Home, "r"))
		runner = &listenRunner{Runner: node, change: func(run int) {
			must(t, os.WriteFile(file("grows"), []byte(strings.Repeat("x", run+5)), 0o644))
		}}
		tree{"grows": "x"}.write(t, filepath.Join(node.Home, "r"))
		_, err = Download(t.Context(), runner, Request{Remote: "r/", RemoteDir: "~", Local: "to", LocalDir: dir})
		wantKind(t, err, fault.Transfer, "grows: it changed on the node while it was sent, twice")
		diffTree(t, filepath.Join(dir, "to"), tree{"same": "S", "grows": "12", "other": "yyy", "shrinks": "short", "also": "A"})
		if runner.runs != 2 {
			t.Errorf("got %d commands, want 2", runner.runs)
		}
	})
}

// A file that changes between two attempts is the new one in the end, and no mixture.
func TestDownloadOfAFileThatChangesBetweenAttempts(t *testing.T) {
	t.Parallel()
	node := &enginetest.Shell{Home: t.TempDir()}
	older, newer := noise(1, 1<<20), noise(2, 1<<20)
	tree{"r/first": "1", "r/model": older}.write(t, node.Home)
	dir := t.TempDir()
	broken := &breaker{Runner: node, after: []int64{600_000}, then: func(int) {
		tree{"r/first": "2", "r/model": newer}.write(t, node.Home)
	}}
	_, err := download(t.Context(), broken, Request{Remote: "r", RemoteDir: "~", Local: "to", LocalDir: dir}, patientRetry())
	must(t, err)
	diffTree(t, dir, tree{"to/first": "2", "to/model": newer})
}

func TestDownloadGivesUpAfterItsPatience(t *testing.T) {
	t.Parallel()
	lost := runnerFunc(func(*ssh.Command) error { return &ssh.LostError{Err: errors.New("reset")} })
	_, err := download(t.Context(), lost, Request{Remote: "r", Local: t.TempDir()}, quickRetry())
	wantKind(t, err, fault.Lost, "reset")
	if !isLost(err) {
		t.Errorf("got %v, want the cause in its chain", err)
	}
	refused := &fault.Error{Kind: fault.Unreachable, Op: "connect", Target: "h", Err: errors.New("refused")}
	runs := 0
	_, err = download(t.Context(), runnerFunc(func(*ssh.Command) error { runs++; return refused }), Request{Remote: "r", Local: t.TempDir()}, quickRetry())
	if !errors.Is(err, refused) || runs != 1 {
		t.Errorf("got %v after %d commands, want %v at once", err, runs, refused)
	}
}

// Downloads of the same thing to the same place at the same time end with what was fetched.
func TestDownloadsAtTheSameTime(t *testing.T) {
	t.Parallel()
	node := &enginetest.Shell{Home: t.TempDir()}
	want := tree{"big": noise(1, 2<<20), "d/mid": noise(2, 200<<10), "l": "-> big"}
	for i := range 40 {
		want[fmt.Sprintf("many/%d", i)] = noise(uint64(i), 1000)
	}
	want.write(t, filepath.Join(node.Home, "r"))
	dir := t.TempDir()
	errs := make(chan error)
	for range 4 {
		go func() {
			_, err := Download(t.Context(), node, Request{Remote: "r/", RemoteDir: "~", Local: "to", LocalDir: dir})
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	diffTree(t, filepath.Join(dir, "to"), want)
}

//go:build unix

package transfer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// digits are bytes of which a gzip needs half.
func digits(seed uint64, n int) string { return hex.EncodeToString([]byte(noise(seed, n/2))) }

func many(n int, content func(seed uint64, n int) string) tree {
	tr := tree{"empty/": "", "l": "-> many/0/0"}
	for i := range n {
		tr[fmt.Sprintf("many/%d/%d", i%7, i)] = content(uint64(i), 8000)
	}
	return tr
}

// What goes far goes packed, on each connection, where the node can unpack it and it is worth it.
func TestUploadPacks(t *testing.T) {
	t.Parallel()
	withLarge := many(100, digits)
	withLarge["large"] = digits(1, 400<<10)
	for name, tt := range map[string]struct {
		options enginetest.Options
		up      tree
		packed  bool
	}{
		"text":       {enginetest.Options{}, many(100, digits), true},
		"busybox":    {enginetest.Options{Busybox: true}, many(100, digits), true},
		"large file": {enginetest.Options{}, withLarge, true}, // but for that
		"noise":      {enginetest.Options{}, many(100, noise), false},
		"little":     {enginetest.Options{}, tree{"a": digits(1, 10_000)}, false},
		"no gzip":    {enginetest.Options{Without: []string{"gzip"}}, withLarge, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, proxy, node := distantNode(t, tt.options)
			dir := t.TempDir()
			tt.up.write(t, filepath.Join(dir, "r"))
			carried := proxy.Carried()
			res, err := uploadOver(t.Context(), node, UploadRequest{Local: "r", LocalDir: dir, Remote: "to"}, patientRetry(), smallWidth())
			must(t, err)
			diffTree(t, filepath.Join(s.Home, "to"), tt.up)
			small := tt.up.bytes() - int64(len(tt.up["large"]))
			if res.Bytes != tt.up.bytes() {
				t.Errorf("got %+v, want %d bytes", res, tt.up.bytes())
			}
			carried = proxy.Carried() - carried - int64(len(tt.up["large"]))
			if carried < small*3/4 != tt.packed {
				t.Errorf("%d bytes were carried for %d", carried, small)
			}
		})
	}
}

// A far node is one at a distance to which there is one connection.
type far struct{ ssh.Runner }

func (far) RoundTrip(context.Context) (time.Duration, error) { return 100 * time.Millisecond, nil }

func (far) FirstAnswer(context.Context) (time.Duration, error) { return 0, nil }

func (far) Beside() (*ssh.Client, error) { return nil, errors.New("there is no further one") }

// What does not arrive whole gets no name, wherever a gzip ends.
func TestPackedUploadThatIsCut(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		dir := t.TempDir()
		want := many(30, digits)
		want.write(t, filepath.Join(dir, "r"))
		for range 10 {
			short := &cutStdin{Runner: node, after: []int64{rand.Int64N(120 << 10), rand.Int64N(120 << 10)}}
			_, err := upload(t.Context(), far{short}, UploadRequest{Local: "r", LocalDir: dir, Remote: "to"}, retry{patience: 1})
			wantKind(t, err, fault.Lost)
			diffTree(t, node.Home, tree{})
		}
		short := &cutStdin{Runner: node, after: []int64{0, 50 << 10, 120 << 10}}
		_, err := upload(t.Context(), far{short}, UploadRequest{Local: "r", LocalDir: dir, Remote: "to"}, patientRetry())
		must(t, err)
		diffTree(t, filepath.Join(node.Home, "to"), want)
	})
}

// That a node has no gzip costs one command, and no words.
func TestUploadWithoutGzip(t *testing.T) {
	t.Parallel()
	s := enginetest.OpenSSH(t, enginetest.Options{Without: []string{"gzip"}})
	runner := &counter{Runner: s.Client(t)}
	dir := t.TempDir()
	want := many(30, digits)
	want.write(t, filepath.Join(dir, "r"))
	var ev events
	_, err := Upload(t.Context(), far{runner}, UploadRequest{Local: "r", LocalDir: dir, Remote: "to", Report: ev.sink})
	must(t, err)
	if runner.runs != 2 || ev.texts(report.Notice) != "" {
		t.Errorf("got %d commands and notices %q, want 2 and none", runner.runs, ev.texts(report.Notice))
	}
	diffTree(t, filepath.Join(s.Home, "to"), want)
}

//go:build unix

package follow_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/follow"
	"github.com/bifrost-run/bifrost/engine/session"
)

// From a node that is far what a log has comes compressed where the node has gzip, what it gets then comes at
// once, and a cut in either is as anywhere.
func TestFollowFarNode(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		options enginetest.Options
		cut     int64 // bytes after which the connection breaks; 0 is never
		packed  bool
	}{
		"far":          {enginetest.Options{}, 0, true},
		"cut":          {enginetest.Options{}, 300_000, true},
		"no gzip":      {enginetest.Options{Without: []string{"gzip"}}, 0, false},
		"cut, no gzip": {enginetest.Options{Without: []string{"gzip"}}, 1_000_000, false},
		"busybox":      {enginetest.Options{Busybox: true}, 0, true},
		"cut, busybox": {enginetest.Options{Busybox: true}, 300_000, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := enginetest.OpenSSH(t, tt.options)
			_, err := session.Start(t.Context(), s.Client(t), session.Spec{
				ID: "j", Name: "j", NoTmux: true,
				Shell: "seq 1 400000; until [ -e ~/seen ]; do sleep 0.05; done; echo live; until [ -e ~/live ]; do sleep 0.05; done; exit 3",
			})
			if err != nil {
				t.Fatal(err)
			}
			log := filepath.Join(s.Home, ".bifrost/jobs/j/log")
			want := seq(400_000)
			enginetest.Until(t, "the log is there", func() bool { info, err := os.Stat(log); return err == nil && info.Size() == int64(len(want)) })
			proxy := enginetest.NewProxy(t, s.Addr)
			proxy.Delay(15 * time.Millisecond)
			node := s.ClientVia(t, proxy)
			if err := node.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			if tt.cut > 0 {
				proxy.CutAfter(tt.cut)
			}
			var out bytes.Buffer
			w := writerFunc(func(p []byte) (int, error) {
				out.Write(p)
				for name, end := range map[string]string{"seen": "\n400000\n", "live": "\n400000\nlive\n"} {
					if bytes.HasSuffix(out.Bytes(), []byte(end)) {
						if err := os.WriteFile(filepath.Join(s.Home, name), nil, 0o644); err != nil {
							return 0, err
						}
					}
				}
				return len(p), nil
			})
			path := filepath.Join(t.TempDir(), "log")
			status, err := follow.Follow(t.Context(), node, follow.Request{JobID: "j", Log: openCopy(t, path)}, w)
			if err != nil || status.State != session.Exited || status.ExitCode != 3 {
				t.Fatalf("got %+v, %v", status, err)
			}
			want = append(want, "live\n"...)
			if local, err := os.ReadFile(path); err != nil || !bytes.Equal(local, want) || !bytes.Equal(out.Bytes(), want) {
				t.Errorf("got %d and %d bytes, want %d, %v", len(local), out.Len(), len(want), err)
			}
			if carried := proxy.Carried(); carried < int64(len(want))*2/3 != tt.packed {
				t.Errorf("%d bytes were carried for %d", carried, len(want))
			}
			if n := proxy.Accepted(); n > 1 != (tt.cut > 0) {
				t.Errorf("got %d connections", n)
			}
		})
	}
}

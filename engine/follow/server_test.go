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

// Over a real connection that is cut again and again the log arrives byte for byte.
func TestFollowOnServers(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T) *enginetest.Server{
		"openssh":  func(t *testing.T) *enginetest.Server { return enginetest.OpenSSH(t, enginetest.Options{}) },
		"busybox":  func(t *testing.T) *enginetest.Server { return enginetest.OpenSSH(t, enginetest.Options{Busybox: true}) },
		"dropbear": func(t *testing.T) *enginetest.Server { return enginetest.Dropbear(t, enginetest.Options{}) },
	}
	for name, serve := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t)
			direct := server.Client(t)
			_, err := session.Start(t.Context(), direct, session.Spec{
				ID: "j", Name: "j", NoTmux: true,
				Shell: "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do seq 1 60000; sleep 0.2; done; printf 'no newline'; exit 3",
			})
			if err != nil {
				t.Fatal(err)
			}
			proxy := enginetest.NewProxy(t, server.Addr)
			stop := proxy.CutRandomly(t, 7, 200*time.Millisecond, 900*time.Millisecond)
			path := filepath.Join(t.TempDir(), "log")
			var out bytes.Buffer
			status, err := follow.Follow(t.Context(), server.ClientVia(t, proxy), follow.Request{JobID: "j", Log: openCopy(t, path)}, &out)
			stop()
			if err != nil || status.State != session.Exited || status.ExitCode != 3 {
				t.Fatalf("got %+v, %v", status, err)
			}
			var want bytes.Buffer
			if err := follow.Read(t.Context(), direct, "j", &want); err != nil {
				t.Fatal(err)
			}
			local, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(local, want.Bytes()) || !bytes.Equal(out.Bytes(), want.Bytes()) || int64(len(local)) != status.LogSize {
				t.Errorf("got %d and %d bytes, want %d, recorded %d, %v", len(local), out.Len(), want.Len(), status.LogSize, err)
			}
			t.Logf("%d connections", proxy.Accepted())
		})
	}
}

//go:build unix

package transfer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
)

func servers() map[string]func(testing.TB) *enginetest.Server {
	open := func(o enginetest.Options) func(testing.TB) *enginetest.Server {
		return func(t testing.TB) *enginetest.Server { return enginetest.OpenSSH(t, o) }
	}
	return map[string]func(testing.TB) *enginetest.Server{
		"current":  open(enginetest.Options{}),
		"plain":    open(enginetest.Options{User: enginetest.Plain, NoSFTP: true}),
		"fish":     open(enginetest.Options{User: enginetest.Fish}),
		"csh":      open(enginetest.Options{User: enginetest.Csh}),
		"chatty":   open(enginetest.Options{User: enginetest.Chatty}),
		"busybox":  open(enginetest.Options{Busybox: true}),
		"dropbear": func(t testing.TB) *enginetest.Server { return enginetest.Dropbear(t, enginetest.Options{}) },
	}
}

// TestOverSSH is the whole package on real servers.
func TestOverSSH(t *testing.T) {
	t.Parallel()
	for name, start := range servers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			node := s.Client(t)
			ctx := t.Context()
			dir := t.TempDir()
			want := make(tree)
			for name, content := range oddNames {
				want[name] = content
			}
			want["large"] = noise(1, 5<<20)
			for i := range 300 {
				want[fmt.Sprintf("many/%d", i)] = fmt.Sprint(i)
			}
			want.write(t, filepath.Join(dir, "src"))

			up, err := Upload(ctx, node, UploadRequest{Local: "src", LocalDir: dir, Remote: "w s/in put", RemoteDir: "~"})
			must(t, err)
			diffTree(t, filepath.Join(s.Home, "w s/in put"), want)
			down, err := Download(ctx, node, Request{Remote: "in put/", RemoteDir: "~/w s", Local: "back", LocalDir: dir})
			must(t, err)
			diffTree(t, filepath.Join(dir, "back"), want)
			if up.Files != down.Files || up.Bytes != down.Bytes {
				t.Errorf("up %+v, down %+v; want the same", up, down)
			}
			again, err := Download(ctx, node, Request{Remote: "./in put/", RemoteDir: "~/w s", Local: "back/", LocalDir: dir})
			must(t, err)
			if again.Bytes != 0 || again.Files != 0 {
				t.Errorf("again: got %+v, want all skipped", again)
			}
			_, err = Download(ctx, node, Request{Remote: "none", RemoteDir: "~/w s", Local: "x", LocalDir: dir})
			wantKind(t, err, fault.NotFound, "in put")

			must(t, WriteFile(ctx, node, "~/w s", "n/ew\n", []byte("\x00\xff"), 0))
			if b, err := ReadFile(ctx, node, "~/w s/n", "ew\n", 10); err != nil || string(b) != "\x00\xff" {
				t.Errorf("got %q, %v", b, err)
			}
			must(t, WriteFile(ctx, node, "", "w s/long", []byte(want["large"]), 0))
			_, err = ReadFile(ctx, node, "", "w s/long", 1000)
			wantKind(t, err, fault.Invalid, "more than 1.0 kB")
			ok, err := Exists(ctx, node, "~/w s", "long")
			if err != nil || !ok {
				t.Errorf("got %v, %v; want that it exists", ok, err)
			}
			paths, err := Glob(ctx, node, "~/w s/in put", "*\n*k*")
			must(t, err)
			if diff := cmp.Diff([]string{"ln\nk"}, paths); diff != "" {
				t.Error(diff)
			}
			abs, err := ExpandPath(ctx, node, "~", "w s")
			must(t, err)
			if !filepath.IsAbs(abs) || !strings.HasSuffix(abs, "/w s") {
				t.Errorf("got %q", abs)
			}
		})
	}
}

// Connections that are cut at some byte are taken up again, in both directions.
func TestOverSSHWithCuts(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"current", "dropbear"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := servers()[name](t)
			proxy := enginetest.NewProxy(t, s.Addr)
			node := s.ClientVia(t, proxy)
			want := tree{"big": noise(1, 6<<20), "d/mid": noise(2, 1<<20), "small": "s"}
			dir := t.TempDir()
			want.write(t, filepath.Join(dir, "src"))
			must(t, node.Connect(t.Context()))
			proxy.CutAfter(2 << 20)
			_, err := upload(t.Context(), node, UploadRequest{Local: "src", LocalDir: dir, Remote: "r"}, patientRetry())
			must(t, err)
			diffTree(t, filepath.Join(s.Home, "r"), want)

			proxy.CutAfter(3 << 20)
			before := proxy.Carried()
			res, err := download(t.Context(), node, Request{Remote: "r", Local: "to", LocalDir: dir}, patientRetry())
			must(t, err)
			diffTree(t, filepath.Join(dir, "to"), want)
			if moved := proxy.Carried() - before; moved > 9<<20 || res.Files != 3 {
				t.Errorf("%d bytes were carried for 7 MB, %+v", moved, res)
			}
			if proxy.Accepted() < 3 {
				t.Errorf("got %d connections, want that two broke", proxy.Accepted())
			}
			if names, _ := os.ReadDir(filepath.Join(s.Home, "r")); len(names) != 3 {
				t.Errorf("got %v on the node", names)
			}
		})
	}
}

//go:build unix

package push

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine/enginetest"
)

// A first push over a distance is compressed where the node has gzip, and arrives in any case.
func TestFarNode(t *testing.T) {
	t.Parallel()
	want, total := tree{}, int64(0)
	for i := range 60 {
		content := strings.Repeat(fmt.Sprintf("line %d of a source file\n", i), 4000)
		want[fmt.Sprintf("d%d/f%d", i%5, i)] = content
		total += int64(len(content))
	}
	for name, tt := range map[string]struct {
		options enginetest.Options
		packed  bool
	}{
		"far":         {enginetest.Options{}, true},
		"no gzip":     {enginetest.Options{Without: []string{"gzip"}}, false},
		"far busybox": {enginetest.Options{Busybox: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := t.TempDir()
			write(t, src, want)
			s := enginetest.OpenSSH(t, tt.options)
			proxy := enginetest.NewProxy(t, s.Addr)
			proxy.Delay(15 * time.Millisecond) // each way, so that no other is measured
			node := s.ClientVia(t, proxy)
			req := Request{Source: src, Workspace: "~/w", Cache: t.TempDir()}
			res := mustPush(t, node, req)
			wantTree(t, s.Home+"/w", want)
			if res.Bytes != total || res.Sent != len(want) {
				t.Errorf("got %+v, want %d files of %d bytes", res, len(want), total)
			}
			carried := proxy.Carried()
			if carried < total/2 != tt.packed {
				t.Errorf("%d bytes were carried for %d", carried, total)
			}
			// So is the little that a change is.
			content := strings.Repeat("another line of a source file\n", 4000)
			write(t, src, tree{"d0/f0": content})
			mustPush(t, node, req)
			if carried = proxy.Carried() - carried; carried < int64(len(content))/2 != tt.packed {
				t.Errorf("%d bytes were carried for %d that changed", carried, len(content))
			}
		})
	}
}

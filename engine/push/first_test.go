//go:build unix

package push

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// TestFirstPush: once the node has said that it holds nothing, files are not read before they are sent. All else
// is as if they had been.
func TestFirstPush(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	want := tree{"e/": "", "link": "-> plain.txt", "none": ""}
	for k, v := range names {
		want[k] = v
	}
	write(t, src, want)
	shells(t, func(t *testing.T, node *enginetest.Shell) {
		cached := cache(t.TempDir())
		n := 0
		enginetest.Until(t, "all files are in the index", func() bool { // those that changed a moment ago are not
			n++
			ws := fmt.Sprint("w", n)
			said, saw := make(chan struct{}), sync.Once{}
			var heard bytes.Buffer
			answering := runnerFunc(func(ctx context.Context, cmd ssh.Command) error {
				out := cmd.Stdout
				cmd.Stdout = writerFunc(func(p []byte) (int, error) {
					heard.Write(p)
					n, err := out.Write(p)
					if strings.Contains(heard.String(), "\nask\n") {
						saw.Do(func() { close(said) })
					}
					return n, err
				})
				return node.Run(ctx, cmd)
			})
			first := Request{Source: src, Workspace: "~/" + ws, Client: who, Cache: string(cached), Withhold: func(string) string {
				<-said
				return ""
			}}
			must(t, os.RemoveAll(string(cached)))
			res := mustPush(t, answering, first)
			wantTree(t, filepath.Join(node.Home, ws), want)
			again := mustPush(t, node, Request{Source: src, Workspace: "~/" + ws, Client: who})
			if res.Sent == 0 || again.Sent != 0 || again.Manifest != res.Manifest {
				t.Errorf("%d were sent of the tree %s, and then %d of %s", res.Sent, res.Manifest, again.Sent, again.Manifest)
			}
			all, err := res.InputsID([]string{"."})
			must(t, err)
			if id, err := again.InputsID([]string{"."}); err != nil || id != all {
				t.Errorf("inputs: got %s, %v, want %s", id, err, all)
			}
			files := 0
			for _, e := range again.entries {
				if e.typ == file {
					files++
				}
			}
			return len(cached.index(src)) == files
		})
	})
}

// TestMuchIsMatched: sums of much content are taken in parts, and what does not match one of them is refused.
func TestMuchIsMatched(t *testing.T) {
	t.Parallel()
	shells(t, func(t *testing.T, node *enginetest.Shell) {
		src, want := t.TempDir(), tree{"empty": ""}
		for i := range 7 {
			want[fmt.Sprintf("d%d/it's %d", i%3, i)] = strings.Repeat(fmt.Sprint(i), 2_000_000)
		}
		write(t, src, want)
		req := Request{Source: src, Workspace: "~/w"}
		for i := range 7 {
			spoils := runnerFunc(func(ctx context.Context, cmd ssh.Command) error {
				in, whole := cmd.Stdin, []byte(strings.Repeat(fmt.Sprint(i), 1000))
				cmd.Stdin = readerFunc(func(p []byte) (int, error) {
					n, err := in.Read(p)
					if at := bytes.Index(p[:n], whole); whole != nil && at >= 0 {
						p[at], whole = 'x', nil
					}
					return n, err
				})
				return node.Run(ctx, cmd)
			})
			if err := pushErr(t, spoils, req); !strings.Contains(err.Error(), "what arrived on the node is not what was sent") {
				t.Errorf("file %d: got %v", i, err)
			}
			wantTree(t, filepath.Join(node.Home, "w"), tree{})
		}
		mustPush(t, node, req)
		wantTree(t, filepath.Join(node.Home, "w"), want)
		quiet(t, filepath.Join(node.Home, "w"))
	})
}

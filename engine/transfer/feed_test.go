//go:build unix

package transfer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// What a node is asked for comes in the chunks in which it is asked, and one that is not full does not wait.
func TestChunks(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		tree{"r/first'": "1", "r/a": "A", "r/b": "B", "r/c d\n": "CD", "r/e": "E"}.write(t, node.Home)
		stdin, ask := io.Pipe()
		answer, stdout := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			err := node.Run(t.Context(), ssh.Command{Script: smallScript(resolveRemote("~", "r/"), []string{"first'"}), Stdin: stdin, Stdout: stdout})
			stdout.Close()
			ended <- err
		}()
		r := bufio.NewReader(answer)
		for i, request := range []string{"", "3\n\x00\x00./a\x00", "./b\x00./c d\n\x00./gone\x00", "./e\x00"} {
			_, err := io.WriteString(ask, request)
			must(t, err)
			if i == 0 {
				_, err = readHead(r)
				must(t, err)
			}
			if i == 3 {
				must(t, ask.Close())
			}
			more, err := nextArchive(r)
			must(t, err)
			if !more {
				t.Fatalf("chunk %d did not come", i)
			}
			want := []map[string]string{{"./first'": "1"}, {"./a": "A"}, {"./b": "B", "./c d\n": "CD"}, {"./e": "E"}}[i]
			sums := map[string]digest{}
			must(t, readSums(r, func(name string, sum digest) { sums["./"+name] = sum }))
			got := map[string]string{}
			for archive := tar.NewReader(r); ; {
				h, err := archive.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				must(t, err)
				var content bytes.Buffer
				_, err = io.Copy(&content, archive)
				must(t, err)
				got[h.Name] = content.String()
				if sums[h.Name] != digest(sha256.Sum256(content.Bytes())) {
					t.Errorf("the sum of %q is %x", h.Name, sums[h.Name])
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("chunk %d (-want +got):\n%s", i, diff)
			}
		}
		if more, err := nextArchive(r); more || err != nil {
			t.Errorf("more follows: %v, %v", more, err)
		}
		if err := <-ended; err != nil && !isExit(err) { // one name is gone
			t.Error(err)
		}
	})
}

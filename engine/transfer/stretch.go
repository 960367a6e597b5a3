package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A stretch is a part of a large file of an upload. One command writes it on the node and says what is there
// then.
type stretch struct {
	item   *item
	number int // of the file in the folder of parts
	offset int64
	length int64
	stderr *tail
	turn   *sync.Mutex // lets one stretch travel while another is summed, and no two; nil where the node is far
}

// stretches returns the jobs that send a file. Where the node is near, nothing is gained by short ones, and each
// costs some processes; where it is far, the sum of the last one is what the end waits for.
func (u *sending) stretches(n int, it *item, far bool, stderr *tail) []job {
	var jobs []job
	turn, length := &sync.Mutex{}, u.width.stretch
	if far {
		turn, length = nil, u.width.part
	}
	for offset := int64(0); offset < it.info.Size(); offset += length {
		s := &stretch{
			item: it, number: n, stderr: stderr, turn: turn,
			offset: offset, length: min(length, it.info.Size()-offset),
		}
		jobs = append(jobs, job{run: func(ctx context.Context, runner ssh.Runner) error { return u.sendStretch(ctx, runner, s) }})
	}
	return jobs
}

// sendStretch sends a stretch and compares what the node has with it. That it may be sent twice does no harm: it is
// the same bytes.
func (u *sending) sendStretch(ctx context.Context, runner ssh.Runner, s *stretch) error {
	f, err := os.Open(s.item.path)
	if err != nil {
		return u.localFault(s.item.path, err)
	}
	defer f.Close()
	sum := sha256.New()
	in := &countedReader{Reader: io.TeeReader(io.NewSectionReader(f, s.offset, s.length), sum), tally: tally{count: u.count}, end: func() {}}
	if s.turn != nil {
		s.turn.Lock()
		in.end = sync.OnceFunc(s.turn.Unlock)
		defer in.end()
	}
	var there bytes.Buffer
	var said tail
	at := s.offset / blockSize
	err = runner.Run(ctx, ssh.Command{
		Script: fmt.Sprintf("export LC_ALL=C; f=%s; dd bs=%d seek=%d conv=notrunc of=\"$f\" && dd bs=%d skip=%d count=%d if=\"$f\" 2>/dev/null | %s",
			ssh.Quote(fmt.Sprintf("%s/parts/%d", u.stage, s.number)), blockSize, at, blockSize, at, (s.length+blockSize-1)/blockSize, u.hash),
		Stdin: in, Stdout: &there, Stderr: &said,
	})
	if err == nil && in.n.Load() < s.length {
		err = changedHere(s.item)
	}
	if err == nil {
		if theirs, _, _ := strings.Cut(there.String(), " "); theirs != hex.EncodeToString(sum.Sum(nil)) {
			fmt.Fprintf(s.stderr, "./%s: FAILED\n", s.item.name)
			err = errNodeFailed
		}
	}
	return u.sent(ctx, &in.tally, err, &said, s.stderr)
}

// A countedReader counts what is read, and calls end when that was all.
type countedReader struct {
	io.Reader
	tally
	end func()
}

func (c *countedReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.add(n)
	if err != nil {
		c.end()
	}
	return n, err
}

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
	"sync/atomic"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A stretch is a part of a large file of an upload. It is sent in pieces, in any order, and compared with what
// the node has there when the last of them has arrived; other pieces travel meanwhile.
type stretch struct {
	item   *item
	file   string // on the node
	offset int64
	length int64
	stderr *tail
	left   atomic.Int64 // pieces that have not arrived
	turn   *sync.Mutex  // lets one piece travel while another is compared, and no two; nil where the node is far
}

// stretches returns the jobs that send a file. Where the node is near, a stretch is one piece: nothing is
// gained by more, and each costs some processes.
func (u *sending) stretches(n int, it *item, far bool, stderr *tail) []job {
	var jobs []job
	var turn *sync.Mutex
	if !far {
		turn = &sync.Mutex{}
	}
	for offset := int64(0); offset < it.info.Size(); offset += u.width.stretch {
		s := &stretch{
			item: it, file: fmt.Sprintf("%s/parts/%d", u.stage, n), stderr: stderr, turn: turn,
			offset: offset, length: min(u.width.stretch, it.info.Size()-offset),
		}
		piece := s.length
		if far {
			piece = min(u.width.part, s.length)
		}
		for from := int64(0); from < s.length; from += piece {
			length := min(piece, s.length-from)
			s.left.Add(1)
			jobs = append(jobs, job{run: func(ctx context.Context, runner ssh.Runner) error {
				return u.sendPiece(ctx, runner, s, offset+from, length)
			}})
		}
	}
	return jobs
}

// sendPiece sends a part of a stretch. That it may be sent twice does no harm: it is the same bytes.
func (u *sending) sendPiece(ctx context.Context, runner ssh.Runner, s *stretch, offset, length int64) error {
	f, err := os.Open(s.item.path)
	if err != nil {
		return u.localFault(s.item.path, err)
	}
	defer f.Close()
	sum := sha256.New()
	in := &countedReader{io.NewSectionReader(f, offset, length), tally{count: u.count}}
	if whole := length == s.length; whole {
		in.Reader = io.TeeReader(in.Reader, sum)
	}
	var said tail
	err = s.travel(func() error {
		return runner.Run(ctx, ssh.Command{
			Script: fmt.Sprintf("exec dd bs=%d seek=%d conv=notrunc of=%s", blockSize, offset/blockSize, ssh.Quote(s.file)),
			Stdin:  in, Stderr: &said,
		})
	})
	if err == nil && in.n.Load() < length {
		err = changedHere(s.item)
	}
	if err == nil && s.left.Add(-1) == 0 {
		if length < s.length {
			_, err = io.CopyBuffer(struct{ io.Writer }{sum}, io.NewSectionReader(f, s.offset, s.length), make([]byte, copyBuffer))
		}
		if err != nil {
			return u.localFault(s.item.path, err)
		}
		if err = u.compare(ctx, runner, s, sum.Sum(nil)); err != nil {
			s.left.Add(1) // whoever does this again compares again
		}
	}
	return u.sent(ctx, &in.tally, err, &said, s.stderr)
}

// travel runs send when it is this piece's turn.
func (s *stretch) travel(send func() error) error {
	if s.turn != nil {
		s.turn.Lock()
		defer s.turn.Unlock()
	}
	return send()
}

// compare looks whether the node has what was sent.
func (u *sending) compare(ctx context.Context, runner ssh.Runner, s *stretch, sum []byte) error {
	var there bytes.Buffer
	err := runner.Run(ctx, ssh.Command{
		Script: fmt.Sprintf("dd bs=%d skip=%d count=%d if=%s 2>/dev/null | %s",
			blockSize, s.offset/blockSize, (s.length+blockSize-1)/blockSize, ssh.Quote(s.file), u.hash),
		Stdout: &there,
	})
	if err != nil {
		return err
	}
	if theirs, _, _ := strings.Cut(there.String(), " "); theirs != hex.EncodeToString(sum) {
		fmt.Fprintf(s.stderr, "./%s: FAILED\n", s.item.name)
		return errNodeFailed
	}
	return nil
}

// A countedReader counts what is read.
type countedReader struct {
	io.Reader
	tally
}

func (c *countedReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.add(n)
	return n, err
}

package follow

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// farTrip is the round trip from which on what a log has already comes compressed, where that is much: then
// the window of the connection is the limit, and not the processor.
const farTrip = 15 * time.Millisecond

func isFar(ctx context.Context, node ssh.Runner) (bool, error) {
	far, ok := node.(interface {
		RoundTrip(ctx context.Context) (time.Duration, error)
	})
	if !ok {
		return false, nil
	}
	trip, err := far.RoundTrip(ctx)
	return trip >= farTrip, err
}

// packed returns a writer for what the script sends when it is told to pack: a line first, "r" or "z" and a
// number; behind the latter a gzip of that many bytes; then the log as it grows. end waits until all of
// it is taken.
func (s *stream) packed() (w io.Writer, end func()) {
	r, in := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := s.unpack(bufio.NewReaderSize(r, 64<<10))
		if err != nil {
			s.mu.Lock()
			s.fail(err)
			s.leave()
			s.mu.Unlock()
		}
		r.CloseWithError(err)
	}()
	return in, func() {
		in.Close()
		<-done
	}
}

func (s *stream) unpack(r *bufio.Reader) error {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil // the end of the command says more
	}
	buf := make([]byte, 64<<10)
	if count, ok := strings.CutPrefix(strings.TrimSpace(line), "z"); ok {
		left, err := strconv.ParseInt(count, 10, 64)
		if err != nil {
			return &ssh.LostError{Err: fmt.Errorf("the log begins with %q", line)}
		}
		z, err := gzip.NewReader(r)
		if err != nil {
			return s.unpackError(err)
		}
		z.Multistream(false)
		n, err := s.pour(z, buf)
		switch {
		case err != nil:
			return s.unpackError(err)
		case n != left: // what follows would be at another place
			return &ssh.LostError{Err: errors.New("the log became shorter while it was read")}
		}
	}
	_, err = s.pour(r, buf)
	return err
}

// unpackError is that of a gzip, but not where it only ended early: what ended it says more.
func (s *stream) unpackError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	if s.failed() != nil {
		return s.failed()
	}
	return &ssh.LostError{Err: fmt.Errorf("the log cannot be unpacked: %w", err)}
}

func (s *stream) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// pour takes all that r has, as it comes.
func (s *stream) pour(r io.Reader, buf []byte) (n int64, err error) {
	for {
		m, err := r.Read(buf)
		if m > 0 {
			n += int64(m)
			if err := s.bytes(buf[:m]); err != nil {
				return n, err
			}
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

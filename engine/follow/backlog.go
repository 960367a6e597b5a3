package follow

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

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
		n, err := io.Copy(writer(s.bytes), z)
		switch {
		case err != nil:
			return s.unpackError(err)
		case n != left: // what follows would be at another place
			return &ssh.LostError{Err: errors.New("the log became shorter while it was read")}
		}
	}
	_, err = io.Copy(writer(s.bytes), r)
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

package follow

import (
	"context"
	_ "embed" // for follow.sh
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/engine/session"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A Request says which log is followed.
type Request struct {
	JobID  string
	Log    *Copy // grows; the stream begins at its end
	Report report.Sink
}

// The waits between two attempts to reach the node again.
const (
	firstWait = 200 * time.Millisecond
	longWait  = 30 * time.Second
)

// endWait is how long the command on the node has to end once its stdin is closed.
const endWait = 5 * time.Second

// followScript runs on the node in the job's folder. The log goes to stdout from byte $b_from on,
// what is known of the job's end to stderr. It ends when its stdin does, and leaves no process: a
// tail whose reader is gone would notice at its next write only, which may never come.
//
//go:embed follow.sh
var followScript string

// Follow appends the job's log to r.Log and writes the same new bytes to w, which may be nil, until
// the job has ended: the final status is in hand and the log was read to its recorded length. It
// returns that status; of a job that is lost with the bytes that there are.
//
// A connection that breaks is tried again for as long as ctx lives and the Runner's errors are
// LostError or of kind unreachable; any other error ends it, as does one of w. Before it goes on,
// the last block of r.Log is compared with the node's: a log that is another one is an error of
// kind lost. A slow w slows the stream, never the job.
func Follow(ctx context.Context, node ssh.Runner, r Request, w io.Writer) (session.Status, error) {
	wait := firstWait
	broken := false
	for {
		s := &stream{log: r.Log, w: w}
		before := r.Log.Size()
		err := s.run(ctx, node, r.JobID, func() {
			if broken {
				r.Report.Emit(report.Event{Kind: report.Notice, Text: "connection is back, the log goes on"})
				broken = false
			}
		})
		switch {
		case err == nil:
			return s.status, s.checkEnd(ctx, node, r.JobID)
		case ctx.Err() != nil:
			return s.status, context.Cause(ctx)
		case !again(err):
			return s.status, err
		}
		if r.Log.Size() > before {
			wait = firstWait
		}
		var early bool
		if s.status.State == session.Starting {
			var status session.Status
			if status, early, err = s.starting(ctx, node, r.JobID); !early || err != nil {
				return status, err
			}
		}
		if !broken && !early {
			r.Report.Emit(report.Event{Kind: report.Notice, Text: fmt.Sprintf("%v; the job goes on, reconnecting", err)})
			broken = true
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return s.status, context.Cause(ctx)
		case <-timer.C:
		}
		wait = min(2*wait, longWait)
	}
}

// checkEnd looks at a log that gave more than the length it ended with. A process outside the job's
// group may have gone on writing, and then the node has all of it; or the job emptied its log.
func (s *stream) checkEnd(ctx context.Context, node ssh.Runner, id string) error {
	if !s.status.Final() || s.log.Size() <= s.status.LogSize {
		return nil
	}
	size, err := Size(ctx, node, id)
	if err != nil || size >= s.log.Size() {
		return err
	}
	return s.changed("it ended with %d bytes, the copy here has %d", s.status.LogSize, s.log.Size())
}

// starting asks for the status of a job that had no log. early says that this is because the job is
// only just being started, or that the node does not answer now; else the status is what there is.
func (s *stream) starting(ctx context.Context, node ssh.Runner, id string) (status session.Status, early bool, err error) {
	status, err = session.Read(ctx, node, id)
	switch {
	case err != nil && ctx.Err() != nil:
		return s.status, false, context.Cause(ctx)
	case err != nil:
		return s.status, again(err), unlessAgain(err)
	case status.Final() && status.LogSize > s.log.Size():
		return status, false, s.changed("the node has lost it")
	}
	return status, !status.Final() && status.State != session.Missing, nil
}

func unlessAgain(err error) error {
	if again(err) {
		return nil
	}
	return err
}

// again reports whether an error is one that another connection may mend.
func again(err error) bool {
	var lost *ssh.LostError
	return errors.As(err, &lost) || fault.KindOf(err) == fault.Unreachable
}

// A stream is one connection's worth of a log. Its two writers are called by the goroutines of the
// Runner; everything is under mu.
type stream struct {
	log *Copy
	w   io.Writer

	before  int64 // what the copy had when the connection was made
	cancel  context.CancelFunc
	timer   *time.Timer // runs once all is here
	mu      sync.Mutex
	overlap []byte // what the node must send first, as we have it
	begun   func() // called when the node has answered
	said    strings.Builder
	status  session.Status
	missing bool
	err     error          // of a writer, ours or w
	stdin   *io.PipeWriter // closing it ends the script on the node
}

func (s *stream) run(ctx context.Context, node ssh.Runner, id string, begun func()) error {
	far, err := ssh.IsFar(ctx, node)
	if err != nil {
		return err
	}
	block, err := s.log.overlap()
	if err != nil {
		return err
	}
	s.overlap, s.begun, s.before = block, begun, s.log.Size()
	from := s.before - int64(len(block)) + 1
	ctx, s.cancel = context.WithCancel(ctx)
	defer s.cancel()
	stdin, end := io.Pipe()
	defer stdin.Close()
	s.stdin = end
	// The script on the node ends with its stdin, so a caller who leaves must close it too.
	defer context.AfterFunc(ctx, func() { end.Close() })()
	var out io.Writer = writer(s.bytes)
	pack, taken := "", func() {}
	if far {
		pack = "1"
		out, taken = s.packed()
	}
	err = node.Run(ctx, ssh.Command{
		Script: fmt.Sprintf("b_dir=%s\nb_from=%d\nb_pack=%s\nb_stop=\n%s", session.Dir(id), from, pack, followScript),
		Stdin:  stdin, Stdout: out, Stderr: writer(s.words),
	})
	taken()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	var exit *ssh.ExitError
	switch {
	case s.err != nil:
		return s.err
	case s.missing:
		s.status = session.Status{State: session.Missing, LogSize: -1}
		return nil
	case s.complete():
		return nil // whatever became of the connection afterwards
	case err == nil, errors.As(err, &exit):
		return &ssh.LostError{Err: fmt.Errorf("the stream ended early: %s", s.last())}
	}
	return err
}

type writer func(p []byte) error

func (f writer) Write(p []byte) (int, error) {
	if err := f(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// bytes takes what the node's log has from the first byte of the overlap on.
func (s *stream) bytes(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.err = s.take(p); s.err != nil {
		s.leave()
		return s.err
	}
	s.endIfComplete()
	return nil
}

func (s *stream) take(p []byte) error {
	if n := min(len(s.overlap), len(p)); n > 0 {
		if differs(s.overlap, p[:n]) {
			return s.changed("what the node has before byte %d is not what was read before", s.log.Size())
		}
		s.overlap, p = s.overlap[n:], p[n:]
	}
	if s.status.Final() && s.status.LogSize >= 0 { // nothing behind the recorded end is the job's
		p = p[:min(int64(len(p)), max(0, s.status.LogSize-s.log.Size()))]
	}
	if len(p) == 0 {
		return nil
	}
	if err := s.log.append(p); err != nil {
		return err
	}
	if s.w == nil {
		return nil
	}
	_, err := s.w.Write(p)
	return err
}

func (s *stream) changed(format string, args ...any) error {
	return &fault.Error{
		Kind: fault.Lost, Op: "follow log", Target: s.log.path, Err: fmt.Errorf("the log is another one: "+format, args...),
		Hint: "something wrote to the log beside the job, or this copy is damaged: move it away to read the whole log again",
	}
}

// words takes what the node says of the job: statuses, each ended by a dot on a line.
func (s *stream) words(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun != nil {
		s.begun()
		s.begun = nil
	}
	s.said.Write(p)
	text := s.said.String()
	for {
		block, rest, found := strings.Cut(text, "\n.\n")
		if !found {
			break
		}
		if status, ok := session.ParseStatus(block + "\n.\n"); ok {
			size := session.ParseLogSize(block)
			switch {
			case size >= 0 && size < s.before:
				s.fail(s.changed("the node has %d bytes, the copy here has %d", size, s.before))
			case size >= 0 && status.Final() && size < status.LogSize:
				s.fail(s.changed("it ended with %d bytes, the node has %d", status.LogSize, size))
			}
			switch {
			case status.State == session.Missing:
				s.missing = true
			case !s.status.Final():
				s.status = status
			}
		}
		text = rest
	}
	s.said.Reset()
	s.said.WriteString(text)
	if s.err != nil || s.missing {
		s.leave()
		return nil
	}
	s.endIfComplete()
	return nil
}

func (s *stream) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// last is the last line that the node said, for an error.
func (s *stream) last() string {
	text := strings.TrimSpace(s.said.String())
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// complete reports whether the job has ended and all of its log is here. It may be more than all:
// what a process outside the job's group writes after the end arrives before the end is known.
func (s *stream) complete() bool {
	return s.status.Final() && len(s.overlap) == 0 && s.log.Size() >= s.status.LogSize
}

func (s *stream) endIfComplete() {
	if s.complete() {
		s.leave()
	}
}

// leave ends the command on the node: by its stdin, and should it not notice, by force.
func (s *stream) leave() {
	s.stdin.Close()
	if s.timer == nil {
		s.timer = time.AfterFunc(endWait, s.cancel)
	}
}

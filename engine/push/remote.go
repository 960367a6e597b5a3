package push

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

//go:embed node.sh
var nodeScript string

// A remoteState is what the node says of the workspace.
type remoteState struct {
	workspace, home  string
	owner            string // who the workspace belongs to, as recorded; empty before the first push
	client, source   string // what that says
	keys             []string
	manifestID       string
	pendingID        string          // of a push whose applying did not come to its end
	bad              map[string]bool // recorded, but with other content or type now
	modes            map[string]bool // recorded, but with another mode now
	entries, pending []entry
	gzip             bool // there is a gzip
	recordLost       bool // there is a record that cannot be read
}

// holds reports whether that is the tree of a manifest, complete and of this owner.
func (s *remoteState) holds(manifestID, owner string) bool {
	return s.manifestID == manifestID && s.owner == owner && s.pendingID == "" && len(s.bad)+len(s.modes) == 0
}

// A conversation is one run of node.sh. The goroutine that runs it is joined by close.
type conversation struct {
	in     *bufio.Writer
	inPipe *io.PipeWriter
	out    *bufio.Reader
	ended  chan struct{}
	err    error // of Run; set before ended is closed
	stderr tail
	stop   func() bool
}

func open(ctx context.Context, runner ssh.Runner, req Request) *conversation {
	inR, inW := io.Pipe()
	out := newMailbox()
	c := &conversation{in: bufio.NewWriterSize(inW, 256<<10), inPipe: inW, out: bufio.NewReaderSize(out, 64<<10), ended: make(chan struct{})}
	c.stop = context.AfterFunc(ctx, func() { inW.CloseWithError(context.Cause(ctx)) })
	go func() {
		defer close(c.ended)
		c.err = runner.Run(ctx, ssh.Command{
			Script: "W=" + ssh.QuotePath(req.Workspace) + "\nC=" + ssh.Quote(encodeWord(req.Client)) + "\nA=" + ssh.Quote(req.Attempt) + "\n" + strip(nodeScript),
			Stdin:  inR, Stdout: out, Stderr: &c.stderr,
		})
		inR.CloseWithError(errEnded)
		out.end()
	}()
	return c
}

var errEnded = errors.New("the node's side has ended")

// close ends the conversation and returns what became of the command.
func (c *conversation) close() error {
	c.in.Flush()
	c.inPipe.Close()
	<-c.ended
	c.stop()
	return c.err
}

// strip takes comments and indentation off a script: what is short fits into the exec request and
// saves a round trip.
func strip(script string) string {
	var b strings.Builder
	for l := range strings.Lines(script) {
		if l = strings.TrimSpace(l); l != "" && l[0] != '#' {
			b.WriteString(l + "\n")
		}
	}
	return b.String()
}

// say sends one line.
func (c *conversation) say(words ...string) error {
	c.in.WriteString(strings.Join(words, " ") + "\n")
	return c.in.Flush()
}

// A refusal is a line with which the node ends the push.
type refusal struct{ kind, text string }

func (r *refusal) Error() string { return r.text }

// line reads one line and splits off its first word.
func (c *conversation) line() (word, rest string, err error) {
	l, err := c.out.ReadString('\n')
	if err != nil {
		return "", "", err
	}
	word, rest, _ = strings.Cut(strings.TrimSuffix(l, "\n"), " ")
	if word == "fail" {
		kind, text, _ := strings.Cut(rest, " ")
		return "", "", &refusal{kind, strings.TrimSpace(text)}
	}
	return word, rest, nil
}

// next is line for what comes behind a no that was not waited for.
func (c *conversation) next() (word, rest string, err error) {
	if word, rest, err = c.line(); word == "no" {
		return c.line()
	}
	return word, rest, err
}

// An account is what the node says of the workspace first, heard while this side does other things.
type account struct {
	node  *remoteState
	err   error
	heard chan struct{} // closed when node and err are set
	empty chan struct{} // closed when the node has said that nothing was placed
}

// listen begins to hear the account. Nothing else may be read until it is heard.
func (c *conversation) listen() *account {
	a := &account{heard: make(chan struct{}), empty: make(chan struct{})}
	go func() {
		defer close(a.heard)
		a.node, a.err = c.hello()
		if a.err == nil && a.node.manifestID == "" && a.node.pendingID == "" {
			close(a.empty)
		}
	}()
	return a
}

// hello reads the node's account of the workspace.
func (c *conversation) hello() (*remoteState, error) {
	s := &remoteState{bad: map[string]bool{}, modes: map[string]bool{}}
	for {
		word, rest, err := c.line()
		if err != nil {
			return nil, err
		}
		switch word {
		case "ask":
			return s, nil
		case "gzip":
			s.gzip = true
		case "workspace":
			s.workspace = rest
		case "home":
			s.home = rest
		case "owner":
			s.owner = rest
			client, source, _ := strings.Cut(rest, " ")
			var cerr, serr error
			s.client, cerr = decodeWord(client)
			s.source, serr = decodeWord(source)
			if cerr != nil || serr != nil {
				s.client, s.source = "", ""
			}
		case "key":
			n, key, _ := strings.Cut(rest, " ")
			if i, err := strconv.Atoi(n); err == nil && i >= 0 && i < 10_000 {
				for len(s.keys) <= i {
					s.keys = append(s.keys, "")
				}
				s.keys[i] = key
			}
		case "manifest":
			s.manifestID = rest
		case "pending":
			s.pendingID = rest
		case "bad", "mode", "badx", "modex":
			name := rest
			if kind, x := strings.CutSuffix(word, "x"); x {
				if name, err = decodeWord(rest); err != nil {
					return nil, fmt.Errorf("the node says %q: %w", word+" "+rest, err)
				}
				word = kind
			}
			name = strings.TrimPrefix(name, "./")
			if word == "bad" {
				s.bad[name] = true
			} else {
				s.modes[name] = true
			}
		default:
			return nil, fmt.Errorf("the node says %q, which is no answer", word+" "+rest)
		}
	}
}

// records fills in the lists behind the state's ids, from the cache or from the node.
func (c *conversation) records(s *remoteState, cache cache) error {
	manifest, haveM := cache.read(s.manifestID)
	pending, haveP := cache.read(s.pendingID)
	if !haveM || !haveP {
		manifest, pending = nil, nil
		if err := c.say("get"); err != nil {
			return err
		}
		for {
			word, rest, err := c.next()
			if err != nil {
				return err
			}
			if word == "ask" {
				break
			}
			size, err := strconv.ParseInt(rest, 10, 64)
			if word != "file" || err != nil || size > 1<<30 {
				return fmt.Errorf("the node says %q where a record should come", word+" "+rest)
			}
			data := make([]byte, size)
			if _, err := io.ReadFull(c.out, data); err != nil {
				return err
			}
			switch sum256(data) {
			case s.manifestID:
				manifest = data
			case s.pendingID:
				pending = data
			}
		}
	}
	var err error
	if s.manifestID != "" {
		if s.entries, err = decodeManifest(manifest); err != nil {
			s.recordLost = true
		}
	}
	if s.pendingID != "" {
		if s.pending, err = decodeManifest(pending); err != nil {
			s.recordLost = true
		}
	}
	return nil
}

// explain turns the end of a conversation into the error that a person reads. It closes c.
func (c *conversation) explain(ctx context.Context, workspace string, cause error) error {
	ran := c.close()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	e := &fault.Error{Op: "push to", Target: workspace}
	var no *refusal
	var lost *ssh.LostError
	var known *fault.Error
	switch {
	case errors.As(cause, &no):
		return no.fault(workspace)
	case errors.As(cause, &known):
		return cause
	case errors.As(ran, &known):
		return ran
	case errors.As(ran, &lost):
		e.Kind, e.Err = fault.Lost, ran
		e.Hint = "the workspace is as it was, unless applying had begun; pushing again settles it either way"
	case ran != nil:
		e.Kind, e.Err = fault.Transfer, ran
		if s := c.stderr.String(); s != "" {
			e.Err = fmt.Errorf("%w: %s", ran, s)
		}
	case errors.Is(cause, io.EOF), errors.Is(cause, io.ErrUnexpectedEOF), errors.Is(cause, errEnded):
		e.Kind, e.Err = fault.Transfer, errors.New("the node's shell ended before the push was done")
		if s := c.stderr.String(); s != "" {
			e.Err = fmt.Errorf("%w: %s", e.Err, s)
		}
	default:
		e.Kind, e.Err = fault.Transfer, cause
	}
	return e
}

// fault returns what the node refused, and why, for a person.
func (r *refusal) fault(workspace string) error {
	e := &fault.Error{Kind: fault.Transfer, Op: "push to", Target: workspace}
	path := strings.TrimPrefix(r.text, "./")
	switch r.kind {
	case "missing":
		e.Kind, e.Err = fault.Invalid, fmt.Errorf("the node has no %s", r.text)
		e.Hint = "install coreutils, findutils, sed, awk and tar there, or busybox"
	case "notdir":
		e.Kind, e.Err = fault.Conflict, errors.New("there is a file of this name, not a folder")
		e.Hint = "choose another workspace, or move the file away"
	case "write":
		e.Kind, e.Err = fault.Invalid, fmt.Errorf("the folder cannot be used: %s", r.text)
		e.Hint = "choose a workspace that the user of the connection may write to"
	case "locked":
		e.Kind, e.Err = fault.Conflict, errors.New("another push is at it: "+holder(r.text))
		e.Hint = "wait until it has ended; if nobody pushes any more, as after a broken connection, then on the node: kill -9 " + r.text[:strings.IndexByte(r.text+" ", ' ')] + "; rm " + workspace + "/.bifrost/lock"
	case "collide":
		e.Kind, e.Err = fault.Conflict, fmt.Errorf("%s is in the way: on the node it is something that bifrost did not put there", path)
		e.Hint = "move it away on the node, or rename it here; nothing was changed"
	case "readonly":
		e.Kind, e.Err = fault.Conflict, fmt.Errorf("the folder %s is not writable on the node", path)
		e.Hint = "it may belong to another user there, such as a container's root; nothing was changed"
	case "stream":
		e.Err = errors.New("what arrived on the node is not what was sent")
		if r.text != "" {
			e.Err = fmt.Errorf("%w: %s", e.Err, r.text)
		}
		e.Hint = "nothing was changed there; push again"
	case "apply":
		e.Err = fmt.Errorf("the content arrived, but could not be put in its place: %s", r.text)
		e.Hint = "the workspace is updated in part; remove the cause and push again"
	case "full":
		e.Kind, e.Err = fault.DiskFull, errors.New(diskNumbers(r.text))
		e.Hint = "free space on the node, or choose a workspace on another disk; then push again"
	default:
		e.Kind, e.Err = fault.Internal, fmt.Errorf("the node refuses: %s %s", r.kind, r.text)
	}
	return e
}

// holder reads the lock's content: pid, its start, boot id, host, time, client, attempt.
func holder(lock string) string {
	f := strings.Fields(lock)
	if len(f) != 6 && len(f) != 7 {
		return "lock " + strconv.Quote(lock)
	}
	client, err := decodeWord(f[5])
	if err != nil {
		client = f[5]
	}
	client, _, _ = strings.Cut(client, " ")
	since := f[4]
	if n, err := strconv.ParseInt(f[4], 10, 64); err == nil {
		since = time.Unix(n, 0).UTC().Format("2006-01-02 15:04:05 UTC")
	}
	return fmt.Sprintf("%s since %s (process %s on %s)", client, since, f[0], f[3])
}

// diskNumbers reads a line of df -kP, whose last column may hold spaces, and the error behind a "|".
func diskNumbers(text string) string {
	numbers, reason, _ := strings.Cut(text, " | ")
	f := strings.Fields(numbers)
	if len(f) < 6 {
		return "no space left on the node's disk: " + reason
	}
	total, terr := strconv.ParseInt(f[1], 10, 64)
	free, ferr := strconv.ParseInt(f[3], 10, 64)
	if terr != nil || ferr != nil {
		return "no space left on the node's disk: " + reason
	}
	return fmt.Sprintf("no space left on the node: %s has %s free of %s", strings.Join(f[5:], " "), kibibytes(free), kibibytes(total))
}

func kibibytes(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%d GiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d MiB", n>>10)
	}
	return fmt.Sprintf("%d KiB", n)
}

// A tail keeps the last bytes written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > 2000 {
		t.b = t.b[len(t.b)-2000:]
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.Join(strings.Fields(string(t.b)), " ") }

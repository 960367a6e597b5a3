// Package push brings a local source tree into a workspace on a node: what git would show, in one
// session, as a difference against what the last push placed. The node verifies what arrives before
// it touches the workspace, and only files that an earlier push placed are ever removed. A file that
// either side has read before is read again when its size, times or inode have changed. The node
// needs a POSIX sh and coreutils, findutils, sed, awk and tar, or busybox; this side needs git where
// the tree is one of git or holds a .bifrostignore.
//
//	res, err := push.Push(ctx, node, push.Request{Source: dir, Workspace: "~/.bifrost/workspace", Client: id})
package push

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A Request says what goes where.
type Request struct {
	Source    string   // the local folder, absolute
	Workspace string   // the folder on the node: absolute, or ~ and ~/…
	Client    string   // who pushes, stable for this user on this machine: "user@host randomid"
	Exclude   []string // absolute local paths that are never pushed unless git tracks the file
	// Withhold returns why the file with this absolute path must stay here, even if git tracks it; nil and
	// "" have no reason.
	Withhold func(path string) string
	Cache    string // local folder that keeps manifests and what is known of files; "" keeps none

	// Attempt is a word of letters and digits, the same for all attempts of one push and for no other.
	// An attempt that the node still waits for, because it has not noticed that its connection is
	// dead, is ended there by the next one. "" ends none.
	Attempt string

	// Confirm is asked before more than half of what was placed is deleted; nil refuses.
	Confirm func(ctx context.Context, question string) (bool, error)
	Report  report.Sink // gets Progress and Notice events of the step "push"
}

// A Result is what a push did, and what bootstrap decides by.
type Result struct {
	Workspace string   // absolute on the node
	Home      string   // of the user on the node
	Files     int      // in the tree, symlinks included
	Sent      int      // of them, new or changed
	Deleted   int      // files of earlier pushes that are gone from the tree
	Bytes     int64    // content sent
	Manifest  string   // sha256 of the tree's manifest: equal trees have equal ones
	StepKeys  []string // the recorded key of each bootstrap step, by number; "" where there is none

	entries []entry
}

// attempts is how often a push begins anew because a file changed under it.
const attempts = 3

// Push makes the workspace hold the source tree. It returns when the content on the node is
// verified and the push is recorded there; with an error the workspace is as it was, unless the
// error says otherwise, and another push settles it. A file of the user's own is overwritten when
// one of the tree has its name, and never deleted. Errors for a person are *fault.Error.
func Push(ctx context.Context, runner ssh.Runner, req Request) (Result, error) {
	source, err := req.check()
	if err != nil {
		return Result{}, err
	}
	said := map[string]bool{}
	notice := func(text string) {
		if !said[text] {
			said[text] = true
			req.Report.Emit(report.Event{Kind: report.Notice, Step: "push", Text: text})
		}
	}
	for n := 1; ; n++ {
		res, err := push(ctx, runner, req, source, notice)
		var changed *changedError
		if !errors.As(err, &changed) {
			return res, err
		}
		if n == attempts {
			return Result{}, &fault.Error{
				Kind: fault.Transfer, Op: "push", Target: req.Source, Err: changed,
				Hint: "push again when nothing writes to it, or name it in " + ignoreFile,
			}
		}
	}
}

// check returns the source with its symlinks resolved.
func (req Request) check() (string, error) {
	source, err := filepath.EvalSymlinks(req.Source)
	if err == nil {
		var info os.FileInfo
		if info, err = os.Stat(source); err == nil && !info.IsDir() {
			err = errors.New("it is a file; what is pushed is a folder")
		}
	}
	if err == nil && !filepath.IsAbs(req.Source) {
		err = errors.New("the path is not absolute")
	}
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return "", &fault.Error{Kind: fault.Invalid, Op: "push", Target: req.Source, Err: err}
	}
	w := req.Workspace
	switch {
	case strings.ContainsAny(w, "\n\r\x00"):
		err = errors.New("a line break cannot be part of it")
	case w != "~" && !strings.HasPrefix(w, "~/") && !strings.HasPrefix(w, "/"):
		err = errors.New("it begins neither with / nor with ~/")
	}
	if err != nil {
		return "", &fault.Error{
			Kind: fault.Invalid, Op: "push to", Target: fmt.Sprintf("%q", w), Err: err,
			Hint: `name the workspace as the node knows it, for example workspace = "~/.bifrost/workspace"`,
		}
	}
	return source, nil
}

// push is one attempt.
func push(ctx context.Context, runner ssh.Runner, req Request, source string, notice func(string)) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var origin string
	var describing sync.WaitGroup
	defer func() {
		cancel(nil)
		describing.Wait()
	}()
	c := open(ctx, runner, req)
	// While the node looks at the workspace, this side looks at the tree. Where nothing was placed yet all of it
	// is read when it is sent, and need not be before; so what may be a first push does not begin to read when the
	// answer is near.
	account := c.listen()
	begin := func() {
		if far, err := ssh.IsFar(ctx, runner); err == nil && !far {
			<-account.heard
		}
	}
	describing.Go(func() { origin = describe(ctx, source, req.Client).encode() })
	known := cache(req.Cache)
	survey, err := scanTree(ctx, source, req.Exclude, req.Withhold, known, notice, begin, account.empty)
	if err != nil {
		cancel(err) // the node may not even be reached yet
		c.close()
		<-account.heard
		return Result{}, err
	}
	tree := survey.entries
	owner := encodeWord(req.Client) + " " + encodeWord(source)

	// Where the workspace holds this very tree the node needs to hear no more: it says so in the same round trip.
	var manifest []byte
	var id string
	var asked error
	if !survey.unread {
		manifest = encodeManifest(tree)
		id = sum256(manifest)
		describing.Wait()
		asked = c.say("is", id, owner, origin)
	}
	<-account.heard
	node := account.node
	if account.err != nil {
		return Result{}, c.explain(ctx, req.Workspace, account.err)
	}
	if err := req.checkOwner(node, source); err != nil {
		c.close()
		return Result{}, err
	}
	same := !survey.unread && node.holds(id, owner) // as far as it has said; a no is not waited for
	if same {
		if same, err = c.same(asked); err != nil {
			return Result{}, c.explain(ctx, req.Workspace, err)
		}
	}
	res := Result{Workspace: node.workspace, Home: node.home, Files: len(tree), Manifest: id, StepKeys: node.keys, entries: tree}
	if same {
		known.write(manifest)
		c.close()
		return res, nil
	}
	if err := c.records(node, known); err != nil {
		return Result{}, c.explain(ctx, req.Workspace, err)
	}
	if node.recordLost {
		notice(node.workspace + ": the record of earlier pushes cannot be read; what they placed is not removed")
	}
	p := makePlan(tree, node)
	res.Deleted = len(p.remove)
	if err := req.confirmRemoval(ctx, p); err != nil {
		c.close()
		return Result{}, err
	}
	files := stageFiles(p.send)
	parcel := newParcel(source, files)
	pack := false
	if node.gzip && parcel.total+p.words() >= ssh.FirstWindowBytes {
		pack, _ = ssh.IsFar(ctx, runner) // what is wrong with the connection, sending tells
	}
	err = c.send(parcel, pack, req.Report, func() (string, []text) {
		if survey.unread { // until now
			manifest = encodeManifest(tree)
			id = sum256(manifest)
		}
		known.write(manifest)
		record := text{"manifest", manifest}
		if p.delta != nil {
			record = text{"delta", p.delta}
		}
		texts := []text{{"apply", applyScript(p, files, node, owner)}, record}
		if p.pending != nil {
			known.write(p.pending)
			texts = append(texts, text{"pending", p.pending})
		}
		describing.Wait()
		return id + " " + origin, texts
	})
	if survey.unread && err == nil {
		for i, f := range files {
			survey.files.add(*f.entry, parcel.states[i], parcel.quiet)
		}
		known.writeIndex(source, survey.files)
	}
	var changed *changedError
	if errors.As(err, &changed) || fault.KindOf(err) == fault.Invalid {
		// The stream is cut off here, so the node drops what it has.
		c.inPipe.Close()
		c.close()
		return Result{}, err
	}
	if err := c.finish(ctx, req.Workspace, err); err != nil {
		return Result{}, err
	}
	res.Manifest, res.Sent, res.Bytes = id, len(files), parcel.total
	return res, nil
}

// same reads whether the node holds the tree that it was asked about; asked is the error of asking.
func (c *conversation) same(asked error) (bool, error) {
	switch word, rest, err := c.line(); {
	case err != nil && asked != nil && !errors.As(err, new(*refusal)):
		return false, asked
	case err != nil:
		return false, err
	case word == "done" || word == "no":
		return word == "done", nil
	default:
		return false, fmt.Errorf("the node says %q when asked what it holds", word+" "+rest)
	}
}

// finish reads the node's last word. The error of sending counts only if the node has none: it is
// the node that knows why it stopped reading.
func (c *conversation) finish(ctx context.Context, workspace string, sent error) error {
	if sent == nil || errors.Is(sent, errEnded) {
		c.inPipe.Close()
	}
	word, rest, err := c.next()
	if err == nil && word != "done" {
		err = fmt.Errorf("the node says %q at the end of a push", word+" "+rest)
	}
	if err != nil {
		if sent != nil && !errors.As(err, new(*refusal)) {
			err = sent
		}
		return c.explain(ctx, workspace, err)
	}
	c.close() // recorded on the node: how the command ends no longer matters
	return nil
}

// checkOwner refuses a workspace that another root is pushed to: each push would delete what the
// other one placed.
func (req Request) checkOwner(node *remoteState, source string) error {
	if node.client == "" || node.client == req.Client && node.source == source {
		return nil
	}
	theirs, _, _ := strings.Cut(node.client, " ")
	mine, _, _ := strings.Cut(req.Client, " ")
	if theirs == mine && node.source == source {
		theirs += " (another installation of bifrost)"
	}
	return &fault.Error{
		Kind: fault.Conflict, Op: "push to", Target: node.workspace,
		Err: fmt.Errorf("it belongs to %s of %s, and this is %s of %s", node.source, theirs, source, mine),
		Hint: fmt.Sprintf("give this one a workspace of its own: workspace = \"~/.bifrost/workspaces/%s\"; to take this one over: rm %s on the node",
			filepath.Base(source), ssh.Quote(node.workspace+"/.bifrost/owner")),
	}
}

// confirmRemoval asks before a push that removes so much that a mistake is likely: a wrong folder,
// a half checkout.
func (req Request) confirmRemoval(ctx context.Context, p *plan) error {
	n, of := len(p.remove), len(p.placed)
	if n <= 20 || n*2 <= of {
		return nil
	}
	no := &fault.Error{
		Kind: fault.Denied, Op: "push", Target: req.Source,
		Err:  fmt.Errorf("it would delete %d of the %d files that earlier pushes placed in %s", n, of, req.Workspace),
		Hint: "check that this is the right folder, then allow it with --yes",
	}
	if req.Confirm == nil {
		return no
	}
	ok, err := req.Confirm(ctx, fmt.Sprintf("Pushing %s deletes %d of the %d files that earlier pushes placed in %s. Go on?", req.Source, n, of, req.Workspace))
	if err != nil {
		return err
	}
	if !ok {
		no.Err = fmt.Errorf("%w: refused at the prompt", no.Err)
		return no
	}
	return nil
}

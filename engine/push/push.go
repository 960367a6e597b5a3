// Package push brings a local source tree into a workspace on a node: what git would show, in one
// session, as a difference against what the last push placed. The node verifies what arrives before
// it touches the workspace, and only files that an earlier push placed are ever removed. The node
// needs a POSIX sh, coreutils or busybox, and tar; this side needs git where the tree is one of git
// or holds a .bifrostignore.
//
//	res, err := push.Push(ctx, node, push.Request{Source: dir, Workspace: "~/.bifrost/workspace", Client: id})
package push

import (
	"context"
	"errors"

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
	Cache     string   // local folder that keeps manifests by id; "" keeps none

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

type entry struct{}

// Push makes the workspace hold the source tree. It returns when the content on the node is
// verified and the push is recorded there; with an error the workspace is as it was, unless the
// error says otherwise. Errors for a person are *fault.Error.
func Push(ctx context.Context, runner ssh.Runner, req Request) (Result, error) {
	return Result{}, &fault.Error{Kind: fault.Internal, Op: "push", Target: req.Source, Err: errors.New("not there yet")}
}

// InputsID returns an id of the content and modes of those files of the tree that match one of the
// patterns: globs on slash-separated paths, where ** stands for any number of folders and the name
// of a folder for all beneath it. No patterns means the whole tree. A pattern that matches nothing
// is an error: it is a spelling mistake more often than not.
func (r Result) InputsID(patterns []string) (string, error) {
	return "", errors.New("not there yet")
}

package main

import (
	"context"
	"fmt"
	"path"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/cmd/bifrost/internal/screen"
	"github.com/bifrost-run/bifrost/engine"
)

func newCp(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "cp SOURCE... TARGET",
		Short:   "Copy files and folders from or to a machine",
		GroupID: groupWatch,
		Long: `One side is here, the other is JOB:PATH or NODE:PATH. Relative paths start in the job's working folder,
or in the home of the machine's user. An existing folder or a target that ends in / receives; else the
target is the new name. Folders are copied whole; a source that ends in / means what is in the folder.
A local name with a colon is written ./like:this.`,
		Example: `  bifrost cp @last:output.json .
  bifrost cp train-7f3k:checkpoints/ ./checkpoints/
  bifrost cp ./config.yaml local:7f3k9q:project/`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usage(cmd, "", "%s is missing", []string{"SOURCE", "TARGET"}[len(args)])
			}
			_, err := planCopies(cmd, args)
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			copies, err := planCopies(cmd, args)
			if err != nil {
				return err
			}
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			a.byHand = true
			eng, err := a.engine()
			if err != nil {
				return err
			}
			for _, c := range copies {
				if err := a.copy(ctx, eng, c); err != nil {
					return quietInterrupt(ctx, contactLost(err))
				}
			}
			return nil
		},
	}
}

// A copying is one source on its way to its target.
type copying struct {
	id            string // of the job or node
	remote, local string
	upload        bool
}

// planCopies reads the command line: either all sources are on machines, or the target is.
func planCopies(cmd *cobra.Command, args []string) ([]copying, error) {
	target := args[len(args)-1]
	var copies []copying
	toID, toPath, upload := splitPlace(target)
	for _, source := range args[:len(args)-1] {
		id, from, remote := splitPlace(source)
		switch {
		case source == "" || target == "":
			return nil, usage(cmd, "", "a path is empty")
		case remote && upload:
			return nil, usage(cmd, "copy to this machine first", "both %q and %q are on machines", source, target)
		case !remote && !upload:
			return nil, usage(cmd, "write JOB:PATH or NODE:PATH; bifrost ps shows both", "neither %q nor %q is on a machine", source, target)
		case remote:
			copies = append(copies, copying{id: id, remote: from, local: target})
		default:
			copies = append(copies, copying{id: toID, remote: toPath, local: source, upload: true})
		}
	}
	return copies, nil
}

// splitPlace takes "JOB:PATH" and "NODE:PATH" apart; ids of nodes have colons of their own. Whatever
// has a slash before its first colon is a local path, as in scp.
func splitPlace(arg string) (id, remote string, ok bool) {
	head, rest, found := strings.Cut(arg, ":")
	if !found || head == "" || strings.ContainsAny(head, `/\`) || runtime.GOOS == "windows" && len(head) == 1 {
		return "", arg, false
	}
	switch head {
	case "ssh": // ssh:user@host:22:path, ssh:user@[::1]:22:path
		at := 0
		if i := strings.Index(rest, "]"); i >= 0 {
			at = i
		}
		host, after, ok := cutAfter(rest, ":", at)
		port, remote, ok2 := strings.Cut(after, ":")
		if ok && ok2 {
			return "ssh:" + host + ":" + port, remote, true
		}
		return "ssh", rest, true
	case "local", "runpod", "vast", "lambda", "prime":
		if node, remote, ok := strings.Cut(rest, ":"); ok && !strings.Contains(node, "/") {
			return head + ":" + node, remote, true
		}
	}
	return head, rest, true
}

// cutAfter is strings.Cut for the first sep at or behind the offset from.
func cutAfter(s, sep string, from int) (before, after string, found bool) {
	i := strings.Index(s[from:], sep)
	if i < 0 {
		return s, "", false
	}
	return s[:from+i], s[from+i+len(sep):], true
}

func (a *app) copy(ctx context.Context, eng *engine.Engine, c copying) error {
	var moved engine.Transfer
	var err error
	if c.remote == "" {
		c.remote = "."
	}
	node, err := eng.OpenNode(ctx, c.id)
	if err != nil {
		return err
	}
	if !path.IsAbs(c.remote) && !strings.HasPrefix(c.remote, "~") {
		if job, err := eng.Job(ctx, c.id); err == nil && job.WorkingDir != "" {
			c.remote = strings.TrimSuffix(job.WorkingDir, "/") + "/" + c.remote
		}
	}
	if c.upload {
		moved, err = node.Upload(ctx, c.local, c.remote)
	} else {
		moved, err = node.Download(ctx, c.remote, c.local, false)
	}
	if err != nil {
		return err
	}
	a.screen.Note(copied(moved))
	return nil
}

func copied(t engine.Transfer) string {
	text := fmt.Sprintf("%d files, %s in %s", t.Files, screen.Bytes(t.Bytes), screen.Duration(t.Duration))
	if t.Files == 1 {
		text = strings.Replace(text, "files", "file", 1)
	}
	if t.Skipped > 0 {
		text += fmt.Sprintf("; %d unchanged", t.Skipped)
	}
	return text
}

package main

import (
	"errors"
	"io"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/follow"
)

func addRaw(cmd *cobra.Command, raw *bool) {
	cmd.Flags().BoolVar(raw, "raw", false, "every byte of the job, progress bars frame by frame, into pipes too")
}

// jobOutput returns the writer for a job's bytes. A terminal gets them as they are, so that progress
// bars work; a pipe gets the last frame of each line, unless raw.
func (a *app) jobOutput(raw bool) io.WriteCloser {
	if raw || term.IsTerminal(int(a.out.Fd())) {
		return nopCloser{a.screen.Stdout()}
	}
	return follow.CollapseFrames(a.screen.Stdout())
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// resultError returns what a command ends with after a run: err, or else the code that the run's
// end stands for.
func resultError(r engine.Result, err error) error {
	code := resultCode(r)
	if err == nil {
		if code != exitDone {
			return exitError(code)
		}
		return nil
	}
	// The job's own failure counts more than what went wrong after it.
	if r.Status == "failed" && r.ExitCode != 0 && find(err, fault.JobFailed) == nil {
		return errors.Join(err, &fault.Error{Kind: fault.JobFailed, Op: "job", Target: r.JobID, Err: exitError(code), ExitCode: code})
	}
	return err
}

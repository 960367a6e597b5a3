package main

import (
	"context"

	"github.com/spf13/cobra"
)

func newAttach(a *app) *cobra.Command {
	var raw bool
	cmd := &cobra.Command{
		Use:     "attach JOB",
		Short:   "Come back to a job: its log, then results, teardown, exit code",
		GroupID: groupRun,
		Long: `Shows the log from where this machine last stopped showing it, and when the job has ended does what
remains: fetches the results and releases the machine as the script said.

Ctrl-C stops watching and touches nothing: the job runs on.

EXIT STATUS
  that of the job; 124 timeout, 130 interrupted, 202 contact lost, 203 results incomplete,
  204 termination not confirmed`,
		Example: `  bifrost attach train-7f3k
  bifrost attach @last`,
		Args:              takes("JOB"),
		ValidArgsFunction: a.jobIDs(false, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			return a.attach(ctx, args[0], raw)
		},
	}
	addRaw(cmd, &raw)
	return cmd
}

func (a *app) attach(ctx context.Context, id string, raw bool) error {
	eng, err := a.engine()
	if err != nil {
		return err
	}
	job, err := eng.Job(ctx, id)
	if err != nil {
		return err
	}
	if !job.State.Final() {
		a.screen.Note("job " + job.ID + " on " + job.NodeID + " is " + string(job.State) + "; Ctrl-C stops watching and leaves it running")
	}
	out := a.jobOutput(raw)
	result, err := eng.Follow(ctx, job.ID, out)
	if flushErr := out.Close(); err == nil {
		err = flushErr
	}
	if ctx.Err() != nil {
		a.screen.Note("stopped watching; the job runs on: bifrost attach " + job.ID)
		return quietInterrupt(ctx, err)
	}
	err = a.say(resultError(result, err))
	if result.JobID != "" {
		a.screen.Line("\n" + endBlock(result))
	}
	return err
}

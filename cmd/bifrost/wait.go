package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/cmd/bifrost/internal/screen"
	"github.com/bifrost-run/bifrost/engine/fault"
)

func newWait(a *app) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:     "wait JOB",
		Short:   "Block until a job has ended; exit with its code",
		GroupID: groupWatch,
		Long: `Prints nothing and changes nothing: results are not fetched and no machine is released.

EXIT STATUS
  that of the job; 124 when --timeout has passed or the job ran into its own time limit,
  130 interrupted, 202 the job was lost or its machine does not answer`,
		Example: `  bifrost wait @last && bifrost sync @last
  bifrost wait --timeout 90m train-7f3k`,
		Args:              takes("JOB"),
		ValidArgsFunction: a.jobIDs(false, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout < 0 {
				return usage(cmd, "0 means no limit", "--timeout %s is negative", timeout)
			}
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			eng, err := a.engine()
			if err != nil {
				return err
			}
			job, err := eng.Job(ctx, args[0])
			if err != nil {
				return err
			}
			if job.State.Final() {
				return jobEnd(job)
			}
			h, err := eng.Attach(ctx, job.ID)
			if err != nil {
				return quietInterrupt(ctx, contactLost(err))
			}
			begun := time.Now()
			code, err := h.Wait(ctx, timeout)
			if err != nil {
				return quietInterrupt(ctx, contactLost(err))
			}
			if code == exitTimeout && timeout > 0 && time.Since(begun) >= timeout {
				if job, err := eng.Job(ctx, job.ID); err == nil && !job.State.Final() {
					return &fault.Error{
						Kind: fault.Timeout, Op: "wait", Target: job.ID, Err: fmt.Errorf("still %s after %s", job.State, screen.Duration(timeout)),
						Hint: "the job was not touched; bifrost attach " + job.ID + " shows what it does",
					}
				}
			}
			if code != exitDone {
				return exitError(code)
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "give up waiting after that long, as 90s, 15m, 2h (default: never)")
	return cmd
}

// contactLost is the error for a job that exists on a machine that does not answer: its state is
// then unknown, whatever the reason.
func contactLost(err error) error {
	var f *fault.Error
	if errors.As(err, &f) && f.Kind == fault.Unreachable {
		lost := *f
		lost.Kind = fault.Lost
		return &lost
	}
	return err
}

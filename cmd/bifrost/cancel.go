package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func newCancel(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "cancel JOB...",
		Short:   "Stop jobs; their machines stay as the scripts said",
		GroupID: groupEnd,
		Long: `Ends a job's processes on its machine: first with TERM, after a grace of 10 seconds with KILL. A job
that has ended stays as it is. The machine is not released: whoever is attached to the job, or
bifrost attach, does what the script said. To stop paying at once, use bifrost terminate.`,
		Example: `  bifrost cancel train-7f3k
  bifrost cancel @last`,
		Args:              takes("JOB..."),
		ValidArgsFunction: a.jobIDs(false, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			eng, err := a.engine()
			if err != nil {
				return err
			}
			var errs []error
			for _, arg := range args {
				job, err := eng.Job(ctx, arg)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				if job.State.Final() {
					a.screen.Note("job " + job.ID + " had ended already: " + string(job.State))
					continue
				}
				if err := eng.Cancel(ctx, job.ID); err != nil {
					errs = append(errs, contactLost(err))
					continue
				}
				state := "cancelled"
				if job, err := eng.Job(ctx, job.ID); err == nil {
					state = string(job.State)
				}
				a.screen.Note("job " + job.ID + " " + state)
			}
			return quietInterrupt(ctx, errors.Join(errs...))
		},
	}
}

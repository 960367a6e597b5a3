package main

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/cmd/bifrost/internal/screen"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
)

const leastInterval = time.Second

func newSync(a *app) *cobra.Command {
	var watch bool
	interval := 30 * time.Second
	cmd := &cobra.Command{
		Use:     "sync JOB",
		Short:   "Fetch a job's results now",
		GroupID: groupWatch,
		Long: `Fetches what the script names as results, while the job runs or after it. Files that are here unchanged
do not travel again. What the job has not written yet is no error while it runs.

EXIT STATUS
  0 what is there is here; 203 not everything could be fetched`,
		Example: `  bifrost sync @last
  bifrost sync --watch train-7f3k`,
		Args:              takes("JOB"),
		ValidArgsFunction: a.jobIDs(false, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			if interval < leastInterval {
				return usage(cmd, "one second is the least", "--interval %s is too short", interval)
			}
			if cmd.Flags().Changed("interval") && !watch {
				return usage(cmd, "add --watch", "--interval was given without --watch")
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
			if watch {
				return quietInterrupt(ctx, a.syncUntilEnd(ctx, eng, job, interval))
			}
			return quietInterrupt(ctx, a.sync(ctx, eng, job))
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "again and again, until the job has ended")
	cmd.Flags().DurationVar(&interval, "interval", interval, "of --watch")
	return cmd
}

// syncUntilEnd fetches at each interval and once more when the job has ended.
func (a *app) syncUntilEnd(ctx context.Context, eng *engine.Engine, job journal.Job, interval time.Duration) error {
	h, err := eng.Attach(ctx, job.ID)
	if err != nil {
		return contactLost(err)
	}
	for {
		state, err := h.Status(ctx)
		if err != nil {
			return contactLost(err)
		}
		if err := a.sync(ctx, eng, job); err != nil {
			return err
		}
		if journal.JobState(state).Final() {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(interval):
		}
	}
}

// sync fetches the results once and prints what came.
func (a *app) sync(ctx context.Context, eng *engine.Engine, job journal.Job) error {
	fetched, err := eng.Sync(ctx, job.ID)
	if printErr := a.printFetched(fetched); printErr != nil {
		return printErr
	}
	for _, f := range fetched {
		if err == nil {
			err = f.Err
		}
	}
	if err != nil && find(err, fault.Results) == nil && ctx.Err() == nil {
		return &fault.Error{Kind: fault.Results, Op: "sync", Target: job.ID, Err: err, Hint: fault.HintOf(err)}
	}
	return err
}

func (a *app) printFetched(fetched []engine.Fetched) error {
	if len(fetched) == 0 {
		return nil
	}
	t := screen.NewTable("result", ">files", "here")
	for _, f := range fetched {
		files := strconv.Itoa(f.Files)
		switch {
		case f.Err != nil:
			files = "failed"
		case f.Files == 0:
			files = ""
		}
		t.Row(f.Remote, files, f.Local)
	}
	return t.Write(a.screen.Stdout())
}

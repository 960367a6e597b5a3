package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/cmd/bifrost/internal/screen"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/follow"
	"github.com/bifrost-run/bifrost/engine/journal"
)

// logsFlags say which part of a log is shown, and how.
type logsFlags struct {
	follow, times, raw bool
	tail               int // lines; -1 means all
	since              time.Duration
}

func newLogs(a *app) *cobra.Command {
	f := logsFlags{tail: -1}
	cmd := &cobra.Command{
		Use:     "logs JOB",
		Short:   "Show a job's log; read only",
		GroupID: groupWatch,
		Long: `Prints what the job has written. Of a machine that is gone, the copy on this machine is shown.

A log holds the job's bytes and nothing else, so it has no times of its own: -t shows when a line
reached this machine and marks what was there before with "-", and --since goes by the times of the
job as a whole.

EXIT STATUS
  0, also when the job failed; 1 there is no such job or no log of it; 130 interrupted;
  202 the machine does not answer and there is no copy here`,
		Example: `  bifrost logs @last
  bifrost logs -f --tail 20 train-7f3k
  bifrost logs --raw train-7f3k > train.log`,
		Args:              takes("JOB"),
		ValidArgsFunction: a.jobIDs(false, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case f.tail < -1 || cmd.Flags().Changed("tail") && f.tail < 0:
				return usage(cmd, "give a number of lines", "--tail %d is negative", f.tail)
			case f.since < 0:
				return usage(cmd, "give how far back, as 10m or 2h", "--since %s is negative", f.since)
			case f.raw && f.times:
				return usage(cmd, "give one of them", "--raw and -t were given together")
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
			return quietInterrupt(ctx, a.logs(ctx, eng, job, f))
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.follow, "follow", "f", false, "go on until the job has ended")
	flags.IntVar(&f.tail, "tail", -1, "only the last `N` lines of what is there (default: all)")
	flags.DurationVar(&f.since, "since", 0, "only of a job that was alive in that time, as 10m or 2h")
	flags.BoolVarP(&f.times, "timestamps", "t", false, "when each line reached this machine")
	addRaw(cmd, &f.raw)
	return cmd
}

func (a *app) logs(ctx context.Context, eng *engine.Engine, job journal.Job, f logsFlags) error {
	if f.since > 0 {
		if over := job.Ended; !over.IsZero() && time.Since(over) > f.since {
			a.screen.Note(fmt.Sprintf("job %s ended %s ago, before --since", job.ID, screen.Duration(time.Since(over))))
			return nil
		}
		if age := time.Since(job.Started); !job.Started.IsZero() && age > f.since {
			a.screen.Warn(fmt.Sprintf("the log has no times: all of it is shown, since the job started %s ago", screen.Duration(age)))
		}
	}
	out := a.jobOutput(f.raw)
	var present func()
	if f.times {
		lines := &timedWriter{w: a.screen.Stdout()}
		out, present = follow.CollapseFrames(lines), lines.Present
	}
	o := engine.LogOptions{Tail: f.tail, Follow: f.follow, Present: present}
	switch f.tail { // the flag's zero is none, the option's is all
	case -1:
		o.Tail = 0
	case 0:
		o.Tail = -1
	}
	err := contactLost(eng.Logs(ctx, job.ID, o, out))
	return errors.Join(err, out.Close())
}

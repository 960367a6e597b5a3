package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/cmd/bifrost/internal/screen"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/follow"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/ssh"
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
	present := func() {}
	if f.times {
		lines := &timedWriter{w: a.screen.Stdout()}
		out, present = follow.CollapseFrames(lines), lines.Present
	}
	err := a.writeLog(ctx, eng, job, f, out, present)
	return errors.Join(err, out.Close())
}

// writeLog writes the log from where it can be had. It calls present when what follows is new.
func (a *app) writeLog(ctx context.Context, eng *engine.Engine, job journal.Job, f logsFlags, w io.Writer, present func()) error {
	node, err := eng.Node(ctx, job.ID)
	if err != nil && job.NodeID != "" {
		return err
	}
	if job.NodeID == "" || node.State == journal.NodeGone {
		return writeCopy(job, f.tail, w)
	}
	h, err := eng.Attach(ctx, job.ID)
	if err != nil {
		return err
	}
	if f.follow && !job.State.Final() {
		return contactLost(followLog(ctx, h, f.tail, w, present))
	}
	err = contactLost(readLog(ctx, h, f.tail, w))
	if err != nil && fault.KindOf(err) == fault.Lost && ctx.Err() == nil {
		if copyErr := writeCopy(job, f.tail, w); copyErr == nil {
			a.screen.Warn(fmt.Sprintf("%s does not answer: this is the copy on this machine, which may lack the end", job.NodeID))
			return nil
		}
	}
	return err
}

// readLog writes what the log holds now, byte by byte as the job wrote it.
func readLog(ctx context.Context, h *engine.Handle, tail int, w io.Writer) error {
	script := "cat " + ssh.QuotePath(h.LogFile())
	if tail >= 0 {
		script = fmt.Sprintf("tail -n %d %s", tail, ssh.QuotePath(h.LogFile()))
	}
	var said bytes.Buffer
	err := h.Node().Interactive(ctx, ssh.Command{Script: script, Stdout: w, Stderr: &said})
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		return &fault.Error{Kind: fault.NotFound, Op: "read log", Target: h.LogFile(), Err: errors.New(strings.TrimSpace(said.String()))}
	}
	return err
}

// followLog writes the log until the job has ended.
func followLog(ctx context.Context, h *engine.Handle, tail int, w io.Writer, present func()) error {
	var size bytes.Buffer
	if err := h.Node().Interactive(ctx, ssh.Command{Script: "wc -c < " + ssh.QuotePath(h.LogFile()), Stdout: &size}); err != nil {
		return err
	}
	past, err := strconv.ParseInt(strings.TrimSpace(size.String()), 10, 64)
	if err != nil {
		return fmt.Errorf("read size of log: %w", err)
	}
	b := &backlogWriter{w: w, left: past, tail: tail, present: present}
	if err := b.begin(); err != nil {
		return err
	}
	return h.Stream(ctx, b)
}

// writeCopy writes the copy of the log on this machine.
func writeCopy(job journal.Job, tail int, w io.Writer) error {
	file, err := os.Open(job.LocalLog)
	if err != nil {
		reason := "its machine is gone and no copy was made here"
		if job.NodeID == "" || job.Started.IsZero() {
			reason = "it never ran"
		}
		return &fault.Error{Kind: fault.NotFound, Op: "read log of", Target: job.ID, Err: errors.New(reason), Hint: "bifrost ps -a shows what became of it"}
	}
	defer file.Close()
	if tail < 0 {
		_, err = io.Copy(w, file)
		return err
	}
	return copyTail(w, file, tail)
}

// copyTail writes the last lines of a file.
func copyTail(w io.Writer, file io.ReadSeeker, lines int) error {
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil || lines == 0 {
		return err
	}
	const block = 64 << 10
	start, found := end, 0
search:
	for start > 0 {
		size := min(block, start)
		buf := make([]byte, size)
		if _, err := file.Seek(start-size, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.ReadFull(file, buf); err != nil {
			return err
		}
		for i := size - 1; i >= 0; i-- {
			if buf[i] != '\n' || start-size+i == end-1 {
				continue
			}
			if found++; found == lines {
				start = start - size + i + 1
				break search
			}
		}
		start -= size
	}
	if _, err := file.Seek(start, io.SeekStart); err != nil {
		return err
	}
	_, err = io.CopyN(w, file, end-start)
	return err
}

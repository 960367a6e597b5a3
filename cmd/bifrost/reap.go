package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/cmd/bifrost/internal/screen"
	"github.com/bifrost-run/bifrost/engine"
)

func newReap(a *app) *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use:     "reap",
		Short:   "End machines that nobody needs any more",
		GroupID: groupEnd,
		Long: `Finishes what processes that were killed left open, and waits for it: machines whose run is gone,
terminations that were not confirmed, creations without a clear answer. Machines that are in use, kept
or held are left alone. One that carries bifrost's name and is not in this journal is listed, never
touched: it may be a colleague's. A machine whose provider cannot be asked, because its key is not set, is
told.

EXIT STATUS
  0 nothing is left; 204 a termination is not confirmed and the machine may still cost money`,
		Example: `  bifrost reap --dry-run
  bifrost reap`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			eng, err := a.engine()
			if err != nil {
				return err
			}
			if err := a.tellUnreachable(ctx, eng); err != nil {
				return err
			}
			reaped, err := eng.Reap(ctx, dry)
			if len(reaped) == 0 && err == nil {
				a.screen.Line("nothing to reap")
				return nil
			}
			if printErr := reapTable(reaped, dry).Write(a.screen.Stdout()); printErr != nil {
				return printErr
			}
			for _, r := range reaped {
				err = errors.Join(err, r.Err)
			}
			return quietUnlessMoney(ctx, err)
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only list them")
	return cmd
}

// tellUnreachable warns of the machines whose providers cannot be asked.
func (a *app) tellUnreachable(ctx context.Context, eng *engine.Engine) error {
	nodes, err := eng.Nodes(ctx, false)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		for _, acct := range a.accounts() {
			if acct.name == n.Provider && acct.missing != "" {
				a.screen.Warn(fmt.Sprintf("%s cannot be looked at: %s; it may cost %s per hour", n.ID, acct.missing, screen.Money(n.PricePerHour)))
			}
		}
	}
	return nil
}

func reapTable(reaped []engine.Reaped, dry bool) *screen.Table {
	done := "ended"
	if dry {
		done = "would end"
	}
	t := screen.NewTable("node", "name", ">$/hour", "action", "why")
	for _, r := range reaped {
		action := done
		switch {
		case r.Err != nil:
			action = "FAILED"
		case r.Node.State == "": // not from the journal
			action = "left alone"
		}
		t.Row(r.Node.ID, r.Node.Name, fmt.Sprintf("$%.2f", r.Node.PricePerHour), action, r.Why)
	}
	return t
}

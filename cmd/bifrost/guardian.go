package main

import (
	"github.com/spf13/cobra"
)

// newGuardian is what the engine starts beside a run that holds a machine. It waits until the run's
// process is gone and then does what that one would have done.
func newGuardian(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    "guardian RUN",
		Short:  "Carry a run to its end when its process dies (started by bifrost itself)",
		Hidden: true,
		Args:   takes("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer surviveHangup()() // the terminal's end is what it is there for
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			a.settles = false // it attends to one run; settling would start another guardian for it
			eng, err := a.engine()
			if err != nil {
				return err
			}
			return eng.Guard(ctx, args[0])
		},
	}
}

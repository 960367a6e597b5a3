package main

import (
	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/gpu/local"
)

// newLocalNode is the daemon behind a local node: an SSH server with a home folder of its own.
func newLocalNode(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    "local-node DIR",
		Short:  "Serve a local node (started by bifrost itself)",
		Hidden: true,
		Args:   takes("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer surviveHangup()() // a machine does not go away with the terminal that rented it
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			return quietInterrupt(ctx, local.Serve(ctx, args[0]))
		},
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/cmd/bifrost/internal/screen"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
)

func newTerminate(a *app) *cobra.Command {
	var all, forget bool
	cmd := &cobra.Command{
		Use:     "terminate JOB|NODE... | --all",
		Short:   "End machines now and stop paying for them",
		GroupID: groupEnd,
		Long: `Ends the machines of these jobs, whatever runs on them, and waits until the provider confirms that they
are gone. What was not fetched from them is lost: bifrost sync JOB fetches first. Machines that you
brought yourself (ssh=) are never ended.

A machine that the provider's key does not show counts as gone only with the key that it was rented with. With
that of another account it stays listed; --forget records it as gone at your word.

EXIT STATUS
  0 all are gone; 204 a termination is not confirmed and the machine may still cost money`,
		Example: `  bifrost terminate train-7f3k
  bifrost terminate local:7f3k9q
  bifrost terminate --all --yes`,
		Args: func(cmd *cobra.Command, args []string) error {
			if all && len(args) > 0 {
				return usage(cmd, "give either ids or --all", "%q and --all were given together", args[0])
			}
			if all && forget {
				return usage(cmd, "name the machines to forget", "--all and --forget were given together")
			}
			if !all && len(args) == 0 {
				return usage(cmd, "name what bifrost ps shows, or use --all", "JOB or NODE is missing")
			}
			return nil
		},
		ValidArgsFunction: a.jobIDs(true, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			eng, err := a.engine()
			if err != nil {
				return err
			}
			if all {
				if args, err = a.allMachines(ctx, eng); err != nil {
					return quietInterrupt(ctx, err)
				}
			}
			end, done := eng.Terminate, "terminated and confirmed"
			if forget {
				if err := a.sureToForget(ctx, args); err != nil {
					return quietInterrupt(ctx, err)
				}
				end, done = eng.Forget, "recorded as gone"
			}
			errs := make([]error, len(args))
			var wg sync.WaitGroup
			for i, id := range args { // at once: one whose provider is down must not keep another costing
				wg.Go(func() {
					if errs[i] = end(ctx, id); errs[i] != nil {
						return
					}
					if node, err := eng.Node(ctx, id); err == nil {
						id = node.ID // of the machine, whatever it was called by
					}
					a.screen.Note(id + " " + done)
				})
			}
			wg.Wait()
			return quietUnlessMoney(ctx, errors.Join(errs...))
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every machine that bifrost rented and that is not gone")
	cmd.Flags().BoolVar(&forget, "forget", false, "end nothing, only record these as gone: you know that they are")
	addYes(cmd, a)
	return cmd
}

// sureToForget asks whether machines are gone that no provider has confirmed as that.
func (a *app) sureToForget(ctx context.Context, ids []string) error {
	ok, err := a.confirm(ctx, fmt.Sprintf("record %s as gone? what still runs goes on costing money, and bifrost will not end it.", strings.Join(ids, ", ")))
	if err == nil && !ok {
		err = &fault.Error{Kind: fault.Denied, Op: "forget", Err: errors.New("answered no; nothing was recorded")}
	}
	return err
}

// allMachines asks whether to end all machines that bifrost rented, and returns their ids.
func (a *app) allMachines(ctx context.Context, eng *engine.Engine) ([]string, error) {
	nodes, err := eng.Nodes(ctx, false)
	if err != nil {
		return nil, err
	}
	var ids []string
	perHour := 0.0
	for _, n := range nodes {
		if n.Provider != "ssh" && n.State != journal.NodeGone {
			ids = append(ids, n.ID)
			perHour += n.PricePerHour
		}
	}
	if len(ids) == 0 {
		a.screen.Note("there is no machine to terminate")
		return nil, nil
	}
	ok, err := a.confirm(ctx, fmt.Sprintf("terminate %s (%s per hour together)?", strings.Join(ids, ", "), screen.Money(perHour)))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, &fault.Error{Kind: fault.Denied, Op: "terminate", Err: errors.New("answered no; nothing was terminated")}
	}
	return ids, nil
}

// quietUnlessMoney is quietInterrupt for commands that end machines: that one may still run is said
// even to who pressed Ctrl-C.
func quietUnlessMoney(ctx context.Context, err error) error {
	if find(err, fault.Unreleased) != nil {
		return err
	}
	return quietInterrupt(ctx, err)
}

func addYes(cmd *cobra.Command, a *app) {
	cmd.Flags().BoolVarP(&a.yes, "yes", "y", false, "answer yes to every question")
}

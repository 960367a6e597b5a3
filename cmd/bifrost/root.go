package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const rootLong = `Bifrost runs deploy scripts: it rents a machine with GPUs, sends your code there, runs it,
streams the log, brings the results home and makes sure that the machine is gone.

JOB is a job's id, any prefix of it that no other job has, or @last. NODE is a machine's id.
bifrost ps shows both.

The exit status is that of the job, or one of these: 1 the script failed, 2 usage, 124 timeout,
125 the script has errors and nothing ran, 130 interrupted, 200 nothing could be rented, 201 over
the budget, 202 contact lost, 203 results incomplete, 204 termination not confirmed and money may be
burning, 206 permission denied, 207 bootstrap failed.`

// The groups of commands in the help, in order.
const (
	groupRun     = "run"
	groupWatch   = "watch"
	groupEnd     = "end"
	groupScripts = "scripts"
	groupSelf    = "self"
)

// newRoot returns the command with all its subcommands.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "bifrost",
		Short: "Run deploy scripts on rented GPUs",
		Long:  rootLong,
		Example: `  bifrost exec deploy.star            run a script and stay with its job
  bifrost exec -d deploy.star         start the job and leave
  bifrost attach @last                come back to it
  bifrost ps                          what runs, and what it costs`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownCommand(cmd, args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(cmd, "", "%s", flagReason(err))
	})
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run:"},
		&cobra.Group{ID: groupWatch, Title: "Look and fetch:"},
		&cobra.Group{ID: groupEnd, Title: "Stop:"},
		&cobra.Group{ID: groupScripts, Title: "Work on scripts:"},
		&cobra.Group{ID: groupSelf, Title: "Bifrost itself:"},
	)
	root.SetHelpCommandGroupID(groupSelf)
	root.SetCompletionCommandGroupID(groupSelf)
	for _, c := range []*cobra.Command{
		newExec(a), newPlan(a), newAttach(a), newMod(a),
		newPs(a), newLogs(a), newWait(a), newSSH(a), newCp(a), newSync(a), newOffers(a), newCost(a),
		newCancel(a), newTerminate(a), newReap(a),
		newCheck(a), newFmt(a), newDoc(a),
		newTest(a),
		newStubs(a), newRepl(a),
		newDoctor(a), newVersion(a), newGuardian(a), newLocalNode(a),
	} {
		root.AddCommand(c)
	}
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		c.DisableFlagsInUseLine = strings.Contains(c.Use, "[-") // it names its flags itself
		switch c.Name() {
		case "completion":
			c.Args = func(cmd *cobra.Command, args []string) error {
				if len(args) > 0 {
					return usage(cmd, "one of bash, fish, powershell, zsh", "unknown shell %q", args[0])
				}
				return nil
			}
			c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		case "help":
			c.Run, c.RunE = nil, helpTopic
		}
	}
	return root
}

// helpTopic is cobra's, but that a command which does not exist is an error.
func helpTopic(cmd *cobra.Command, args []string) error {
	root := cmd.Root()
	found, rest, err := root.Find(args)
	if err != nil || found == nil || len(args) > 0 && (found == root || len(rest) > 0) {
		return unknownCommand(root, strings.Join(args, " "))
	}
	found.InitDefaultHelpFlag()
	return found.Help()
}

func unknownCommand(cmd *cobra.Command, name string) error {
	if strings.HasSuffix(name, ".star") {
		return usage(cmd, "bifrost exec "+name, "%q is a script, not a command", name)
	}
	if info, err := os.Stat(name); err == nil && !info.IsDir() {
		return usage(cmd, "bifrost exec "+name, "%q is a file, not a command", name)
	}
	hint := "bifrost --help lists the commands"
	if name == "" {
		return usage(cmd, hint, "COMMAND is empty")
	}
	if like := cmd.SuggestionsFor(name); len(like) > 0 {
		hint = "did you mean " + strings.Join(like, " or ") + "? bifrost --help lists the commands"
	}
	return usage(cmd, hint, "unknown command %q", name)
}

// flagReason is pflag's message in the words of the rest.
func flagReason(err error) string {
	text := err.Error()
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		kinds := map[string]string{"int": "a whole number", "float64": "a number", "duration": "a time such as 30s, 10m or 2h"}
		if kind := kinds[invalid.GetFlag().Value.Type()]; kind != "" {
			return fmt.Sprintf("--%s: %q is not %s", invalid.GetFlag().Name, invalid.GetValue(), kind)
		}
	}
	if rest, ok := strings.CutPrefix(text, "unknown shorthand flag: "); ok {
		if letter, _, ok := strings.Cut(rest, " in "); ok {
			return "unknown flag: -" + strings.Trim(letter, "'")
		}
	}
	return text
}

// jobIDs completes the first arguments as ids of jobs, and of nodes where those serve too.
func (a *app) jobIDs(nodes, finished bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.completions(cmd, args, nodes, finished), cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) completions(cmd *cobra.Command, args []string, nodes, finished bool) []string {
	if _, err := os.Stat(a.env.StateDir); a.env.StateDir == "" || err != nil {
		return nil // completing makes no folders
	}
	eng, err := a.engine()
	if err != nil {
		return nil
	}
	taken := map[string]bool{}
	for _, arg := range args {
		taken[arg] = true
	}
	var all []string
	jobs, _ := eng.Jobs(cmd.Context(), finished)
	for _, j := range jobs {
		if !taken[j.ID] {
			all = append(all, fmt.Sprintf("%s\t%s %s", j.ID, j.State, j.Command))
		}
	}
	if len(jobs) > 0 {
		all = append(all, "@last\tthe latest job")
	}
	if nodes {
		machines, _ := eng.Nodes(cmd.Context(), false)
		for _, n := range machines {
			if !taken[n.ID] {
				all = append(all, fmt.Sprintf("%s\t%s", n.ID, n.State))
			}
		}
	}
	return all
}

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/builtins/plan"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/push"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

func newPlan(a *app) *cobra.Command {
	var asJSON bool
	var limits starlark.Limits
	var allowed *permissions
	cmd := &cobra.Command{
		Use:     "plan [--json] FILE [ARG...]",
		Short:   "Show what a script would do, and do none of it",
		GroupID: groupRun,
		Long: `Runs the script on an engine that searches offers and acts on nothing: no machine is rented, no host
reached, no file written. It shows the machine and its price, the files that would be sent, the bootstrap,
the command with the names of its environment, the results, and what happens to the machine. Flags after
FILE are the script's.

A plan ends at the first question that only a real machine can answer, as node.exec, node.gpus and
handle.logs are, and says which. Where nobody asks how a job ended, it is taken to succeed. What the script
itself prints goes to stderr. Questions of confirm are shown and taken to be answered with yes.

--json prints {"version": 1, "steps": [{"op", "text", "details", "data"}], "stops": {"at", "question"} or null}.

EXIT STATUS
  0 planned, to its end or to such a question; else as exec: 1 the script failed, 125 it has errors, 200
  nothing could be rented, 206 permission denied`,
		Example: `  bifrost plan deploy.star
  bifrost plan deploy.star --gpu-count 8`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "" {
				return usage(cmd, "", "FILE is missing")
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return []string{"star"}, cobra.ShellCompDirectiveFilterFileExt
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			a.settles = false
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			return a.plan(ctx, args[0], args[1:], limits, allowed, asJSON)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false)
	flags.BoolVar(&asJSON, "json", false, "the plan as JSON")
	addLimitFlags(cmd, &limits)
	allowed = addPolicyFlags(cmd)
	allowed.dry = true
	return cmd
}

// plan runs a script on the planning engine and shows its steps.
func (a *app) plan(ctx context.Context, file string, args []string, limits starlark.Limits, allowed *permissions, asJSON bool) error {
	doc := jsonPlan{Version: 1, Steps: []jsonStep{}}
	var printErr error
	e := plan.New(planWorld{a}, func(s plan.Step) {
		s.Text = a.redact.Redact(s.Text)
		if asJSON {
			doc.Steps = append(doc.Steps, jsonStep{s.Op, s.Text, append([]string{}, s.Details...), s.Data})
			return
		}
		text := fmt.Sprintf("%-12s %s\n", s.Op, strings.ReplaceAll(s.Text, "\n", "\n             "))
		for _, detail := range s.Details {
			text += fmt.Sprintf("%-12s %s\n", "", detail)
		}
		_, err := fmt.Fprint(a.screen.Stdout(), a.redact.Redact(text))
		printErr = errors.Join(printErr, err)
	})
	host := a.host(builtins.New(e, builtins.Options{
		Getenv: a.env.Lookup, // asked through the gate only; no step has a value
		Clock:  e,
		Dry:    func(what string) { e.Say(plan.Step{Op: "local", Text: what}) },
		Report: a.screen.Event,
		Stderr: stderr{a.screen},
		Confirm: func(_ context.Context, question string) (bool, error) {
			e.Say(plan.Step{Op: "confirm", Text: question})
			return true, nil
		},
	}))
	host.Limits, host.Stdout = limits, stderr{a.screen}
	if err := host.Check(ctx, file); err != nil {
		return err
	}
	judge, err := a.judge(file, allowed)
	if err != nil {
		return err
	}
	host.Gate = policy.NewGate(judge.Decide)
	e.Limits = engine.Limits{Price: a.limits.price, Cost: a.limits.cost}
	outcome, err := host.Exec(ctx, file, args)
	var stopped *plan.StopError
	var shown *starlark.Error
	var exit *starlark.ExitError
	switch {
	case errors.As(err, &stopped):
		doc.Stops = &jsonStop{Question: stopped.Question}
		if errors.As(err, &shown) && len(shown.Frames) > 0 {
			doc.Stops.At = fmt.Sprintf("%s:%d", shown.Frames[0].File, shown.Frames[0].Line)
		}
		err = nil
	case errors.As(err, &exit):
		err = exitOf(exit.Code)
	case err == nil:
		err = exitOf(outcome.ExitCode)
	}
	switch {
	case asJSON:
		line, jsonErr := compactJSON(doc)
		if jsonErr == nil {
			_, jsonErr = fmt.Fprintln(a.screen.Stdout(), line)
		}
		printErr = jsonErr
	case doc.Stops != nil:
		_, stopErr := fmt.Fprintf(a.screen.Stdout(), "%-12s %s: %s\n", "stops", doc.Stops.At, a.redact.Redact(doc.Stops.Question))
		printErr = errors.Join(printErr, stopErr)
	}
	return errors.Join(err, printErr)
}

// planWorld is what a plan may look at. The engine is opened for offers alone, which it only asks for.
type planWorld struct{ app *app }

func (w planWorld) Offers(ctx context.Context, query gpu.Query, explain bool) (engine.Offers, error) {
	eng, err := w.app.engine()
	if err != nil {
		return engine.Offers{}, err
	}
	return eng.Offers(ctx, query, explain)
}

func (w planWorld) Files(ctx context.Context, source string) ([]plan.File, error) {
	found, err := push.Files(ctx, source, []string{w.app.env.StateDir}, w.app.screen.Warn)
	files := make([]plan.File, len(found))
	for i, f := range found {
		files[i] = plan.File(f)
	}
	return files, err
}

// The shape of plan --json, version 1.
type jsonPlan struct {
	Version int        `json:"version"`
	Steps   []jsonStep `json:"steps"`
	Stops   *jsonStop  `json:"stops"`
}

type jsonStep struct {
	Op      string         `json:"op"`
	Text    string         `json:"text"`
	Details []string       `json:"details"`
	Data    map[string]any `json:"data,omitempty"`
}

type jsonStop struct {
	At       string `json:"at"`
	Question string `json:"question"`
}

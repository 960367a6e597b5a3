package main

import (
	"fmt"
	"strings"

	"github.com/bifrost-run/bifrost/cmd/bifrost/internal/screen"
	"github.com/bifrost-run/bifrost/engine"
)

// endBlock returns the lines that end every run: how it ended, what it took, what came home, what
// became of the machine, where the log is, and at most two commands worth typing next.
func endBlock(r engine.Result) string {
	var b strings.Builder
	row := func(name, text string) { fmt.Fprintf(&b, "%-9s%s\n", name, text) }
	row("status", endStatus(r))
	row("time", endTime(r))
	row("results", endResults(r))
	row("machine", endMachine(r))
	row("log", orNone(r.LogPath))
	for i, command := range nextCommands(r) {
		row([]string{"next", ""}[i], command)
	}
	return strings.TrimRight(b.String(), "\n")
}

func endStatus(r engine.Result) string {
	text := r.Status
	switch r.Status {
	case "failed", "":
		text = endFailure(r)
	case "succeeded":
		text = "succeeded, exit code 0"
	case "timeout":
		text = "timeout: the job was ended at its time limit"
	case "lost":
		text = "lost: how the job ended is unknown"
	case "detached":
		text = "detached: the job runs on"
	}
	if r.Reason != "" && r.Status != "detached" {
		text += " (" + r.Reason + ")"
	}
	if r.JobID == "" {
		return text
	}
	return r.JobID + " " + text
}

func endFailure(r engine.Result) string {
	switch {
	case r.Signal != "":
		return fmt.Sprintf("failed, killed by signal %s, exit code %d", r.Signal, r.ExitCode)
	case r.ExitCode != 0:
		return fmt.Sprintf("failed, exit code %d", r.ExitCode)
	}
	return "failed before the job ran"
}

func endTime(r engine.Result) string {
	return screen.Duration(r.Duration) + ", " + screen.Money(r.Cost)
}

func endMachine(r engine.Result) string {
	text := orNone(r.Machine)
	if r.NodeID != "" && !machineGone(r) {
		text = r.NodeID + " " + text
	}
	if r.Costs {
		text += ", " + screen.Money(r.Price) + " per hour"
	}
	return text
}

func endResults(r engine.Result) string {
	switch {
	case r.Status == "detached":
		return "what was asked for is fetched when the job has ended"
	case r.LogPath == "":
		return "none: the job did not run"
	case len(r.Results) == 0:
		return "none asked for"
	}
	var parts []string
	for _, f := range r.Results {
		switch {
		case f.Err != nil:
			parts = append(parts, fmt.Sprintf("%s INCOMPLETE in %s", f.Remote, f.Local))
		case f.Files == 1:
			parts = append(parts, "1 file in "+f.Local)
		case f.Files == 0:
			parts = append(parts, f.Remote+" in "+f.Local)
		default:
			parts = append(parts, fmt.Sprintf("%d files in %s", f.Files, f.Local))
		}
	}
	return strings.Join(parts, "; ")
}

// nextCommands are what the user most probably wants now, most urgent first.
func nextCommands(r engine.Result) []string {
	if r.JobID == "" {
		return nil
	}
	var next []string
	add := func(command string) { next = append(next, "bifrost "+command+" "+r.JobID) }
	switch r.Status {
	case "detached":
		add("attach")
		add("cancel")
		return next
	case "lost":
		add("attach")
	case "failed", "timeout":
		if r.Status == "timeout" || r.ExitCode != 0 {
			add("logs --tail 50")
		}
	}
	if incomplete(r) && !machineGone(r) {
		add("sync")
	}
	if !machineGone(r) && !strings.HasPrefix(r.NodeID, "ssh:") {
		add("terminate")
	}
	return next[:min(len(next), 2)]
}

func incomplete(r engine.Result) bool {
	for _, f := range r.Results {
		if f.Err != nil {
			return true
		}
	}
	return false
}

// machineGone tells whether the run's machine is known not to exist.
func machineGone(r engine.Result) bool {
	return r.NodeID == "" || strings.HasPrefix(r.Machine, "terminated and confirmed")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

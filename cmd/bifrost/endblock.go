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
	row("machine", orNone(r.Machine))
	row("log", orNone(r.LogPath))
	for i, command := range nextCommands(r) {
		row([]string{"next", ""}[i], command)
	}
	return strings.TrimRight(b.String(), "\n")
}

func endStatus(r engine.Result) string {
	text := r.Status
	switch {
	case r.Status == "failed" && r.Signal != "":
		text = fmt.Sprintf("failed, killed by signal %s, exit code %d", r.Signal, r.ExitCode)
	case r.Status == "failed" && r.ExitCode == 0:
		text = "failed before the job ran"
	case r.Status == "failed":
		text = fmt.Sprintf("failed, exit code %d", r.ExitCode)
	case r.Status == "succeeded":
		text = "succeeded, exit code 0"
	case r.Status == "timeout":
		text = "timeout: the job was ended at its time limit"
	case r.Status == "lost":
		text = "lost: how the job ended is unknown"
	case r.Status == "detached":
		text = "detached: the job runs on"
	case text == "":
		text = "failed before the job ran"
	}
	if r.JobID == "" {
		return text
	}
	return r.JobID + " " + text
}

func endTime(r engine.Result) string {
	return screen.Duration(r.Duration) + ", " + screen.Money(r.Cost)
}

func endResults(r engine.Result) string {
	if len(r.Results) == 0 {
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
			parts = append(parts, fmt.Sprintf("%s: nothing new in %s", f.Remote, f.Local))
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
		if r.Duration > 0 || r.ExitCode != 0 {
			add("logs --tail 50")
		}
	}
	if incomplete(r) && machineStays(r) {
		add("sync")
	}
	if machineStays(r) && machineCosts(r) {
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

// machineStays tells whether the run's machine can still be reached, as far as is known.
func machineStays(r engine.Result) bool {
	return r.NodeID != "" && !strings.HasPrefix(r.Machine, "terminated and confirmed")
}

// machineCosts tells whether somebody has to end the machine one day: those under ssh are not ours.
func machineCosts(r engine.Result) bool { return !strings.HasPrefix(r.NodeID, "ssh:") }

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

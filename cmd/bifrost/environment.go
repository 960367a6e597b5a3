package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/bifrost-run/bifrost/starlark"
)

// An environment is what the process was given, read once.
type environment struct {
	StateDir    string
	Home        string // "" when nobody knows
	AgentSocket string
	Plain       bool   // no live lines and no colour, whatever the streams are
	Term        string // $TERM
	Executable  string // this program, for the guardian and the local node's daemon
	Lookup      func(name string) (string, bool)
	Secrets     map[string]string // by name: what must never be printed
}

// readEnvironment reads what bifrost itself goes by. What scripts may read is not its business.
func readEnvironment() environment {
	e := environment{
		StateDir:    os.Getenv("XDG_STATE_HOME"),
		AgentSocket: os.Getenv("SSH_AUTH_SOCK"),
		Term:        os.Getenv("TERM"),
		Lookup:      os.LookupEnv,
		Secrets:     map[string]string{},
	}
	e.Plain = os.Getenv("NO_COLOR") != "" || os.Getenv("CI") != "" || e.Term == "dumb"
	e.Home, _ = os.UserHomeDir() // its absence is told where the home is needed
	if !filepath.IsAbs(e.StateDir) {
		e.StateDir = "" // the XDG specification: a relative path is to be ignored
		if e.Home != "" {
			e.StateDir = filepath.Join(e.Home, ".local", "state")
		}
	}
	if e.StateDir != "" {
		e.StateDir = filepath.Join(e.StateDir, "bifrost")
	}
	e.Executable, _ = os.Executable()
	for _, entry := range os.Environ() {
		if name, value, _ := strings.Cut(entry, "="); starlark.LooksSecret(name, value) {
			e.Secrets[name] = value
		}
	}
	return e
}

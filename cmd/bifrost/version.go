package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// A build says which program this is.
type build struct {
	Format   int    `json:"version"` // of this shape
	Bifrost  string `json:"bifrost"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersion(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Say which bifrost this is",
		GroupID: groupSelf,
		Long: `Prints the version of this program.

--json prints {"version": 1, "bifrost", "commit", "modified", "go", "platform"}.`,
		Args: takes(),
		RunE: func(*cobra.Command, []string) error {
			b := readBuild()
			if asJSON {
				return writeJSON(a.screen.Stdout(), b)
			}
			_, err := fmt.Fprintln(a.screen.Stdout(), b)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// readBuild reads what the toolchain wrote into the program.
func readBuild() build {
	b := build{Format: 1, Bifrost: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Bifrost = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (b build) String() string {
	text := "bifrost " + b.Bifrost
	if b.Commit != "" {
		text += " " + b.Commit[:min(12, len(b.Commit))]
		if b.Modified {
			text += " modified"
		}
	}
	return text + " (" + b.Go + ", " + b.Platform + ")"
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/engine/fault"
)

func newStubs(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "stubs [DIR]",
		Short:   "Write what scripts can say for editors that know Python",
		GroupID: groupScripts,
		Long: `Writes __builtins__.pyi, which pyright and Pylance read as more builtins, and pyrightconfig.json into DIR,
the root of the project; by default the current folder. A pyrightconfig.json that is there already
stays as it is. docs/editors.md says how to set up an editor.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return takes("DIR")(cmd, args)
		},
		ValidArgsFunction: func(_ *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			return a.stubs(dir)
		},
	}
}

func (a *app) stubs(dir string) error {
	var text bytes.Buffer
	if err := builtins.WriteStubs(&text); err != nil {
		return err
	}
	stubs := filepath.Join(dir, "__builtins__.pyi")
	old, err := os.ReadFile(stubs)
	switch {
	case err == nil && !bytes.HasPrefix(old, []byte(builtins.StubsHeader)):
		return &fault.Error{
			Kind: fault.Conflict, Op: "stubs", Target: stubs, Err: errors.New("it is there already, and not of bifrost's making"),
			Hint: "move it away, or name another folder",
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("stubs %s: %w", stubs, reason(err))
	}
	if err := os.WriteFile(stubs, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("stubs %s: %w", stubs, reason(err))
	}
	a.screen.Note("wrote " + stubs)
	config := filepath.Join(dir, "pyrightconfig.json")
	f, err := os.OpenFile(config, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		if old, err := os.ReadFile(config); err != nil || string(old) != builtins.StubsConfig {
			a.screen.Note(config + ` stays as it is; it needs "reportUndefinedVariable": "none", for names that scripts load`)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("stubs %s: %w", config, reason(err))
	}
	_, err = f.WriteString(builtins.StubsConfig)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("stubs %s: %w", config, reason(err))
	}
	a.screen.Note("wrote " + config)
	return nil
}

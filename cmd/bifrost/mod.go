package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/cmd/bifrost/internal/screen"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/config"
	"github.com/bifrost-run/bifrost/starlark/vendored"
)

func newMod(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "mod",
		Short:   "Vendor modules from git, and check them",
		GroupID: groupRun,
		Long: `Vendored modules are the files of others in a project, for load("@NAME//x.star", …). bifrost.toml names
them, bifrost.lock pins the commit and the content of every file, and the files are in
bifrost_modules/NAME. All three belong into version control. Running a script fetches nothing.`,
		Example: `  bifrost mod add acme https://example.com/acme/deploy.git v1.2
  bifrost mod verify
  bifrost mod list`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownCommand(cmd, args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(newModAdd(a), newModVerify(a), newModList(a))
	return cmd
}

func newModAdd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "add NAME GIT-URL [REF]",
		Short: "Fetch a module at a commit, or another commit of it",
		Long: `Fetches the files of a commit with the git program, writes them to bifrost_modules/NAME and pins them in
bifrost.lock. REF is a branch, a tag or a commit; without it the default branch. When it fails,
everything is as it was.

GIT-URL is https://, ssh://, file://, user@host:path, or a folder. Submodules are refused, and so are
symbolic links that do not lead to a file of the repository.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 3 {
				return takes("NAME", "GIT-URL", "REF")(cmd, args)
			}
			return takes("NAME", "GIT-URL")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "std" {
				return usage(cmd, "choose another name", "std is the library inside bifrost")
			}
			root, err := starlark.RootOfFolder(".")
			if err != nil {
				return err
			}
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			ref := ""
			if len(args) == 3 {
				ref = args[2]
			}
			pin, err := vendored.Add(ctx, root, args[0], args[1], ref)
			var input *vendored.InputError
			if errors.As(err, &input) {
				return usage(cmd, input.Hint, "%s", input.Message)
			} else if err != nil {
				return configError(err)
			}
			a.screen.Line(fmt.Sprintf("%s: %d files of commit %s; load(\"@%s//…\")", args[0], len(pin.Files), pin.Commit[:min(12, len(pin.Commit))], args[0]))
			return nil
		},
	}
}

func newModVerify(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Compare the vendored files with the lock",
		Long: `Prints every file that has changed, is missing or is extra, and what bifrost.toml and bifrost.lock say
differently.

EXIT STATUS
  0 everything is as pinned, 1 something is not`,
		Args: takes(),
		RunE: func(*cobra.Command, []string) error {
			root, err := starlark.RootOfFolder(".")
			if err != nil {
				return err
			}
			wrong, err := vendored.VerifyAll(root)
			if err != nil {
				return configError(err)
			}
			for _, line := range wrong {
				if _, err := fmt.Fprintln(a.screen.Stdout(), line); err != nil {
					return err
				}
			}
			if len(wrong) > 0 {
				return exitError(exitFailed)
			}
			return nil
		},
	}
}

// A jsonModule is a vendored module as mod list --json prints it, version 1.
type jsonModule struct {
	Name   string `json:"name"`
	Git    string `json:"git"`
	Ref    string `json:"ref,omitempty"`
	Commit string `json:"commit,omitempty"`
	Files  int    `json:"files"`
}

func newModList(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "The vendored modules and where they come from",
		Long: `Lists the modules that bifrost.toml names, with what bifrost.lock pins.

--json prints {"version": 1, "modules": [{"name", "git", "ref", "commit", "files"}]}.`,
		Args: takes(),
		RunE: func(*cobra.Command, []string) error {
			root, err := starlark.RootOfFolder(".")
			if err != nil {
				return err
			}
			c, err := config.Read(root)
			if err != nil {
				return configError(err)
			}
			lock, err := vendored.ReadLock(root)
			if err != nil {
				return err
			}
			table := screen.NewTable("module", "commit", ">files", "ref", "git")
			all := []jsonModule{}
			for _, name := range slices.Sorted(maps.Keys(c.Modules)) {
				pin := lock.Modules[name]
				m := jsonModule{name, c.Modules[name].Git, c.Modules[name].Ref, pin.Commit, len(pin.Files)}
				all = append(all, m)
				table.Row(m.Name, m.Commit[:min(12, len(m.Commit))], fmt.Sprint(m.Files), m.Ref, m.Git)
			}
			switch {
			case asJSON:
				return writeJSON(a.screen.Stdout(), map[string]any{"version": 1, "modules": all})
			case table.Len() == 0:
				a.screen.Line("no vendored modules; bifrost mod add NAME GIT-URL adds one")
				return nil
			}
			return table.Write(a.screen.Stdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// configError is an error of bifrost.toml with its way out.
func configError(err error) error {
	var wrong *config.Error
	if errors.As(err, &wrong) && wrong.Hint != "" {
		return &usageError{text: wrong.Error(), hint: wrong.Hint}
	}
	return err
}

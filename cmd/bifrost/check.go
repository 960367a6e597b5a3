package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/builtins/fake"
	"github.com/bifrost-run/bifrost/starlark"
)

func newCheck(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "check [--json] FILE...",
		Short:   "Look for errors in scripts without running them",
		GroupID: groupScripts,
		Long: `Reads scripts and everything that they load, and reports all syntax errors, undefined names and missing
modules at once. Of a folder, all scripts in it. Nothing runs and nothing is written.

--json prints {"version": 1, "files", "errors"}; each error is {"kind", "message", "file", "line",
"col", "hint"}.

EXIT STATUS
    0  nothing is wrong      2  usage      125  something is wrong`,
		Example: `  bifrost check deploy.star
  bifrost check .`,
		Args:              takes("FILE..."),
		ValidArgsFunction: completeScripts,
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := scriptFiles(cmd, args)
			if err != nil {
				return err
			}
			return a.check(cmd.Context(), files, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the errors as JSON")
	return cmd
}

// check reports the errors of all files; one that several files load is reported once.
func (a *app) check(ctx context.Context, files []string, asJSON bool) error {
	scripts, tests := a.host(builtins.New(nil, builtins.Options{})), a.testNames()
	all := &starlark.StaticError{}
	type place struct {
		file, message string
		line, col     int
	}
	seen := map[place]bool{}
	for _, file := range files {
		var wrong *starlark.StaticError
		host := scripts
		if strings.HasSuffix(file, "_test.star") {
			host = tests
		}
		if err := host.Check(ctx, file); err != nil && !errors.As(err, &wrong) {
			return err
		} else if err == nil {
			continue
		}
		for _, p := range wrong.Problems {
			if at := (place{p.File, p.Message, p.Line, p.Col}); !seen[at] {
				seen[at] = true
				all.Problems = append(all.Problems, p)
			}
		}
	}
	if asJSON {
		line, err := compactJSON(struct {
			Version int                `json:"version"`
			Files   int                `json:"files"`
			Errors  []starlark.Failure `json:"errors"`
		}{1, len(files), a.redacted(all.Failures())})
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(a.screen.Stdout(), line); err != nil {
			return err
		}
		if len(all.Problems) > 0 {
			return exitError(exitStatic)
		}
		return nil
	}
	if len(all.Problems) > 0 {
		return all
	}
	return nil
}

// testNames returns a host that knows the names that tests of scripts see too.
func (a *app) testNames() *starlark.Host {
	host := a.host(fake.New("/").Library(builtins.Options{}))
	host.Predeclared["assert"] = star.None // only its name is looked at
	return host
}

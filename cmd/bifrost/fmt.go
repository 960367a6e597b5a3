package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	buildifier "github.com/bazelbuild/buildtools/build"
	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/starlark"
)

// stdinName is how fmt calls what it reads from standard input.
const stdinName = "stdin.star"

func newFmt(a *app) *cobra.Command {
	var showDiff, check bool
	cmd := &cobra.Command{
		Use:     "fmt [-d | --check] FILE...",
		Short:   "Format scripts",
		GroupID: groupScripts,
		Long: `Rewrites scripts in the one format that all tools for Starlark agree on. Of a folder, all scripts in it.
With - it reads standard input and writes standard output. A file with a syntax error stays as it is.

EXIT STATUS
    0  done                  2  usage
    1  --check: some files are not formatted; or a file could not be written
  125  a file has a syntax error`,
		Example: `  bifrost fmt .
  bifrost fmt -d deploy.star        what would change
  bifrost fmt --check .             in CI`,
		Args:              takes("FILE..."),
		ValidArgsFunction: completeScripts,
		RunE: func(cmd *cobra.Command, args []string) error {
			if showDiff && check {
				return usage(cmd, "", "-d and --check exclude each other")
			}
			if len(args) == 1 && args[0] == "-" {
				return a.formatStdin(showDiff, check)
			}
			files, err := scriptFiles(cmd, args)
			if err != nil {
				return err
			}
			for _, file := range files {
				if file == "-" {
					return usage(cmd, "", "- is given alone")
				}
			}
			return a.format(files, showDiff, check)
		},
	}
	cmd.Flags().BoolVarP(&showDiff, "diff", "d", false, "print what would change, write nothing")
	cmd.Flags().BoolVar(&check, "check", false, "list the files that are not formatted, write nothing")
	return cmd
}

// format goes through all files, whatever is wrong with some of them.
func (a *app) format(files []string, showDiff, check bool) error {
	var errs []error
	unformatted := false
	for _, file := range files {
		if filepath.Ext(file) != ".star" {
			errs = append(errs, &usageError{op: "fmt", text: file + " is not a .star file", hint: "scripts are written in Starlark and end in .star"})
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			errs = append(errs, fmt.Errorf("read %s: %w", file, reason(err)))
			continue
		}
		formatted, err := formatSource(file, source)
		switch {
		case err != nil:
			errs = append(errs, err)
		case bytes.Equal(source, formatted):
		case check:
			unformatted = true
			_, err = fmt.Fprintln(a.screen.Stdout(), file)
		case showDiff:
			_, err = a.screen.Stdout().Write(diff.Diff(file, source, file+" formatted", formatted))
		default:
			if err := replaceFile(file, formatted); err != nil {
				errs = append(errs, fmt.Errorf("write %s: %w", file, reason(err)))
			}
		}
		if err != nil && len(errs) == 0 {
			return err
		}
	}
	if len(errs) == 0 && unformatted {
		return exitError(exitFailed)
	}
	return joinStatic(errs)
}

// joinStatic joins errors; all that are static make one.
func joinStatic(errs []error) error {
	all := &starlark.StaticError{}
	var rest []error
	for _, err := range errs {
		var static *starlark.StaticError
		if errors.As(err, &static) {
			all.Problems = append(all.Problems, static.Problems...)
		} else {
			rest = append(rest, err)
		}
	}
	if len(all.Problems) > 0 {
		rest = append(rest, all)
	}
	return errors.Join(rest...)
}

func (a *app) formatStdin(showDiff, check bool) error {
	source, err := io.ReadAll(a.in)
	if err != nil {
		return fmt.Errorf("read standard input: %w", err)
	}
	formatted, err := formatSource(stdinName, source)
	switch {
	case err != nil:
		return err
	case check && !bytes.Equal(source, formatted):
		_, err = fmt.Fprintln(a.screen.Stdout(), stdinName)
		return errors.Join(err, exitError(exitFailed))
	case check:
		return nil
	case showDiff:
		formatted = diff.Diff(stdinName, source, stdinName+" formatted", formatted)
	}
	_, err = a.screen.Stdout().Write(formatted)
	return err
}

// formatSource returns the source in the one format. A syntax error is a *starlark.StaticError.
func formatSource(name string, source []byte) ([]byte, error) {
	if err := starlark.CheckSyntax(name, source, builtins.HabitHint); err != nil {
		return nil, err
	}
	file, err := buildifier.ParseDefault(name, source)
	if err != nil {
		var where buildifier.ParseError
		hint := ""
		if errors.As(err, &where) {
			hint = fmt.Sprintf("it reads less than bifrost runs: in line %d, write bytes(\"…\") for b\"…\"", where.Pos.Line)
		}
		return nil, &usageError{op: "fmt", text: fmt.Sprintf("the formatter cannot read %s: %v", name, err), hint: hint}
	}
	formatted := buildifier.Format(file)
	if err := starlark.CheckSyntax(name, formatted, nil); err != nil {
		return nil, fmt.Errorf("the formatter made nonsense of %s, which stays as it is: %w", name, err)
	}
	return formatted, nil
}

// replaceFile writes a file as a whole or not at all, with the mode that it has. A symbolic link stays one.
func replaceFile(name string, data []byte) error {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	err = errors.Join(err, temp.Chmod(info.Mode().Perm()), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// A usageError is a command line that nothing can be done with. Nothing was done.
type usageError struct {
	op   string // "wait"
	text string
	hint string
}

func (e *usageError) Error() string {
	if e.op == "" {
		return e.text
	}
	return e.op + ": " + e.text
}

// usage returns the error for a command line that cmd cannot carry out; without a hint it names the
// form of the command.
func usage(cmd *cobra.Command, hint, format string, args ...any) error {
	if hint == "" {
		hint = fmt.Sprintf("usage: %s; more with: %s --help", cmd.UseLine(), cmd.CommandPath())
	}
	op := ""
	if cmd.HasParent() {
		op = strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
	}
	return &usageError{op: op, text: fmt.Sprintf(format, args...), hint: hint}
}

// takes returns the check of a command's arguments: exactly these, or with a last name that ends in
// "...", at least these.
func takes(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		many := len(names) > 0 && strings.HasSuffix(names[len(names)-1], "...")
		switch {
		case len(args) < len(names):
			return usage(cmd, "", "%s is missing", strings.TrimSuffix(names[len(args)], "..."))
		case len(args) > len(names) && !many:
			if len(names) == 0 {
				return usage(cmd, "", "%q is too much: it takes no arguments", args[0])
			}
			return usage(cmd, "", "%q is too much: it takes %s only", args[len(names)], strings.Join(names, " and "))
		}
		for i, arg := range args {
			if arg == "" {
				return usage(cmd, "", "%s is empty", strings.TrimSuffix(names[min(i, len(names)-1)], "..."))
			}
		}
		return nil
	}
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/spell"
)

func newDoc(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "doc [NAME]",
		Short:   "Explain what scripts can say",
		GroupID: groupScripts,
		Long: `Explains a builtin, a module, a type of values, or a member of one. NAME may be a module of scripts too, a
file or @std//NAME.star: its functions are shown with their docstrings. Without NAME it lists everything.`,
		Example: `  bifrost doc remote_job
  bifrost doc node.exec
  bifrost doc ./lib/common.star`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return takes("NAME")(cmd, args)
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return builtins.HelpNames(), cobra.ShellCompDirectiveDefault
		},
		RunE: func(_ *cobra.Command, args []string) error {
			name := strings.Join(args, "")
			var text string
			var err error
			if strings.HasSuffix(name, ".star") || strings.Contains(name, "//") {
				text, err = a.moduleDoc(name)
			} else {
				text, err = builtins.Help(name)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(a.screen.Stdout(), text)
			return err
		},
	}
}

// moduleDoc is what a module of scripts says about itself.
func (a *app) moduleDoc(name string) (string, error) {
	source, err := a.moduleSource(name)
	if err != nil {
		return "", err
	}
	doc, err := starlark.DocOf(name, source)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(name + "\n")
	if doc.Doc != "" {
		b.WriteString("\n" + doc.Doc + "\n")
	}
	for _, f := range doc.Functions {
		b.WriteString("\n" + f.Signature + "\n")
		if f.Doc != "" {
			for line := range strings.Lines(f.Doc + "\n") {
				if line != "\n" {
					b.WriteString("    ")
				}
				b.WriteString(line)
			}
		}
	}
	return b.String(), nil
}

// moduleSource reads a file, or a module of a library inside of bifrost.
func (a *app) moduleSource(name string) ([]byte, error) {
	wrong := func(why error, hint string) error {
		return &fault.Error{Kind: fault.NotFound, Op: "doc", Target: name, Err: why, Hint: hint}
	}
	library, file, inLibrary := strings.Cut(name, "//")
	if !inLibrary {
		source, err := os.ReadFile(name)
		if err != nil {
			return nil, wrong(reason(err), "")
		}
		return source, nil
	}
	tree := a.host(builtins.New(nil, builtins.Options{})).Libraries[strings.TrimPrefix(library, "@")]
	if tree == nil {
		return nil, wrong(errors.New("there is no such library"), "name a file, or a module of @std")
	}
	source, err := fs.ReadFile(tree, path.Clean(file))
	if err == nil {
		return source, nil
	}
	found, _ := fs.Glob(tree, "*.star") // the pattern is right
	hint := "there is " + strings.Join(found, ", ")
	if near := spell.Nearest(file, found); near != "" {
		hint = "did you mean " + library + "//" + near + "?"
	}
	return nil, wrong(reason(err), hint)
}

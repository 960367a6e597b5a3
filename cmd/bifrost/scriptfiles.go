package main

import (
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// scriptFiles returns the files that a command is to look at: those named, and of folders the scripts
// in them, but what is hidden or vendored.
func scriptFiles(cmd *cobra.Command, args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		found, isFolder := []string{}, false
		err := filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil && path == arg:
				return nil // whoever reads it says what is wrong, and what is near
			case err != nil:
				return err
			case path == arg:
				isFolder = d.IsDir()
			case d.IsDir() && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bifrost_modules"):
				return filepath.SkipDir
			case filepath.Ext(path) == ".star" && d.Type().IsRegular():
				found = append(found, path)
			}
			return nil
		})
		switch {
		case err != nil:
			return nil, usage(cmd, "", "%v", err)
		case !isFolder:
			files = append(files, arg)
		case len(found) == 0:
			return nil, usage(cmd, "scripts end in .star", "%s has no scripts", arg)
		default:
			files = append(files, found...)
		}
	}
	return files, nil
}

// completeScripts completes arguments as scripts.
func completeScripts(_ *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return []string{"star"}, cobra.ShellCompDirectiveFilterFileExt
}

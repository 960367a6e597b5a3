//go:build !unix

package builtins

import (
	"io/fs"
	"os/exec"
)

// inGroup leaves it at the program itself, which is killed alone.
func inGroup(*exec.Cmd) {}

func exitCode(e *exec.ExitError) int { return e.ExitCode() }

func executable(info fs.FileInfo) bool { return info.Mode().IsRegular() }

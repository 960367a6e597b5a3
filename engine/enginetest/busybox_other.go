//go:build unix && !linux

package enginetest

import (
	"syscall"
	"testing"
)

func busyboxRoot(t testing.TB, _ string) string {
	t.Helper()
	t.Skip("a busybox machine is made on Linux only")
	return ""
}

func mountArgv(string) []string { return nil }

func ownMounts() *syscall.SysProcAttr { return nil }

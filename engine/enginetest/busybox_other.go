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

func etcFolder(t testing.TB, _, _, _ string) {
	t.Helper()
	t.Skip("a server for root with a home of its own is made on Linux only")
}

func mountArgv(string, string) []string { return nil }

func ownMounts() *syscall.SysProcAttr { return nil }

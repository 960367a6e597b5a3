//go:build !linux

package journal

import (
	"syscall"
	"testing"
)

const nobody = 65534

func asNobody() *syscall.SysProcAttr { return nil }

func mount(t *testing.T, _, _ string)        { t.Skip("Linux only") }
func remountReadOnly(t *testing.T, _ string) { t.Skip("Linux only") }
func fill(t *testing.T, _ string)            { t.Skip("Linux only") }

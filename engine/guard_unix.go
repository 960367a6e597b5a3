//go:build unix

package engine

import "syscall"

// ownSession starts a process away from the terminal and its signals.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

package local

import (
	"context"
	"os"
	"syscall"
	"time"
)

const supported = false

func detached() *syscall.SysProcAttr { return nil }

func askToStop(int) {}

func endTree(context.Context, int, time.Duration) error { return errNoDaemon }

func endMarked(context.Context, string) error { return nil }

func endTmux(context.Context, string) {}

func tryLock(string) (*os.File, error) { return nil, errNoDaemon }

func locked(string) (bool, error) { return false, nil }

func memoryGB() float64 { return 0 }

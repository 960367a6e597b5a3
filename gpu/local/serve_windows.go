package local

import (
	"context"
	"errors"
)

var errNoDaemon = errors.New("local nodes do not work on Windows")

// Serve does not work on Windows.
func Serve(context.Context, string) error { return errNoDaemon }

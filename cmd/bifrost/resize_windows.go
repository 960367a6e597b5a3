package main

import (
	"os"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// resizes never tells anything: a Windows console announces no change of its size.
func resizes(*os.File) (sizes <-chan ssh.Size, stop func()) { return nil, func() {} }

//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// resizes tells the sizes that the terminal gets, until stop is called.
func resizes(terminal *os.File) (sizes <-chan ssh.Size, stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGWINCH)
	out := make(chan ssh.Size, 1)
	done, joined := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(joined)
		for {
			select {
			case <-done:
				return
			case <-signals:
				cols, rows, err := term.GetSize(int(terminal.Fd()))
				if err != nil {
					continue
				}
				select {
				case out <- ssh.Size{Cols: cols, Rows: rows}:
				case <-done:
					return
				}
			}
		}
	}()
	return out, func() {
		signal.Stop(signals)
		close(done)
		<-joined
	}
}

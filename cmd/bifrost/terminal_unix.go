//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// keys reads what is typed on a terminal and gives up when its context ends.
type keys struct {
	fd   int
	was  *unix.Termios // nil when nothing was changed
	held []byte
}

// openKeys reads from terminal. With single, keys arrive one by one and unseen, without Enter;
// Ctrl-C remains a signal.
func openKeys(terminal *os.File, single bool) (*keys, error) {
	k := &keys{fd: int(terminal.Fd())}
	if !single {
		return k, nil
	}
	was, err := unix.IoctlGetTermios(k.fd, getTermios)
	if err != nil {
		return nil, fmt.Errorf("read terminal settings: %w", err)
	}
	now := *was
	now.Lflag &^= unix.ICANON | unix.ECHO
	now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(k.fd, setTermios, &now); err != nil {
		return nil, fmt.Errorf("change terminal settings: %w", err)
	}
	k.was = was
	return k, nil
}

// Close puts the terminal back as it was.
func (k *keys) Close() error {
	if k.was == nil {
		return nil
	}
	return unix.IoctlSetTermios(k.fd, setTermios, k.was)
}

// Key returns the next key.
func (k *keys) Key(ctx context.Context) (byte, error) {
	for len(k.held) == 0 {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		// A poll that returns now and then, because nothing else ends a read from a terminal.
		ready := []unix.PollFd{{Fd: int32(k.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, int((100 * time.Millisecond).Milliseconds()))
		if errors.Is(err, unix.EINTR) || err == nil && n == 0 {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("wait for a key: %w", err)
		}
		buf := make([]byte, 256)
		n, err = unix.Read(k.fd, buf)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil:
			return 0, fmt.Errorf("read a key: %w", err)
		case n == 0:
			return 0, errNoMoreKeys
		}
		k.held = buf[:n]
	}
	b := k.held[0]
	k.held = k.held[1:]
	return b, nil
}

// Line returns what was typed up to Enter.
func (k *keys) Line(ctx context.Context) (string, error) {
	var line []byte
	for {
		b, err := k.Key(ctx)
		if err != nil {
			return "", err
		}
		if b == '\n' {
			return string(line), nil
		}
		line = append(line, b)
	}
}

// liveLines tells whether the terminal can draw lines again.
func liveLines(*os.File) bool { return true }

// typedAhead tells whether keys wait to be read.
func typedAhead(terminal *os.File) bool {
	ready := []unix.PollFd{{Fd: int32(terminal.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(ready, 0)
	return err == nil && n > 0
}

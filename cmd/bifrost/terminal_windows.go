package main

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

// keys reads what is typed on a console and gives up when its context ends.
type keys struct {
	handle windows.Handle
	was    uint32
	change bool
	file   *os.File
	held   []byte
}

// openKeys reads from the console. With single, keys arrive one by one and unseen, without Enter;
// Ctrl-C remains an interrupt.
func openKeys(terminal *os.File, single bool) (*keys, error) {
	k := &keys{handle: windows.Handle(terminal.Fd()), file: terminal}
	if !single {
		return k, nil
	}
	if err := windows.GetConsoleMode(k.handle, &k.was); err != nil {
		return nil, fmt.Errorf("read console mode: %w", err)
	}
	mode := k.was &^ (windows.ENABLE_LINE_INPUT | windows.ENABLE_ECHO_INPUT)
	if err := windows.SetConsoleMode(k.handle, mode); err != nil {
		return nil, fmt.Errorf("change console mode: %w", err)
	}
	k.change = true
	return k, nil
}

// Close puts the console back as it was.
func (k *keys) Close() error {
	if !k.change {
		return nil
	}
	return windows.SetConsoleMode(k.handle, k.was)
}

// Key returns the next key.
func (k *keys) Key(ctx context.Context) (byte, error) {
	for len(k.held) == 0 {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		event, err := windows.WaitForSingleObject(k.handle, 100)
		if err != nil {
			return 0, fmt.Errorf("wait for a key: %w", err)
		}
		if event == uint32(windows.WAIT_TIMEOUT) {
			continue
		}
		buf := make([]byte, 256)
		n, err := k.file.Read(buf)
		if n == 0 && err != nil {
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
		switch b {
		case '\n':
			return string(line), nil
		case '\r':
		default:
			line = append(line, b)
		}
	}
}

// liveLines switches the console to escape sequences and tells whether it understands them.
func liveLines(console *os.File) bool {
	handle := windows.Handle(console.Fd())
	var mode uint32
	if err := windows.GetConsoleMode(handle, &mode); err != nil {
		return false
	}
	return windows.SetConsoleMode(handle, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}

// typedAhead is false: a console gives keys that were typed ahead as the others.
func typedAhead(*os.File) bool { return false }

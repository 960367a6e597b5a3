package push

import (
	"io"
	"sync"
)

// A mailbox holds what one side writes until the other reads it. Unlike a pipe it never makes the
// writer wait: the node's refusal must arrive while this side is still busy sending. Its memory is
// bounded by what the node says, a list of names and a manifest.
type mailbox struct {
	mu      sync.Mutex
	changed sync.Cond
	buf     []byte
	ended   bool
}

func newMailbox() *mailbox {
	m := &mailbox{}
	m.changed.L = &m.mu
	return m
}

func (m *mailbox) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.buf = append(m.buf, p...)
	m.changed.Broadcast()
	return len(p), nil
}

// Read waits for bytes, or for end.
func (m *mailbox) Read(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.buf) == 0 && !m.ended {
		m.changed.Wait()
	}
	if len(m.buf) == 0 {
		return 0, io.EOF
	}
	n := copy(p, m.buf)
	m.buf = m.buf[n:]
	return n, nil
}

// end says that nothing more will be written.
func (m *mailbox) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	m.changed.Broadcast()
}

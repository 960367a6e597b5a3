package ssh

import (
	"io"
	"time"
)

// SetTimes makes the client notice things sooner; it is called before the first use.
func (c *Client) SetTimes(interval, limit, handshake time.Duration) {
	c.keepalive = keepalive{Interval: interval, Limit: limit}
	c.handshakeLimit = handshake
}

// Connections returns how many connections the client holds.
func (c *Client) Connections() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns)
}

// Encode returns the exec request of at most limit bytes and the stdin that cmd becomes.
func Encode(cmd Command, limit int) (exec string, stdin []byte, err error) {
	if err := cmd.check(); err != nil {
		return "", nil, err
	}
	e := encode(cmd, limit)
	return e.exec, e.stdin, nil
}

// The longest exec requests.
const (
	ExecLimitBytes   = execLimitBytes
	ExecLimitOpenSSH = execLimitOpenSSH
)

// SetFar says from which round trip on the client opens shells ahead; it is called before the first use.
func (c *Client) SetFar(trip time.Duration) { c.far = trip }

// Ahead returns how many shells wait for commands.
func (c *Client) Ahead() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, conn := range c.conns {
		if !conn.isDead() {
			n += len(conn.ahead)
		}
	}
	return n
}

// CopyOutput is how the output of a command whose prelude is over goes from its channel to w.
func CopyOutput(w io.Writer, channel io.Reader) error { return newOutput(w, encoded{}).copy(channel) }

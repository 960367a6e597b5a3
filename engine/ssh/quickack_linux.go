package ssh

import (
	"net"

	"golang.org/x/sys/unix"
)

// quickAck returns a function that makes the kernel acknowledge what has arrived. The option does
// not stick, so it is set after each read; it saves a delayed acknowledgement of 40 ms in a
// handshake with sshd.
func quickAck(c net.Conn) func() {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return func() {
		raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
		})
	}
}

//go:build unix

package local

import (
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// forward serves a channel of type "direct-tcpip" (RFC 4254, 7.2) to ports of this machine's
// loopback. It leads nowhere else: that way is shorter from the client itself.
func (s *server) forward(offered ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if err := ssh.Unmarshal(offered.ExtraData(), &to); err != nil {
		_ = offered.Reject(ssh.ConnectionFailed, "malformed request")
		return
	}
	if ip := net.ParseIP(to.Host); to.Host != "localhost" && !ip.IsLoopback() {
		_ = offered.Reject(ssh.Prohibited, "local nodes forward to localhost only")
		return
	}
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(to.Host, strconv.FormatUint(uint64(to.Port), 10)), 10*time.Second)
	if err != nil {
		_ = offered.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	tcp := conn.(*net.TCPConn)
	defer tcp.Close()
	ch, requests, err := offered.Accept()
	if err != nil {
		return // the connection has ended
	}
	defer ch.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		ssh.DiscardRequests(requests) // ends when the channel is closed
		tcp.Close()
	})
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(tcp, ch)
		_ = tcp.CloseWrite() // one direction may end before the other
	})
	both.Go(func() {
		_, _ = io.Copy(ch, tcp)
		_ = ch.CloseWrite()
	})
	both.Wait()
	ch.Close()
	wg.Wait()
}

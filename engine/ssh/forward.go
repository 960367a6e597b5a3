package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"

	gossh "golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// A Forward carries connections to a port of this machine to a port of the node.
type Forward struct {
	LocalPort int

	listener net.Listener
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

type forwardRequest struct {
	Host       string
	Port       uint32
	OriginHost string
	OriginPort uint32
}

// Forward listens on localPort of 127.0.0.1, 0 meaning any free port, and carries what connects
// there to remotePort of the node's localhost. It lasts until Close or until ctx is done; a
// connection of the client that breaks is dialled again for the next one that comes.
func (c *Client) Forward(ctx context.Context, localPort, remotePort int) (*Forward, error) {
	if remotePort < 1 || remotePort > 65535 {
		return nil, &fault.Error{Kind: fault.Invalid, Op: "forward port", Target: strconv.Itoa(remotePort), Err: errors.New("a port is a number from 1 to 65535")}
	}
	if err := c.Connect(ctx); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(localPort)))
	if err != nil {
		return nil, &fault.Error{
			Kind: fault.Conflict, Op: "listen on port", Target: strconv.Itoa(localPort), Err: err,
			Hint: "choose another local port",
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &Forward{LocalPort: l.Addr().(*net.TCPAddr).Port, listener: l, cancel: cancel}
	stop := context.AfterFunc(c.ctx, cancel)
	f.wg.Go(func() {
		defer stop()
		<-ctx.Done()
		l.Close()
	})
	f.wg.Go(func() {
		for {
			local, err := l.Accept()
			if err != nil {
				cancel()
				return
			}
			f.wg.Go(func() { c.carry(ctx, local, remotePort) })
		}
	})
	return f, nil
}

// Close ends the forward with all its connections and waits for them.
func (f *Forward) Close() error {
	f.cancel()
	f.wg.Wait()
	return nil
}

// carry joins local and a new channel to the node's port until both directions have ended.
func (c *Client) carry(ctx context.Context, local net.Conn, port int) {
	defer local.Close()
	if c.begin() != nil {
		return
	}
	defer c.wg.Done()
	n, ch, err := c.channelTo(ctx, port)
	if err != nil {
		if ctx.Err() == nil {
			c.warn(fmt.Sprintf("forward to port %d of %s: %v", port, c.cfg.Target, err))
		}
		return
	}
	defer c.release(n)
	stop := context.AfterFunc(ctx, func() {
		local.Close()
		ch.Close()
	})
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		io.CopyBuffer(onlyWriter{ch}, onlyReader{local}, make([]byte, 64<<10))
		ch.CloseWrite()
	})
	wg.Go(func() {
		io.CopyBuffer(onlyWriter{local}, onlyReader{ch}, make([]byte, 64<<10))
		if t, ok := local.(*net.TCPConn); ok {
			t.CloseWrite()
		}
	})
	wg.Wait()
	ch.Close()
}

// Listens reports whether something accepts connections on a port of the node's localhost.
func (c *Client) Listens(ctx context.Context, port int) (bool, error) {
	if err := c.begin(); err != nil {
		return false, err
	}
	defer c.wg.Done()
	n, ch, err := c.channelTo(ctx, port)
	if errors.As(err, new(*gossh.OpenChannelError)) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer c.release(n)
	return true, ch.Close()
}

// channelTo opens a channel to a port of the node's localhost, on another connection when one turns out to be broken.
// Its place must be released.
func (c *Client) channelTo(ctx context.Context, port int) (*conn, gossh.Channel, error) {
	request := gossh.Marshal(forwardRequest{Host: "localhost", Port: uint32(port), OriginHost: "127.0.0.1"})
	for broken := 1; ; broken++ {
		n, err := c.reserve(ctx)
		if err != nil {
			return nil, nil, err
		}
		ch, reqs, err := n.open(ctx, "direct-tcpip", request)
		switch {
		case err == nil:
			n.wg.Go(func() { gossh.DiscardRequests(reqs) })
			return n, ch, nil
		case ctx.Err() != nil, errors.As(err, new(*gossh.OpenChannelError)):
			c.release(n)
			return nil, nil, err
		}
		if err := c.drop(n, err); broken == mostBroken {
			return nil, nil, err
		}
	}
}

// They hide ReadFrom and WriteTo, so that the copy uses the buffer it is given.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

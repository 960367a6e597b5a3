//go:build unix

package enginetest_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine/enginetest"
)

// echo serves what it is sent and returns its address.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func dial(t *testing.T, p *enginetest.Proxy) net.Conn {
	t.Helper()
	c, err := tryDial(t, p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// tryDial is dial where the proxy may reset the connection, which is sometimes seen so soon that there is none.
func tryDial(t *testing.T, p *enginetest.Proxy) (net.Conn, error) {
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	return c, c.SetDeadline(time.Now().Add(20 * time.Second))
}

func TestProxy(t *testing.T) {
	t.Parallel()
	p := enginetest.NewProxy(t, echo(t))
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	c := dial(t, p)
	go func() {
		c.Write(data)
		c.(*net.TCPConn).CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v; want %d", len(got), err, len(data))
	}
	if got := p.Carried(); got != int64(2*len(data)) {
		t.Errorf("Carried() = %d, want %d", got, 2*len(data))
	}

	c = dial(t, p)
	ping := func() error {
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, 1))
		return err
	}
	p.Delay(50 * time.Millisecond)
	start := time.Now()
	if err := ping(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("a round trip took %v, want 100 ms at least", took)
	}
	p.Delay(0)

	p.Stall()
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if err := ping(); err == nil {
		t.Error("bytes pass a stalled proxy")
	}
	p.Resume()
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Errorf("after Resume: %v", err)
	}

	p.CutAfter(10)
	var err error
	for i := 0; i < 10 && err == nil; i++ {
		err = ping()
	}
	if err == nil {
		t.Error("CutAfter: the connection lives")
	}
	c = dial(t, p)
	if err := ping(); err != nil {
		t.Errorf("a new connection after the cut: %v", err)
	}
	p.Cut()
	if err := ping(); err == nil {
		t.Error("Cut: the connection lives")
	}
	p.Refuse(true)
	if c, err = tryDial(t, p); err == nil {
		err = ping()
	}
	if err == nil {
		t.Error("Refuse: the connection lives")
	}
	p.Refuse(false)
	stop := p.CutRandomly(t, 7, time.Millisecond, 2*time.Millisecond)
	for c, err = tryDial(t, p); err == nil; {
		err = ping()
	}
	stop()
	c = dial(t, p)
	if err := ping(); err != nil {
		t.Errorf("after CutRandomly: %v", err)
	}
}

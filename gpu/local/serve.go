//go:build unix

package local

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// markEnv names the instance in the environment of everything that runs on it.
const markEnv = "BIFROST_LOCAL_NODE"

// killPatience is how long what runs on an instance has between SIGTERM and SIGKILL. Whoever
// terminates has stopped the job before, if it was to end in order.
const killPatience = 300 * time.Millisecond

// A server is the daemon of one instance.
type server struct {
	dir      string
	info     info
	config   *ssh.ServerConfig
	env      []string
	children *children
	log      *log.Logger
	conns    sync.WaitGroup
}

// Serve is the body of an instance's daemon: an SSH server on loopback for the instance in dir. It
// ends, and with it everything that runs on the instance, at SIGTERM, when ctx ends, or when the
// folder is removed; then it removes the folder. It takes the whole process: signals, children and
// orphans are its own. It fails where another daemon serves the folder.
func Serve(ctx context.Context, dir string) (err error) {
	lock, ready, err := inherited(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	defer func() {
		if ready != nil {
			if err != nil {
				fmt.Fprintln(ready, err)
			}
			ready.Close()
		}
	}()
	// Handlers, not SIG_IGN: what is ignored would be ignored by every program started here too.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT)
	defer signal.Stop(hangups)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()

	s, err := newServer(dir)
	if err != nil {
		return err
	}
	s.info.Pid = os.Getpid()
	if err := s.info.write(dir); err != nil { // from here on it can be told to stop
		return err
	}
	if err := adoptOrphans(); err != nil {
		return err
	}
	stopReaping := s.children.reap()
	defer stopReaping()
	if err := os.Mkdir(s.info.Sockets, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	s.info.Port = listener.Addr().(*net.TCPAddr).Port
	if err := s.info.write(dir); err != nil {
		return err
	}
	if ready != nil {
		_, err := ready.WriteString(readyText)
		if closed := ready.Close(); err == nil {
			err = closed
		}
		if ready = nil; err != nil {
			s.log.Print("nobody waits for this instance: ", err) // Create was killed; it is listed all the same
		}
	}
	connCtx, endConns := context.WithCancel(context.WithoutCancel(ctx))
	defer endConns()
	var accepting sync.WaitGroup
	accepting.Go(func() { s.accept(connCtx, listener) })
	s.watch(ctx, lock)
	listener.Close()
	accepting.Wait()
	return s.shutdown(endConns, stopReaping)
}

// inherited returns the instance's lock, held, and the pipe to who started this daemon, if any.
func inherited(dir string) (lock, ready *os.File, err error) {
	if os.Getenv(inheritEnv) == "" {
		lock, err := tryLock(filepath.Join(dir, lockName))
		if err != nil {
			return nil, nil, fmt.Errorf("serve %s: %w", dir, err)
		}
		return lock, nil, nil
	}
	os.Unsetenv(inheritEnv)
	syscall.CloseOnExec(3)
	syscall.CloseOnExec(4)
	return os.NewFile(3, lockName), os.NewFile(4, "ready"), nil
}

func newServer(dir string) (*server, error) {
	in, err := readInfo(dir)
	if err != nil {
		return nil, err
	}
	pemBytes, err := os.ReadFile(filepath.Join(dir, hostKeyFile))
	if err != nil {
		return nil, err
	}
	hostKey, err := ssh.ParsePrivateKey(pemBytes)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, authFile))
	if err != nil {
		return nil, err
	}
	authorized, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil, err
	}
	config := &ssh.ServerConfig{
		MaxAuthTries: 100, // an agent may offer many keys before the right one
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if string(key.Marshal()) != string(authorized.Marshal()) {
				return nil, errors.New("this key may not log in")
			}
			return nil, nil
		},
	}
	config.AddHostKey(hostKey)
	home := filepath.Join(dir, homeDir)
	env := append(sessionEnv(os.Environ()),
		"HOME="+home, "PWD="+home, "USER="+in.User, "LOGNAME="+in.User, "SHELL=/bin/sh",
		"TMPDIR="+filepath.Join(dir, tmpDir), "TMUX_TMPDIR="+in.Sockets)
	env = append(env, in.Env...)
	return &server{
		dir: dir, info: in, config: config, env: env, children: newChildren(),
		log: log.New(os.Stderr, "", log.LstdFlags),
	}, nil
}

// watch returns when the daemon has to end: with ctx, or when its folder is no longer there.
func (s *server) watch(ctx context.Context, lock *os.File) {
	mine, err := lock.Stat()
	if err != nil {
		s.log.Print(err)
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		there, err := os.Stat(filepath.Join(s.dir, lockName))
		if errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(mine, there) {
			return
		}
	}
}

// shutdown ends everything that runs on the instance, then removes what it had.
func (s *server) shutdown(endConns context.CancelFunc, stopReaping func()) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s.children.close() // a session that is just starting its command must not escape
	err := endDescendants(ctx, os.Getpid(), killPatience)
	endConns()
	if err == nil {
		s.conns.Wait() // for the sessions, whose commands have ended
	}
	stopReaping() // it would take the exit status of the programs that are run next
	err = errors.Join(err, endMarked(ctx, s.info.ID))
	endTmux(ctx, s.info.Sockets)
	return errors.Join(err, removeTree(s.info.Sockets), removeInstance(s.dir))
}

func (s *server) accept(ctx context.Context, listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		} else if err != nil { // out of descriptors, most likely
			s.log.Print(err)
			if pause(ctx, 100*time.Millisecond) != nil {
				return
			}
			continue
		}
		s.conns.Go(func() {
			defer conn.Close()
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			if err := s.serveConn(conn); err != nil {
				s.log.Print(err)
			}
		})
	}
}

// handshakePatience is how long a client may take until it is logged in.
const handshakePatience = 30 * time.Second

func (s *server) serveConn(tcp net.Conn) error {
	if err := tcp.SetDeadline(time.Now().Add(handshakePatience)); err != nil {
		return err
	}
	conn, channels, requests, err := ssh.NewServerConn(tcp, s.config)
	if err != nil {
		var never *ssh.ServerAuthError
		if errors.As(err, &never) {
			return err
		}
		return nil // somebody who looked whether the port is open
	}
	defer conn.Close()
	if err := tcp.SetDeadline(time.Time{}); err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for req := range requests {
			if req.WantReply {
				_ = req.Reply(req.Type == "keepalive@openssh.com", nil) // the connection's end is seen elsewhere
			}
		}
	})
	for ch := range channels {
		switch ch.ChannelType() {
		case "session":
			wg.Go(func() { s.session(conn, ch) })
		case "direct-tcpip":
			wg.Go(func() { s.forward(ch) })
		default:
			_ = ch.Reject(ssh.UnknownChannelType, "local nodes have no "+ch.ChannelType())
		}
	}
	return nil
}

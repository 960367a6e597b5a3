package cloud

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// A shallow is an SSH server in this process that runs commands, and nothing else that a machine does: no
// terminal, no files, no forwarding. What outlives its connection ends with the machine. Tables with hundreds of
// machines to which somebody logs in use it instead of an instance.
type shallow struct {
	config *ssh.ServerConfig
	env    []string
	dir    string
}

func newShallow(dir, authorizedKey string, env []string) (*shallow, error) {
	authorized, _, _, _, err := ssh.ParseAuthorizedKey([]byte(authorizedKey))
	if err != nil {
		return nil, err
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	hostKey, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(authorized.Marshal()) {
			return nil, errors.New("this key may not log in")
		}
		return nil, nil
	}}
	config.AddHostKey(hostKey)
	return &shallow{config: config, env: append(env, "HOME="+dir), dir: dir}, nil
}

// serve serves a connection until it ends, or ctx does.
func (s *shallow) serve(ctx context.Context, tcp net.Conn) {
	stop := context.AfterFunc(ctx, func() { tcp.Close() })
	defer stop()
	_ = tcp.SetDeadline(time.Now().Add(30 * time.Second))
	conn, channels, requests, err := ssh.NewServerConn(tcp, s.config)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = tcp.SetDeadline(time.Time{})
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { ssh.DiscardRequests(requests) })
	for offered := range channels {
		if offered.ChannelType() != "session" {
			_ = offered.Reject(ssh.UnknownChannelType, "a shallow machine only runs commands")
			continue
		}
		wg.Go(func() { s.session(ctx, offered) })
	}
}

func (s *shallow) session(ctx context.Context, offered ssh.NewChannel) {
	ch, requests, err := offered.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	for req := range requests {
		var command struct{ Text string }
		ok := req.Type == "exec" && ssh.Unmarshal(req.Payload, &command) == nil
		if req.WantReply {
			_ = req.Reply(ok, nil) // a connection that has ended is seen by the next request
		}
		if !ok {
			continue
		}
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command.Text)
		cmd.Dir, cmd.Env = s.dir, s.env
		cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
		stdin, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			return
		}
		go func() { // it ends with the channel
			buf := make([]byte, 32<<10)
			for {
				n, err := ch.Read(buf)
				if _, broken := stdin.Write(buf[:n]); err != nil || broken != nil {
					stdin.Close()
					return
				}
			}
		}()
		_ = cmd.Wait() // its state has what counts
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(cmd.ProcessState.ExitCode())}))
		return
	}
}

// end ends what was started in a session of its own, as the switch is with which a machine ends itself.
// Where there is no /proc it finds none.
func (s *shallow) end() {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is well formed
	for _, file := range environs {
		environ, err := os.ReadFile(file)
		if err != nil || !strings.Contains("\x00"+string(environ), "\x00HOME="+s.dir+"\x00") {
			continue // it has ended, or is another's
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			if p, err := os.FindProcess(pid); err == nil {
				_ = p.Signal(syscall.SIGKILL) // it may have ended
			}
		}
	}
}

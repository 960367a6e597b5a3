//go:build unix

package local

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// A session is one channel of type "session": at most one command, shell or subsystem.
type session struct {
	srv     *server
	ch      ssh.Channel
	env     []string
	term    *terminal // nil without pty-req
	started bool
	begin   func()         // copies and waits for what was started; called once the request is answered
	running sync.WaitGroup // whatever begin started

	mu   sync.Mutex
	pid  int         // of the command while it has not been waited for, else 0
	ends []io.Closer // our ends of the command's pipes or its terminal
}

// session serves a channel until it is closed. What the client's commands left running lives on.
func (s *server) session(conn *ssh.ServerConn, offered ssh.NewChannel) {
	ch, requests, err := offered.Accept()
	if err != nil {
		return // the connection has ended
	}
	ses := &session{srv: s, ch: ch, env: connectionEnv(conn)}
	for req := range requests {
		ok := ses.request(req)
		if req.WantReply {
			_ = req.Reply(ok, nil) // the loop ends where the connection has
		}
		// Not before: a command that has ended closes the channel, and a reply would not get through.
		if ses.begin != nil {
			ses.begin()
			ses.begin = nil
		}
		if ok && ses.term != nil && req.Type == "pty-req" {
			ses.env = append(ses.env, "TERM="+ses.term.name)
		}
	}
	ses.hangUp()
	ch.Close()
	ses.running.Wait()
}

func connectionEnv(conn *ssh.ServerConn) []string {
	host, port, _ := net.SplitHostPort(conn.RemoteAddr().String())
	ourHost, ourPort, _ := net.SplitHostPort(conn.LocalAddr().String())
	return []string{
		"SSH_CLIENT=" + strings.Join([]string{host, port, ourPort}, " "),
		"SSH_CONNECTION=" + strings.Join([]string{host, port, ourHost, ourPort}, " "),
	}
}

var envName = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*$`)

// request handles one request (RFC 4254, 6.2 to 6.9) and reports whether it was granted.
func (ses *session) request(req *ssh.Request) bool {
	switch req.Type {
	case "env":
		var kv struct{ Name, Value string }
		if ssh.Unmarshal(req.Payload, &kv) != nil || !envName().MatchString(kv.Name) || strings.ContainsRune(kv.Value, 0) {
			return false
		}
		ses.env = append(ses.env, kv.Name+"="+kv.Value)
		return true
	case "pty-req":
		if ses.term != nil || ses.started {
			return false
		}
		var err error
		ses.term, err = openTerminal(req.Payload)
		return err == nil
	case "window-change":
		var size struct{ Columns, Rows, Width, Height uint32 }
		return ses.term != nil && ssh.Unmarshal(req.Payload, &size) == nil &&
			ses.term.resize(size.Columns, size.Rows, size.Width, size.Height) == nil
	case "exec":
		var cmd struct{ Text string }
		return ssh.Unmarshal(req.Payload, &cmd) == nil && !strings.ContainsRune(cmd.Text, 0) && ses.start("-c", cmd.Text)
	case "shell":
		return ses.start()
	case "subsystem":
		var sub struct{ Name string }
		return ssh.Unmarshal(req.Payload, &sub) == nil && sub.Name == "sftp" && ses.startSFTP()
	case "signal":
		var sig struct{ Name string }
		return ssh.Unmarshal(req.Payload, &sig) == nil && ses.signal(sig.Name)
	}
	return false
}

// environment is what a command gets: of two values the later counts, so that a client may set what
// it likes, except the mark by which the command is found again.
func (ses *session) environment() []string {
	env := append(append([]string{}, ses.srv.env...), ses.env...)
	if ses.term != nil {
		env = append(env, "SSH_TTY="+ses.term.path)
	}
	return append(env, markEnv+"="+ses.srv.info.ID)
}

// start runs /bin/sh with args.
func (ses *session) start(args ...string) bool {
	if ses.started {
		return false
	}
	ses.started = true
	cmd := exec.Command("/bin/sh", args...)
	cmd.Dir = filepath.Join(ses.srv.dir, homeDir)
	cmd.Env = ses.environment()
	var err error
	if ses.term != nil {
		err = ses.startOnTerminal(cmd)
	} else {
		err = ses.startOnPipes(cmd)
	}
	if err != nil {
		ses.srv.log.Print(err)
		ses.hangUp()
	}
	return err == nil
}

// startOnPipes runs cmd with three pipes. As with OpenSSH the exit status is sent when the command
// has ended, and the channel closed when nobody holds its output any more.
func (ses *session) startOnPipes(cmd *exec.Cmd) error {
	var files []*os.File // stdin, stdout, stderr: each the reading, then the writing end
	defer func() {
		for i, f := range files { // those of the command; ours are closed by hangUp
			if i == 0 || i == 3 || i == 5 {
				f.Close()
			}
		}
	}()
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		files = append(files, r, w)
		ours := r
		if len(files) == 2 {
			ours = w
		}
		ses.hold(ours)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files[0], files[3], files[5]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := ses.srv.children.start(cmd); err != nil {
		return err
	}
	stdin, stdout, stderr := files[1], files[2], files[4]
	ses.setPid(cmd.Process.Pid)
	ses.begin = func() {
		var output sync.WaitGroup
		output.Go(func() { copyOut(ses.ch, stdout) })
		output.Go(func() { copyOut(ses.ch.Stderr(), stderr) })
		ses.running.Go(func() {
			_, _ = io.Copy(stdin, ses.ch) // a command need not read what it is sent
			stdin.Close()
		})
		ses.running.Go(func() {
			ses.finish(cmd)
			stdin.Close()
			output.Wait()
			ses.ch.Close()
		})
	}
	return nil
}

// copyOut copies a command's output to the client. Where the client is gone the pipe is closed, so
// that the command learns of it as with any broken pipe.
func copyOut(w io.Writer, r *os.File) {
	_, _ = io.Copy(w, r)
	r.Close()
}

// startOnTerminal runs cmd as the leader of a session on the terminal.
func (ses *session) startOnTerminal(cmd *exec.Cmd) error {
	term := ses.term
	ses.hold(term.master)
	defer term.slave.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = term.slave, term.slave, term.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := ses.srv.children.start(cmd); err != nil {
		return err
	}
	ses.setPid(cmd.Process.Pid)
	ses.begin = func() {
		var output sync.WaitGroup
		output.Go(func() { _, _ = io.Copy(ses.ch, term.master) }) // ends with an error when the terminal is hung up
		ses.running.Go(func() { _, _ = io.Copy(term.master, ses.ch) })
		ses.running.Go(func() {
			ses.finish(cmd)
			output.Wait()
			ses.hangUp()
			ses.ch.Close()
		})
	}
	return nil
}

// finish waits for cmd and tells the client how it ended.
func (ses *session) finish(cmd *exec.Cmd) {
	err := ses.srv.children.wait(cmd, func() { ses.setPid(0) })
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ses.srv.log.Print(err)
		return
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	// An error means that the client has gone: nobody to tell.
	if status.Signaled() {
		_, _ = ses.ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
			Name       string
			CoreDumped bool
			Message    string
			Language   string
		}{signalName(status.Signal()), status.CoreDump(), "", ""}))
		return
	}
	_, _ = ses.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(status.ExitStatus())}))
}

func (ses *session) startSFTP() bool {
	if ses.started {
		return false
	}
	ses.started = true
	server, err := sftp.NewServer(ses.ch, sftp.WithServerWorkingDirectory(filepath.Join(ses.srv.dir, homeDir)))
	if err != nil {
		ses.srv.log.Print(err)
		return false
	}
	ses.begin = func() {
		ses.running.Go(func() {
			var code uint32
			if err := server.Serve(); err != nil && !errors.Is(err, io.EOF) {
				code = 1
			}
			server.Close()
			_, _ = ses.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
			ses.ch.Close()
		})
	}
	return true
}

func (ses *session) hold(end io.Closer) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	ses.ends = append(ses.ends, end)
}

func (ses *session) setPid(pid int) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	ses.pid = pid
}

// hangUp closes our ends of what the command reads and writes, and the terminal if none took it.
func (ses *session) hangUp() {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	for _, end := range ses.ends {
		end.Close()
	}
	if ses.term != nil && !ses.started {
		ses.term.slave.Close()
		ses.term.master.Close()
	}
}

// signal sends a signal to the command and what shares its process group. It holds the lock
// against wait, so that the process id is still the command's.
func (ses *session) signal(name string) bool {
	sig := unix.SignalNum("SIG" + name)
	ses.mu.Lock()
	defer ses.mu.Unlock()
	return sig != 0 && ses.pid != 0 && syscall.Kill(-ses.pid, sig) == nil
}

// signalName is a signal in the protocol's spelling: those that RFC 4254, 6.10 does not list have
// a suffix.
func signalName(sig syscall.Signal) string {
	switch sig {
	case syscall.SIGABRT, syscall.SIGALRM, syscall.SIGFPE, syscall.SIGHUP, syscall.SIGILL, syscall.SIGINT, syscall.SIGKILL,
		syscall.SIGPIPE, syscall.SIGQUIT, syscall.SIGSEGV, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2:
		return strings.TrimPrefix(unix.SignalName(sig), "SIG")
	}
	if name := unix.SignalName(sig); name != "" {
		return strings.TrimPrefix(name, "SIG") + "@bifrost"
	}
	return strconv.Itoa(int(sig)) + "@bifrost"
}

package local

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// DaemonEnv is the variable by which RunIfDaemon knows that this process is a daemon; its value is
// the instance's folder.
const DaemonEnv = "BIFROST_LOCAL_DAEMON"

// inheritEnv tells a daemon that it has inherited the descriptors 3 and 4: its lock, and the pipe
// on which it says that it is ready.
const inheritEnv = "BIFROST_LOCAL_INHERIT"

// RunIfDaemon runs a local node and reports true if this process was started for that by a Provider
// whose Config names no Daemon. A program that uses such a Provider calls it first thing in main,
// tests in TestMain, and returns when it is true.
func RunIfDaemon() bool {
	dir := os.Getenv(DaemonEnv)
	if dir == "" {
		return false
	}
	if err := Serve(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err) // daemon.log
	}
	return true
}

// launch starts the daemon of the instance in dir and waits until it can be connected to. The
// daemon inherits lock.
func launch(ctx context.Context, argv []string, dir string, lock *os.File) (info, error) {
	env := append(sessionEnv(os.Environ()), inheritEnv+"=1")
	if argv == nil {
		exe, err := os.Executable()
		if err != nil {
			return info{}, err
		}
		argv, env = []string{exe}, append(env, DaemonEnv+"="+dir)
	}
	log, err := os.OpenFile(filepath.Join(dir, logFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return info{}, err
	}
	defer log.Close()
	ready, says, err := os.Pipe()
	if err != nil {
		return info{}, err
	}
	defer ready.Close()
	cmd := exec.Command(argv[0], append(argv[1:len(argv):len(argv)], dir)...)
	cmd.Dir, cmd.Env = "/", env // a folder of its own would keep that from being unmounted
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{lock, says}
	cmd.SysProcAttr = detached()
	err = cmd.Start()
	says.Close()
	if err != nil {
		return info{}, fmt.Errorf("start the daemon: %w", err)
	}
	// The daemon outlives this call. As long as this process lives it is the one that has to take
	// the daemon's exit status, or a zombie stays; the goroutine ends with the daemon.
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended is in its log
	}()
	stop := context.AfterFunc(ctx, func() { ready.SetReadDeadline(time.Now()) })
	defer stop()
	said, err := io.ReadAll(io.LimitReader(ready, 4096))
	in, notReady := readInfo(dir)
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err != nil:
	case string(said) != readyText:
		err = fmt.Errorf("the daemon did not start: %s", reason(said, dir))
	case notReady != nil:
		err = notReady
	default:
		err = tryConnect(ctx, in.Port)
	}
	if err != nil {
		select {
		case <-ended: // the process id may be another's by now
		default:
			_ = endTree(context.WithoutCancel(ctx), cmd.Process.Pid, 0)
			<-ended
		}
		return info{}, err
	}
	return in, nil
}

const readyText = "ready\n"

// reason is what a daemon that did not become ready said, on the pipe or in its log.
func reason(said []byte, dir string) string {
	if text := strings.TrimSpace(string(said)); text != "" {
		return text
	}
	log, _ := os.ReadFile(filepath.Join(dir, logFile))
	if log = bytes.TrimSpace(log); len(log) > 1000 {
		log = log[len(log)-1000:]
	}
	if len(log) == 0 {
		return "it ended without a word"
	}
	return string(log)
}

func tryConnect(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return conn.Close()
}

// sessionEnv keeps of an environment what a node's programs need to be found and to find the GPUs,
// and nothing that could be a secret.
func sessionEnv(environ []string) []string {
	const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	env := []string{}
	path := false
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		switch {
		case name == "PATH":
			path = value != ""
			if !path {
				continue
			}
		case name == "LANG", name == "TZ", name == "LD_LIBRARY_PATH":
		case strings.HasPrefix(name, "LC_"), strings.HasPrefix(name, "CUDA_"), strings.HasPrefix(name, "NVIDIA_"):
		default:
			continue
		}
		env = append(env, kv)
	}
	if !path {
		env = append(env, "PATH="+defaultPath)
	}
	return env
}

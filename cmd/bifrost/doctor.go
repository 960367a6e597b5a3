package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/kevinburke/ssh_config"
	"github.com/spf13/cobra"
	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// A verdict is how serious what a check found is.
type verdict string

const (
	verdictOK   verdict = "OK"
	verdictWarn verdict = "WARN" // something is worse than it could be
	verdictFail verdict = "FAIL" // something that everybody needs does not work
)

// A finding is one line of the doctor's report.
type finding struct {
	verdict verdict
	what    string
	text    string
	hint    string // the way out, of what is not OK
}

// checkTime bounds each program that the doctor asks.
const checkTime = 5 * time.Second

func newDoctor(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "doctor",
		Short:   "Check what bifrost needs on this machine; change nothing",
		GroupID: groupSelf,
		Long: `Looks at the state folder and the journal, SSH keys, agent and configuration, git, tmux, the clock and
what a local node needs, and asks each provider whose key is set for the list of its machines. Nothing is
changed. Keys are never shown, only where they are from.

EXIT STATUS
  0 everything that is needed works, 1 something failed`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.settles = false
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			failed := false
			for _, check := range a.checks() {
				for _, f := range check(ctx) {
					failed = failed || f.verdict == verdictFail
					if err := a.printFinding(f); err != nil {
						return err
					}
				}
			}
			if failed {
				return exitError(exitFailed)
			}
			return nil
		},
	}
}

func (a *app) printFinding(f finding) error {
	text := fmt.Sprintf("%-4s  %-13s %s\n", f.verdict, f.what, a.redact.Redact(f.text))
	if f.hint != "" {
		text += fmt.Sprintf("%-4s  %-13s %s\n", "", "", f.hint)
	}
	_, err := fmt.Fprint(a.screen.Stdout(), text)
	return err
}

func (a *app) checks() []func(context.Context) []finding {
	return []func(context.Context) []finding{
		a.checkState, a.checkJournal, a.checkKeys, a.checkAgent, a.checkConfig, checkGit, checkTmux, a.checkClock, a.checkLocal, checkGPU, a.checkAccounts,
	}
}

func (a *app) checkState(context.Context) []finding {
	const what = "state folder"
	dir := a.env.StateDir
	if dir == "" {
		return []finding{{verdictFail, what, "neither HOME nor XDG_STATE_HOME is set", "set XDG_STATE_HOME to a folder of your own"}}
	}
	at := dir
	for {
		info, err := os.Stat(at)
		if err == nil && !info.IsDir() {
			return []finding{{verdictFail, what, at + " is not a folder", "move it away, or set XDG_STATE_HOME"}}
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return []finding{{verdictFail, what, err.Error(), "make it readable, or set XDG_STATE_HOME"}}
		}
		at = filepath.Dir(at) // made at first use, if this one can be written to
	}
	probe, err := os.CreateTemp(at, ".bifrost-doctor-*")
	if err != nil {
		return []finding{{verdictFail, what, fmt.Sprintf("%s cannot be written to: %v", at, reason(err)), "make it writable, or set XDG_STATE_HOME"}}
	}
	err = errors.Join(probe.Close(), os.Remove(probe.Name()))
	if err != nil {
		return []finding{{verdictWarn, what, err.Error(), ""}}
	}
	if at != dir {
		return []finding{{verdictOK, what, dir + " (made at first use)", ""}}
	}
	return []finding{{verdictOK, what, dir, ""}}
}

func (a *app) checkJournal(context.Context) []finding {
	const what = "journal"
	if a.env.StateDir == "" {
		return nil
	}
	file := filepath.Join(a.env.StateDir, "journal.db")
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return []finding{{verdictOK, what, "none yet (made at first use)", ""}}
	}
	if _, err := a.engine(); err != nil {
		return []finding{{verdictFail, what, err.Error(), fault.HintOf(err)}}
	}
	return []finding{{verdictOK, what, file, ""}}
}

// checkKeys looks at the keys that ssh would try by itself.
func (a *app) checkKeys(context.Context) []finding {
	const what = "ssh keys"
	var found []finding
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		file := filepath.Join(a.env.Home, ".ssh", name)
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			found = append(found, finding{verdictWarn, what, err.Error(), "make it readable for you alone: chmod 600 " + file})
			continue
		}
		_, err = gossh.ParsePrivateKey(data)
		var locked *gossh.PassphraseMissingError
		switch info, statErr := os.Stat(file); {
		case errors.As(err, &locked):
			found = append(found, finding{verdictOK, what, file + " (passphrase: usable through the agent only)", ""})
		case err != nil:
			found = append(found, finding{verdictWarn, what, fmt.Sprintf("%s is no private key: %v", file, err), "move it away"})
		case statErr == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
			found = append(found, finding{verdictWarn, what, fmt.Sprintf("%s can be read by others (mode %04o)", file, info.Mode().Perm()), "chmod 600 " + file})
		default:
			found = append(found, finding{verdictOK, what, file, ""})
		}
	}
	if found == nil {
		found = append(found, finding{verdictWarn, what, "none in ~/.ssh", "for machines of your own (ssh=): ssh-keygen -t ed25519, or bifrost exec -i KEY"})
	}
	return found
}

func (a *app) checkAgent(ctx context.Context) []finding {
	const what = "ssh agent"
	if a.env.AgentSocket == "" {
		return []finding{{verdictOK, what, "none (SSH_AUTH_SOCK is not set); only keys with a passphrase need one", ""}}
	}
	conn, err := (&net.Dialer{Timeout: checkTime}).DialContext(ctx, "unix", a.env.AgentSocket)
	if err != nil {
		return []finding{{verdictWarn, what, fmt.Sprintf("%s does not answer: %v", a.env.AgentSocket, reason(err)), "start one: eval $(ssh-agent), or unset SSH_AUTH_SOCK"}}
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(checkTime)) // where there is none, the agent's answer is awaited
	keys, err := agent.NewClient(conn).List()
	if err != nil {
		return []finding{{verdictWarn, what, err.Error(), "start another: eval $(ssh-agent)"}}
	}
	if len(keys) == 0 {
		return []finding{{verdictWarn, what, "it runs and holds no keys", "ssh-add ~/.ssh/id_ed25519"}}
	}
	var names []string
	for _, k := range keys {
		names = append(names, strings.TrimSpace(k.Type()+" "+k.Comment))
	}
	return []finding{{verdictOK, what, strings.Join(names, "; "), ""}}
}

func (a *app) checkConfig(context.Context) []finding {
	const what = "ssh config"
	file := filepath.Join(a.env.Home, ".ssh", "config")
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return []finding{{verdictOK, what, "none", ""}}
	}
	if err == nil {
		_, err = ssh_config.Decode(bytes.NewReader(data))
	}
	if err != nil { // a connection leaves out what it does not understand, and says so
		return []finding{{verdictWarn, what, fmt.Sprintf("%s: parts of it are ignored: %v", file, reason(err)), "name the host, user and key in full where they matter: ssh = \"user@host:port\", -i KEY"}}
	}
	return []finding{{verdictOK, what, file, ""}}
}

func checkGit(ctx context.Context) []finding {
	text, err := ask(ctx, "git", "--version")
	if err != nil {
		return []finding{{verdictWarn, "git", err.Error(), "install git: without it a push sends everything that .bifrostignore does not name"}}
	}
	return []finding{{verdictOK, "git", text, ""}}
}

func checkTmux(ctx context.Context) []finding {
	text, err := ask(ctx, "tmux", "-V")
	if err != nil {
		return []finding{{verdictWarn, "tmux", err.Error(), "install tmux: without it jobs on local nodes have no session to attach to"}}
	}
	return []finding{{verdictOK, "tmux", text, ""}}
}

// checkClock compares the clock with moments that are surely past.
func (a *app) checkClock(ctx context.Context) []finding {
	const what = "clock"
	const hint = "set it: prices, deadlines and certificates go by it"
	now := time.Now()
	past := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // older than this program
	if now.Before(past) {
		return []finding{{verdictFail, what, "it says " + now.Format(time.RFC3339) + ", which is past", hint}}
	}
	if a.eng != nil {
		jobs, err := a.eng.Jobs(ctx, true)
		if err == nil && len(jobs) > 0 && jobs[0].Created.After(now.Add(time.Minute)) {
			return []finding{{verdictWarn, what, fmt.Sprintf("it says %s, and the latest job was started at %s", now.Format(time.RFC3339), jobs[0].Created.Format(time.RFC3339)), hint}}
		}
	}
	return []finding{{verdictOK, what, now.Format(time.RFC3339), ""}}
}

// checkLocal looks at what the daemon of a local node needs, without starting one.
func (a *app) checkLocal(ctx context.Context) []finding {
	const what = "local node"
	if runtime.GOOS == "windows" {
		return []finding{{verdictWarn, what, "not available on Windows", "use machines of your own (ssh=), or WSL"}}
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return []finding{{verdictFail, what, fmt.Sprintf("cannot listen on 127.0.0.1: %v", reason(err)), "allow loopback connections"}}
	}
	listener.Close()
	if info, err := os.Stat(a.env.Executable); err != nil || info.Mode().Perm()&0o111 == 0 {
		return []finding{{verdictFail, what, fmt.Sprintf("this program is not at %q any more", a.env.Executable), "install it again"}}
	}
	if _, err := exec.LookPath("sh"); err != nil {
		return []finding{{verdictFail, what, "there is no sh", "install a POSIX shell"}}
	}
	return []finding{{verdictOK, what, "can start", ""}}
}

func checkGPU(ctx context.Context) []finding {
	const what = "gpus here"
	text, err := ask(ctx, "nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return []finding{{verdictOK, what, "none (no nvidia-smi); local nodes have no GPU", ""}}
	case err != nil:
		return []finding{{verdictWarn, what, err.Error(), "nvidia-smi says more"}}
	}
	return []finding{{verdictOK, what, strings.ReplaceAll(text, "\n", "; "), ""}}
}

// ask runs a program of this machine and returns what it printed.
func ask(ctx context.Context, name string, args ...string) (string, error) {
	file, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, file, args...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, text)
	}
	return text, nil
}

// reason is the innermost part of a file error, without the path that the message has already.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

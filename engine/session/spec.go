package session

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// An Env is one variable of a job's environment.
type Env struct {
	Name    string // a letter or "_", then letters, digits, "_"
	Value   string // any bytes but NUL; secret
	Prepend bool   // the value is Value, ":" and what the node has, or Value where it has none
}

// A Spec describes a job to start.
type Spec struct {
	ID      string // the job's id, names its folder; letters, digits, "-", "_", "."
	Name    string // of the session, unique per node: a second job of the same name replaces the first
	Command []string
	Shell   string // text for bash -c, sh -c where there is no bash; exactly one of Command and Shell

	WorkingDir string // absolute or "~/…"; must exist; "" is the home
	Env        []Env  // travels over stdin, is in no argument and in no file once the job runs

	Timeout time.Duration // 0: none; counted on the node from the start
	Grace   time.Duration // between TERM and KILL; 0: 10 s

	LogFile string // "": log in the job's folder; else that file, emptied first or made with its folder, and log is a link to it
	Replace bool   // a running job of this Name is cancelled first; else it is an error of kind conflict
	NoTmux  bool   // no tmux session, even where tmux is there
}

const defaultGrace = 10 * time.Second

// maxArgument is what Linux allows for a single argument, less the room for a NUL.
const maxArgument = 128<<10 - 1

func (s Spec) check() error {
	if err := checkID(s.ID); err != nil {
		return err
	}
	refuse := func(target, format string, args ...any) error {
		return &fault.Error{Kind: fault.Invalid, Op: "start", Target: target, Err: fmt.Errorf(format, args...)}
	}
	job := "job " + s.ID
	switch {
	case s.Name == "":
		return refuse(job, "the session has no name")
	case len(s.Command) > 0 && s.Shell != "":
		return refuse(job, "both a command and shell text")
	case len(s.Command) == 0 && strings.TrimSpace(s.Shell) == "", len(s.Command) > 0 && s.Command[0] == "":
		return refuse(job, "the command is empty")
	case len(s.Command) > 0 && strings.HasPrefix(s.Command[0], "-"):
		return refuse(job, "the command %q begins with a dash", s.Command[0])
	case s.Timeout < 0:
		return refuse(job, "the timeout is negative")
	case s.Grace < 0:
		return refuse(job, "the grace is negative")
	case strings.ContainsRune(s.Shell, 0):
		return refuse(job, "the command holds a NUL byte")
	}
	for _, arg := range s.Command {
		if strings.ContainsRune(arg, 0) {
			return refuse(job, "the command holds a NUL byte")
		}
		if len(arg) > maxArgument {
			return refuse(job, "an argument of the command has %d bytes, more than the %d that Linux allows", len(arg), maxArgument)
		}
	}
	for _, p := range []struct{ name, path string }{{"working folder", s.WorkingDir}, {"log file", s.LogFile}} {
		if strings.ContainsRune(p.path, 0) {
			return refuse(p.name, "the path holds a NUL byte")
		}
		if p.path != "" && p.path != "~" && !strings.HasPrefix(p.path, "/") && !strings.HasPrefix(p.path, "~/") {
			return refuse(p.name+" "+p.path, "the path is neither absolute nor does it begin with ~/")
		}
	}
	seen := make(map[string]bool)
	for _, env := range s.Env {
		if !validEnvName(env.Name) {
			return refuse("environment variable "+strconv.Quote(env.Name),
				"a name is made of letters, digits and _, and does not begin with a digit")
		}
		if strings.ContainsRune(env.Value, 0) {
			return refuse("environment variable "+env.Name, "the value holds a NUL byte")
		}
		if len(env.Name)+1+len(env.Value) > maxArgument {
			return refuse("environment variable "+env.Name, "the value has %d bytes, more than Linux allows (%d)",
				len(env.Value), maxArgument-len(env.Name)-1)
		}
		if seen[env.Name] {
			return refuse("environment variable "+env.Name, "it is given twice")
		}
		seen[env.Name] = true
	}
	return nil
}

func checkID(id string) error {
	ok := id != "" && len(id) <= 128 && id[0] != '.' && id[0] != '-'
	for _, c := range []byte(id) {
		ok = ok && (letter(c) || digit(c) || c == '-' || c == '.')
	}
	if !ok {
		return &fault.Error{Kind: fault.Invalid, Op: "job", Target: strconv.Quote(id), Err: errors.New("not a job id")}
	}
	return nil
}

func validEnvName(name string) bool {
	for i, c := range []byte(name) {
		if !letter(c) && (i == 0 || !digit(c)) {
			return false
		}
	}
	return name != ""
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }
func digit(c byte) bool  { return c >= '0' && c <= '9' }

// SessionName returns the name that a session called name has in tmux, which allows no dots and
// colons; the name is also a file's name. Names that would become the same by more than that are
// told apart by a number at the end.
func SessionName(name string) string {
	var b strings.Builder
	exact := len(name) <= 100
	for _, c := range []byte(name) {
		switch {
		case letter(c), digit(c), c == '-' && b.Len() > 0:
			b.WriteByte(c)
		default:
			b.WriteByte('_')
			exact = exact && (c == '.' || c == ':' || c == ' ')
		}
	}
	if exact {
		return b.String()
	}
	sum := fnv.New32a()
	sum.Write([]byte(name))
	return fmt.Sprintf("%.100s_%08x", b.String(), sum.Sum32())
}

// specFile returns the settings of run.sh as shell assignments.
func (s Spec) specFile() string {
	workingDir, grace := s.WorkingDir, s.Grace
	if workingDir == "" {
		workingDir = "~"
	}
	if grace == 0 {
		grace = defaultGrace
	}
	var b strings.Builder
	set := func(name, word string) { b.WriteString("b_" + name + "=" + word + "\n") }
	set("id", ssh.Quote(s.ID))
	set("name", ssh.Quote(SessionName(s.Name)))
	set("workdir", ssh.QuotePath(workingDir))
	set("timeout", shellSeconds(s.Timeout))
	set("grace", shellSeconds(grace))
	if s.LogFile == "" {
		set("logfile", "")
	} else {
		set("logfile", ssh.QuotePath(s.LogFile))
	}
	set("replace", zeroOne(s.Replace))
	set("tmux", zeroOne(!s.NoTmux))
	return b.String()
}

// commandFile returns shell text that sets the positional parameters to the command.
func (s Spec) commandFile() string {
	if s.Shell == "" {
		words := make([]string, len(s.Command))
		for i, arg := range s.Command {
			words[i] = ssh.Quote(arg)
		}
		return "set -- " + strings.Join(words, " ") + "\n"
	}
	tail := "-c " + ssh.Quote(s.Shell)
	if len(s.Shell) > maxArgument {
		tail = `"$b_dir/command.sh"`
	}
	// Beneath sshd even bash -c reads the rc file on many systems; what that prints is not the job's.
	return "if b_shell=$(command -v bash); then set -- \"$b_shell\" --norc " + tail + "; else set -- sh " + tail + "; fi\n"
}

// envFile returns shell text that sets b_env to the text that exports the environment, so that no
// process is needed to read it. Values are in single quotes, which every shell takes byte for byte.
func (s Spec) envFile() string {
	var b strings.Builder
	b.WriteString("export BIFROST_JOB_ID=" + ssh.Quote(s.ID) + "\n")
	for _, env := range s.Env {
		b.WriteString("export " + env.Name + "=" + singleQuote(env.Value))
		if env.Prepend {
			b.WriteString(`"${` + env.Name + `:+:$` + env.Name + `}"`)
		}
		b.WriteString(" || exit 97\n")
	}
	return "b_env=" + singleQuote(b.String()) + "\n"
}

func singleQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// shellSeconds returns d for sleep; fractions only where there are some, as not every sleep has them.
func shellSeconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
}

func zeroOne(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

package engine

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// Defaults of a Job, as the scripts document them.
const (
	DefaultWorkspace = "~/.bifrost/workspace"
	DefaultTimeout   = 2 * time.Hour
	DefaultHold      = 15 * time.Minute
	DefaultPatience  = time.Hour
)

// A Job describes one run: which machine, what to send, what to run, what to bring home. It is a
// plain value; nothing happens until Run or Start is called with it. Exactly one of Provision, SSH
// and NodeID must be set, and a Command.
type Job struct {
	Name      string // "" derives one from the command
	Script    string // the file that described the job, for the journal; "" when there is none
	Provision *gpu.Query
	SSH       string // "user@host:port", or a Host of ~/.ssh/config
	NodeID    string // "local:abc", "runpod:abc"

	Source     string                                      // local folder to push, absolute or from the current one; "" pushes nothing
	Workspace  string                                      // on the node; "" means DefaultWorkspace
	Prepare    func(ctx context.Context, node *Node) error // after the push, before the bootstrap
	Bootstrap  []Step
	Command    Command
	WorkingDir string // relative to the workspace
	LogFile    string // on the node, from the working folder; "" means the job's own folder
	Env        []Var
	Timeout    time.Duration // enforced on the node; 0 means none
	Results    []ResultSpec

	KeepAlive *bool   // nil: not said, which is an error for machines that bifrost did not rent
	OnFailure Failure // what happens to the machine on anything but success
	MaxCost   float64 // USD for the whole job; 0 means no limit
	Refuse    bool    // refuse, instead of replacing, a job of the same name that still runs
	Fresh     bool    // run every bootstrap step, whatever is recorded
}

// A Command is what to run: Argv, or Shell as text for bash -c (sh -c where there is no bash).
type Command struct {
	Argv  []string
	Shell string
}

// Shell returns the command that a shell on the node makes of text.
func Shell(text string) Command { return Command{Shell: text} }

// Argv returns the command of these arguments, which no shell reads.
func Argv(args ...string) Command { return Command{Argv: args} }

func (c Command) empty() bool {
	return strings.TrimSpace(c.Shell) == "" && (len(c.Argv) == 0 || c.Argv[0] == "")
}

func (c Command) String() string {
	if c.Shell != "" {
		return c.Shell
	}
	return strings.Join(c.Argv, " ")
}

// A Var is one variable of a job's environment. Its value is treated as a secret: it travels over
// stdin and is in no command line, log, journal or error.
type Var struct {
	Name    string
	Value   string
	Prepend bool // put in front of what the node has, with ":"
}

// A Step is one bootstrap step. It is skipped when its text, the steps before it and its inputs are
// unchanged; Inputs are globs of pushed files, nil means all of them.
type Step struct {
	Command string
	Inputs  []string
}

// A ResultSpec is a path on the node that is fetched when the job has ended, however it ended.
type ResultSpec struct {
	Remote   string // relative to the job's working folder; a trailing slash means the contents
	Local    string // from the current folder
	Optional bool   // may be missing
}

// A Failure says what happens to a rented machine when the job did not succeed.
type Failure struct {
	Keep bool          // keep it until it is terminated by hand
	Hold time.Duration // keep it that long, then release it
}

// ParseFailure reads the words of a script: "terminate", "keep", "hold 15m".
func ParseFailure(s string) (Failure, error) {
	word, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	switch {
	case word == "terminate" && rest == "":
		return Failure{}, nil
	case word == "keep" && rest == "":
		return Failure{Keep: true}, nil
	case word == "hold":
		d, err := time.ParseDuration(strings.TrimSpace(rest))
		if err == nil && d > 0 {
			return Failure{Hold: d}, nil
		}
	}
	return Failure{}, fmt.Errorf(`on_failure %q is none of "terminate", "keep", "hold 15m"`, s)
}

var envName = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Check reports what is wrong with the job, or nil. It looks at the value alone and touches
// nothing.
func (j *Job) Check() error {
	var given []string
	if j.Provision != nil {
		given = append(given, "provision")
	}
	if j.SSH != "" {
		given = append(given, "ssh")
	}
	if j.NodeID != "" {
		given = append(given, "node_id")
	}
	switch {
	case len(given) == 0:
		return invalid("job", j.Name, errors.New("no node: none of provision, ssh, node_id was given"),
			`give exactly one: provision = gpu_query(...), ssh = "user@host", or node_id = "provider:id"`)
	case len(given) > 1:
		return invalid("job", j.Name, fmt.Errorf("%s were given together", strings.Join(given, " and ")),
			"give exactly one of provision, ssh, node_id")
	case j.Command.empty():
		return invalid("job", j.Name, errors.New("the command is empty"), `write what to run: command = "python train.py"`)
	case j.Timeout < 0:
		return invalid("job", j.Name, fmt.Errorf("timeout %s is negative", j.Timeout), "None means no timeout")
	case j.MaxCost < 0:
		return invalid("job", j.Name, fmt.Errorf("max_cost %g is negative", j.MaxCost), "None means no limit")
	case path.IsAbs(j.WorkingDir) || strings.HasPrefix(j.WorkingDir, "~"):
		return invalid("job", j.Name, fmt.Errorf("working_dir %q is not relative to the workspace", j.WorkingDir),
			"name a folder inside the workspace, or move the workspace")
	}
	if err := checkVars(j.Env); err != nil {
		return err
	}
	for i, s := range j.Bootstrap {
		if strings.TrimSpace(s.Command) == "" {
			return invalid("job", j.Name, fmt.Errorf("bootstrap step %d is empty", i+1), "remove it or write a command")
		}
	}
	for _, r := range j.Results {
		if r.Remote == "" || r.Local == "" {
			return invalid("job", j.Name, fmt.Errorf("results: %q to %q has an empty side", r.Remote, r.Local),
				`"." means the working folder itself`)
		}
	}
	return nil
}

func checkVars(vars []Var) error {
	for _, v := range vars {
		if !envName().MatchString(v.Name) {
			return invalid("env", v.Name, errors.New("not a name that a shell accepts"),
				"use letters, digits and underscores, and no digit first")
		}
		if strings.ContainsRune(v.Value, 0) {
			return invalid("env", v.Name, errors.New("the value holds a NUL byte"), "no program can receive one in its environment")
		}
	}
	return nil
}

func invalid(op, target string, err error, hint string) error {
	return &fault.Error{Kind: fault.Invalid, Op: op, Target: target, Err: err, Hint: hint}
}

// name returns the job's name, or one made of the first word of its command that says something.
func (j *Job) name() string {
	if j.Name != "" {
		return j.Name
	}
	for _, word := range strings.Fields(j.Command.String()) {
		base := path.Base(word)
		switch base {
		case "python", "python3", "bash", "sh", "uv", "run", "env", "exec", "-c", "-m", "-u", "torchrun", "cd":
			continue
		}
		base = strings.TrimSuffix(base, path.Ext(base))
		if envName().MatchString(strings.ReplaceAll(base, "-", "_")) {
			return base
		}
	}
	return "job"
}

// String is the form that ParseFailure reads.
func (f Failure) String() string {
	switch {
	case f.Keep:
		return "keep"
	case f.Hold > 0:
		return "hold " + f.Hold.String()
	}
	return "terminate"
}

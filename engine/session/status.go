package session

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A State says where a job on its node is in its life.
type State string

// The states. Starting and Running change by themselves; the others are final, except Missing,
// which says that the node has no folder of that job.
const (
	Starting  State = "starting"
	Running   State = "running"
	Exited    State = "exited"    // by itself, or killed by somebody else: see Signal
	TimedOut  State = "timeout"   // ended by the supervisor after Spec.Timeout
	Cancelled State = "cancelled" // ended by Cancel, or replaced by another job
	Lost      State = "lost"      // gone without an exit record: nobody knows how it ended
	Missing   State = "missing"
)

// A Status is what the node knows about a job.
type Status struct {
	State    State
	ExitCode int    // 0 to 255, 128 + n for signal n; meaningful in Exited, TimedOut and Cancelled
	Signal   string // what killed the job's first process, "TERM" without "SIG"; empty when it exited
	Started  time.Time
	Ended    time.Time // zero until final; both are times of the node's clock, in seconds
	NodeNow  time.Time // the node's clock when the status was read; zero in a Started
	LogSize  int64     // the length of the log in bytes; -1 until final
	BootID   string    // of the node when the job started
	Reason   string    // why it is so, in words; empty where the job just ended
	DiskFull bool      // when it ended, the log's file system had no space left
}

// Final reports whether the status will not change any more.
func (s Status) Final() bool {
	switch s.State {
	case Exited, TimedOut, Cancelled, Lost:
		return true
	}
	return false
}

// Dir returns the folder of a job on the node as a word of a POSIX shell script, quoted.
func Dir(id string) string { return ssh.QuotePath("~/.bifrost/jobs/" + id) }

// Read asks the node for the status of a job. It includes a check that the job lives: one whose
// supervisor and process group are gone without a record, or whose node or container was restarted,
// is Lost. A job that the node has never heard of is Missing, which is no error.
func Read(ctx context.Context, node ssh.Runner, id string) (Status, error) {
	status, err := ask(ctx, node, id, "read")
	if err != nil {
		return Status{}, fmt.Errorf("read job %s: %w", id, err)
	}
	return status, nil
}

// Cancel ends a job (TERM to its process group, its grace, then KILL) and returns its status once
// it is final. reason is recorded with it. A job that has ended already is left as it is. When ctx
// ends early, what was asked for goes on on the node.
func Cancel(ctx context.Context, node ssh.Runner, id, reason string) (Status, error) {
	status, err := ask(ctx, node, id, "cancel", oneLine(reason))
	if err != nil {
		return Status{}, fmt.Errorf("cancel job %s: %w", id, err)
	}
	return status, nil
}

// askScript is the end of a script that asks run.sh, with b_dir set to Dir(id) and the question in
// the positional parameters. Where the folder does not exist, or is only just being made, it
// prints such a status itself. It replaces the shell that runs it.
const askScript = `if [ -f "$b_dir/spec" ]; then
	exec sh "$b_dir/run.sh" "$@"
fi
b_state=missing b_reason= b_pid=
if [ -d "$b_dir" ]; then
	{ while read -r b_line; do
		case $b_line in supervisor=*) b_pid=${b_line#*=} ;; esac
	done <"$b_dir/status"; } 2>/dev/null
	b_state=starting
	[ -n "$b_pid" ] && kill -0 "$b_pid" 2>/dev/null || b_state=lost b_reason="its start was interrupted"
fi
printf 'state=%s\nreason=%s\nnow=%s\n.\n' $b_state "$b_reason" "$(date +%s)"
`

func ask(ctx context.Context, node ssh.Runner, id, mode string, args ...string) (Status, error) {
	if err := checkID(id); err != nil {
		return Status{}, err
	}
	script := "set -- " + mode + ` "$b_dir"`
	for _, arg := range args {
		script += " " + ssh.Quote(arg)
	}
	script = "b_dir=" + Dir(id) + "\n" + script + "\n" + askScript
	var out, diag strings.Builder
	err := node.Run(ctx, ssh.Command{Script: script, Stdout: &out, Stderr: &diag})
	if err != nil {
		var exit *ssh.ExitError
		if errors.As(err, &exit) {
			err = &fault.Error{Kind: fault.Internal, Err: fmt.Errorf("the job's supervisor gives no answer: %w: %s", err, oneLine(diag.String()))}
		}
		return Status{}, err
	}
	status, ok := ParseStatus(out.String())
	if !ok {
		return Status{}, &fault.Error{Kind: fault.Internal, Err: fmt.Errorf("the job's supervisor gives no status: %q", oneLine(out.String()))}
	}
	return status, nil
}

// ParseStatus reads the key=value lines in which run.sh prints a status, and reports whether they
// were complete, that is ended by a line with a dot. Unknown keys and other lines are ignored.
func ParseStatus(text string) (status Status, complete bool) {
	facts, complete := parseFacts(text)
	if facts["state"] == "" {
		return Status{}, false
	}
	status = Status{
		State:    State(facts["state"]),
		Signal:   facts["signal"],
		Started:  seconds(facts["start"]),
		Ended:    seconds(facts["end"]),
		NodeNow:  seconds(facts["now"]),
		LogSize:  -1,
		BootID:   facts["boot_id"],
		Reason:   facts["reason"],
		DiskFull: facts["disk_full"] == "1",
	}
	status.ExitCode, _ = strconv.Atoi(facts["exit_code"])
	size := facts["log_bytes"]
	if status.State == Lost {
		size = facts["log_size"] // nobody writes it any more
	}
	if n, err := strconv.ParseInt(size, 10, 64); err == nil && status.Final() {
		status.LogSize = n
	}
	return status, complete
}

// ParseLogSize returns how long the log was when the node printed a status, or -1 where that does
// not say.
func ParseLogSize(text string) int64 {
	facts, _ := parseFacts(text)
	n, err := strconv.ParseInt(facts["log_size"], 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func parseFacts(text string) (facts map[string]string, complete bool) {
	facts = make(map[string]string)
	for line := range strings.SplitSeq(text, "\n") {
		if line == "." {
			complete = true
		}
		if key, value, ok := strings.Cut(line, "="); ok {
			facts[key] = value
		}
	}
	return facts, complete
}

func seconds(text string) time.Time {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		return time.Time{}
	}
	return time.Unix(n, 0)
}

// oneLine returns text as valid UTF-8 without line breaks and other controls, and of a length that
// fits into the record of a status.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(strings.TrimSpace(text), "\uFFFD"))
	if len(text) > 600 {
		text = strings.ToValidUTF8(text[:600], "")
	}
	return text
}

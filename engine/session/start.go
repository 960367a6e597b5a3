package session

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

//go:embed run.sh
var runScript string

// A Started says what Start has started.
type Started struct {
	Tmux        bool   // there is a tmux session; else the job runs in a session of its own only
	TmuxNote    string // why there is none; empty where there is one or none was asked for
	SessionName string // for tmux -L bifrost attach -t
	Dir         string // the job's folder, absolute
	LogFile     string // absolute
	Replaced    string // the id of the job that was cancelled to make room; empty where there was none
	Status      Status // just after the start; may be final already
}

// Start starts a job and returns once its supervisor runs it. It is one command on the node, and a second
// one on a node without gzip. When it fails nothing is left there; *ssh.LostError and the error of ctx
// alone leave that open, and Read says how it is.
//
// Errors are *fault.Error: Invalid for a bad Spec, found before anything is sent; NotFound for a
// working folder or a tool that the node does not have; Conflict for a job of the same id, or of
// the same name with Replace false; DiskFull.
func Start(ctx context.Context, node ssh.Runner, spec Spec) (Started, error) {
	if err := spec.check(); err != nil {
		return Started{}, err
	}
	var out, diag strings.Builder
	plain := spec.private(writeFile("run.sh", runScript))
	cmd := ssh.Command{Script: startScript, Private: plain, Stdout: &out, Stderr: &diag}
	// What is longer in any case gains nothing, and is read faster where nothing follows it.
	packed := needsGzip + spec.private(unpackRunScript)
	if len(packed)+len(packedRunScript()) <= ssh.FirstWindowBytes {
		cmd.Private, cmd.Stdin = packed, bytes.NewReader(packedRunScript())
	}
	err := node.Run(ctx, cmd)
	facts, _ := parseFacts(out.String())
	if facts["fault"] == "gzip" { // nothing was made
		out.Reset()
		diag.Reset()
		cmd.Private, cmd.Stdin = plain, nil
		err = node.Run(ctx, cmd)
		facts, _ = parseFacts(out.String())
	}
	if facts["fault"] != "" {
		return Started{}, spec.refused(facts["fault"], facts["cause"])
	}
	if err != nil {
		var exit *ssh.ExitError
		if errors.As(err, &exit) {
			err = &fault.Error{Kind: fault.Internal, Err: fmt.Errorf("%w: %s", err, oneLine(diag.String()))}
		}
		return Started{}, fmt.Errorf("start job %s: %w", spec.ID, err)
	}
	return spec.started(out.String(), diag.String())
}

// Find says what a Start with this Spec has started whose answer was lost. Its Status is Missing
// where it has started nothing: then Start may be called again, for the node lets only one of the two
// make the job. It waits for a start that is still under way. One that ended in the middle is an error of kind lost.
func Find(ctx context.Context, node ssh.Runner, spec Spec) (Started, error) {
	if err := spec.check(); err != nil {
		return Started{}, err
	}
	var out, diag strings.Builder
	script := "b_dir=" + Dir(spec.ID) + "\n" + findScript + askScript
	if err := node.Run(ctx, ssh.Command{Script: script, Stdout: &out, Stderr: &diag}); err != nil {
		return Started{}, fmt.Errorf("look for job %s: %w", spec.ID, err)
	}
	started, err := spec.started(out.String(), diag.String())
	if err == nil && started.Status.State == Lost && started.Status.Started.IsZero() {
		err = &fault.Error{
			Kind: fault.Lost, Op: "start", Target: "job " + spec.ID, Err: errors.New("the connection broke, and its start ended in the middle"),
			Hint: "it does not run; start it again",
		}
	}
	return started, err
}

// findScript waits until a start is through: it writes what it printed to a file when it is.
const findScript = `b_tries=0
while [ -d "$b_dir" ] && [ ! -s "$b_dir/started" ] && [ $b_tries -lt 600 ]; do
	b_state=
	{ while read -r b_line; do
		case $b_line in state=*) b_state=${b_line#*=} ;; supervisor=*) b_pid=${b_line#*=} ;; esac
	done <"$b_dir/status"; } 2>/dev/null
	case $b_state in
	starting | '') kill -0 "$b_pid" 2>/dev/null || b_tries=$((b_tries + 100)) ;;
	*) b_tries=$((b_tries + 30)) ;;
	esac
	b_tries=$((b_tries + 1))
	sleep 0.1 2>/dev/null || sleep 1
done
printf 'home=%s\n' "$HOME"
cat "$b_dir/started" 2>/dev/null
set -- read "$b_dir"
`

// started reads what the node prints of a job that was started.
func (s Spec) started(text, diag string) (Started, error) {
	facts, _ := parseFacts(text)
	status, ok := ParseStatus(text)
	if !ok {
		return Started{}, &fault.Error{
			Kind: fault.Internal, Op: "start", Target: "job " + s.ID,
			Err: fmt.Errorf("the node gives no status: %q", oneLine(text+diag)),
		}
	}
	started := Started{
		Tmux:        facts["tmux"] == "1",
		TmuxNote:    facts["note"],
		SessionName: SessionName(s.Name),
		Dir:         path.Join(facts["home"], ".bifrost/jobs", s.ID),
		Replaced:    facts["replaced"],
		Status:      status,
	}
	switch rest, home := strings.CutPrefix(s.LogFile, "~/"); {
	case s.LogFile == "":
		started.LogFile = path.Join(started.Dir, "log")
	case home:
		started.LogFile = path.Join(facts["home"], rest)
	default:
		started.LogFile = s.LogFile
	}
	return started, nil
}

// packedRunScript is run.sh for stdin: as it is, it is longer than ssh.FirstWindowBytes.
var packedRunScript = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	io.WriteString(z, runScript) // into memory: nothing of it fails
	z.Close()
	return b.Bytes()
})

const (
	needsGzip = `command -v gzip >/dev/null || { printf 'fault=gzip\n'; exit 3; }` + "\n"
	// unpackRunScript writes run.sh from stdin.
	unpackRunScript = `gzip -dc >"$b_dir/run.sh" &&` + "\n"
)

// writeFile returns a command, to be continued, that writes a file of the job's folder.
func writeFile(name, text string) string {
	return "printf '" + printfFormat(text) + "' >\"$b_dir/" + name + "\" &&\n"
}

// private returns what makes the job's folder: it holds the secrets, so it travels over stdin.
// The folder is made at once or not at all; whoever makes it owns the id. writeRunScript is one of its
// commands.
func (s Spec) private(writeRunScript string) string {
	var b strings.Builder
	b.WriteString("b_dir=" + Dir(s.ID) + "\n")
	b.WriteString(`b_umask=$(umask)
umask 077
b_made= b_written=
trap '[ -z "$b_made" ] || rm -rf -- "$b_dir"; exit 143' HUP INT TERM
{ mkdir -- "$b_dir" 2>/dev/null || b_error=$(mkdir -p -- "${b_dir%/*}" 2>&1 && mkdir -- "$b_dir" 2>&1); } && b_made=1 &&
printf 'state=starting\nsupervisor=%s\nreason=\n' $$ >"$b_dir/status" &&
`)
	b.WriteString(writeRunScript)
	b.WriteString(writeFile("spec", s.specFile())) // when it is there, run.sh is whole
	b.WriteString(writeFile("command", s.commandFile()))
	if len(s.Shell) > maxArgument {
		b.WriteString(writeFile("command.sh", s.Shell))
	}
	b.WriteString(writeFile("env", s.envFile()))
	b.WriteString(`b_written=1
`)
	return b.String()
}

// The start is part of the shell that made the folder, so that no moment is without its trap.
const startScript = `if [ "$b_written" = 1 ]; then
	set -- start "$b_dir" "$b_umask"
	. "$b_dir/run.sh"
	exit
fi
if [ "$b_made" = 1 ]; then
	rm -rf -- "$b_dir"
	printf 'fault=space\ncause=\n'
elif [ -e "$b_dir" ]; then
	printf 'fault=exists\ncause=\n'
else
	printf 'fault=folder\ncause=%s\n' "$b_error"
fi
exit 3`

// printfFormat returns text as a format of printf in single quotes: plain ASCII, so that no shell
// and no locale on the way can change a byte of it.
func printfFormat(text string) string {
	var b strings.Builder
	b.Grow(len(text) + len(text)/8)
	for _, c := range []byte(text) {
		switch {
		case c == '%':
			b.WriteString("%%")
		case c == '\\':
			b.WriteString(`\\`)
		case c == '\'':
			b.WriteString(`\047`)
		case c == '\n' || c == '\t' || c >= ' ' && c < 0x7f:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\%03o`, c)
		}
	}
	return b.String()
}

// refused turns what run.sh says into the error that a user reads.
func (s Spec) refused(what, cause string) error {
	e := &fault.Error{Kind: fault.Internal, Op: "start", Target: "job " + s.ID, Err: errors.New(cause)}
	if cause == "" {
		e.Err = errors.New(what)
	}
	switch what {
	case "workdir":
		e.Kind, e.Target = fault.NotFound, "working folder "+s.WorkingDir
		e.Hint = "make the folder on the node, or correct working_dir"
	case "workdir_denied":
		e.Kind, e.Target = fault.Invalid, "working folder "+s.WorkingDir
	case "log":
		e.Kind, e.Target = fault.Invalid, "log file "+s.LogFile
		e.Hint = "name a file in an existing folder that the node's user may write"
		if s.LogFile == "" {
			e.Target, e.Hint = "log of job "+s.ID, ""
		}
		if strings.Contains(cause, "o space left") {
			e.Kind, e.Hint = fault.DiskFull, "free space on the node"
		}
	case "tool":
		e.Kind, e.Err = fault.NotFound, fmt.Errorf("the node has no %s", cause)
		e.Hint = "install it there; setsid comes with util-linux or busybox, the others with coreutils"
		if cause == "/proc" {
			e.Hint = "mount it there"
		}
	case "conflict":
		e.Kind, e.Target = fault.Conflict, "session "+s.Name
		e.Err = fmt.Errorf("job %s still runs in it", cause)
		e.Hint = "bifrost cancel " + cause + ", or let the new job replace it"
	case "stuck":
		e.Kind, e.Target = fault.Conflict, "session "+s.Name
		e.Err = fmt.Errorf("job %s was cancelled and does not end", cause)
		e.Hint = "look at its processes on the node, or choose another name"
	case "busy":
		e.Kind, e.Target = fault.Conflict, "session "+s.Name
		e.Err = fmt.Errorf("another start of it does not come to an end: %s", cause)
	case "exists":
		e.Kind, e.Err = fault.Conflict, errors.New("the node has a job of this id")
	case "folder":
		e.Kind, e.Target = fault.Invalid, "job folder ~/.bifrost/jobs/"+s.ID
		if strings.Contains(cause, "o space left") {
			e.Kind, e.Hint = fault.DiskFull, "free space on the node"
		}
	case "space":
		e.Kind, e.Target = fault.DiskFull, "job folder ~/.bifrost/jobs/"+s.ID
		e.Err = errors.New("the job's files could not be written")
		e.Hint = "free space on the node"
	case "env":
		e.Kind, e.Err = fault.Invalid, fmt.Errorf("the node's shell refuses the environment: %s", cause)
	case "interrupted":
		e.Kind = fault.Cancelled
	}
	return e
}

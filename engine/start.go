package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/engine/session"
)

// A Submit is a command that runs on a node as a job of its own: it survives the caller and the
// connection, and is in the journal.
type Submit struct {
	Command    Command
	Name       string // of the job and its session; "" derives one from the command
	LogFile    string // on the node; "" means the job's own folder
	WorkingDir string // relative to the last pushed workspace, else to the home
	Env        []Var
	Timeout    time.Duration // enforced on the node; 0 means none
	Refuse     bool          // refuse, instead of replacing, a job of the same name that still runs
}

// Submit starts a job on the node and returns once its supervisor has taken over.
func (n *Node) Submit(ctx context.Context, s Submit) (*Handle, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	job := Job{Name: s.Name, NodeID: n.ID(), Command: s.Command, Env: s.Env, Timeout: s.Timeout, Refuse: s.Refuse}
	if err := job.Check(); err != nil {
		return nil, err
	}
	if err := n.adopt(ctx); err != nil {
		return nil, err
	}
	id, err := n.engine.record(ctx, job, false)
	if err != nil {
		return nil, err
	}
	if err := n.engine.claim(); err != nil {
		return nil, err
	}
	h, err := n.start(ctx, id, job, join(n.base(), s.WorkingDir), s.LogFile)
	if h != nil && isLost(err) {
		return nil, err // it may run
	}
	if err != nil {
		n.engine.closeJob(ctx, id, journal.JobFailed, err.Error())
		return nil, err
	}
	return h, nil
}

// record writes a new job into the journal. With finish, whoever attends to the run fetches its
// results and releases its machine when it has ended.
func (e *Engine) record(ctx context.Context, job Job, finish bool) (string, error) {
	id, err := e.journal.NewJobID(ctx, job.name())
	if err != nil {
		return "", err
	}
	rec := journal.Job{
		ID: id, Name: job.name(), RunID: e.runID, State: journal.JobPlanned, Script: job.Script, Root: job.Source,
		Command: job.Command.String(), Workspace: job.Workspace, LocalLog: filepath.Join(e.jobDir(id), "log"),
		KeepAlive: job.KeepAlive != nil && *job.KeepAlive, OnFailure: job.OnFailure.String(), Finish: finish,
		TimeoutS: int64(job.Timeout / time.Second), MaxCost: job.MaxCost, Created: time.Now(),
	}
	for _, r := range job.Results {
		// Absolute, because who fetches them may stand in another folder.
		rec.Results = append(rec.Results, journal.ResultSpec{Remote: r.Remote, Local: e.localPath(r.Local), Optional: r.Optional})
	}
	return id, e.journal.PutJob(ctx, rec)
}

// start runs the job's command under a supervisor on the node.
func (n *Node) start(ctx context.Context, id string, job Job, dir, logFile string) (_ *Handle, err error) {
	end := n.engine.cfg.Report.Step("start", job.Command.String())
	detail := ""
	defer func() { end(detail, err) }()
	if logFile != "" {
		logFile = n.resolve(logFile)
	}
	started, err := n.launch(ctx, "start", session.Spec{
		ID: id, Name: cmp.Or(job.Name, id), Command: job.Command.Argv, Shell: job.Command.Shell, WorkingDir: dir, Env: n.sessionEnv(job.Env),
		Timeout: job.Timeout, LogFile: logFile, Replace: !job.Refuse,
	})
	var unknown *unknownStart
	if errors.As(err, &unknown) {
		// It may run: the job is one to attach to, not one that failed.
		home, _ := n.Home(ctx) // known since the connect
		started.SessionName, started.LogFile = session.SessionName(cmp.Or(job.Name, id)), cmp.Or(logFile, home+"/.bifrost/jobs/"+id+"/log")
	} else if err != nil {
		return nil, err
	}
	if started.Replaced != "" {
		n.engine.cfg.Report.Emit(report.Event{Kind: report.Notice, Text: fmt.Sprintf("job %s still ran under the name %s: it was cancelled, replaced by %s", started.Replaced, started.SessionName, id)})
		n.engine.closeJob(ctx, started.Replaced, journal.JobCancelled, "replaced by "+id)
	}
	detail = "job " + id
	if unknown != nil {
		detail = ""
	} else if started.Tmux {
		detail += ", tmux session " + started.SessionName
	} else {
		detail += ", without tmux: " + started.TmuxNote
	}
	h := &Handle{node: n, id: id, session: started.SessionName, tmux: started.Tmux, log: started.LogFile, dir: dir}
	noted := n.engine.journal.SetJob(context.WithoutCancel(ctx), id, func(j *journal.Job) error {
		j.State, j.NodeID, j.Started = journal.JobRunning, n.ID(), time.Now()
		j.SessionName, j.RemoteLog, j.WorkingDir = started.SessionName, started.LogFile, dir
		if !started.Tmux {
			j.SessionName = ""
		}
		return nil
	})
	n.setSwitch(ctx)
	return h, errors.Join(err, noted)
}

// launch starts a job, once, whatever becomes of the connection. A request whose answer was lost may
// have been carried out, so the node is asked before it is sent again; should the lost one arrive
// late, the node refuses the second, for the folder of the job exists.
func (n *Node) launch(ctx context.Context, what string, spec session.Spec) (started session.Started, err error) {
	asked := false // a request was sent and its answer did not come
	err = n.mend(ctx, what, func() error {
		if asked {
			if started, err = session.Find(ctx, n.runner, spec); err != nil || started.Status.State != session.Missing {
				return err
			}
		}
		if started, err = session.Start(ctx, n.runner, spec); isBroken(err) {
			asked = true
		}
		if !asked || fault.KindOf(err) != fault.Conflict {
			return err
		}
		// The first request has arrived after all, or another job has the session.
		found, lookErr := session.Find(ctx, n.runner, spec)
		if lookErr != nil || found.Status.State == session.Missing {
			return cmp.Or(lookErr, err)
		}
		started = found
		return nil
	})
	switch {
	case ctx.Err() != nil: // a request may be on its way
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
		defer cancel()
		_, stopErr := session.Cancel(cleanup, n.runner, spec.ID, "interrupted before it ran")
		return started, errors.Join(err, stopErr)
	case asked && isLost(err):
		return started, &unknownStart{&fault.Error{
			Kind: fault.Lost, Op: what, Target: "job " + spec.ID, Err: fmt.Errorf("nobody knows whether it runs: %w", err),
			Hint: "bifrost attach " + spec.ID + " finds out when the machine answers",
		}}
	}
	return started, err
}

// An unknownStart says that a job may have been started.
type unknownStart struct{ err error }

func (e *unknownStart) Error() string { return e.err.Error() }
func (e *unknownStart) Unwrap() error { return e.err }

// closeJob records the end of a job that has no exit record of its own. A job that is over stays
// as it is. The journal's own failure must not hide why the job ended, so it is only reported.
func (e *Engine) closeJob(ctx context.Context, id string, state journal.JobState, reason string) {
	err := e.journal.SetJob(context.WithoutCancel(ctx), id, func(j *journal.Job) error {
		if !j.State.Final() {
			j.State, j.Reason, j.Ended = state, firstLine(reason), time.Now()
		}
		return nil
	})
	if err != nil {
		e.cfg.Report.Emit(report.Event{Kind: report.Warning, Text: err.Error()})
	}
}

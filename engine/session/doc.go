// Package session runs a job on a node: it starts the job under a supervisor that outlives the
// client, the connection and tmux, reads how it is and how it ended, and cancels it.
//
// All of it is run.sh, a POSIX sh script that is put into the job's folder
// (~/.bifrost/jobs/<id>) at the start; later questions are asked of that copy, so the versions of
// client and supervisor may differ. The node needs sh, coreutils or busybox, setsid and /proc.
// tmux, where present, shows the log to whoever attaches:
//
//	tmux -L bifrost attach -t <session name>
//
// It depends on engine/ssh for the Runner and on engine/fault.
//
//	started, err := session.Start(ctx, node, session.Spec{ID: "train-7f3k", Name: "train", Command: argv})
//	…
//	status, err := session.Read(ctx, node, "train-7f3k")
package session

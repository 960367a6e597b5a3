// Package follow brings the log of a job from its node, byte for byte, however often the connection
// breaks. The log is a file on the node and an offset here: Follow appends what is new to a Copy on
// this machine and goes on from its end. It depends on engine/session for the job's folder and its
// status.
//
//	local, err := follow.OpenCopy(path)
//	if err != nil { … }
//	defer local.Close()
//	status, err := follow.Follow(ctx, runner, follow.Request{JobID: id, Log: local}, os.Stdout)
package follow

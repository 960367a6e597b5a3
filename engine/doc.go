// Package engine runs jobs on machines with GPUs: it acquires a node, pushes code to it, runs the
// bootstrap and the command there, follows the log, brings the results home and makes sure that
// what it rented is gone. It knows no Starlark; a Go program can use it alone:
//
//	eng, err := engine.Open(ctx, engine.Config{StateDir: dir})
//	if err != nil { … }
//	defer eng.Close()
//	result, err := eng.Run(ctx, engine.Job{
//		SSH:     "root@gpu.example.org",
//		Source:  ".",
//		Command: engine.Shell("python train.py"),
//		Results: []engine.ResultSpec{{Remote: "results/", Local: "./results/"}},
//	}, engine.RunOptions{Stdout: os.Stdout})
//
// One run goes through the files in this order: job.go (what is wanted), run.go (the order of
// events), acquire.go, offers.go, rent.go and connect.go (a node), prepare.go (push, bootstrap), start.go (the session
// on the node), handle.go (the running job), results.go, release.go. guard.go and settle.go carry
// a run to its end when the process that began it is gone. The packages beneath hold one mechanism
// each; the journal is the truth about money, the node's files are the truth about a job.
package engine

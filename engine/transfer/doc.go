// Package transfer moves files between this machine and a node: whole folders down and up, and the
// small things that scripts ask for (read or write one file, look whether a path exists, expand a
// pattern).
//
// A transfer is one command on the node and one stream, never a request per file. Beside it run commands
// that carry large files, and those that sum what is large or here already. Where the node is far and there is
// much to move, further connections carry pieces of large files and some of the small ones, and whatever becomes
// of them, the first one completes the transfer. Small files of an upload go far as gzip where that is worth it and
// the node has one. The node needs a POSIX shell, find, stat, sha256sum, xargs, tar and dd, of coreutils or of
// busybox. Every file is verified by sha256 before it gets its real name, a large one of an upload stretch by
// stretch, and a download that was cut off goes on where it stopped. Nothing that a node answers makes a download
// write outside the folder that the user named.
//
// It depends on engine/ssh for the Runner, engine/fault for errors and engine/report for progress.
//
//	res, err := transfer.Download(ctx, client, transfer.Request{
//		Remote: "results/", RemoteDir: "~/.bifrost/workspace", Local: "./results/", LocalDir: cwd,
//	})
package transfer

// Package ssh connects to a node and runs commands there: one connection per node and process,
// shared by all operations, redialled when it breaks. It also holds the rules for text that a
// shell on the node reads (Quote), whatever login shell the user has.
//
// It depends on golang.org/x/crypto/ssh and knows nothing of jobs.
//
//	client, err := ssh.Open(ssh.Config{Target: target})
//	if err != nil { … }
//	defer client.Close()
//	err = client.Run(ctx, ssh.Command{Script: "uname -a", Stdout: os.Stdout})
package ssh

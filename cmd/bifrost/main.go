// Command bifrost runs deploy scripts: it rents a machine with GPUs, sends code there, runs it,
// brings the results home and makes sure that the machine is gone.
//
// This package wires: it reads the environment, opens the engine and hands both to the commands,
// one file each. It is the only place that reads the environment, prints and exits.
//
//	bifrost exec examples/quickstart.star
package main

import (
	"os"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

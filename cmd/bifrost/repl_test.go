//go:build unix

package main

import "testing"

// startRepl starts a session on a terminal of its own.
func startRepl(t *testing.T) *session {
	t.Helper()
	s := newFolder(t)
	s.startOnTerminal("repl")
	s.await(">>> ")
	return s
}

func TestReplOnTerminal(t *testing.T) {
	t.Parallel()
	s := startRepl(t)
	s.press("def double(x):\r    return x * 2\r\r")
	s.press("double(21)\r")
	s.await("\r\n42\r\n")
	s.press("dubble(1)\r") // an error is shown and the session goes on
	s.await("did you mean double?")
	s.press("garbage(((" + ctrlC) // drops the line
	s.press("[i for i in range(4)]\r")
	s.await("[0, 1, 2, 3]")
	s.press("x = [print('be' + 'gun')] + [i for i in range(1 << 30)]\r")
	s.await("begun")
	s.press(ctrlC) // stops what runs
	s.await("interrupted")
	s.press("'still ' + 'there'\r")
	s.await("still there")
	s.press("\x04")
	s.exits(0)
}

// What is typed while a statement runs counts once it has ended: lines, and the end too.
func TestReplTypedAhead(t *testing.T) {
	t.Parallel()
	s := startRepl(t)
	s.press("n = [print('be' + 'gun')] + [i for i in range(1 << 21)]\r")
	s.await("begun")
	s.press("'typed' + ' ahead'\r\x04")
	s.exits(0)
	s.wants(s.text(), "\"typed ahead\"\r\n")
}

func TestReplReleases(t *testing.T) {
	t.Parallel()
	s := startRepl(t)
	s.press("node = acquire_node(provision = gpu_query(type = None, providers = 'local'))\r")
	s.press("node.exec('echo o' + 'k').stdout\r")
	s.await(`"ok\n"`)
	s.press("\x04")
	s.exits(0)
	s.wants(s.output("ps"), "no jobs and no machines")
}

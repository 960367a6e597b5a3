package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bifrost-run/bifrost/engine/enginetest"
)

// mountMegabyte puts a file system of that size at dir, which everybody may write to.
func mountMegabyte(t *testing.T, dir string) {
	t.Helper()
	enginetest.Need(t, "root")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m,mode=777"); err != nil {
		t.Skipf("mounting is not allowed here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

func TestDiskFullOnTheNode(t *testing.T) {
	t.Parallel()
	server := enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Plain})
	mountMegabyte(t, server.Home)
	s := newFolder(t)
	target := s.reaches(server)

	s.script("deploy.star", deployTo(target))
	s.script("big", strings.Repeat("x", 3<<20))
	if out := s.ends(1, execDeploy, "disk_full: push to ~/.bifrost/workspace: no space left on the node: "+server.Home+" has ", " of 1024 KiB",
		"hint: free space on the node"); out != "" {
		t.Errorf("the job ran: %q", out)
	}
	s.leavesNothingOn(server)

	// Once there is room, or less to send, the same command works.
	if err := os.Remove(filepath.Join(s.dir, "big")); err != nil {
		t.Fatal(err)
	}
	if out := s.ends(0, execDeploy); out != "ran\n" {
		t.Errorf("got %q", out)
	}

	// The job fills the disk: it fails as it says itself, and its end is recorded all the same.
	s.script("deploy.star", `with_job(remote_job(ssh = "`+target+`", name = "job", command = "echo writing; cat /dev/zero > big"))`)
	if out := s.ends(1, execDeploy, "warning: the disk of ssh:"+target+" is full", "job_failed", "exited with code 1", "failed, exit code 1"); !strings.HasPrefix(out, "writing\n") {
		t.Errorf("got %q", out)
	}
	s.leavesNothingOn(server)
	if err := os.Remove(filepath.Join(server.Home, ".bifrost/workspace/big")); err != nil {
		t.Fatal(err)
	}

	// So does the log.
	s.script("deploy.star", `with_job(remote_job(ssh = "`+target+`", name = "job", command = "yes | head -c 4000000"))`)
	out := s.ends(1, execDeploy, "the log of job ", "may lack what did not fit", "failed, exit code 1")
	if len(out) < 100<<10 || strings.Trim(out, "y\n") != "" {
		t.Errorf("got %d bytes of log, or others than were written", len(out))
	}
	s.leavesNothingOn(server)
	// A session closes within about a second of the end of its job.
	s.ends(0, []string{"ssh", "@last", "for i in $(seq 100); do tmux -L bifrost list-sessions || exit 0; sleep 0.1; done; exit 1"})
}

func TestDiskFullHere(t *testing.T) {
	t.Parallel()
	s := newFolder(t)
	target := filepath.Join(s.dir, "out")
	mountMegabyte(t, target)
	s.script("deploy.star", `with_job(remote_job(provision = gpu_query(type = None, providers = "local"), name = "job",
    command = "mkdir r; head -c 3000000 /dev/zero > r/big", results = {"r/": "./out/"}))`)
	s.ends(203, execDeploy, "no space left on this machine's disk", "still to come", "hint: free space; then bifrost sync job-",
		"succeeded, exit code 0", "results  r/ INCOMPLETE in "+target, "held until", "next     bifrost sync job-")
	if _, err := os.Stat(filepath.Join(target, "big")); err == nil {
		t.Error("half a file has the name of the whole")
	}
	s.wants(s.output("ps"), " held ")

	if err := unix.Mount("none", target, "tmpfs", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	s.ends(0, []string{"sync", "@last"}, "gone, confirmed")
	if entries, err := os.ReadDir(target); err != nil || len(entries) != 1 || entries[0].Name() != "big" {
		t.Errorf("%s has %v, %v", target, entries, err)
	}
	s.leavesNothing()
}

// The journal cannot be written any more: nothing more is begun, and once there is room the next
// command finds what is left and a guardian ends it.
func TestDiskFullOfTheJournal(t *testing.T) {
	t.Parallel()
	s := newFolder(t)
	mountMegabyte(t, s.state)
	s.script("deploy.star", `with_job(remote_job(provision = gpu_query(type = None, providers = "local"), name = "job", command = "cat /dev/zero > big"))`)
	s.start("exec", "deploy.star")
	s.exits(1)
	if strings.Contains(s.text(), "device\n  write journal") {
		t.Error("the reason is told twice")
	}
	s.wants(s.text(), "disk_full: write journal "+s.state)
	s.wants(s.text(), "hint: free space there")
	if err := unix.Mount("none", s.state, "tmpfs", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	s.eventuallyClean()
}

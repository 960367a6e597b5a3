package main

import (
	"context"
	"database/sql"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // opens the journal behind bifrost's back
)

// journal opens the session's journal as another program would.
func (s *session) journal() *sql.DB {
	s.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(s.state, "bifrost/journal.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { db.Close() })
	return db
}

const onLocalNode = `with_job(remote_job(provision = gpu_query(type = None, providers = "local"), name = "job", command = "echo ran"))`

func TestJournalThatAnotherProcessUses(t *testing.T) {
	t.Parallel()
	s := newFolder(t)
	s.script("deploy.star", onLocalNode)
	s.ends(0, []string{"ps"})
	holder, err := s.journal().Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if _, err := holder.ExecContext(t.Context(), "BEGIN EXCLUSIVE"); err != nil {
		t.Fatal(err)
	}
	s.ends(0, []string{"ps"}, "no jobs and no machines") // reading goes on
	if out := s.ends(1, execDeploy, "conflict: write journal "+s.state+"/bifrost/journal.db: in use by another process",
		"hint: wait for the other bifrost, or find it with: fuser -v "); out != "" {
		t.Errorf("the job ran: %q", out)
	}
	if _, err := holder.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	s.leavesNothing()
	if out := s.ends(0, execDeploy); out != "ran\n" {
		t.Errorf("afterwards: got %q", out)
	}
}

func TestJournalThatIsReadOnly(t *testing.T) {
	t.Parallel()
	s := newFolder(t)
	mountMegabyte(t, s.state)
	s.script("deploy.star", onLocalNode)
	s.ends(0, []string{"ps"})
	if err := unix.Mount("none", s.state, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Skipf("mounting is not allowed here: %v", err)
	}
	for _, args := range [][]string{execDeploy, {"ps"}} {
		s.ends(1, args, "journal "+s.state+"/bifrost/journal.db: ", "read-only", "hint: make the file and its folder writable for you, or set XDG_STATE_HOME")
	}
	if err := unix.Mount("none", s.state, "tmpfs", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	s.leavesNothing()
}

func TestJournalOfANewerVersion(t *testing.T) {
	t.Parallel()
	s := newFolder(t)
	s.script("deploy.star", onLocalNode)
	s.ends(0, []string{"ps"})
	db := s.journal()
	var version int
	if err := db.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{execDeploy, {"ps"}, {"terminate", "--all", "--yes"}} {
		s.ends(1, args, "bifrost: open journal "+s.state+"/bifrost/journal.db: written by a newer bifrost (schema 99, this one knows "+strconv.Itoa(version)+")", "hint: upgrade bifrost")
	}
	if _, err := db.Exec("PRAGMA user_version = " + strconv.Itoa(version)); err != nil {
		t.Fatal(err)
	}
	s.leavesNothing()
}

// Package journal is the truth about money: which machines were asked for, created and released,
// and which jobs ran on them. It is one SQLite file that all bifrost processes of a user share, and
// lock files that tell whether a run is still attended. It knows nothing of SSH, providers or
// scripts, and no secret ever enters it: no record has a field for one.
//
//	j, err := journal.Open(ctx, filepath.Join(state, "journal.db"))
//	defer j.Close()
//	err = j.PutIntent(ctx, journal.Node{Name: name, Provider: "local"}) // then create, then:
//	err = j.NodeCreated(ctx, name, journal.Node{ID: "local:" + id, Provider: "local", ProviderID: id})
//
// Every method is one transaction, durable when it returns. Whoever must record something although
// the run was cancelled passes a context of its own: a method whose context has ended does nothing.
package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// busyTimeout is how long a call waits for another process that holds the journal and records
// nothing.
const busyTimeout = 5 * time.Second

// queueLimit is how many times as long a call waits while others do record something: with many
// at once it is a matter of luck whose turn is next.
const queueLimit = 12

// A Journal is an open journal. Its methods are safe for concurrent use, in this process and with
// any number of others.
type Journal struct {
	path  string
	busy  time.Duration
	db    *sql.DB
	write chan struct{} // holds one token: writers of this process queue here and not in SQLite
}

// Open opens the journal at path and creates it, and its folder (mode 0700), where it does not
// exist. Errors are *fault.Error and name the file, the reason and the way out.
func Open(ctx context.Context, path string) (*Journal, error) {
	return open(ctx, path, busyTimeout)
}

func open(ctx context.Context, path string, busy time.Duration) (*Journal, error) {
	j := &Journal{path: path, busy: busy, write: make(chan struct{}, 1)}
	if !filepath.IsAbs(path) {
		return nil, j.invalid(errors.New("the path is not absolute"), hintElsewhere)
	}
	if err := prepareFile(path); err != nil {
		return nil, j.unusable("open", err)
	}
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return nil, j.unusable("open", err)
	}
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(4)
	j.db = db
	if err := j.checkSchema(ctx); err != nil {
		db.Close()
		return nil, j.unusable("open", err)
	}
	return j, nil
}

// Close closes the journal. What was recorded stays recorded whether or not it is called.
func (j *Journal) Close() error { return j.db.Close() }

// Path returns the journal's file.
func (j *Journal) Path() string { return j.path }

// dsn names the file in SQLite's URI form, in which no character of a path has a meaning. Locks of
// transactions are taken at their begin: a lock taken in the middle cannot be waited for.
func dsn(path string) string {
	slashed := filepath.ToSlash(path)
	if runtime.GOOS == "windows" && !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed
	}
	q := url.Values{}
	q.Add("_pragma", "busy_timeout(10)")  // see patiently
	q.Add("_pragma", "synchronous(full)") // a committed intent must survive a power cut
	q.Set("_txlock", "immediate")
	return (&url.URL{Scheme: "file", Path: slashed, RawQuery: q.Encode()}).String()
}

// prepareFile sees to it that the file exists with mode 0600. SQLite gives the files beside it the
// same mode. It also finds out what the system has against the file in the system's own words;
// SQLite would say "unable to open database file" to all of it.
func prepareFile(path string) error {
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); err != nil {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		if err := f.Chmod(0o600); err != nil {
			return err
		}
	}
	if info.Size() == 0 { // new: its name must survive a power cut as well
		return syncDir(dir)
	}
	return nil
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // where folders cannot be opened for this
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// tx runs fn in a transaction that holds the write lock from its begin, and commits it. op names
// the method for errors.
func (j *Journal) tx(ctx context.Context, op string, fn func(*sql.Tx) error) error {
	select {
	case j.write <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-j.write }()
	var tx *sql.Tx
	err := j.patiently(ctx, func() (err error) {
		tx, err = j.db.BeginTx(ctx, nil) // takes the lock: nothing after it finds the journal busy
		return err
	})
	if err != nil {
		return j.failure(ctx, op, err)
	}
	if err := fn(tx); err != nil {
		_ = tx.Rollback() // the cause is err; a connection that cannot roll back is dropped
		return j.failure(ctx, op, err)
	}
	if err := tx.Commit(); err != nil {
		return j.failure(ctx, op, err)
	}
	return nil
}

// patiently repeats fn while it finds the journal busy. SQLite can wait by itself, but looks only ten
// times a second in the end, and so may never get its turn where several write without pause; nor
// does it know whether the others get on or hang.
func (j *Journal) patiently(ctx context.Context, fn func() error) error {
	first := time.Now()
	since, seen := first, j.progress()
	for {
		err := fn()
		if code := sqliteCode(err); code != codeBusy && code != codeLocked {
			return err
		}
		if now := j.progress(); now != seen {
			since, seen = time.Now(), now
		}
		if time.Since(since) > j.busy || time.Since(first) > queueLimit*j.busy {
			return err
		}
		pause := time.NewTimer(time.Millisecond + rand.N(4*time.Millisecond))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return context.Cause(ctx)
		}
	}
}

// progress changes with every transaction that any process commits.
func (j *Journal) progress() string {
	info, err := os.Stat(j.path + "-wal")
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.Size(), info.ModTime().UnixNano())
}

// A querier reads: *sql.DB or *sql.Tx.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// read runs fn, which reads and may be repeated. sql.ErrNoRows is passed on.
func (j *Journal) read(ctx context.Context, fn func() error) error {
	err := j.patiently(ctx, fn)
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return err
	}
	return j.failure(ctx, "read", err)
}

// column reads the rows of a query with one text column.
func column(ctx context.Context, q querier, query string, args ...any) ([]string, error) {
	return collect(ctx, q, scanText, query, args...)
}

func scanText(scan func(...any) error) (text string, err error) {
	err = scan(&text)
	return text, err
}

// collect reads all rows of a query. Nothing is handed out while a row is open, so that a caller
// never holds a connection that its own next call waits for.
func collect[T any](ctx context.Context, q querier, read func(scan func(...any) error) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := read(rows.Scan)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// list is collect outside a transaction, with a method's errors.
func list[T any](ctx context.Context, j *Journal, read func(scan func(...any) error) (T, error), query string, args ...any) (all []T, err error) {
	err = j.read(ctx, func() (err error) {
		all, err = collect(ctx, j.db, read, query, args...)
		return err
	})
	return all, err
}

// texts is column outside a transaction, with a method's errors.
func (j *Journal) texts(ctx context.Context, query string, args ...any) ([]string, error) {
	return list(ctx, j, scanText, query, args...)
}

// millis and moment are how times are stored: unix milliseconds, 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func (j *Journal) notFound(what string, hint string) error {
	return &fault.Error{Kind: fault.NotFound, Op: "find", Target: what, Err: errors.New("not in the journal"), Hint: hint}
}

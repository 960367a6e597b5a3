package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// applicationID marks the file as ours in SQLite's header: "bfst".
const applicationID = 0x62667374

// migrations holds the steps from each schema version to the next; user_version counts those that
// were done. A step that has been released is never edited.
//
// Times are unix milliseconds, 0 for none. seq is the order of insertion, which a clock that is set
// back does not disturb.
var migrations = []string{`
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE job_ids (id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE jobs (
	seq          INTEGER PRIMARY KEY AUTOINCREMENT,
	id           TEXT NOT NULL UNIQUE,
	name         TEXT NOT NULL,
	run_id       TEXT NOT NULL,
	node_id      TEXT NOT NULL,
	state        TEXT NOT NULL,
	script       TEXT NOT NULL,
	root         TEXT NOT NULL,
	command      TEXT NOT NULL,
	workspace    TEXT NOT NULL,
	working_dir  TEXT NOT NULL,
	session_name TEXT NOT NULL,
	remote_log   TEXT NOT NULL,
	local_log    TEXT NOT NULL,
	results      TEXT NOT NULL,
	keep_alive   INTEGER NOT NULL,
	on_failure   TEXT NOT NULL,
	finish       INTEGER NOT NULL,
	timeout_s    INTEGER NOT NULL,
	max_cost     REAL NOT NULL,
	exit_code    INTEGER,
	signal       TEXT NOT NULL,
	reason       TEXT NOT NULL,
	results_done INTEGER NOT NULL,
	created      INTEGER NOT NULL,
	started      INTEGER NOT NULL,
	ended        INTEGER NOT NULL,
	printed      INTEGER NOT NULL
);
CREATE INDEX jobs_live ON jobs (seq) WHERE state NOT IN ('succeeded', 'failed', 'timeout', 'cancelled', 'lost');
CREATE INDEX jobs_node ON jobs (node_id, seq);
CREATE INDEX jobs_run ON jobs (run_id, seq);

CREATE TABLE nodes (
	seq            INTEGER PRIMARY KEY AUTOINCREMENT,
	id             TEXT NOT NULL UNIQUE,
	name           TEXT NOT NULL,
	provider       TEXT NOT NULL,
	provider_id    TEXT NOT NULL,
	run_id         TEXT NOT NULL,
	state          TEXT NOT NULL,
	host           TEXT NOT NULL,
	port           INTEGER NOT NULL,
	user           TEXT NOT NULL,
	host_key       TEXT NOT NULL,
	ssh            TEXT NOT NULL,
	identity_file  TEXT NOT NULL,
	gpu_type       TEXT NOT NULL,
	gpu_count      INTEGER NOT NULL,
	price_per_hour REAL NOT NULL,
	created        INTEGER NOT NULL,
	ended          INTEGER NOT NULL,
	keep           INTEGER NOT NULL,
	hold_until     INTEGER NOT NULL,
	deadline       INTEGER NOT NULL,
	offer          TEXT NOT NULL,
	note           TEXT NOT NULL
);
CREATE INDEX nodes_live ON nodes (seq) WHERE state <> 'gone';
CREATE INDEX nodes_name ON nodes (name);

CREATE TABLE transitions (
	seq  INTEGER PRIMARY KEY AUTOINCREMENT,
	kind TEXT NOT NULL,
	id   TEXT NOT NULL,
	old  TEXT NOT NULL,
	new  TEXT NOT NULL,
	at   INTEGER NOT NULL,
	note TEXT NOT NULL
);
CREATE INDEX transitions_of ON transitions (kind, id, seq);

CREATE TABLE downloads (path TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
`, `
ALTER TABLE nodes ADD COLUMN volume TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN switch TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN switch_until INTEGER NOT NULL DEFAULT 0;
`, `
ALTER TABLE nodes ADD COLUMN account TEXT NOT NULL DEFAULT '';
`}

// checkSchema makes sure that the file is a journal of a version that this program knows, and
// brings a new or an older one up to it.
func (j *Journal) checkSchema(ctx context.Context) error {
	var version int
	err := j.patiently(ctx, func() (err error) {
		version, err = j.readVersion(ctx, j.db)
		return err
	})
	if err != nil || version == len(migrations) {
		return err
	}
	// This needs the file alone, and several processes may be here at once.
	err = j.patiently(ctx, func() error {
		_, err := j.db.ExecContext(ctx, "PRAGMA journal_mode = wal")
		return err
	})
	if err != nil {
		return err
	}
	return j.tx(ctx, "open", func(tx *sql.Tx) error {
		version, err := j.readVersion(ctx, tx) // another process may have been first
		if err != nil {
			return err
		}
		for ; version < len(migrations); version++ {
			if _, err := tx.ExecContext(ctx, migrations[version]); err != nil {
				return fmt.Errorf("schema version %d: %w", version+1, err)
			}
		}
		_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, version))
		return err
	})
}

func (j *Journal) readVersion(ctx context.Context, q querier) (int, error) {
	var version, application, tables int
	err := q.QueryRowContext(ctx, `SELECT v.user_version, a.application_id, (SELECT count(*) FROM sqlite_master)
		FROM pragma_user_version() v, pragma_application_id() a`).Scan(&version, &application, &tables)
	switch {
	case err != nil:
		return 0, err
	case version == 0 && application == 0 && tables == 0:
		return 0, nil
	case application != applicationID:
		return 0, j.invalid(errors.New("an SQLite file of another program"), hintElsewhere)
	case version > len(migrations):
		return 0, &fault.Error{
			Kind: fault.Conflict, Op: "open", Target: "journal " + j.path,
			Err:  fmt.Errorf("written by a newer bifrost (schema %d, this one knows %d)", version, len(migrations)),
			Hint: "upgrade bifrost, or set XDG_STATE_HOME to another folder to keep a journal for this version",
		}
	}
	return version, nil
}

package journal

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"time"
)

// ClientID returns the random id of this user on this machine. It is made once, the same for all
// processes.
func (j *Journal) ClientID(ctx context.Context) (string, error) {
	const read = "SELECT value FROM meta WHERE key = 'client'"
	var id string
	err := j.read(ctx, func() error { return j.db.QueryRowContext(ctx, read).Scan(&id) })
	if !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	fresh, err := randomText(16)
	if err != nil {
		return "", err
	}
	err = j.tx(ctx, "write", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO meta (key, value) VALUES ('client', ?) ON CONFLICT DO NOTHING", fresh); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, read).Scan(&id)
	})
	return id, err
}

// AddDownload records a local path, absolute, that bifrost downloads to, so that it is never pushed
// back.
func (j *Journal) AddDownload(ctx context.Context, path string) error {
	if !filepath.IsAbs(path) {
		return defect("record", "download "+path, "the path is not absolute")
	}
	return j.tx(ctx, "write", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO downloads (path, at) VALUES (?, ?) ON CONFLICT DO NOTHING", filepath.Clean(path), time.Now().UnixMilli())
		return err
	})
}

// DownloadsUnder returns the paths of AddDownload that are root or beneath it, sorted.
func (j *Journal) DownloadsUnder(ctx context.Context, root string) ([]string, error) {
	root = filepath.Clean(root)
	first := root + string(filepath.Separator)
	if filepath.Dir(root) == root { // "/", which ends in a separator already
		first = root
	}
	// All that begins with a separator sorts before what begins with the byte after it.
	last := first[:len(first)-1] + string(first[len(first)-1]+1)
	return j.texts(ctx, "SELECT path FROM downloads WHERE path = ? OR path >= ? AND path < ? ORDER BY path", root, first, last)
}

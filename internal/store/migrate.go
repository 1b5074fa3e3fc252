package store

import (
	"context"
	"database/sql"
	"embed"
	"io/fs"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"deputy/internal/deputy"
)

//go:embed migrations
var migrations embed.FS

// SchemaVersion returns the number of the newest migration this program knows.
func SchemaVersion() int64 {
	known := numbers()
	return known[len(known)-1]
}

// numbers returns the numbers of the migrations this program knows, in order.
func numbers() (known []int64) {
	files, _ := fs.ReadDir(migrations, "migrations/sqlite") // by name
	for _, f := range files {
		number, _, _ := strings.Cut(f.Name(), "_")
		n, _ := strconv.ParseInt(number, 10, 64)
		known = append(known, n)
	}
	return known
}

// applied returns the numbers of the migrations that were applied to a database,
// in order.
func applied(ctx context.Context, q querier) ([]int64, error) {
	return column[int64](ctx, q, "SELECT version_id FROM goose_db_version WHERE is_applied AND version_id > 0 ORDER BY version_id")
}

// lacking reports whether a database lacks migrations of this program. It may
// have later ones, as each schema serves the release before it; any other
// difference is an error: a migration that was passed over is never applied.
func lacking(applied []int64) (bool, error) {
	known := numbers()
	for i, n := range applied[:min(len(applied), len(known))] {
		if n != known[i] {
			return false, deputy.Errorf(deputy.Unavailable, "the database has migration %d where this program has %d: "+
				"it is of another line of releases, or was changed by hand", n, known[i])
		}
	}
	return len(applied) < len(known), nil
}

// migrate applies the migrations that a database lacks. On PostgreSQL one node
// does it while the others wait.
func migrate(ctx context.Context, d *dialect, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	had, _ := applied(ctx, &link{d: d, conn: conn}) // a new database has no table for them
	conn.Close()
	if lacks, err := lacking(had); err != nil || !lacks {
		return err // the usual start, which goose would only make longer
	}
	folder, err := fs.Sub(migrations, "migrations/"+d.name)
	if err != nil {
		return err
	}
	var options []goose.ProviderOption
	if d.exclusive != "" {
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return err
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(d.goose, db, folder, options...)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

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
)

//go:embed migrations
var migrations embed.FS

// SchemaVersion returns the number of the newest migration this program knows.
func SchemaVersion() (version int64) {
	files, _ := fs.ReadDir(migrations, "migrations/sqlite")
	for _, f := range files {
		number, _, _ := strings.Cut(f.Name(), "_")
		n, _ := strconv.ParseInt(number, 10, 64)
		version = max(version, n)
	}
	return version
}

// schemaOf returns the newest migration that was applied to a database.
func schemaOf(ctx context.Context, q querier) (version int64, err error) {
	err = row(ctx, q, "SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied", nil, &version)
	return version, err
}

// migrate applies the migrations that a database lacks. On PostgreSQL one node
// does it while the others wait.
func migrate(ctx context.Context, d *dialect, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	version, err := schemaOf(ctx, &link{d: d, conn: conn})
	conn.Close()
	if err == nil && version >= SchemaVersion() {
		return nil // the usual start, which goose would only make longer
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

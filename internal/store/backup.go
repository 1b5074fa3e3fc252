package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
)

// Backup writes a copy of the SQLite database at path to a new file, which its
// owner alone can read. It has everything that was committed when it began, and
// nothing later; others go on reading and writing meanwhile. A file that exists
// is left as it is.
func Backup(ctx context.Context, path, file string) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	return newFile(file, func(f *os.File) error {
		db, err := sql.Open(sqliteDialect.driver, dataSource(path, "deferred"))
		if err != nil {
			return err
		}
		defer db.Close()
		if _, err := db.ExecContext(ctx, "VACUUM INTO ?", f.Name()); err != nil {
			return err
		}
		return nil
	})
}

// Restore makes the SQLite database at path from a backup. It refuses where
// there is a database, and a file that is damaged, that is no database of ours,
// or that a newer program made. The root key that the backup belongs to is
// known by its fingerprint.
func Restore(ctx context.Context, file, path, fingerprint string) error {
	if err := nothingAt(path); err != nil {
		return err
	}
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	return newFile(path, func(f *os.File) error {
		if _, err := io.Copy(f, in); err != nil {
			return err
		}
		if err := examine(ctx, f.Name(), fingerprint); err != nil {
			return fmt.Errorf("%s %w", file, err)
		}
		return nil
	})
}

// examine checks that a file is a database that this program can use with the
// root key. It leaves nothing beside it.
func examine(ctx context.Context, path, fingerprint string) error {
	db, err := sql.Open(sqliteDialect.driver, "file:"+(&url.URL{Path: path}).EscapedPath()+"?immutable=1&mode=ro")
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	l := &link{d: sqliteDialect, conn: conn, prepared: map[string]*sql.Stmt{}}
	var sound string
	if err := row(ctx, l, "PRAGMA quick_check(1)", nil, &sound); err != nil || sound != "ok" {
		return errors.New("is damaged, or no backup")
	}
	made, err := applied(ctx, l)
	if err != nil || len(made) == 0 {
		return errors.New("is no backup of ours")
	}
	if _, err := lacking(made); err != nil {
		return err
	}
	if version := made[len(made)-1]; version > SchemaVersion() {
		return fmt.Errorf("has schema %d and this program knows %d: use the program that made it, or a newer one", version, SchemaVersion())
	}
	var root string
	if err := row(ctx, l, "SELECT value FROM meta WHERE name = $1", []any{MetaRootKey}, &root); err != nil {
		return errors.New("is no backup of ours")
	}
	if root != fingerprint {
		return errors.New("belongs to another root key")
	}
	return nil
}

// newFile makes a file with write. It appears when it is complete and on the
// disk, and never in the place of another.
func newFile(path string, write func(*os.File) error) (err error) {
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, ".deputy-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = errors.Join(write(f), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil { // fails where there is one
		return err
	}
	return syncFolder(folder)
}

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"deputy/internal/store"
	"deputy/internal/vault"
)

var errOwnTools = errors.New("a PostgreSQL database is backed up and restored with its own tools, such as pg_dump")

// Backup writes a consistent copy of the database to a new file, beside a
// running server or without one, and says so on out. The root key is not in it.
func Backup(ctx context.Context, cfg Config, file string, out io.Writer) error {
	if err := cfg.check(); err != nil {
		return err
	}
	if cfg.DatabaseURL != "" {
		return errOwnTools
	}
	if err := store.Backup(ctx, sqliteFile(cfg), file); err != nil {
		return fmt.Errorf("cannot back up %s: %w", sqliteFile(cfg), err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d bytes in %s; keep the root key %s apart from it\n", info.Size(), file, cfg.rootKeyFile())
	return nil
}

// Restore makes the database of the data folder from a backup, or from an
// archive as it was at a moment, and says so on out. The zero moment is the
// newest, and the only one of a backup. The root key must be there, and no
// database.
func Restore(ctx context.Context, cfg Config, from string, at time.Time, out io.Writer) error {
	if err := cfg.check(); err != nil {
		return err
	}
	if cfg.DatabaseURL != "" {
		return errOwnTools
	}
	root, err := vault.ReadRootKey(cfg.rootKeyFile())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the root key %s does not exist: put the file back first", cfg.rootKeyFile())
	}
	if err != nil {
		return err
	}
	if info, err := os.Stat(from); err == nil && info.IsDir() {
		reached, damaged, err := store.Rewind(ctx, from, at, sqliteFile(cfg), root.Fingerprint())
		if err != nil {
			return fmt.Errorf("cannot restore: %w", err)
		}
		for _, d := range damaged {
			fmt.Fprintf(out, "warning: %v; it was not needed\n", d)
		}
		fmt.Fprintf(out, "restored %s as it was at %s; start the server\n", sqliteFile(cfg), reached.Format(time.RFC3339Nano))
		return nil
	}
	if !at.IsZero() {
		return fmt.Errorf("cannot restore: a moment can be chosen of an archive, and %s is no folder", from)
	}
	if err := store.Restore(ctx, from, sqliteFile(cfg), root.Fingerprint()); err != nil {
		return fmt.Errorf("cannot restore: %w", err)
	}
	fmt.Fprintf(out, "restored %s; start the server\n", sqliteFile(cfg))
	return nil
}

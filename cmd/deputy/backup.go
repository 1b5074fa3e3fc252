package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"deputy/internal/server"

	"github.com/spf13/cobra"
)

func newBackup() *cobra.Command {
	c := withFile(server.Backup)
	c.Use = "backup FILE"
	c.Short = "Write a consistent copy of the database to a file, while the server runs"
	c.Long = "Write a consistent copy of the SQLite database to a new file, while the server runs. The root key\n" +
		"is not in it: without that key nobody can read the copy, you included. Keep the two apart."
	c.Example = "  deputy backup /backups/deputy-2026-11-01.db"
	return c
}

func newRestore() *cobra.Command {
	var at string
	c := withFile(func(ctx context.Context, cfg server.Config, from string, out io.Writer) error {
		var moment time.Time
		if at != "" {
			var err error
			if moment, err = time.Parse(time.RFC3339, at); err != nil {
				return &usageError{fmt.Errorf("--at %q is no time such as 2026-11-01T12:00:00Z", at)}
			}
		}
		return server.Restore(ctx, cfg, from, moment, out)
	})
	c.Flags().StringVar(&at, "at", "", "moment to restore from an archive, such as 2026-11-01T12:00:00Z (default: the newest)")
	c.Use = "restore FILE|FOLDER"
	c.Short = "Make the database of the data folder from a backup or an archive"
	c.Long = "Make the database of the data folder from a backup, or from the folder of an archive as it was at a\n" +
		"moment, after checking it. The root key must be in its place. Where there is a database already,\n" +
		"nothing is done: move it away first."
	c.Example = "  deputy restore --at 2026-11-01T12:00:00Z /archive"
	return c
}

// withFile returns a command that works on the data folder and a file.
func withFile(do func(ctx context.Context, cfg server.Config, file string, out io.Writer) error) *cobra.Command {
	c := &cobra.Command{Args: cobra.ExactArgs(1)}
	config := settings(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		cfg, err := config()
		if err != nil {
			return err
		}
		return do(c.Context(), cfg, args[0], os.Stdout)
	}
	return c
}

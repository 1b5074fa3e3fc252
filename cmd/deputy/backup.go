package main

import (
	"context"
	"io"
	"os"

	"deputy/internal/server"

	"github.com/spf13/cobra"
)

func newBackup() *cobra.Command {
	c := withFile(server.Backup)
	c.Use = "backup FILE"
	c.Short = "Write a consistent copy of the database to a file, while the server runs"
	c.Long = "Writes a consistent copy of the SQLite database to a new file, while the server runs. The root key\n" +
		"is not in it: without that key nobody can read the copy, you included. Keep the two apart."
	c.Example = "  deputy backup /backups/deputy-2026-11-01.db"
	return c
}

func newRestore() *cobra.Command {
	c := withFile(server.Restore)
	c.Use = "restore FILE"
	c.Short = "Make the database of the data folder from a backup"
	c.Long = "Makes the database of the data folder from a backup, after checking it. The root key must be in its\n" +
		"place. Where there is a database already, nothing is done: move it away first."
	c.Example = "  deputy restore /backups/deputy-2026-11-01.db"
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

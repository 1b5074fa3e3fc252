package main

import (
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"deputy/internal/server"

	"github.com/spf13/cobra"
)

func newDoctor() *cobra.Command {
	var checkup server.Checkup
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check a deployment and say what to do",
		Long: "Check what the settings describe, beside a running server or without one, and change nothing:\n" +
			"settings, data folder and disk, root key, database and its schema, the end of each log, the clock,\n" +
			"background work, keys, where events are streamed to, the public URL and its certificate, mail, backups.\n" +
			"Give it the settings of the server. It exits with 0 when all is well, 3 when something ought to be done,\n" +
			"1 when something does not work or data is at risk.",
		Example: "  deputy doctor --data-dir /var/lib/deputy --backups /backups",
		Args:    cobra.NoArgs,
	}
	c.Flags().StringVar(&checkup.Backups, "backups", "", "folder of the backups: warn when the newest is too old")
	c.Flags().DurationVar(&checkup.BackupAge, "backup-age", 26*time.Hour, "how old the newest backup may be")
	config := settings(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := config()
		if err != nil {
			return err
		}
		worst := server.Fine
		out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		for _, f := range server.Examine(c.Context(), cfg, checkup) {
			worst = max(worst, f.Severity)
			fmt.Fprintf(out, "%s\t%s\t%s\n", f.Severity, f.Check, f.Says)
			if f.Do != "" {
				fmt.Fprintf(out, "\t\t→ %s\n", f.Do)
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
		switch worst {
		case server.Warning:
			return &verdict{3}
		case server.Trouble:
			return &verdict{1}
		}
		return nil
	}
	return c
}

// verdict ends the program with a status once everything has been said.
type verdict struct{ status int }

func (v *verdict) Error() string { return fmt.Sprintf("exit status %d", v.status) }

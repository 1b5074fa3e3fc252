package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"deputy/internal/client"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

func newAudit() *cobra.Command {
	c := &cobra.Command{
		Use:     "audit",
		Short:   "Read the log of evidence",
		Example: "  deputy audit export events.jsonl",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newAuditExport())
	return c
}

func newAuditExport() *cobra.Command {
	var organization, zone, since string
	c := &cobra.Command{
		Use:     "export FILE",
		Short:   "Write the log to a file, one JSON event a line, oldest first",
		Example: "  deputy audit export --since 2026-11-01T00:00:00Z events.jsonl",
		Args:    cobra.ExactArgs(1),
	}
	c.Flags().StringVar(&organization, "organization", "", "id or label (default: the account's own)")
	c.Flags().StringVar(&zone, "zone", "", "id of a zone: its events alone")
	c.Flags().StringVar(&since, "since", "", "a time as RFC 3339: later events alone")
	from := remoteFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		account, err := from.account(from.bootstrap())
		if err != nil {
			return err
		}
		manage := account.Open()
		path := "/zones/" + url.PathEscape(zone)
		if zone == "" {
			if organization == "" {
				organization = account.OrganizationID
			}
			if organization == "" {
				return &usageError{fmt.Errorf("--organization or --zone must say whose log")}
			}
			path = "/organizations/" + url.PathEscape(organization)
		}
		query := url.Values{"order": {"asc"}, "limit": {"100"}}
		if since != "" {
			if _, err := time.Parse(time.RFC3339, since); err != nil {
				return &usageError{fmt.Errorf("--since must be a time such as 2026-11-01T00:00:00Z")}
			}
			query.Set("since", since)
		}
		return exportTo(args[0], func(out *bufio.Writer) (int, error) {
			return export(c.Context(), manage, path+"/audit-events", query, out)
		})
	}
	return c
}

// exportTo writes a file with write; it appears only when it is complete.
func exportTo(path string, write func(*bufio.Writer) (int, error)) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".export-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	out := bufio.NewWriter(f)
	n, err := write(out)
	if err := errors.Join(err, out.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "exported %d events\n", n)
	return nil
}

// export writes every event that the list at path gives, and returns how many.
func export(ctx context.Context, manage *client.Client, path string, query url.Values, out *bufio.Writer) (n int, err error) {
	for event, err := range client.All[jsontext.Value](ctx, manage, path, query) {
		if err != nil {
			return n, err
		}
		if err := event.Compact(); err != nil {
			return n, err
		}
		out.Write(event)
		if err := out.WriteByte('\n'); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
